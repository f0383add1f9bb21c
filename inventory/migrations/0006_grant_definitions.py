"""What exactly was approved: the definitions that a grant names, and a tool as it was when somebody approved it."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0005_connection_only_when_asked'),
    ]

    operations = [
        migrations.AddField(
            model_name='grant',
            name='tool_digests',
            field=models.JSONField(blank=True, default=dict, help_text='By name, the definition of each tool as it was when this was approved.'),
        ),
        migrations.AddField(
            model_name='tool',
            name='approved_definition',
            field=models.JSONField(blank=True, help_text='Description, annotations and scopes as they were approved.', null=True),
        ),
    ]
