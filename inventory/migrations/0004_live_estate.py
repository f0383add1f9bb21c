"""What live servers, authorization servers, clients, tools and provider listings add to the inventory."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
import inventory.models.base
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0003_list_indexes'),
    ]

    operations = [
        migrations.CreateModel(
            name='ClientRemoval',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('stage', models.CharField(choices=[('announced', 'Owner told'), ('suspended', 'Suspended'), ('removed', 'Removed'), ('withdrawn', 'Withdrawn')], default='announced', max_length=20)),
                ('reason', models.TextField()),
                ('requested_by', models.CharField(max_length=200)),
                ('announced_at', models.DateTimeField()),
                ('suspended_at', models.DateTimeField(blank=True, null=True)),
                ('next_at', models.DateTimeField(blank=True, help_text='When the next step is due.', null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('error', models.TextField(blank=True, help_text='Why the last step could not be taken.')),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'indexes': [
                    models.Index(condition=models.Q(('ended_at', None)), fields=['next_at'], name='client_removal_due'),
                ],
                'constraints': [
                    models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', False), ('stage__in', ('removed', 'withdrawn'))), models.Q(models.Q(('stage__in', ('removed', 'withdrawn')), _negated=True), ('ended_at', None)), _connector='OR'), name='client_removal_ended_exactly_when_final'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Manifest',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('file', models.TextField()),
                ('name', models.CharField(max_length=300)),
                ('version', models.CharField(blank=True, max_length=200)),
                ('packages', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=400), blank=True, default=list, size=None)),
                ('urls', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=2000), blank=True, default=list, size=None)),
                ('inputs', models.JSONField(default=list, help_text='Each with name, place, is_required and is_secret.')),
                ('first_seen_at', models.DateTimeField()),
                ('last_seen_at', models.DateTimeField(blank=True, null=True)),
                ('gone_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='MetadataSnapshot',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('digest', models.CharField(max_length=64)),
                ('document', models.JSONField(default=dict)),
                ('differences', models.JSONField(default=list, help_text='From the snapshot before: field, from, to.')),
                ('first_seen_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
            },
        ),
        migrations.RemoveConstraint(
            model_name='posturecheck',
            name='posture_check_has_one_subject',
        ),
        migrations.RemoveConstraint(
            model_name='posturecheck',
            name='posture_check_one_per_subject_and_check',
        ),
        migrations.AddField(
            model_name='authorizationserver',
            name='changed_at',
            field=models.DateTimeField(blank=True, help_text='When its metadata last changed.', null=True),
        ),
        migrations.AddField(
            model_name='connection',
            name='open_findings',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='connection',
            name='risk',
            field=models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')], default=0, editable=False),
        ),
        migrations.AddField(
            model_name='credential',
            name='details',
            field=models.JSONField(blank=True, default=dict, help_text='What else the provider says of it, for people.'),
        ),
        migrations.AddField(
            model_name='credential',
            name='principal',
            field=models.CharField(blank=True, help_text="The provider's own name for the identity.", max_length=300),
        ),
        migrations.AddField(
            model_name='grant',
            name='drafted_at',
            field=models.DateTimeField(default=django.utils.timezone.now),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='grant',
            name='drafted_by',
            field=models.CharField(default='', max_length=200),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name='grant',
            name='reason',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='grant',
            name='withdrawn_by',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='admission_changed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='admission_reason',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='application_type',
            field=models.CharField(blank=True, max_length=20),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='hygiene',
            field=models.CharField(choices=[('live', 'Live'), ('duplicate', 'Duplicate'), ('dead', 'Dead'), ('unknown', 'Unknown')], default='unknown', editable=False, max_length=10),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='hygiene_key',
            field=models.CharField(blank=True, editable=False, max_length=400),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='hygiene_reason',
            field=models.CharField(blank=True, editable=False, max_length=300),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='issued_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='registered at'),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='last_used_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='open_findings',
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='registration_reference',
            field=models.TextField(blank=True, help_text='Where the registration access token is kept: a reference, never the token.'),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='registration_uri',
            field=models.TextField(blank=True, help_text='Where the registration is managed (RFC 7592).'),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='risk',
            field=models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')], default=0, editable=False),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='scopes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='mcpclient',
            name='secret_expires_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='probe_error',
            field=models.TextField(blank=True, help_text='Why the last probe got no answer.'),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='probed_at',
            field=models.DateTimeField(blank=True, help_text='When the live server last answered a probe.', null=True),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='scopes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='tools_error',
            field=models.TextField(blank=True, help_text='Why the tools could not be listed.'),
        ),
        migrations.AddField(
            model_name='mcpserver',
            name='tools_listed_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='posturecheck',
            name='changed_at',
            field=models.DateTimeField(blank=True, help_text='When the verdict last changed.', null=True),
        ),
        migrations.AddField(
            model_name='posturecheck',
            name='client',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.mcpclient'),
        ),
        migrations.AddField(
            model_name='posturecheck',
            name='severity',
            field=models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')], default=0),
        ),
        migrations.AddField(
            model_name='syncrun',
            name='expected',
            field=models.PositiveIntegerField(blank=True, help_text='How many there are, when that is known.', null=True),
        ),
        migrations.AddField(
            model_name='syncrun',
            name='idempotency_key',
            field=models.CharField(blank=True, editable=False, max_length=200),
        ),
        migrations.AddField(
            model_name='tool',
            name='approved_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tool',
            name='approved_by',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='tool',
            name='changed_at',
            field=models.DateTimeField(blank=True, help_text='When its definition last changed.', null=True),
        ),
        migrations.AddField(
            model_name='tool',
            name='description',
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name='tool',
            name='scopes',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), blank=True, default=list, size=None),
        ),
        migrations.RemoveField(model_name='grant', name='approved_by'),
        migrations.AddField(
            model_name='grant',
            name='approved_by',
            field=models.CharField(blank=True, default='', max_length=200),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='posturecheck',
            name='specification',
            field=models.CharField(blank=True, max_length=100),
        ),
        migrations.AddIndex(
            model_name='grant',
            index=models.Index(condition=models.Q(('withdrawn_at', None)), fields=['server'], name='grant_current_by_server'),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(condition=models.Q(('hygiene_key', ''), _negated=True), fields=['hygiene_key', 'id'], name='client_by_hygiene_key'),
        ),
        migrations.AddIndex(
            model_name='mcpclient',
            index=models.Index(fields=['risk', 'id'], name='client_by_risk'),
        ),
        migrations.AddIndex(
            model_name='posturecheck',
            index=models.Index(condition=models.Q(('verdict', 'violated')), fields=['check_id', 'id'], name='posture_violated'),
        ),
        migrations.AddConstraint(
            model_name='grant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('approved_at', None), ('approved_by', '')), models.Q(('approved_at__isnull', False), models.Q(('approved_by', ''), _negated=True)), _connector='OR'), name='grant_approved_by_somebody'),
        ),
        migrations.AddConstraint(
            model_name='mcpclient',
            constraint=models.CheckConstraint(condition=models.Q(('hygiene__in', ['live', 'duplicate', 'dead', 'unknown'])), name='client_hygiene_is_known'),
        ),
        migrations.AddConstraint(
            model_name='posturecheck',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('authorization_server', None), ('client', None), ('server__isnull', False)), models.Q(('authorization_server__isnull', False), ('client', None), ('server', None)), models.Q(('authorization_server', None), ('client__isnull', False), ('server', None)), _connector='OR'), name='posture_check_has_one_subject'),
        ),
        migrations.AddConstraint(
            model_name='posturecheck',
            constraint=models.UniqueConstraint(fields=('server', 'authorization_server', 'client', 'check_id'), name='posture_check_one_per_subject_and_check', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='syncrun',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key', ''), _negated=True), fields=('connection', 'idempotency_key'), name='sync_run_one_per_idempotency_key'),
        ),
        migrations.AddField(
            model_name='clientremoval',
            name='client',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.mcpclient'),
        ),
        migrations.AddField(
            model_name='manifest',
            name='connection',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='inventory.connection'),
        ),
        migrations.AddField(
            model_name='metadatasnapshot',
            name='authorization_server',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.authorizationserver'),
        ),
        migrations.AddField(
            model_name='metadatasnapshot',
            name='server',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.mcpserver'),
        ),
        migrations.AddConstraint(
            model_name='clientremoval',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at', None)), fields=('client',), name='client_removal_one_open_per_client'),
        ),
        migrations.AddConstraint(
            model_name='manifest',
            constraint=models.UniqueConstraint(condition=models.Q(('gone_at', None)), fields=('connection', 'file'), name='manifest_one_present_per_file'),
        ),
        migrations.AddIndex(
            model_name='metadatasnapshot',
            index=models.Index(fields=['server', '-id'], name='metadata_by_server'),
        ),
        migrations.AddIndex(
            model_name='metadatasnapshot',
            index=models.Index(fields=['authorization_server', '-id'], name='metadata_by_issuer'),
        ),
        migrations.AddConstraint(
            model_name='metadatasnapshot',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('authorization_server', None), ('server__isnull', False)), models.Q(('authorization_server__isnull', False), ('server', None)), _connector='OR'), name='metadata_snapshot_has_one_subject'),
        ),
    ]
