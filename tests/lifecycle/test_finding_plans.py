"""The queue of a large estate is served by indexes, however it is parted."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import QuerySet

from lifecycle.models import Finding
from lifecycle.views.findings import GROUPS, OWNER, SERVER, listed
from tests import factories
from tests.factories import NOW
from tests.lifecycle.waived import OTTO
from web.paging import Keys

pytestmark = pytest.mark.django_db
INDEX = {
    "owner": "finding_by_owner",
    "server": "finding_by_place",
    "due": "finding_by_due_date",
    "severity": "finding_by_severity",
    "rule": "finding_by_rule",
}
FILL = """
INSERT INTO lifecycle_finding (rule, credential_id, owner_id, at_server_id, severity, state, evidence, opened_at,
  refreshed_at, due_at, acknowledged_by, resolution)
SELECT 'rule-' || n, %(credential)s, CASE WHEN n %% 3 = 0 THEN NULL WHEN n %% 50 = 1 THEN %(few)s ELSE %(many)s END,
  CASE WHEN n %% 2 = 0 THEN %(server)s END, 1 + n %% 4, 'open', '{}', %(now)s, %(now)s,
  %(now)s + n * interval '1 minute', '', ''
FROM generate_series(1, 8000) n
"""


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from steps(each)


def plan_of(rows: QuerySet[Any]) -> list[dict[str, Any]]:
    return list(steps(json.loads(rows.explain(format="json"))[0]["Plan"]))


def test_every_way_of_parting_the_queue_and_every_part_is_a_range_of_an_index() -> None:
    few, many, place = factories.owner(), factories.owner(), factories.server()
    given = {"credential": factories.credential().pk, "few": few.pk, "many": many.pk, "server": place.pk, "now": NOW}
    with database.cursor() as cursor:
        cursor.execute(FILL, given)
        cursor.execute("ANALYZE lifecycle_finding")
    rows = listed(OTTO).open()
    found = {}
    for name, index in INDEX.items():
        page = plan_of(Keys(rows, GROUPS[name].orderings[0]).sorted(backwards=False)[:51])
        found[name] = index in {step.get("Index Name") for step in page} and "Sort" not in {
            step["Node Type"] for step in page
        }
    assert found == dict.fromkeys(INDEX, True)
    for part, ordering, index in (
        (rows.owned_by(few), OWNER, "finding_by_owner"),
        (rows.owned_by(None), OWNER, "finding_by_owner"),
        (rows.at(place), SERVER, "finding_by_place"),
    ):
        page = plan_of(Keys(part, ordering).sorted(backwards=False)[:51])
        assert index in {step.get("Index Name") for step in page}
        assert not [step for step in page if step["Node Type"] in {"Sort", "Seq Scan"} and step.get("Alias") == "f"]
    counted = plan_of(Finding.objects.open().owned_by(few).order_by().values("pk")[:501])
    assert "finding_by_owner" in {step.get("Index Name") for step in counted}
