"""Somebody leaves: all they answered for is handed over or revoked, and nothing is silently kept."""

from datetime import timedelta
from typing import Any

import pytest

from access.actors import Actor
from access.roles import Role
from audit.models import AuditEntry
from inventory.actions.ownership import change_owner
from inventory.models import Owner
from lifecycle import batching
from lifecycle.actions import leavers
from lifecycle.errors import BatchNotWaiting, NobodyTakesOver, NotAnOperator, NotDecidable
from lifecycle.models import Batch, BatchItem, Operation
from lifecycle.states import BatchKind, BatchState, ItemState, Suggestion
from tests import factories
from tests.factories import NOW
from tests.people import browser, text

pytestmark = pytest.mark.django_db


def swept(now: Any = NOW) -> None:
    batching.open_leavers(clock=lambda: now)
    for batch in Batch.objects.open():
        batching.carry_on(batch, clock=lambda: now, ring=list)


@pytest.fixture
def manager() -> Owner:
    return factories.owner(name="Noor Haddad")


@pytest.fixture
def ana(manager: Owner) -> Owner:
    return factories.owner(name="Ana Duarte", email="ana@halden.example", manager=manager)


@pytest.fixture
def left(ana: Owner, operator: Actor) -> dict[str, Any]:
    """Ana answered for these, and left."""
    deputy = factories.owner(name="Deputy")
    held = {
        "key": factories.credential(name="key", owner=ana),
        "shared": factories.credential(name="shared", owner=ana, custodian=deputy),
        "kept": factories.credential(name="kept", custodian=ana, owner=deputy),
        "token": factories.credential(name="token", owner=ana, trust_model="user_consented"),
        "consented": factories.credential(
            name="consented", owner=deputy, trust_model="user_consented", subject="ana@halden.example"
        ),
        "server": factories.server(name="server", iam_owner=ana, platform_owner=ana),
        "client": factories.client(name="client", owner=ana),
    }
    change_owner(ana, actor=operator, now=NOW, is_active=False)
    swept()
    return held


def suggested() -> dict[tuple[str, str], tuple[str, str]]:
    items = BatchItem.objects.select_related("credential", "server", "client", "suggested_owner")
    return {(str(item), item.part): (item.suggestion, str(item.suggested_owner or "")) for item in items}


def test_all_they_answered_for_is_opened_once_with_a_suggestion_each(left: dict[str, Any]) -> None:
    swept()
    batch = Batch.objects.get(kind=BatchKind.LEAVER)
    assert (batch.state, batch.size, batch.decide_by) == (BatchState.DECIDING, 8, NOW + leavers.DECIDE_WITHIN)
    assert suggested() == {
        ("key", "owner"): ("transfer", "Noor Haddad"),
        ("shared", "owner"): ("transfer", "Deputy"),
        ("kept", "custodian"): ("transfer", "Deputy"),
        ("token", "owner"): ("revoke", ""),
        ("consented", "subject"): ("revoke", ""),
        ("server", "iam_owner"): ("transfer", "Noor Haddad"),
        ("server", "platform_owner"): ("transfer", "Noor Haddad"),
        ("client", "owner"): ("transfer", "Noor Haddad"),
    }


def test_decided_as_suggested_it_is_handed_over_and_revoked(
    left: dict[str, Any], manager: Owner, operator: Actor
) -> None:
    batch = Batch.objects.get()
    ids = list(BatchItem.objects.values_list("pk", flat=True))
    assert leavers.decide_items(batch, ids, what=None, actor=operator, now=NOW, reason="Ana left") == 8
    for row in left.values():
        row.refresh_from_db()
    assert left["key"].owner == manager
    assert left["shared"].owner == left["shared"].custodian
    assert left["kept"].custodian == left["kept"].owner
    assert left["server"].iam_owner == left["server"].platform_owner == manager
    assert left["client"].owner == manager
    swept()
    revoked = Operation.objects.filter(trigger="leaver")
    assert {str(each.credential) for each in revoked} == {"token", "consented"}
    batch.refresh_from_db()
    assert batch.state == BatchState.DECIDING  # until the revocations have ended
    for each in revoked:
        Operation.objects.filter(pk=each.pk).update(
            state="completed", proof="verified", proof_reason="Refused.", refused_at=NOW, closed_at=NOW, due_at=None
        )
    swept()
    swept()
    batch.refresh_from_db()
    assert batch.state == BatchState.COMPLETED
    assert batch.report["counts"] == {"asked": 2, "transferred": 6}
    entries = AuditEntry.objects.filter(event="credential.owner_assigned", subject_label="kept")
    assert [entry.detail["as"] for entry in entries] == ["custodian"]


