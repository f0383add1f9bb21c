"""The risk order: one declaration, reckoned alike by the database and by the page; never from findings."""

import re
from datetime import timedelta
from html import unescape
from itertools import product
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from access.actors import Actor
from access.roles import Role
from inventory.models import Credential
from inventory.states import CredentialKind, CredentialStatus, Storage, Transport, TrustModel
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding, Obligation
from lifecycle.models.scores import facts_of, scores_of
from lifecycle.rules.score import DATES, MOST, NEXT_SQL, PARTS, SCORE_SQL, Always, Step, rescored_at, score
from lifecycle.states import FindingState
from tests import factories
from tests.examples import SHARED_FIXTURE, examples
from tests.factories import NOW
from tests.people import browser

DAY = timedelta(days=1)
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "risk.md"
BY_KEY = {part.key: part for part in PARTS}

COUNTS = ("exposures", "unclear_exposures", "uses", "third_party_uses", "unclear_uses")
some_count = st.integers(0, 6)
some_date = st.none() | st.integers(-400, 400).map(lambda days: NOW + days * DAY)
some_facts = st.fixed_dictionaries(
    {
        **dict.fromkeys(COUNTS, some_count),
        "clients": st.none() | some_count,
        "servers": st.none() | some_count,
        "criticality": st.none() | st.integers(0, 3),
        "storage": st.sampled_from(Storage.values),
        "readable_by_others": st.booleans(),
        "broad_scopes": st.none() | st.just(["*"]),
        "has_scopes": st.booleans(),
        "is_sweeping": st.booleans(),
        "is_partly_placed": st.none() | st.booleans(),
        "issued_at": some_date,
        "last_used_at": some_date,
        "rotate_by": some_date,
        "twice_by": some_date,
        "stale_at": some_date,
    }
)
COLUMNS = """exposures int, unclear_exposures int, uses int, third_party_uses int, unclear_uses int, clients int,
  servers int, criticality int, storage text, readable_by_others bool, broad_scopes text[], has_scopes bool,
  is_sweeping bool, is_partly_placed bool, issued_at timestamptz, last_used_at timestamptz, rotate_by timestamptz,
  twice_by timestamptz, stale_at timestamptz, place int"""


def plain(facts: dict[str, object]) -> dict[str, object]:
    return {name: value.isoformat() if hasattr(value, "isoformat") else value for name, value in facts.items()}


def points(facts: dict[str, object]) -> int:
    """Without the words, which read more facts than the conditions do."""
    return sum(part.step(facts, NOW).points for part in PARTS)


@settings(suppress_health_check=SHARED_FIXTURE, max_examples=examples(10), deadline=None)
@given(many=st.lists(some_facts, min_size=1, max_size=100))
def test_the_database_and_the_page_reckon_the_same_score_from_the_same_facts(db, many):
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {SCORE_SQL}, {NEXT_SQL} FROM jsonb_to_recordset(%(facts)s) AS v ({COLUMNS}) ORDER BY place",
            {"facts": Jsonb([{**plain(facts), "place": i} for i, facts in enumerate(many)]), "now": NOW},
        )
        assert cursor.fetchall() == [(points(facts), rescored_at(facts, NOW)) for facts in many]


@settings(max_examples=examples(200))
@given(facts=some_facts, days=st.integers(0, 500))
def test_between_its_dates_a_score_does_not_change(facts, days):
    coming = rescored_at(facts, NOW)
    later = NOW + days * DAY
    if coming is None or later < coming:
        assert sum(part.step(facts, later).points for part in PARTS) == points(facts)


@settings(max_examples=examples(100))
@given(facts=some_facts)
def test_a_score_lies_between_nought_and_a_hundred(facts):
    assert 0 <= points(facts) <= MOST == 100


UNKNOWN = {
    "exposure": [{"exposures": 1, "unclear_exposures": 1}, {"storage": "literal"}, {"storage": "provider", "uses": 0}],
    "privilege": [{"has_scopes": False}],
    "age": [{"issued_at": None}, {"rotate_by": None}],
    "use": [{"last_used_at": None}, {"stale_at": None}],
    "reach": [{"uses": 0}, {"unclear_uses": 1}],
    "environment": [{"criticality": None}, {"is_partly_placed": True}],
}
FINE = {
    **dict.fromkeys(COUNTS, 0),
    **dict.fromkeys(("uses", "clients", "servers"), 1),
    **dict.fromkeys(("rotate_by", "twice_by", "stale_at"), NOW + DAY),
    **dict.fromkeys(("issued_at", "last_used_at", "known_since"), NOW - DAY),
    **dict.fromkeys(("readable_by_others", "is_sweeping", "is_partly_placed"), False),
    "storage": "reference",
    "criticality": 0,
    "broad_scopes": None,
    "has_scopes": True,
    "max_age": 2 * DAY,
    "max_idle": 2 * DAY,
}


