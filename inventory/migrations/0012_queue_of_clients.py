"""The queue of clients that wait, by the day they registered."""

import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0011_client_removal_steps'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(django.db.models.functions.comparison.Coalesce('issued_at', 'first_seen_at'), models.F('id'), condition=models.Q(('admission', 'quarantined'), ('gone_at', None)), name='client_waiting_by_age'),
        ),
    ]
