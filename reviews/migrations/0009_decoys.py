"""Decoys: items that are about nothing, which the database keeps from ever acting, and how many a campaign plants."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inventory', '0023_ownership'),
        ('lifecycle', '0051_due_by_connection'),
        ('reviews', '0008_figures_of_campaigns'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='reviewitem',
            name='review_item_is_of_one_thing',
        ),
        migrations.RemoveConstraint(
            model_name='reviewitem',
            name='review_item_closed_says_how_and_how_it_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='reviewitem',
            name='review_item_of_two_decided_by_two',
        ),
        migrations.RemoveIndex(
            model_name='reviewitem',
            name='review_item_figures',
        ),
        migrations.AddField(
            model_name='campaign',
            name='decoys',
            field=models.PositiveSmallIntegerField(default=0, help_text='Planted among the credentials of each reviewer at most: one for each five.'),
        ),
        migrations.AddField(
            model_name='campaign',
            name='planted',
            field=models.PositiveIntegerField(default=0, help_text='How many decoys were planted. No other number counts them.'),
        ),
        migrations.AddField(
            model_name='reviewitem',
            name='decoy',
            field=models.UUIDField(editable=False, help_text='Of a decoy, what stands where the key of a thing would; else null.', null=True),
        ),
        migrations.AlterField(
            model_name='reviewitem',
            name='ending',
            field=models.CharField(blank=True, choices=[('kept', 'Kept'), ('revoked', 'Revoked'), ('rotated', 'Rotated'), ('reassigned', 'Reassigned'), ('reduced', 'Scope reduced'), ('suspended', 'Suspended'), ('gone', 'Ended by itself'), ('decoy', 'Decoy')], max_length=20),
        ),
        migrations.AddIndex(
            model_name='reviewitem',
            index=models.Index(condition=models.Q(('decoy', None)), fields=['campaign', 'state', 'ending'], include=('id', 'what', 'recommendation', 'reviewer', 'second', 'needs_second', 'due_at', 'round'), name='review_item_figures'),
        ),
        migrations.AddIndex(
            model_name='reviewitem',
            index=models.Index(condition=models.Q(('decoy__isnull', False)), fields=['campaign', 'id'], name='review_item_decoys'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('client__isnull', True), ('credential__isnull', False), ('decoy', None), ('grant__isnull', True), ('kind', 'credential'), ('server__isnull', True)), models.Q(('client__isnull', False), ('credential__isnull', True), ('decoy', None), ('grant__isnull', True), ('kind', 'client'), ('server__isnull', True)), models.Q(('client__isnull', True), ('credential__isnull', True), ('decoy', None), ('grant__isnull', False), ('kind', 'grant'), ('server__isnull', True)), models.Q(('client__isnull', True), ('credential__isnull', True), ('decoy', None), ('grant__isnull', True), ('kind', 'server'), ('server__isnull', False)), ('decoy__isnull', False), _connector='OR'), name='review_item_is_of_one_thing'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decoy', None), models.Q(('ending', 'decoy'), _negated=True)), models.Q(('decoy__isnull', False), ('by_clock', False), ('client', None), ('credential', None), ('grant', None), ('kind', 'credential'), ('operation', None), ('server', None), ('ending__in', ['', 'decoy']), ('state__in', ['open', 'closed', 'cancelled'])), _connector='OR'), name='review_item_decoy_is_about_nothing'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ending__in', ['kept', 'revoked', 'rotated', 'reassigned', 'reduced', 'suspended', 'gone', 'decoy']), ('state', 'closed'), models.Q(('proof', ''), _negated=True)), models.Q(models.Q(('state', 'closed'), _negated=True), ('ending', '')), _connector='OR'), name='review_item_closed_says_how_and_how_it_is_known'),
        ),
        migrations.AddConstraint(
            model_name='reviewitem',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['acting', 'closed']), _negated=True), ('by_clock', True), ('ending', 'gone'), ('needs_second', False), ('decoy__isnull', False), models.Q(models.Q(('first_by_key', ''), _negated=True), models.Q(('second_by_key', ''), _negated=True), models.Q(('first_by_key', models.F('second_by_key')), _negated=True)), _connector='OR'), name='review_item_of_two_decided_by_two'),
        ),
    ]
