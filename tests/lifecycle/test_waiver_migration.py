"""What was waived when asking and approving were one step is kept where a waiver takes two people."""

from datetime import timedelta
from importlib import import_module

import pytest
from django.db import connection

from lifecycle.models import Finding, Waiver, WaiverCap
from tests import factories
from tests.factories import NOW

MIGRATION = import_module("lifecycle.migrations.0014_waivers_granted_by_one")
AS_IT_WAS = """
INSERT INTO lifecycle_waiver (finding_id, reason, severity, requested_by, approved_by, granted_at, ends_at,
  withdrawn_at, withdrawn_by, expired_at, state, compensating_control, requested_by_key, approved_by_key, declined_by,
  declined_by_key, decision, is_single_handed)
VALUES (%s, 'Moves in July.', 2, 'Mira', 'Mira', %s, %s, %s, '', %s, 'active', '', '', '', '', '', '', false)
"""


@pytest.mark.django_db
def test_old_waivers_are_kept_and_marked_as_granted_by_one_person() -> None:
    WaiverCap.objects.all().delete()
    with connection.cursor() as cursor, connection.schema_editor(atomic=False) as editor:
        for constraint in Waiver._meta.constraints:
            editor.remove_constraint(Waiver, constraint)
        cursor.execute("ALTER TABLE lifecycle_waiver ALTER requested_at DROP NOT NULL")
        for withdrawn, expired in [(None, None), (NOW, None), (None, NOW)]:
            found = Finding.objects.create(
                credential=factories.credential(), rule="no-owner", severity=2, opened_at=NOW, refreshed_at=NOW,
                due_at=NOW,
            )  # fmt: skip
            cursor.execute(AS_IT_WAS, [found.pk, NOW, NOW + timedelta(days=30), withdrawn, expired])
        cursor.execute(MIGRATION.FORWARD)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for constraint in Waiver._meta.constraints:  # each is held against the rows
            editor.add_constraint(Waiver, constraint)
    kept = Waiver.objects.order_by("pk")
    assert [waiver.state for waiver in kept] == ["active", "withdrawn", "expired"]
    said = {(w.is_single_handed, w.requested_at, w.begins_at, w.requested_by_key) for w in kept}
    assert said == {(True, NOW, NOW, "")}
    assert WaiverCap.objects.get().is_default
