"""An authorization server is judged alike from whichever side it was looked at."""

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from access.actors import Actor
from inventory.actions.answers import ANSWERABLE, answer_check
from inventory.actions.issuers import SeenIssuer, record_issuers
from inventory.listings.issuers import Look, judged
from inventory.models import AuthorizationServer, MetadataSnapshot
from inventory.states import ConnectionKind, Severity, Verdict
from providers.observations import IssuerObservation
from tests import factories
from tests.factories import NOW

ISSUER = "https://login.halden.example"
ELSEWHERE = "https://mcp.halden.example/tickets"
pytestmark = pytest.mark.django_db


def look(issuer: str = ISSUER, **values: Any) -> Look:
    return Look(observation=IssuerObservation(issuer=issuer, observed_at=NOW, metadata={"issuer": issuer}), **values)


def verdicts(seen: SeenIssuer) -> dict[str, Verdict]:
    return {result.check.id: result.verdict for result in seen.results}


def row(**values: Any) -> AuthorizationServer:
    return AuthorizationServer.objects.create(issuer=ISSUER, first_seen_at=NOW, **values)


def test_a_server_of_which_nothing_is_known_has_no_role() -> None:
    (seen,) = judged([look()])
    assert seen.is_external is None
    assert verdicts(seen)["KR-DL-02"] == Verdict.UNKNOWN


def test_servers_of_this_look_and_those_known_before_count_together() -> None:
    factories.server(authorization_server=row(), url=f"{ISSUER}/mcp")
    (seen,) = judged([look(servers=[ELSEWHERE])])
    assert seen.is_external is False  # it stands before one on its own host


def test_an_operators_word_beats_what_follows_from_addresses() -> None:
    factories.connection(kind=ConnectionKind.OAUTH, settings={"issuer": ISSUER, "role": "delegated_layer"})
    (seen,) = judged([look(servers=[ELSEWHERE])])
    assert seen.is_external is False


def test_a_connection_that_says_nothing_of_the_role_leaves_it_to_the_addresses() -> None:
    factories.connection(kind=ConnectionKind.OAUTH, settings={"issuer": ISSUER, "role": ""})
    (seen,) = judged([look(servers=[ELSEWHERE])])
    assert seen.is_external is True


def test_the_newest_version_is_the_newest_that_any_look_saw() -> None:
    factories.server(authorization_server=row(), protocol_versions=["2025-03-26", "2026-07-28"])
    (seen,) = judged([look(newest_version="2025-06-18")])
    assert verdicts(seen)["MCP-AS-13"] == Verdict.VIOLATED  # asked for since the newest version alone


def test_one_of_several_is_remembered_from_what_its_server_published() -> None:
    server = factories.server(authorization_server=row(), protocol_versions=["2026-07-28"])
    document = {"authorization_servers": [ISSUER, "https://other.example"]}
    MetadataSnapshot.objects.create(server=server, digest="x", document=document, first_seen_at=NOW)
    (seen,) = judged([look()])
    severity = next(result.severity for result in seen.results if result.check.id == "MCP-AS-13")
    assert severity == Severity.MEDIUM  # answers could be mixed up


def test_a_persons_word_counts_from_every_side() -> None:
    server = row(is_external=False)
    factories.connection(kind=ConnectionKind.OAUTH, settings={"issuer": ISSUER, "role": "delegated_layer"})
    answer_check(server, ANSWERABLE["KR-DL-01"], is_so=True, reason="Seen.", actor=Actor.system("tests"), now=NOW)
    record_issuers(judged([look(servers=[ELSEWHERE])]), now=NOW)
    (seen,) = judged([look()])
    assert verdicts(seen)["KR-DL-01"] == Verdict.MET


def test_many_looks_cost_as_many_queries_as_one() -> None:
    row()
    with CaptureQueriesContext(database) as one:
        judged([look()])
    with CaptureQueriesContext(database) as many:
        judged([look(f"https://{n}.example") for n in range(30)])
    assert len(many) <= len(one)
