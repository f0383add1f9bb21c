from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0018_ended_credentials")]

    operations = [
        migrations.AddIndex(
            model_name="credential",
            index=models.Index(
                condition=models.Q(("principal", ""), _negated=True),
                fields=["principal"],
                name="credential_by_principal",
            ),
        ),
    ]
