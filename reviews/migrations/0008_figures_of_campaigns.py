"""All that the figures of a campaign read stands in one index."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0023_ownership'),
        ('lifecycle', '0051_due_by_connection'),
        ('reviews', '0007_triggers'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='reviewitem',
            index=models.Index(fields=['campaign', 'state', 'ending'], include=('id', 'what', 'recommendation', 'reviewer', 'second', 'needs_second', 'due_at', 'round'), name='review_item_figures'),
        ),
    ]
