"""What a waiver must be from now on, as constraints."""

import datetime
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0014_waivers_granted_by_one")]

    operations = [
        migrations.AlterField(
            model_name='waiver',
            name='requested_at',
            field=models.DateTimeField(),
        ),
        migrations.AlterField(
            model_name='waiver',
            name='state',
            field=models.CharField(choices=[('requested', 'Requested'), ('scheduled', 'Approved, begins later'), ('active', 'Active'), ('declined', 'Declined'), ('withdrawn', 'Withdrawn'), ('expired', 'Expired')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='waiver',
            index=models.Index(condition=models.Q(('state', 'active')), fields=['ends_at', 'id'], name='waiver_active_by_end'),
        ),
        migrations.AddIndex(
            model_name='waiver',
            index=models.Index(condition=models.Q(('state__in', ('requested', 'scheduled'))), fields=['id'], name='waiver_waiting'),
        ),
        migrations.AddIndex(
            model_name='waiver',
            index=models.Index(fields=['finding', '-id'], name='waiver_by_finding'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'active')), fields=('finding',), name='waiver_one_active_per_finding'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ('requested', 'scheduled'))), fields=('finding',), name='waiver_one_waiting_per_finding'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['requested', 'scheduled', 'active', 'declined', 'withdrawn', 'expired'])), name='waiver_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('declined_at__isnull', True), ('expired_at__isnull', True), ('granted_at__isnull', True), ('state__in', ('requested',)), ('withdrawn_at__isnull', True)), models.Q(('declined_at__isnull', True), ('expired_at__isnull', True), ('granted_at__isnull', False), ('state__in', ('scheduled', 'active')), ('withdrawn_at__isnull', True)), models.Q(('declined_at__isnull', False), ('expired_at__isnull', True), ('granted_at__isnull', True), ('state__in', ('declined',)), ('withdrawn_at__isnull', True)), models.Q(('declined_at__isnull', True), ('expired_at__isnull', True), ('state__in', ('withdrawn',)), ('withdrawn_at__isnull', False)), models.Q(('declined_at__isnull', True), ('expired_at__isnull', False), ('state__in', ('expired',)), ('withdrawn_at__isnull', True)), _connector='OR'), name='waiver_state_agrees_with_its_times'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('begins_at', None), ('granted_at', None)), models.Q(('begins_at__isnull', False), ('granted_at__isnull', False)), _connector='OR'), name='waiver_begins_exactly_when_granted'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('granted_at', None), models.Q(('approved_by_key', ''), ('is_single_handed', True), ('requested_by_key', '')), models.Q(('is_single_handed', False), models.Q(('requested_by_key', ''), _negated=True), models.Q(('approved_by_key', ''), _negated=True), models.Q(('approved_by_key', models.F('requested_by_key')), _negated=True)), _connector='OR'), name='waiver_requester_is_not_approver'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('declined_at', None), models.Q(models.Q(('declined_by_key', ''), _negated=True), models.Q(('declined_by_key', models.F('requested_by_key')), _negated=True), models.Q(('decision', ''), _negated=True)), _connector='OR'), name='waiver_is_declined_by_another_with_a_reason'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('is_single_handed', True), models.Q(('compensating_control', ''), _negated=True), _connector='OR'), name='waiver_names_a_compensating_control'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('requested_at')), models.Q(('begins_at', None), ('ends_at__gt', models.F('begins_at')), _connector='OR')), name='waiver_ends_after_it_begins'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('begins_at', None), ('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('begins_at'), '+', models.Value(datetime.timedelta(days=90)))), _connector='OR'), name='waiver_lasts_at_most_90_days'),
        ),
        migrations.AddConstraint(
            model_name='waiver',
            constraint=models.CheckConstraint(condition=models.Q(('begins_at', None), models.Q(('severity', 4), _negated=True), ('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('begins_at'), '+', models.Value(datetime.timedelta(days=30)))), _connector='OR'), name='waiver_of_critical_lasts_at_most_30_days'),
        ),
    ]
