"""What is said about findings, and to whom."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db import transaction

from access.actors import Actor, ActorKind
from access.roles import Role
from inventory.models import Owner
from inventory.states import Severity
from lifecycle import kinds
from lifecycle.actions.notices import BATCH, BURST, LISTED, compose_digests, tell_figures, tell_severe
from lifecycle.actions.snapshots import take_snapshot
from lifecycle.actions.waivers import approve_waivers, request_waiver
from lifecycle.models import Finding, FindingChange, Waiver
from lifecycle.states import Change, FindingState
from notifications.actions.recipients import keep_recipients
from notifications.mail import rendered
from notifications.models import Delivery, Endpoint, Notice, Recipient
from notifications.states import Rhythm, Timing
from notifications.webhooks import payload
from tests import factories
from tests.factories import NOW
from tests.people import person

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=5)


@pytest.fixture(autouse=True)
def mail_is_on(settings) -> None:
    settings.MAIL_SERVER = object()
    settings.PUBLIC_URL = "https://keyreeve.halden.example"
    settings.DEFAULT_FROM_EMAIL = "keyreeve@halden.example"


@pytest.fixture
def ana() -> Owner:
    owner = factories.owner(name="Ana Duarte", email="ana@halden.example")
    keep_recipients(NOW - timedelta(days=1))
    return owner


def finding(of: Owner | None, severity: Severity = Severity.CRITICAL, **values: Any) -> Finding:
    name = values.pop("name", None)
    credential = factories.credential(owner=of, **({"name": name} if name else {}))
    defaults = {
        "rule": "no-expiry", "opened_at": NOW, "refreshed_at": NOW, "due_at": NOW + timedelta(days=1), "owner": of,
    }  # fmt: skip
    return Finding.objects.create(credential=credential, severity=severity, **{**defaults, **values})


def endpoint(**values: Any) -> Endpoint:
    defaults = {
        "name": "SIEM", "url": "https://siem.halden.example/", "kinds": ["findings.severe", "estate.figures"],
        "secret": "env://SIEM", "bound_to": "siem.halden.example", "listens_since": NOW, "created_at": NOW,
    }  # fmt: skip
    return Endpoint.objects.create(**{**defaults, **values})


def subjects() -> list[str]:
    return list(Notice.objects.order_by("created_at", "pk").values_list("subject", flat=True))


def choose(of: Owner, **values: Any) -> None:
    Recipient.objects.filter(owner=of).update(**values)


def bodies(notice: Notice) -> tuple[str, str]:
    mail = rendered(notice)
    return mail.body, mail.alternatives[0][0]


# ── At once ────────────────────────────────────────────────────────────────────────────────────


def test_owner_and_assignee_are_told_of_a_critical_finding_once(ana):
    otto = factories.owner(name="Otto", email="otto@halden.example")
    keep_recipients(NOW)
    finding(ana, assigned_to=otto, name="ledger-key")
    finding(ana, Severity.HIGH)
    assert tell_severe(NOW) == 2
    assert tell_severe(LATER) == 0
    assert subjects() == ["Critical: No expiry, ledger-key"] * 2
    assert {str(each.recipient) for each in Notice.objects.all()} == {"Ana Duarte", "Otto"}


def test_a_mail_about_one_finding_says_what_where_and_until_when(ana):
    made = finding(ana, name="ledger-key")
    tell_severe(NOW)
    for body in bodies(Notice.objects.get()):
        for words in ("No expiry", "Critical", "ledger-key", "due 2 Jun, 12:00 UTC",
                      f"https://keyreeve.halden.example/findings/{made.pk}/"):  # fmt: skip
            assert words in body


def test_one_that_is_raised_to_critical_is_told_then(ana):
    made = finding(ana, Severity.HIGH)
    assert tell_severe(NOW) == 0
    Finding.objects.filter(pk=made.pk).update(severity=Severity.CRITICAL)
    assert tell_severe(LATER) == 1
    Finding.objects.filter(pk=made.pk).update(severity=Severity.HIGH)
    Finding.objects.filter(pk=made.pk).update(severity=Severity.CRITICAL)
    assert tell_severe(LATER + timedelta(days=1)) == 0


def test_a_waived_finding_is_told_when_its_waiver_ends(ana):
    made = finding(ana, state=FindingState.WAIVED)
    assert tell_severe(NOW) == 0
    Finding.objects.filter(pk=made.pk).update(state=FindingState.OPEN)
    assert tell_severe(LATER) == 1


def test_many_at_once_are_told_in_one_mail_with_the_first_of_them(ana):
    for _ in range(LISTED + 2):
        finding(ana)
    assert tell_severe(NOW) == 1
    notice = Notice.objects.get()
    assert notice.subject == "12 critical findings need you"
    for body in bodies(notice):
        assert body.count("No expiry") == LISTED
        assert "and 2 more" in body
        assert f"severity=critical&owner={ana.pk}" in body.replace("&amp;", "&")


def test_a_few_at_once_are_told_one_by_one(ana):
    for _ in range(BURST):
        finding(ana)
    assert tell_severe(NOW) == BURST


@pytest.mark.parametrize("chosen", [Timing.DIGEST, Timing.OFF])
def test_who_does_not_want_it_at_once_is_not_told_at_once(ana, chosen):
    choose(ana, choices={kinds.SEVERE.slug: chosen.value})
    finding(ana)
    assert tell_severe(NOW) == 0


@pytest.mark.parametrize("values", [{"is_active": False}, {"email": ""}])
def test_who_cannot_be_told_is_left_out(ana, values):
    Owner.objects.filter(pk=ana.pk).update(**values)
    finding(ana)
    assert tell_severe(NOW) == 0


def test_what_is_marked_told_goes_with_its_notices(ana):
    made = finding(ana)
    with transaction.atomic():
        tell_severe(NOW)
        transaction.set_rollback(True)
    made.refresh_from_db()
    assert (made.told_severity, Notice.objects.count()) == (Severity.NONE, 0)
    assert tell_severe(NOW) == 1


def test_without_mail_nobody_is_told_and_nothing_is_kept_for_later(ana, settings):
    settings.MAIL_SERVER = None
    finding(ana)
    assert tell_severe(NOW) == 0
    assert compose_digests(NOW) == (0, 0)
    settings.MAIL_SERVER = object()
    assert tell_severe(LATER) == 0


def test_a_hostile_name_stays_one_line_and_no_markup(ana):
    finding(ana, name="evil\r\nBcc: x@y.example <b>\u202egnp.exe")
    tell_severe(NOW)
    notice = Notice.objects.get()
    text, html = bodies(notice)
    assert "\nBcc:" not in text
    assert "<b>\u202e" not in text + html
    assert "evil Bcc: x@y.example &lt;b&gt;gnp.exe" in html
    assert notice.subject == "Critical: No expiry, evil Bcc: x@y.example <b>gnp.exe"


def test_what_is_untold_is_found_by_an_index(ana):
    untold = finding(ana)
    Finding.objects.bulk_create(
        Finding(
            rule=f"rule-{n}", credential=untold.credential, severity=Severity.CRITICAL, told_severity=Severity.CRITICAL,
            opened_at=NOW, refreshed_at=NOW, due_at=NOW,
        )
        for n in range(500)
    )  # fmt: skip
    with database.cursor() as cursor:
        cursor.execute("ANALYZE lifecycle_finding")
        cursor.execute(
            "EXPLAIN SELECT id FROM lifecycle_finding WHERE resolved_at IS NULL AND severity >= 3 "
            "AND told_severity < severity AND severity >= 4"
        )
        assert "finding_untold" in " ".join(row[0] for row in cursor.fetchall())


# ── Endpoints ──────────────────────────────────────────────────────────────────────────────────


def test_an_endpoint_is_told_of_what_is_severe_enough_for_it_since_it_listens(ana):
    siem = endpoint(least_severity=Severity.HIGH)
    old = finding(ana, opened_at=NOW - timedelta(days=1))
    raised = finding(ana, Severity.HIGH, opened_at=NOW - timedelta(days=1))
    FindingChange.objects.create(
        finding=raised, kind=Change.RAISED, changed_at=NOW, severity_before=Severity.LOW, severity=Severity.HIGH
    )
    new, medium = finding(ana, Severity.HIGH), finding(ana, Severity.MEDIUM)
    tell_severe(NOW)
    (notice,) = Notice.objects.filter(recipient=None)
    told = {each["id"] for each in notice.data["findings"]}
    assert told == {str(raised.pk), str(new.pk)}
    assert {str(old.pk), str(medium.pk)} & told == set()
    assert Delivery.objects.get(notice=notice).endpoint == siem


def test_a_payload_says_what_a_program_needs(ana):
    endpoint()
    made = finding(ana, name="ledger-key", raised_by=["production"])
    tell_severe(NOW)
    notice = Notice.objects.get(recipient=None)
    assert notice.data == {
        "count": 1,
        "more": 0,
        "findings": [
            {
                "id": str(made.pk),
                "rule": "no-expiry",
                "name": "No expiry",
                "severity": "critical",
                "raised_by": ["production"],
                "state": "open",
                "subject": {"kind": "credential", "id": str(made.credential_id), "name": "ledger-key"},
                "owner": {"id": str(ana.pk), "name": "Ana Duarte"},
                "controls": list(made.controls),
                "opened_at": "2026-06-01T12:00:00Z",
                "due_at": "2026-06-02T12:00:00Z",
                "path": f"/findings/{made.pk}/",
            }
        ],
    }


def test_payloads_are_batches_that_say_how_many_are_in_none(monkeypatch):
    monkeypatch.setattr("lifecycle.actions.notices.BATCH", 2)
    monkeypatch.setattr("lifecycle.actions.notices.MOST_BATCHES", 2)
    endpoint()
    for _ in range(6):
        finding(None, name="n" * 200)
    assert tell_severe(NOW) == 2
    told = [
        (len(each.data["findings"]), each.data["count"], each.data["more"]) for each in Notice.objects.order_by("pk")
    ]
    assert told == [(2, 6, 0), (2, 6, 2)]
    assert len(payload(Notice.objects.first())) / 2 * BATCH < 256 * 1024


def test_figures_are_told_once_a_day(ana):
    endpoint()
    finding(ana)
    take_snapshot(NOW)
    assert tell_figures(NOW.replace(hour=6)) == 0
    assert tell_figures(NOW) == 1
    assert tell_figures(LATER) == 0
    assert Notice.objects.get().data["open"] == {"critical": 1, "high": 0, "medium": 0, "low": 0}


# ── Digests ────────────────────────────────────────────────────────────────────────────────────


def test_a_digest_parts_what_is_open_into_sections(ana):
    finding(ana, name="critical-one", due_at=NOW - timedelta(days=2))
    finding(ana, Severity.HIGH, name="late-one", due_at=NOW - timedelta(days=3), opened_at=NOW - timedelta(days=9))
    finding(ana, Severity.HIGH, name="soon-one", due_at=NOW + timedelta(days=6))
    finding(ana, Severity.LOW, name="new-one", due_at=NOW + timedelta(days=60))
    finding(ana, Severity.LOW, name="old-one", due_at=NOW + timedelta(days=60), opened_at=NOW - timedelta(days=9))
    finding(None, name="foreign-one")
    assert compose_digests(NOW) == (1, 1)
    notice = Notice.objects.get()
    assert notice.subject == "1 critical, 1 past due, 1 due within a week, 1 new"
    titles = [section["title"] for section in notice.data["sections"]]
    assert titles == ["Critical", "Past due", "Due within a week", "New since 31 May"]
    for body in bodies(notice):
        for words in ("Ana Duarte", "1 June 2026", "critical-one", "late-one", "3 days late", "soon-one", "new-one"):
            assert words in body
        assert "old-one" not in body
        assert "foreign-one" not in body


def test_there_is_one_digest_a_day_whatever_happens_twice(ana):
    finding(ana)
    assert compose_digests(NOW) == (1, 1)
    assert compose_digests(NOW) == (0, 0)
    choose(ana, digest_due_at=NOW)
    assert compose_digests(LATER) == (1, 0)
    assert compose_digests(NOW + timedelta(days=1)) == (1, 1)


def test_a_digest_without_anything_to_say_is_not_made(ana):
    finding(ana, Severity.LOW, opened_at=NOW - timedelta(days=9), due_at=NOW + timedelta(days=60))
    assert compose_digests(NOW) == (1, 0)
    recipient = Recipient.objects.get()
    assert (recipient.digested_at, recipient.digest_due_at) == (NOW, NOW.replace(hour=7) + timedelta(days=1))


def test_a_digest_of_very_many_is_bounded_and_links_to_the_rest(ana):
    for number in range(LISTED + 5):
        finding(ana, Severity.HIGH, due_at=NOW - timedelta(hours=number + 1))
    compose_digests(NOW)
    notice = Notice.objects.get()
    assert notice.subject == "15 past due"
    for body in bodies(notice):
        assert body.count("No expiry") == LISTED
        assert "and 5 more" in body
        assert f"overdue=true&owner={ana.pk}" in body.replace("&amp;", "&")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"least_severity": Severity.HIGH}, "1 critical"),
        ({"choices": {"findings.severe": "off"}}, "2 past due"),
        ({"choices": {"findings.open": "off"}}, "1 critical"),
        ({"rhythm": Rhythm.OFF, "digest_due_at": None}, ""),
        ({"choices": {"findings.severe": "off", "findings.open": "off"}}, ""),
    ],
)
def test_a_digest_holds_what_its_reader_chose(ana, values, expected):
    choose(ana, **values)
    for severity in (Severity.CRITICAL, Severity.LOW):
        finding(ana, severity, due_at=NOW - timedelta(days=1))
    compose_digests(NOW)
    assert subjects() == ([expected] if expected else [])


def test_what_somebody_works_on_is_in_their_digest_too(ana):
    finding(None, Severity.HIGH, assigned_to=ana)
    compose_digests(NOW)
    assert subjects() == ["1 due within a week"]


@pytest.fixture
def waived(ana) -> Waiver:
    """A waiver of a finding of Ana's that ends in ten days."""
    made = finding(ana, Severity.LOW, name="waived-one", due_at=NOW + timedelta(days=60))
    requester, approver = (Actor(ActorKind.USER, pk, pk, frozenset({Role.REVIEWER})) for pk in ("Mira", "Otto"))
    ends = {"ends_at": NOW + timedelta(days=10), "now": NOW}
    waiver = request_waiver(made, reason="r" * 20, compensating_control="c" * 20, actor=requester, **ends)
    approve_waivers([waiver], reason="d" * 20, actor=approver, now=NOW)
    waiver.refresh_from_db()
    return waiver


