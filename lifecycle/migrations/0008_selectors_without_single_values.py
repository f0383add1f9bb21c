from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0007_selectors_are_lists")]
    operations = [
        migrations.RemoveField(model_name="policy", name="environment"),
        migrations.RemoveField(model_name="policy", name="trust_model"),
    ]