def test_what_nobody_is_suggested_for_needs_a_name(ana: Owner, operator: Actor) -> None:
    Owner.objects.filter(pk=ana.pk).update(manager=None)
    factories.credential(owner=ana)
    server = factories.server(iam_owner=ana)
    change_owner(Owner.objects.get(pk=ana.pk), actor=operator, now=NOW, is_active=False)
    swept()
    batch = Batch.objects.get()
    ids = list(BatchItem.objects.values_list("pk", flat=True))
    with pytest.raises(NobodyTakesOver):
        leavers.decide_items(batch, ids, what=None, actor=operator, now=NOW, reason="left")
    of_server = BatchItem.objects.get(server=server)
    with pytest.raises(NotDecidable):
        leavers.decide_items(batch, [of_server.pk], what=Suggestion.REVOKE, actor=operator, now=NOW, reason="left")
    assert set(BatchItem.objects.values_list("state", flat=True)) == {ItemState.TO_DECIDE}


def test_what_nobody_decides_escalates_by_its_date(left: dict[str, Any]) -> None:
    swept(NOW + leavers.DECIDE_WITHIN - timedelta(minutes=1))
    assert Batch.objects.get().escalated_at is None
    late = NOW + leavers.DECIDE_WITHIN
    swept(late)
    swept(late + timedelta(hours=1))
    assert Batch.objects.get().escalated_at == late
    assert AuditEntry.objects.filter(event="batch.escalated").count() == 1


def test_who_comes_back_keeps_what_they_had(left: dict[str, Any], ana: Owner, operator: Actor) -> None:
    change_owner(ana, actor=operator, now=NOW, is_active=True)
    swept()
    batch = Batch.objects.get()
    assert batch.state == BatchState.CANCELLED
    assert not Operation.objects.exists()


def test_what_was_handed_over_elsewhere_is_no_question_any_more(left: dict[str, Any], manager: Owner) -> None:
    key = left["key"]
    key.owner = manager
    key.save()
    swept()
    assert BatchItem.objects.get(credential=key).state == ItemState.SKIPPED


def test_only_an_operator_decides_and_nothing_is_decided_twice(
    left: dict[str, Any], operator: Actor, outsider: Actor
) -> None:
    batch = Batch.objects.get()
    ids = list(BatchItem.objects.filter(credential=left["key"]).values_list("pk", flat=True))
    with pytest.raises(NotAnOperator):
        leavers.decide_items(batch, ids, what=None, actor=outsider, now=NOW, reason="mine")
    assert leavers.decide_items(batch, ids, what=None, actor=operator, now=NOW, reason="left") == 1
    assert leavers.decide_items(batch, ids, what=None, actor=operator, now=NOW, reason="left") == 0


def test_the_page_decides_about_picked_ones_or_all(left: dict[str, Any]) -> None:
    mira = browser(Role.OPERATOR)
    batch = Batch.objects.get()
    page = text(mira.get(f"/batches/{batch.pk}/"))
    assert "Decide about all…" in page
    assert "Nothing is kept silently" in page
    mira.post(f"/batches/{batch.pk}/decide/", {"all": "yes", "decided": "yes", "reason": "Ana left"})
    item = BatchItem.objects.filter(state=ItemState.TO_DECIDE).first()
    assert item is None, BatchNotWaiting