def test_what_is_known_to_be_fine_has_no_points():
    assert [part.points for part in score(FINE, NOW).parts] == [0] * 6


@pytest.mark.parametrize(("part", "facts"), [(key, facts) for key, many in UNKNOWN.items() for facts in many])
def test_what_is_unknown_never_scores_as_fine(part, facts):
    assert BY_KEY[part].step({**FINE, **facts}, NOW).points > 0


def test_every_step_can_be_reached():
    values = {
        "exposures": (0, 1),
        "unclear_exposures": (0, 1),
        "readable_by_others": (False, True),
        "storage": ("literal", "reference", "provider"),
        "uses": (0, 1),
    }
    reached = {
        id(BY_KEY["exposure"].step(dict(zip(values, chosen, strict=True)), NOW)) for chosen in product(*values.values())
    }
    more = [
        {"broad_scopes": ["*"]}, {"has_scopes": False}, {"twice_by": NOW, "rotate_by": NOW}, {"rotate_by": NOW},
        {"issued_at": None}, {"rotate_by": None}, {"stale_at": NOW}, {"last_used_at": None, "stale_at": None},
        {"stale_at": None}, {"clients": 5}, {"servers": 2, "third_party_uses": 1}, {"servers": 2},
        {"third_party_uses": 1}, {"uses": 0}, {"unclear_uses": 1}, {"criticality": 3}, {"criticality": None},
        {"is_partly_placed": True}, {"criticality": 2}, {"criticality": 1}, {},
    ]  # fmt: skip
    reached |= {id(part.step({**FINE, **facts}, NOW)) for facts in more for part in PARTS}
    assert [step.words for part in PARTS for step in part.steps if id(step) not in reached] == []


def test_a_part_without_a_step_for_all_that_is_left_is_refused():
    with pytest.raises(ValueError, match="the last step"):
        type(PARTS[0])("one", "One", "So.", (Step(points=1, words="Seen", when=Always(), lower="x"),) * 2)


def test_the_documented_table_and_reasons_are_the_declaration():
    assert [part.why for part in PARTS if part.why not in DOCUMENTED.read_text()] == []
    rows = re.findall(r"^\| (\w[^|]*?) \| (\d+) \| (.+?) \|", DOCUMENTED.read_text(), re.MULTILINE)
    assert [(name, int(number), words) for name, number, words in rows] == [
        (part.name, step.points, step.words) for part in PARTS for step in part.steps
    ]


# ── Over real rows ─────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def bad(db) -> Credential:
    """Readable by others, broad, four times as old as allowed, idle, on a vendor's server, in production."""
    made = factories.credential(
        kind=CredentialKind.PERSONAL_ACCESS_TOKEN,
        trust_model=TrustModel.STATIC_SERVICE,
        storage=Storage.LITERAL,
        scopes=["admin:*"],
        issued_at=NOW - 4_000 * DAY,
        last_used_at=NOW - 4_000 * DAY,
    )
    factories.exposure(made, is_readable_by_others=True)
    for _ in range(2):
        vendors = factories.server(
            transport=Transport.HTTP,
            url="https://mcp.example.com/mcp",
            vendor="Example",
            environment=factories.environment(),
        )
        factories.use(made, server=vendors)
    return made


def test_an_evaluation_writes_the_score_that_its_parts_add_up_to(bad, full):
    full()
    bad.refresh_from_db()
    reckoned = scores_of([bad.pk], NOW)[bad.pk]
    assert (bad.score, [(part.part.key, part.points) for part in reckoned.parts]) == (
        100,
        [("exposure", 25), ("privilege", 20), ("age", 15), ("use", 10), ("reach", 15), ("environment", 15)],
    )


