"""A kill switch is rehearsed without any effect, and what was in the way is kept."""

from datetime import timedelta
from typing import Any

import pytest

from access.actors import Actor
from access.roles import Role
from audit.models import AuditEntry
from inventory.states import ConnectionKind
from lifecycle import batching
from lifecycle.actions import batches
from lifecycle.models import Batch, BatchItem, OperatingLimits, Operation
from lifecycle.models.scopes import Scope
from lifecycle.states import BatchState, ScopeKind
from tests import factories
from tests.factories import NOW
from tests.people import browser, text

pytestmark = pytest.mark.django_db


def rehearsed(scope: Scope, actor: Actor, now: Any = NOW) -> Batch:
    batch = batches.request_drill(scope, actor=actor, now=now, reason="quarterly")
    batching.carry_on(batch, clock=lambda: now, ring=list)
    batch.refresh_from_db()
    return batch


def test_a_drill_has_no_effect_and_says_what_would_be_in_the_way(operator: Actor) -> None:
    OperatingLimits.objects.create(second_person_from=2)
    unreachable = factories.connection(
        kind=ConnectionKind.POSTGRES, name="old database", settings={"host": "127.0.0.1", "port": 1, "database": "x"}
    )
    one = factories.credential(connection=unreachable, kind="database_password")
    by_hand = factories.credential(fingerprint="kf1:" + "c" * 32)
    factories.exposure(by_hand)
    server = factories.server()
    factories.use(one, server=server)
    factories.use(by_hand, server=server)
    drill = rehearsed(Scope.around(ScopeKind.SERVER, server), operator)
    assert drill.state == BatchState.COMPLETED
    assert not Operation.objects.exists()
    assert not BatchItem.objects.exists()
    gaps = " ".join(drill.report["gaps"])
    for words in ("old database: ", "by hand", "nobody keeps the value", "no owner", "nobody else holds", "lie open"):
        assert words in gaps
    (hop,) = [hop for hop in drill.report["hops"] if hop["can_be_asked"]]
    assert (hop["answered"], hop["first_refused_in"]) == (False, 10)
    assert hop["basis"].startswith("assumed: ")
    assert drill.digest == batches.digest_of(drill.report)
    assert AuditEntry.objects.get(event="batch.rehearsed").detail["digest"] == drill.digest


def test_a_drill_is_compared_with_the_one_before(operator: Actor) -> None:
    server = factories.server()
    factories.use(factories.credential(), server=server)
    scope = Scope.around(ScopeKind.SERVER, server)
    first = rehearsed(scope, operator)
    factories.use(factories.credential(), server=server)
    second = rehearsed(scope, operator, NOW + timedelta(days=1))
    assert second.report["compared_with"]["drill"] == str(first.pk)
    assert second.report["compared_with"]["credentials"] == [1, 2]


def test_an_old_drill_is_a_hint_before_the_switch_is_pulled(operator: Actor) -> None:
    server = factories.server()
    factories.use(factories.credential(), server=server)
    mira = browser(Role.OPERATOR)
    page = f"/batches/new/?kind=server&id={server.pk}"
    assert "Never rehearsed" in text(mira.get(page))
    drill = rehearsed(Scope.around(ScopeKind.SERVER, server), operator)
    Batch.objects.filter(pk=drill.pk).update(ended_at=NOW - timedelta(days=400))
    assert "more than 90 days" in text(mira.get(page))
    assert "Gaps" in text(mira.get(f"/batches/{drill.pk}/"))
