
import datetime
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
import inventory.models.base
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('inventory', '0002_environments'),
    ]

    operations = [
        migrations.CreateModel(
            name='RuleState',
            fields=[
                ('rule', models.SlugField(max_length=60, primary_key=True, serialize=False)),
                ('evaluated_at', models.DateTimeField()),
                ('met', models.PositiveIntegerField()),
                ('violated', models.PositiveIntegerField()),
                ('unknown', models.PositiveIntegerField()),
                ('duration', models.DurationField(default=datetime.timedelta(0))),
            ],
        ),
        migrations.CreateModel(
            name='Snapshot',
            fields=[
                ('taken_on', models.DateField(primary_key=True, serialize=False)),
                ('taken_at', models.DateTimeField()),
                ('credentials', models.PositiveIntegerField()),
                ('servers', models.PositiveIntegerField()),
                ('clients', models.PositiveIntegerField()),
                ('exposures', models.PositiveIntegerField()),
                ('orphans', models.PositiveIntegerField()),
                ('unrotated', models.PositiveIntegerField()),
                ('stale', models.PositiveIntegerField()),
                ('in_policy', models.PositiveIntegerField(help_text="Live credentials that violate none of their policy's limits.")),
                ('critical', models.PositiveIntegerField()),
                ('high', models.PositiveIntegerField()),
                ('medium', models.PositiveIntegerField()),
                ('low', models.PositiveIntegerField()),
                ('overdue', models.PositiveIntegerField()),
                ('waived', models.PositiveIntegerField()),
            ],
            options={
                'ordering': ['-taken_on'],
            },
        ),
        migrations.CreateModel(
            name='EvaluationMark',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('evaluated_at', models.DateTimeField()),
                ('full_at', models.DateTimeField()),
                ('seq', models.BigIntegerField()),
                ('digest', models.CharField(max_length=64)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='evaluation_mark_is_one_row')],
            },
        ),
        migrations.CreateModel(
            name='Finding',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('rule', models.SlugField(db_index=False, max_length=60)),
                ('severity', models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')])),
                ('state', models.CharField(choices=[('open', 'Open'), ('acknowledged', 'Acknowledged'), ('waived', 'Waived'), ('resolved', 'Resolved')], default='open', max_length=20)),
                ('evidence', models.JSONField(default=dict)),
                ('opened_at', models.DateTimeField()),
                ('refreshed_at', models.DateTimeField()),
                ('due_at', models.DateTimeField()),
                ('acknowledged_at', models.DateTimeField(blank=True, null=True)),
                ('acknowledged_by', models.CharField(blank=True, max_length=200)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('resolution', models.CharField(blank=True, choices=[('met', 'Seen to be met'), ('gone', 'The subject is gone'), ('not_applicable', 'The rule no longer applies to the subject')], max_length=20)),
                ('credential', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.credential')),
                ('server', models.ForeignKey(blank=True, db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.mcpserver')),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'indexes': [
                    models.Index(condition=models.Q(('resolved_at', None)), fields=['severity', 'id'], name='finding_by_severity'),
                    models.Index(condition=models.Q(('resolved_at', None)), fields=['due_at', 'id'], name='finding_by_due_date'),
                    models.Index(condition=models.Q(('resolved_at', None)), fields=['rule', 'id'], name='finding_by_rule'),
                    models.Index(condition=models.Q(('resolved_at', None), _negated=True), fields=['resolved_at', 'id'], name='finding_by_resolution'),
                    models.Index(condition=models.Q(('credential', None), _negated=True), fields=['credential', '-id'], name='finding_by_credential'),
                    models.Index(condition=models.Q(('server', None), _negated=True), fields=['server', '-id'], name='finding_by_server'),
                ],
                'constraints': [
                    models.CheckConstraint(condition=models.Q(models.Q(('credential__isnull', False), ('server', None)), models.Q(('credential', None), ('server__isnull', False)), _connector='OR'), name='finding_has_one_subject'),
                    models.CheckConstraint(condition=models.Q(('state__in', ['open', 'acknowledged', 'waived', 'resolved'])), name='finding_state_is_known'),
                    models.CheckConstraint(condition=models.Q(('severity__in', [1, 2, 3, 4])), name='finding_severity_is_known'),
                    models.CheckConstraint(condition=models.Q(models.Q(('resolution__in', ['met', 'gone', 'not_applicable']), ('resolved_at__isnull', False), ('state__in', ('resolved',))), models.Q(models.Q(('state__in', ('resolved',)), _negated=True), ('resolution', ''), ('resolved_at', None)), _connector='OR'), name='finding_resolved_exactly_when_final'),
                    models.CheckConstraint(condition=models.Q(models.Q(('state', 'acknowledged'), _negated=True), ('acknowledged_at__isnull', False), _connector='OR'), name='finding_acknowledged_some_time'),
                    models.UniqueConstraint(condition=models.Q(('credential__isnull', False), ('resolved_at', None)), fields=('credential', 'rule'), name='finding_one_unresolved_per_credential_and_rule'),
                    models.UniqueConstraint(condition=models.Q(('resolved_at', None), ('server__isnull', False)), fields=('server', 'rule'), name='finding_one_unresolved_per_server_and_rule'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Policy',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=100, unique=True)),
                ('description', models.TextField(blank=True)),
                ('priority', models.PositiveIntegerField(default=100)),
                ('kinds', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('api_key', 'API key'), ('oauth_access_token', 'Access token'), ('oauth_refresh_token', 'Refresh token'), ('oauth_client_secret', 'Client secret'), ('registration_token', 'Registration token'), ('aws_access_key', 'AWS access key'), ('database_password', 'Database password'), ('personal_access_token', 'Personal access token'), ('other', 'Other')], max_length=30), blank=True, default=list, size=None)),
                ('trust_model', models.CharField(blank=True, choices=[('static_service', 'Static service'), ('user_consented', 'User-consented'), ('unknown', 'Unknown')], max_length=20)),
                ('max_age', models.DurationField(blank=True, null=True)),
                ('max_idle', models.DurationField(blank=True, null=True)),
                ('max_lifetime', models.DurationField(blank=True, null=True)),
                ('requires_expiry', models.BooleanField(default=False)),
                ('version', models.PositiveIntegerField(default=1)),
                ('is_shipped', models.BooleanField(default=False, editable=False)),
                ('environment', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='inventory.environment')),
            ],
            options={
                'verbose_name_plural': 'policies',
                'ordering': ['priority', 'id'],
                'abstract': False,
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('kinds__contained_by', ['api_key', 'oauth_access_token', 'oauth_refresh_token', 'oauth_client_secret', 'registration_token', 'aws_access_key', 'database_password', 'personal_access_token', 'other'])), name='policy_kinds_are_known'),
                    models.CheckConstraint(condition=models.Q(('trust_model__in', ['', 'static_service', 'user_consented', 'unknown'])), name='policy_trust_model_is_known'),
                    models.CheckConstraint(condition=models.Q(('max_age', None), ('max_age__gt', datetime.timedelta(0)), _connector='OR'), name='policy_max_age_is_positive'),
                    models.CheckConstraint(condition=models.Q(('max_idle', None), ('max_idle__gt', datetime.timedelta(0)), _connector='OR'), name='policy_max_idle_is_positive'),
                    models.CheckConstraint(condition=models.Q(('max_lifetime', None), ('max_lifetime__gt', datetime.timedelta(0)), _connector='OR'), name='policy_max_lifetime_is_positive'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Obligation',
            fields=[
                ('credential', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='+', serialize=False, to='inventory.credential')),
                ('rotate_by', models.DateTimeField(null=True)),
                ('stale_at', models.DateTimeField(null=True)),
                ('expires_at', models.DateTimeField(null=True)),
                ('policy', models.ForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='lifecycle.policy')),
            ],
            options={
                'indexes': [
                    models.Index(condition=models.Q(('rotate_by', None), _negated=True), fields=['rotate_by'], name='obligation_by_rotate_by'),
                    models.Index(condition=models.Q(('stale_at', None), _negated=True), fields=['stale_at'], name='obligation_by_stale_at'),
                    models.Index(condition=models.Q(('expires_at', None), _negated=True), fields=['expires_at'], name='obligation_by_expires_at'),
                ],
            },
        ),
        migrations.CreateModel(
            name='Waiver',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('reason', models.TextField()),
                ('severity', models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')])),
                ('requested_by', models.CharField(max_length=200)),
                ('approved_by', models.CharField(max_length=200)),
                ('granted_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('withdrawn_at', models.DateTimeField(blank=True, null=True)),
                ('withdrawn_by', models.CharField(blank=True, max_length=200)),
                ('expired_at', models.DateTimeField(blank=True, null=True)),
                ('finding', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='lifecycle.finding')),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'indexes': [
                    models.Index(condition=models.Q(('expired_at', None), ('withdrawn_at', None)), fields=['ends_at'], name='waiver_active_by_end'),
                ],
                'constraints': [
                    models.UniqueConstraint(condition=models.Q(('expired_at', None), ('withdrawn_at', None)), fields=('finding',), name='waiver_one_active_per_finding'),
                    models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='waiver_has_a_reason'),
                    models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('granted_at'))), name='waiver_ends_after_it_begins'),
                    models.CheckConstraint(condition=models.Q(('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('granted_at'), '+', models.Value(datetime.timedelta(days=90))))), name='waiver_lasts_at_most_90_days'),
                    models.CheckConstraint(condition=models.Q(models.Q(('severity', 4), _negated=True), ('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('granted_at'), '+', models.Value(datetime.timedelta(days=30)))), _connector='OR'), name='waiver_of_critical_lasts_at_most_30_days'),
                    models.CheckConstraint(condition=models.Q(('withdrawn_at', None), ('expired_at', None), _connector='OR'), name='waiver_is_withdrawn_or_expired_not_both'),
                ],
            },
        ),
    ]
