"""Tools found by their names."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0012_queue_of_clients'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='tool',
            index=django.contrib.postgres.indexes.GinIndex(django.contrib.postgres.search.SearchVector('name', config='simple'), name='tool_by_words'),
        ),
    ]
