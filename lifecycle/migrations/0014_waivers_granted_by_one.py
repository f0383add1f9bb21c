"""Waivers from when asking and approving were one step are kept and told apart; every estate has a cap."""

from django.db import migrations

# Ninety days is the longest single waiver, so the default allows one to be extended once by as much.
FORWARD = """
UPDATE lifecycle_waiver
SET is_single_handed = true, requested_at = granted_at, begins_at = granted_at,
    state = CASE WHEN withdrawn_at IS NOT NULL THEN 'withdrawn' WHEN expired_at IS NOT NULL THEN 'expired'
                 ELSE 'active' END;
INSERT INTO lifecycle_waivercap (is_default, most_active, longest_total, reason, changed_by, changed_at)
VALUES (true, 25, interval '180 days', '', 'Keyreeve', now());
"""
# What two people decided cannot be said in one step, so it is left as it is: approved or not.
BACKWARD = """
DELETE FROM lifecycle_waivercap;
DELETE FROM lifecycle_waiver WHERE granted_at IS NULL;
"""


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0013_comments_links_and_waivers_of_two")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
