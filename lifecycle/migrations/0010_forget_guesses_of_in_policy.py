"""Past snapshots counted credentials of unknown age as in policy. Nobody can part the two any more, so neither is said."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0009_unknown_is_not_in_policy")]

    operations = [
        migrations.RunSQL(
            "UPDATE lifecycle_snapshot SET in_policy = NULL",
            # Going back, the column holds no NULL: what violated no limit as far as anybody could tell.
            "UPDATE lifecycle_snapshot SET in_policy = coalesce(in_policy + policy_unknown, 0)",
        )
    ]
