"""What a look at an authorization server says about its clients: hygiene, posture, and nothing written twice."""

from datetime import timedelta
from typing import Any

import pytest
from pytest_django import Settings

from access.actors import Actor
from inventory.actions.client_posture import judge_configured, judge_registered
from inventory.actions.hygiene import score_clients
from inventory.models import McpClient, MetadataSnapshot, PostureCheck
from inventory.states import Admission, Hygiene, Registration, Transport, Verdict
from providers.observations import ClientObservation, Exchange
from tests import factories
from tests.factories import NOW
from tests.inventory.test_admission import ISSUER, dynamic

ACTOR = Actor.system("tests")
DAY = timedelta(days=1)
DOCUMENT = "https://desk.example/oauth/client.json"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def outside(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK = True


def cursor(port: int, **values: Any) -> McpClient:
    return dynamic(name="Cursor", redirect_uris=[f"http://127.0.0.1:{port}/cb"], **values)


def scored(client: McpClient) -> tuple[str, str]:
    client.refresh_from_db()
    return client.hygiene, client.hygiene_reason


def test_registrations_that_differ_in_a_port_look_alike():
    one, other = cursor(33001), cursor(40002)
    score_clients(ISSUER, now=NOW)
    one.refresh_from_db()
    other.refresh_from_db()
    assert one.hygiene_key == other.hygiene_key != ""


def test_what_nobody_uses_is_dead_with_a_reason_that_stays_true():
    live = cursor(1, issued_at=NOW - 200 * DAY, last_used_at=NOW - DAY)
    dead = cursor(2, issued_at=NOW - 200 * DAY, last_used_at=NOW - 120 * DAY)
    score_clients(ISSUER, now=NOW)
    assert scored(live) == (Hygiene.LIVE, "Used within 30 days.")
    assert scored(dead) == (Hygiene.DEAD, "Last used on 2026-02-01, more than 90 days ago.")


def test_what_lies_unused_beside_a_livelier_one_is_a_duplicate():
    cursor(1, client_id="the-live-one", issued_at=NOW - 60 * DAY, last_used_at=NOW - DAY)
    idle = cursor(2, issued_at=NOW - 60 * DAY)
    score_clients(ISSUER, now=NOW)
    assert scored(idle) == (Hygiene.DUPLICATE, "Never used; the-live-one looks the same and is livelier or newer.")


def test_scoring_again_writes_nothing():
    cursor(1, issued_at=NOW - 200 * DAY, last_used_at=NOW - DAY)
    assert score_clients(ISSUER, now=NOW) == {"clients_rescored": 1}
    assert score_clients(ISSUER, now=NOW) == {"clients_rescored": 0}


def test_where_no_use_is_ever_told_nothing_is_dead():
    old = cursor(1, issued_at=NOW - 400 * DAY)
    score_clients(ISSUER, now=NOW)
    assert scored(old)[0] == Hygiene.UNKNOWN


def test_what_is_removed_counts_for_nobody():
    removed = cursor(1, admission=Admission.REMOVED, issued_at=NOW - 400 * DAY)
    score_clients(ISSUER, now=NOW)
    assert scored(removed) == (Hygiene.UNKNOWN, "")


def test_hygiene_takes_a_fixed_number_of_queries(django_assert_num_queries: Any):
    connection = cursor(1).connection
    for n in range(40):
        cursor(n + 2, connection=connection)
    with django_assert_num_queries(3):
        score_clients(ISSUER, now=NOW)


# ── Posture ────────────────────────────────────────────────────────────────────────────────────


def document(**changed: Any) -> dict[str, Any]:
    return {
        "client_id": DOCUMENT,
        "client_name": "Desk assistant",
        "redirect_uris": ["https://desk.example/cb"],
        "token_endpoint_auth_method": "none",
        **changed,
    }


def observed(found: dict[str, Any] | None) -> dict[str, ClientObservation]:
    exchange = (
        Exchange(method="GET", url=DOCUMENT, error="It does not answer.")
        if found is None
        else Exchange(
            method="GET",
            url=DOCUMENT,
            status=200,
            headers=(("content-type", "application/json"),),
            document=found,
        )
    )
    return {DOCUMENT: ClientObservation(client_id=DOCUMENT, observed_at=NOW, exchange=exchange)}


def judged(found: dict[str, Any] | None = None, **given: Any) -> dict[str, int]:
    values = {"documents": observed(found) if found is not None else {}, "are_uses_known": True, "now": NOW, **given}
    return judge_registered(ISSUER, **values)


def verdicts(client: McpClient) -> dict[str, str]:
    return dict(PostureCheck.objects.filter(client=client).values_list("check_id", "verdict"))


def known_by_document(**values: Any) -> McpClient:
    return dynamic(client_id=DOCUMENT, registration=Registration.CIMD, admission=Admission.ADMITTED, **values)


def test_a_dynamic_client_is_judged_by_its_record():
    client = dynamic(issued_at=NOW - 200 * DAY, last_used_at=NOW - 100 * DAY)
    judged()
    assert verdicts(client)["MCP-CL-10"] == Verdict.VIOLATED


def test_a_client_that_is_known_by_its_document_is_judged_by_it():
    client = known_by_document()
    judged(document(client_id="https://other.example/x"))
    assert Verdict.VIOLATED in {verdicts(client)[f"MCP-CL-0{n}"] for n in (1, 2, 3, 4)}


def test_a_changed_document_stays_violated_until_somebody_decides():
    client = known_by_document()
    judged(document())
    moved = document(redirect_uris=["https://desk.example/elsewhere"])
    judged(moved, now=NOW + DAY)
    assert verdicts(client)["MCP-CL-07"] == Verdict.VIOLATED
    judged(moved, now=NOW + 2 * DAY)
    assert verdicts(client)["MCP-CL-07"] == Verdict.VIOLATED
    McpClient.objects.filter(pk=client.pk).update(admission_changed_at=NOW + 3 * DAY)
    judged(moved, now=NOW + 4 * DAY)
    assert verdicts(client)["MCP-CL-07"] == Verdict.MET


def test_every_version_of_a_document_is_kept_with_its_differences():
    client = known_by_document()
    judged(document())
    judged(document())
    judged(document(client_name="Desk assistant 2"))
    kept = MetadataSnapshot.objects.filter(client=client).order_by("id")
    assert [snapshot.differences for snapshot in kept] == [
        [],
        ["client_name changed from Desk assistant to Desk assistant 2."],
    ]


def test_a_document_that_was_not_looked_for_keeps_what_was_seen():
    client = known_by_document()
    judged(document())
    before = verdicts(client)
    judged()
    assert verdicts(client) == before


def test_judging_again_writes_nothing():
    known_by_document()
    judged(document())
    assert judged(document())["client_documents_changed"] == 0
    assert judged(document()) == {"verdicts_changed": 0, "client_documents_changed": 0}


def test_a_value_that_two_programs_use_at_two_servers_is_seen():
    connection = factories.connection()
    first, second = factories.client(connection=connection), factories.client(connection=connection)
    shared = factories.credential(connection=connection, fingerprint="f" * 64)
    for client in (first, second):
        url = f"https://{client.name}.example/mcp"
        server = factories.server(transport=Transport.HTTP, url=url, name=client.name)
        factories.use(shared, client=client, server=server, connection=connection)
    judge_configured(connection.pk, now=NOW)
    assert verdicts(first)["MCP-CL-13"] == Verdict.VIOLATED
    assert set(verdicts(second)) == {"MCP-CL-08", "MCP-CL-11", "MCP-CL-12", "MCP-CL-13"}


def test_posture_takes_a_fixed_number_of_queries(django_assert_max_num_queries: Any):
    connection = dynamic().connection
    for n in range(40):
        dynamic(connection=connection, client_id=f"c{n}")
    with django_assert_max_num_queries(10):
        judged()