def test_a_waiver_changes_no_score(bad, full):
    full()
    before = Credential.objects.get().score
    Finding.objects.update(state=FindingState.WAIVED)
    full(NOW + timedelta(minutes=5))
    assert (Credential.objects.get().risk, Credential.objects.get().score) == (0, before)


def test_what_has_ended_has_no_score(bad, full):
    full()
    Credential.objects.update(status=CredentialStatus.DESTROYED)
    full()
    assert (Credential.objects.get().score, scores_of([bad.pk], NOW)) == (0, {})


def test_when_time_alone_changes_a_score_an_incremental_evaluation_finds_it(full, changed, monkeypatch):
    monkeypatch.setattr("lifecycle.actions.evaluation.SMALL_ESTATE", 0)
    made = factories.credential()
    full()
    facts = facts_of([made.pk], NOW)[made.pk]
    twice = facts["twice_by"]
    full(twice - timedelta(hours=1))
    assert Obligation.objects.get().rescored_at == twice
    changed(twice + timedelta(hours=1))
    made.refresh_from_db()
    assert made.score == score(facts_of([made.pk], twice)[made.pk], twice).total


def test_the_dates_of_a_score_are_facts_that_its_conditions_read():
    assert DATES == ("rotate_by", "stale_at", "twice_by")


def test_whose_server_receives_it_is_unknown_until_somebody_says(db, settings):
    made = factories.credential()
    factories.use(made, server=factories.server(transport=Transport.HTTP, url="https://mcp.example.com/mcp"))
    settings.OWN_DOMAINS = []
    unclear = facts_of([made.pk], NOW)[made.pk]
    settings.OWN_DOMAINS = ["example.com"]
    ours = facts_of([made.pk], NOW)[made.pk]
    settings.OWN_DOMAINS = ["example.org"]
    theirs = facts_of([made.pk], NOW)[made.pk]
    steps = [BY_KEY["reach"].step(facts, NOW).points for facts in (unclear, ours, theirs)]
    assert steps == [6, 0, 10]


def test_a_list_by_risk_puts_the_higher_score_first_within_one_severity(db):
    low, high, worst = factories.credential(), factories.credential(), factories.credential()
    for one, risk, points in ((low, 2, 10), (high, 2, 40), (worst, 3, 5)):
        Credential.objects.filter(pk=one.pk).update(risk=risk, score=points)
    listed = browser(Role.AUDITOR).get("/api/v1/credentials/?ordering=-risk&score_min=5&fields=id").json()["results"]
    assert [row["id"] for row in listed] == [str(one.pk) for one in (worst, high, low)]


def test_one_credential_tells_its_parts_and_they_add_up_to_its_score(bad, full):
    evaluate(timezone.now(), actor=Actor.system("test"), full=True)
    said = browser(Role.AUDITOR).get(f"/api/v1/credentials/{bad.pk}/?fields=score,score_parts").json()
    assert list(said) == ["score", "score_parts"]
    assert sum(part["points"] for part in said["score_parts"]) == said["score"] == 100
    assert said["score_parts"][0]["lower"].startswith("Rotate the secret")


def test_the_parts_alone_can_be_asked_for_and_a_credential_that_has_ended_has_none(db):
    ended = factories.credential(status=CredentialStatus.DESTROYED)
    answer = browser(Role.AUDITOR).get(f"/api/v1/credentials/{ended.pk}/?fields=score_parts")
    assert answer.json() == {"score_parts": []}


def test_a_credentials_page_shows_each_part_with_what_would_lower_it(bad):
    page = browser(Role.AUDITOR).get(f"/credentials/{bad.pk}/").content.decode()
    assert "100 of 100; lists say 0 until the next evaluation" in page
    assert [part.name for part in PARTS if f'<th scope="row">{part.name}</th>' not in page] == []
    assert "Issue it with the few scopes that its work needs." in page


def test_every_step_is_explained_in_the_product(db):
    page = unescape(browser(Role.AUDITOR).get("/credentials/risk-order/").content.decode())
    assert [step.words for part in PARTS for step in part.steps if step.words not in page] == []


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (Credential.objects.order_by("-risk", "-score", "-id"), "credential_by_risk"),
        (Credential.objects.filter(status__in=[CredentialStatus.DESTROYED]).order_by("id"), "credential_ended"),
    ],
    ids=["by risk", "what has ended"],
)
def test_a_list_is_a_range_of_an_index(db, rows, index):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    assert index in rows[:101].explain()
