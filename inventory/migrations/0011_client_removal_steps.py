"""Removals that survive a crash, what clients published over time, and indexes for both."""

import datetime
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0010_fewer_indexes'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='clientremoval',
            name='client_removal_ended_exactly_when_final',
        ),
        migrations.RemoveConstraint(
            model_name='metadatasnapshot',
            name='metadata_snapshot_has_one_subject',
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='admission_before',
            field=models.CharField(blank=True, choices=[('quarantined', 'Quarantined'), ('admitted', 'Admitted'), ('suspended', 'Suspended'), ('removed', 'Removed')], help_text='What the suspension replaced.', max_length=20),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='attempts',
            field=models.PositiveIntegerField(default=0, help_text='Deletions begun, whatever became of them.'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='ended_reason',
            field=models.TextField(blank=True, help_text='How it is known to be removed, or why it is not.'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='is_despite_use',
            field=models.BooleanField(default=False, verbose_name='even while it is used'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='known_use_at',
            field=models.DateTimeField(blank=True, help_text='A later use stops the removal.', null=True, verbose_name='last use known then'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='lease_token',
            field=models.UUIDField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='lease_until',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='quiet',
            field=models.DurationField(default=datetime.timedelta(days=14), help_text='Between suspension and deletion.'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='stage_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name='in this stage since'),
        ),
        migrations.AddField(
            model_name='metadatasnapshot',
            name='client',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.mcpclient'),
        ),
        migrations.AlterField(
            model_name='clientremoval',
            name='stage',
            field=models.CharField(choices=[('announced', 'Owner told'), ('suspended', 'Suspended'), ('deleting', 'Deletion under way'), ('waiting', 'Waits for a sync'), ('stalled', 'Stalled'), ('removed', 'Removed'), ('withdrawn', 'Withdrawn'), ('stopped', 'Stopped')], default='announced', max_length=20),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(condition=models.Q(('gone_at', None), ('hygiene__in', ['duplicate', 'dead'])), fields=['hygiene_key'], name='client_needless'),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(condition=models.Q(('authorization_server__isnull', False), ('gone_at', None)), fields=['authorization_server', 'id'], name='client_present_by_issuer'),
        ),
        migrations.AddIndex(
            model_name='metadatasnapshot',
            index=models.Index(condition=models.Q(('client__isnull', False)), fields=['client', '-id'], name='metadata_by_client'),
        ),
        migrations.AddConstraint(
            model_name='clientremoval',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('stage__in', ('removed', 'withdrawn', 'stopped'))), models.Q(models.Q(('stage__in', ('removed', 'withdrawn', 'stopped')), _negated=True), ('ended_at', None)), _connector='OR'), name='client_removal_ended_exactly_when_final'),
        ),
        migrations.AddConstraint(
            model_name='clientremoval',
            constraint=models.CheckConstraint(condition=models.Q(('stage__in', ['announced', 'suspended', 'deleting', 'waiting', 'stalled', 'removed', 'withdrawn', 'stopped'])), name='client_removal_stage_is_known'),
        ),
        migrations.AddConstraint(
            model_name='clientremoval',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('next_at__isnull', False), ('stage__in', ('announced', 'suspended', 'deleting'))), models.Q(models.Q(('stage__in', ('announced', 'suspended', 'deleting')), _negated=True), ('next_at', None)), _connector='OR'), name='client_removal_timed_exactly_when_by_itself'),
        ),
        migrations.AddConstraint(
            model_name='clientremoval',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('stage__in', ('removed', 'withdrawn', 'stopped')), _negated=True), models.Q(('ended_reason', ''), _negated=True), _connector='OR'), name='client_removal_ended_says_why'),
        ),
        migrations.AddConstraint(
            model_name='metadatasnapshot',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('authorization_server', None), ('client', None), ('server__isnull', False)), models.Q(('authorization_server__isnull', False), ('client', None), ('server', None)), models.Q(('authorization_server', None), ('client__isnull', False), ('server', None)), _connector='OR'), name='metadata_snapshot_has_one_subject'),
        ),
    ]
