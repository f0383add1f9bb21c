"""What deciding about a client does to its findings, by the evaluation that looks only at what changed."""

from datetime import timedelta
from uuid import UUID

import pytest

from access.actors import Actor
from inventory.actions import admission, removals
from inventory.models import ClientRemoval, McpClient
from inventory.states import Registration
from lifecycle.actions import evaluation
from lifecycle.models import Finding
from tests import factories
from tests.factories import NOW

SYSTEM = Actor.system("test")
DECIDED = {"actor": SYSTEM, "now": NOW, "reason": "known"}
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No estate is so small that everything is looked at anew."""
    monkeypatch.setattr(evaluation, "SMALL_ESTATE", -1)


def waiting() -> McpClient:
    return factories.client(
        registration=Registration.DYNAMIC, admission="quarantined", first_seen_at=NOW - timedelta(days=30)
    )


def open_rules(client: McpClient) -> set[str]:
    return set(Finding.objects.unresolved().filter(client=client).values_list("rule", flat=True))


def these(client: McpClient):
    return McpClient.objects.filter(pk=client.pk)


def test_admitting_a_client_resolves_that_nobody_reviewed_it(full, changed):
    client = waiting()
    full()
    assert "dynamic-client-unreviewed" in open_rules(client)
    admission.admit(these(client), **DECIDED)
    assert not changed().is_full
    assert "dynamic-client-unreviewed" not in open_rules(client)


def test_a_removed_client_has_no_findings_left(full, changed):
    client = waiting()
    full()
    removals.announce_removals(these(client), notice=timedelta(), **DECIDED)
    pk: UUID = ClientRemoval.objects.get().pk
    lease = removals.claim(pk, now=NOW)
    removals.finish(lease, proof="It is gone.", actor=SYSTEM, now=NOW)
    assert not changed().is_full
    assert open_rules(client) == set()