def test_an_owner_is_told_of_waivers_that_end(ana, waived):
    compose_digests(NOW)
    notice = Notice.objects.get()
    assert notice.subject == "1 waiver ends soon"
    for body in bodies(notice):
        for words in ("waived-one", "the waiver ends 11 Jun, 12:00 UTC", "/waivers/?ending_soon=true"):
            assert words in body
    choose(ana, choices={"waivers.ending": "off"})
    assert compose_digests(NOW + timedelta(days=1)) == (1, 0)


def test_reviewers_are_told_of_waivers_to_decide(ana):
    person(Role.REVIEWER)
    person(Role.AUDITOR)
    keep_recipients(NOW - timedelta(days=1))
    old = {"opened_at": NOW - timedelta(days=9), "due_at": NOW + timedelta(days=60)}
    request_waiver(
        finding(ana, Severity.LOW, name="asked-one", **old),
        reason="r" * 20, compensating_control="c" * 20, ends_at=NOW + timedelta(days=10), now=NOW,
        actor=Actor(ActorKind.USER, "9", "Mira Okafor", frozenset({Role.REVIEWER})),
    )  # fmt: skip
    assert compose_digests(NOW) == (2, 1)
    notice = Notice.objects.get()
    assert notice.subject == "1 waiver to decide"
    for body in bodies(notice):
        for words in ("asked-one", "asked for by Mira Okafor", "/waivers/?state=requested"):
            assert words in body


