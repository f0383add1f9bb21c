from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0013_tools_by_words")]

    operations = [
        migrations.AlterField(
            model_name="metadatasnapshot",
            name="differences",
            field=models.JSONField(default=list, help_text="From the snapshot before, in sentences."),
        ),
    ]
