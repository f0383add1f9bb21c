"""What of a delivery a run remembers: its digest and how many rows it brought."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0008_authentication_seen'),
    ]

    operations = [
        migrations.AddField(
            model_name='syncrun',
            name='body_digest',
            field=models.CharField(blank=True, editable=False, help_text='Of what was sent.', max_length=64),
        ),
        migrations.AddField(
            model_name='syncrun',
            name='received',
            field=models.JSONField(default=dict, help_text='Of what was sent: how many rows were read, taken, refused and repeated.'),
        ),
    ]
