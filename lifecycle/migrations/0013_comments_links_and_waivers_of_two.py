"""Comments and links of findings, the queue by owner and by place, caps, and what a waiver of two people holds."""

import datetime

import django.db.models.deletion
import django.db.models.functions.comparison
import django.db.models.functions.text
import django.db.models.lookups
import inventory.models.base
import uuid
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION finding_comment_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'comments are never changed' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER finding_comment_refuse BEFORE UPDATE ON lifecycle_findingcomment
  FOR EACH ROW EXECUTE FUNCTION finding_comment_refuse();
"""
BACKWARD = """
DROP TRIGGER finding_comment_refuse ON lifecycle_findingcomment;
DROP FUNCTION finding_comment_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [
        ('inventory', '0016_tags_score_and_review'),
        ('lifecycle', '0012_shipped_policies_by_trust'),
    ]

    operations = [
        migrations.CreateModel(
            name='FindingComment',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('author', models.CharField(max_length=200)),
                ('author_key', models.CharField(max_length=200)),
                ('text', models.TextField()),
                ('written_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('text', ''), _negated=True), name='finding_comment_says_something'),
                    models.CheckConstraint(condition=django.db.models.lookups.LessThanOrEqual(django.db.models.functions.text.Length('text'), 4000), name='finding_comment_has_at_most_4000_characters'),
                ],
            },
        ),
        migrations.CreateModel(
            name='FindingLink',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('operation', 'Operation'), ('review_item', 'Review item'), ('ticket', 'Ticket'), ('change', 'Change')], max_length=20)),
                ('reference', models.CharField(help_text='As people call it: SEC-4711.', max_length=200)),
                ('url', models.CharField(blank=True, help_text='https, or a path of ours.', max_length=500)),
                ('label', models.CharField(blank=True, max_length=200)),
                ('added_at', models.DateTimeField()),
                ('added_by', models.CharField(max_length=200)),
                ('removed_at', models.DateTimeField(blank=True, null=True)),
                ('removed_by', models.CharField(blank=True, max_length=200)),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('kind__in', ['operation', 'review_item', 'ticket', 'change'])), name='finding_link_kind_is_known'),
                    models.CheckConstraint(condition=models.Q(('reference', ''), _negated=True), name='finding_link_has_a_reference'),
                    models.CheckConstraint(condition=models.Q(('url', ''), ('url__startswith', 'https://'), ('url__regex', '^/([^/\\\\]|$)'), _connector='OR'), name='finding_link_leads_to_https_or_to_a_page_of_ours'),
                ],
            },
        ),
        migrations.CreateModel(
            name='WaiverCap',
            fields=[
                ('id', models.UUIDField(db_default=inventory.models.base.Uuid7(), editable=False, primary_key=True, serialize=False)),
                ('is_default', models.BooleanField(default=False)),
                ('most_active', models.PositiveIntegerField()),
                ('longest_total', models.DurationField()),
                ('reason', models.TextField(blank=True)),
                ('changed_by', models.CharField(max_length=200)),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['-id'],
                'abstract': False,
                'constraints': [
                    models.CheckConstraint(condition=models.Q(('most_active__lte', 1000)), name='waiver_cap_count_is_bounded'),
                    models.CheckConstraint(condition=models.Q(('longest_total__gte', datetime.timedelta(0)), ('longest_total__lte', datetime.timedelta(days=3650))), name='waiver_cap_time_is_bounded'),
                ],
            },
        ),
        migrations.RemoveConstraint(
            model_name='waiver',
            name='waiver_one_active_per_finding',
        ),
        migrations.RemoveConstraint(
            model_name='waiver',
            name='waiver_ends_after_it_begins',
        ),
        migrations.RemoveConstraint(
            model_name='waiver',
            name='waiver_lasts_at_most_90_days',
        ),
        migrations.RemoveConstraint(
            model_name='waiver',
            name='waiver_of_critical_lasts_at_most_30_days',
        ),
        migrations.RemoveConstraint(
            model_name='waiver',
            name='waiver_is_withdrawn_or_expired_not_both',
        ),
        migrations.RemoveIndex(
            model_name='finding',
            name='finding_by_owner',
        ),
        migrations.RemoveIndex(
            model_name='finding',
            name='finding_by_place',
        ),
        migrations.RemoveIndex(
            model_name='waiver',
            name='waiver_active_by_end',
        ),
        migrations.AddField(
            model_name='waiver',
            name='approved_by_key',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='waiver',
            name='begins_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='waiver',
            name='compensating_control',
            field=models.TextField(blank=True, help_text='What limits the risk meanwhile.'),
        ),
        migrations.AddField(
            model_name='waiver',
            name='decision',
            field=models.TextField(blank=True, help_text='What was said when it was approved or declined.'),
        ),
        migrations.AddField(
            model_name='waiver',
            name='declined_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='waiver',
            name='declined_by',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='waiver',
            name='declined_by_key',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='waiver',
            name='extends',
            field=models.ForeignKey(blank=True, help_text='The waiver that this one follows without a gap.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='lifecycle.waiver'),
        ),
        migrations.AddField(
            model_name='waiver',
            name='is_single_handed',
            field=models.BooleanField(default=False, help_text='Granted before a waiver took two people; who asked and who approved may be one.'),
        ),
        migrations.AddField(
            model_name='waiver',
            name='requested_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='waiver',
            name='requested_by_key',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name='waiver',
            name='state',
            field=models.CharField(choices=[('requested', 'Requested'), ('scheduled', 'Approved, begins later'), ('active', 'Active'), ('declined', 'Declined'), ('withdrawn', 'Withdrawn'), ('expired', 'Expired')], default='active', max_length=20),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name='waiver',
            name='approved_by',
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AlterField(
            model_name='waiver',
            name='granted_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='waiver',
            name='severity',
            field=models.PositiveSmallIntegerField(choices=[(0, 'None'), (1, 'Low'), (2, 'Medium'), (3, 'High'), (4, 'Critical')], help_text='Of the finding, when it was decided.'),
        ),
        migrations.AddIndex(
            model_name='finding',
            index=models.Index(django.db.models.functions.comparison.Coalesce('owner_id', models.Value(uuid.UUID('ffffffff-ffff-ffff-ffff-ffffffffffff'), models.UUIDField())), models.F('due_at'), models.F('id'), condition=models.Q(('resolved_at', None)), name='finding_by_owner'),
        ),
        migrations.AddIndex(
            model_name='finding',
            index=models.Index(django.db.models.functions.comparison.Coalesce('at_server_id', models.Value(uuid.UUID('ffffffff-ffff-ffff-ffff-ffffffffffff'), models.UUIDField())), models.F('due_at'), models.F('id'), condition=models.Q(('resolved_at', None)), name='finding_by_place'),
        ),
        migrations.AddIndex(
            model_name='finding',
            index=models.Index(condition=models.Q(('escalated_at__isnull', False), ('resolved_at', None)), fields=['due_at', 'id'], name='finding_escalated'),
        ),
        migrations.AddField(
            model_name='findingcomment',
            name='finding',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='lifecycle.finding'),
        ),
        migrations.AddField(
            model_name='findinglink',
            name='finding',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='lifecycle.finding'),
        ),
        migrations.AddField(
            model_name='waivercap',
            name='owner',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inventory.owner'),
        ),
        migrations.AddIndex(
            model_name='findingcomment',
            index=models.Index(fields=['finding', '-id'], name='finding_comment_by_finding'),
        ),
        migrations.AddIndex(
            model_name='findinglink',
            index=models.Index(fields=['finding', '-id'], name='finding_link_by_finding'),
        ),
        migrations.AddConstraint(
            model_name='findinglink',
            constraint=models.UniqueConstraint(condition=models.Q(('removed_at', None)), fields=('finding', 'kind', 'reference'), name='finding_link_one_per_reference'),
        ),
        migrations.AddConstraint(
            model_name='waivercap',
            constraint=models.UniqueConstraint(fields=('is_default', 'owner'), name='waiver_cap_one_per_team', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='waivercap',
            constraint=models.CheckConstraint(condition=models.Q(('is_default', False), ('owner', None), _connector='OR'), name='waiver_cap_default_is_of_all'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
