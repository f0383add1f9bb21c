"""What a server logs: recorded by somebody who looked, shown with what is asked."""

import secrets

import pytest

from access.actors import Actor, ActorKind
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from inventory.actions.logged import record_logging
from inventory.errors import EvidenceMissing
from inventory.models import LoggingRecord
from inventory.states import Logged, TrustModel
from inventory.views.logged import asked_by
from lifecycle.models import Obligation, Policy
from tests import factories
from tests.factories import NOW
from tests.people import browser, text

MIRA = Actor(ActorKind.USER, "7", "Mira Okafor", frozenset({Role.REVIEWER}), user_id=None)
SEEN = {"trust_model": TrustModel.STATIC_SERVICE, "happening": Logged.REVOCATION, "actor": MIRA, "now": NOW}
ANSWER = {"decided": "yes", "trust_model": "static_service", "happening": "revocation"}


def test_policies_are_named_for_each_happening_that_they_ask():
    asked = asked_by([("unknown", "A", ["refresh"]), ("unknown", "B", ["refresh", "issuance"])])
    assert asked == {("unknown", "refresh"): ["A", "B"], ("unknown", "issuance"): ["B"]}


@pytest.mark.django_db
def test_what_somebody_saw_is_kept_with_its_evidence_and_recorded_once():
    server = factories.server()
    assert record_logging(server, is_logged=True, evidence="index=mcp", **SEEN)
    assert not record_logging(server, is_logged=True, evidence="index=mcp", **SEEN)
    kept = LoggingRecord.objects.get()
    assert (kept.is_logged, kept.evidence, kept.recorded_by, kept.recorded_at) == (
        True,
        "index=mcp",
        "Mira Okafor",
        NOW,
    )
    entry = AuditEntry.objects.get(event=Event.SERVER_LOGGING_RECORDED)
    assert entry.subject_id == str(server.pk)
    assert entry.detail == {
        "of": "Revocation (Static service)", "from": "unknown", "to": "logged", "evidence": "index=mcp",
    }  # fmt: skip


@pytest.mark.django_db
def test_what_is_unknown_again_has_no_record():
    server = factories.server()
    record_logging(server, is_logged=False, evidence="", **SEEN)
    assert record_logging(server, is_logged=None, evidence="", **SEEN)
    assert not LoggingRecord.objects.exists()
    assert not record_logging(server, is_logged=None, evidence="", **SEEN)


@pytest.mark.django_db
def test_a_yes_needs_evidence():
    with pytest.raises(EvidenceMissing):
        record_logging(factories.server(), is_logged=True, evidence="", **SEEN)


@pytest.mark.django_db
def test_a_secret_in_the_evidence_is_refused_and_not_shown_again():
    secret = "ghp_" + secrets.token_hex(18)
    given = {**ANSWER, "is_logged": "yes", "evidence": f"https://logs.example/?token={secret}"}
    answer = browser(Role.REVIEWER).post(f"/servers/{factories.server().pk}/logging/", given)
    assert answer.status_code == 422
    assert "A secret stands in it." in text(answer)
    assert secret not in text(answer)
    assert not LoggingRecord.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("given", [{}, {"trust_model": "static_service"}, {**ANSWER, "happening": "lunch"}])
def test_what_is_no_happening_cannot_be_recorded(given):
    assert browser(Role.REVIEWER).get(f"/servers/{factories.server().pk}/logging/", given).status_code == 404


@pytest.mark.django_db
def test_the_page_of_a_server_shows_what_is_asked_and_what_was_seen():
    server, mine = factories.server(), factories.credential()
    factories.use(mine, server=server)
    policy = Policy.objects.create(name="Service keys", logging=["revocation", "refresh"])
    Obligation.objects.create(credential=mine, policy=policy)
    record_logging(server, is_logged=True, evidence="index=mcp revoked", **SEEN)
    page = text(browser(Role.AUDITOR).get(f"/servers/{server.pk}/"))
    panel = page[page.index('id="logging"') :].partition("</section>")[0]
    assert "asked by Service keys" in panel
    assert "index=mcp revoked" in panel
    assert panel.count("Nobody has recorded it") == 1
    assert "Record…" not in panel


@pytest.mark.django_db
def test_a_reviewer_records_on_the_page_and_comes_back_to_it():
    server = factories.server()
    reader = browser(Role.REVIEWER)
    assert "happening=revocation" in text(reader.get(f"/servers/{server.pk}/"))
    answer = reader.post(f"/servers/{server.pk}/logging/", {**ANSWER, "is_logged": "no"})
    assert answer.headers["Location"] == f"/servers/{server.pk}/#logging"
    assert LoggingRecord.objects.get().is_logged is False