def test_operators_are_told_of_connections_and_of_what_nobody_answers_for():
    operator, reviewer = person(Role.OPERATOR), person(Role.REVIEWER)
    keep_recipients(NOW - timedelta(days=1))
    finding(None, name="orphan-one")
    Finding.objects.create(
        connection=factories.connection(name="AWS main"), rule="connection-not-synced", severity=Severity.MEDIUM,
        opened_at=NOW, refreshed_at=NOW, due_at=NOW, evidence={"created_at": NOW.isoformat()},
    )  # fmt: skip
    assert compose_digests(NOW) == (2, 1)
    notice = Notice.objects.get()
    assert notice.recipient.person == operator != reviewer
    assert notice.subject == "1 critical finding without an owner, 1 connection not synced"
    for body in bodies(notice):
        assert "orphan-one" in body
        assert "AWS main" in body
    operator.groups.clear()
    Notice.objects.all().delete()
    assert compose_digests(NOW + timedelta(days=1)) == (2, 0)


def test_a_digest_takes_few_statements_for_many_readers(django_assert_max_num_queries):
    owners = [factories.owner(email=f"o{n}@halden.example") for n in range(6)]
    keep_recipients(NOW - timedelta(days=1))
    for owner in owners:
        finding(owner)
    with django_assert_max_num_queries(24):
        assert compose_digests(NOW) == (6, 6)
