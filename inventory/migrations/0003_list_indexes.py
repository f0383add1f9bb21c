"""Indexes behind what lists show first or count in their tabs: what is gone, exposed to others, or not admitted."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0002_environments'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='exposure',
            index=models.Index(condition=models.Q(('gone_at__isnull', False)), fields=['id'], name='exposure_gone'),
        ),
        migrations.AddIndex(
            model_name='exposure',
            index=models.Index(condition=models.Q(('gone_at', None), ('is_readable_by_others', True)), fields=['id'], name='exposure_readable_by_others'),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(condition=models.Q(('gone_at__isnull', False)), fields=['id'], name='client_gone'),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(condition=models.Q(('admission', 'admitted'), _negated=True), fields=['admission', 'id'], name='client_not_admitted'),
        ),
        migrations.AddIndex(
            model_name='mcpserver',
            index=models.Index(condition=models.Q(('gone_at__isnull', False)), fields=['id'], name='server_gone'),
        ),
    ]
