"""The pages of operations: the board, one operation, and asking for rotations and revocations."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from access.roles import Role
from inventory.models import Credential
from inventory.states import ConnectionKind, Severity
from lifecycle.models import Batch, Delivery, Finding, FindingLink, Operation, ProviderMinute, StepAttempt
from lifecycle.states import OperationKind, OperationState, Step
from tests.factories import connection, credential, use
from tests.people import HTMX, browser, owners_browser, text

pytestmark = pytest.mark.django_db


def key(name: str = "deploy", **values: Any) -> Credential:
    made = credential(name=name, connection=connection(kind=ConnectionKind.AWS), **values)
    Delivery.objects.create(credential=made, sink="file", location=f"/run/{name}", set_by="Otto", set_at=timezone.now())
    return made


def operation(of: Credential | None = None, **values: Any) -> Operation:
    of, now = of or key(f"key-{uuid4()}"), timezone.now()
    defaults: dict[str, Any] = {
        "kind": OperationKind.ROTATION, "state": OperationState.PENDING, "step": Step.VERIFY_NEW,
        "reason": "It is due.",        "requested_by": "Otto", "requested_by_key": "user:0",
        "requested_at": now, "overlap": timedelta(days=1),
        "quiet": timedelta(days=7), "step_at": now, "due_at": now,
    }  # fmt: skip
    if values.get("state") in {OperationState.STALLED, OperationState.PROPOSED}:
        defaults["due_at"] = None
    if values.get("state") == OperationState.STALLED:
        defaults["stalled_at"] = now
    return Operation.objects.create(credential=of, connection=of.connection, **{**defaults, **values})


@pytest.fixture
def operator() -> Client:
    return browser(Role.OPERATOR)


def test_the_board_shows_first_what_needs_somebody(operator: Client):
    operation(key("one"))
    operation(key("two"), state=OperationState.PROPOSED, step=Step.ISSUE)
    operation(key("three"), state=OperationState.STALLED, error="The sink refused.")
    operation(key("four"), lease_token=uuid4(), lease_until=timezone.now() + timedelta(minutes=1))
    said = text(operator.get("/operations/?is_open=true"))
    places = [
        said.index(words) for words in ("Rotation of three", "Rotation of two", "Rotation of four", "Rotation of one")
    ]
    assert places == sorted(places)
    assert "Stalled 2/8" in said
    assert "Rotating 2/8" in said
    assert "The sink refused." in said


def test_the_board_opens_with_what_is_open(operator: Client):
    assert operator.get("/operations/").headers["Location"] == "/operations/?is_open=true"
    assert "No operation" in text(operator.get("/operations/?is_open=true"))


def test_the_board_takes_twelve_queries_at_most(operator: Client, django_assert_max_num_queries: Any):
    for _ in range(5):
        row = operation()
        ProviderMinute.objects.create(connection=row.connection, minute=timezone.now(), calls=7, failed=1)
    operator.get("/operations/?is_open=true")
    with django_assert_max_num_queries(12):
        said = text(operator.get("/operations/?is_open=true"))
    assert "7 a minute" in said


def test_what_changes_comes_by_itself_while_something_is_open(operator: Client):
    row = operation()
    said = text(operator.get(f"/operations/live/?id={row.pk}"))
    assert f'id="state-{row.pk}" hx-swap-oob="true"' in said
    assert "every 4s" in said
    Operation.objects.update(state=OperationState.CANCELLED, closed_at=timezone.now(), due_at=None)
    assert "every 4s" not in text(operator.get("/operations/live/"))


def test_an_operation_tells_its_steps_and_its_journal(operator: Client, django_assert_max_num_queries: Any):
    row = operation(state=OperationState.STALLED, error="The sink refused: not authorised.")
    StepAttempt.objects.create(
        operation=row, step=Step.ISSUE, number=1, lease_token=uuid4(), begun_at=timezone.now(),
        ended_at=timezone.now(), outcome="done", said="AWS issued a second key.",
    )  # fmt: skip
    use(row.credential)
    operator.get(f"/operations/{row.pk}/")
    with django_assert_max_num_queries(12):
        said = text(operator.get(f"/operations/{row.pk}/"))
    for words in ("1 of 8 steps done", "AWS issued a second key.", "not authorised", "Nothing was lost", "Try again…"):
        assert words in said
    assert "every 3s" in said
    fragment = text(operator.get(f"/operations/{row.pk}/", headers=HTMX))
    assert fragment.lstrip().startswith('<div id="operation"')


@pytest.mark.parametrize(
    ("verb", "given", "state"),
    [
        ("resume", {"reason": "It is mended."}, "pending"),
        ("hand-over", {"reason": "Night."}, "stalled"),
        ("cancel", {"reason": "Not now."}, "pending"),
    ],
)
def test_a_person_decides_about_a_stalled_one(verb: str, given: dict[str, str], state: str, operator: Client):
    row = operation(state=OperationState.STALLED)
    assert operator.get(f"/operations/{row.pk}/{verb}/").status_code == 200
    answer = operator.post(f"/operations/{row.pk}/{verb}/", {"decided": "yes", **given})
    assert (answer.status_code, answer.headers.get("Location")) == (302, f"/operations/{row.pk}/"), text(answer)
    row.refresh_from_db()
    assert row.state == state


def test_a_refusal_stands_in_the_form(operator: Client):
    row = operation()
    answer = operator.post(f"/operations/{row.pk}/resume/", {"decided": "yes", "reason": "Again."})
    assert answer.status_code == 422
    assert "only a stalled one is resumed" in text(answer)
    assert operator.get(f"/operations/{row.pk}/dance/").status_code == 404


def test_what_is_done_by_hand_is_said_and_stays_to_be_verified(operator: Client):
    row = operation(
        credential(name="by hand"), kind=OperationKind.REVOCATION, step=Step.SUSPEND, by_hand=True,
        state=OperationState.WAITING, due_at=None,
    )  # fmt: skip
    assert "say here that it is done" in text(operator.get(f"/operations/{row.pk}/"))
    operator.post(f"/operations/{row.pk}/done/", {"decided": "yes", "reason": "Deleted it in the console."})
    row.refresh_from_db()
    assert (row.state, row.proof, row.verify_by is not None) == ("completed", "unverifiable", True)
    assert "To verify" in text(operator.get("/operations/?needs_somebody=true"))


def test_what_nobody_could_tell_of_is_looked_at_again_or_was_seen(operator: Client):
    now = timezone.now()
    row = operation(
        kind=OperationKind.REVOCATION, step=Step.VERIFY_GONE, state=OperationState.COMPLETED, due_at=None,
        closed_at=now, proof="unverifiable", proof_reason="It did not say.", verify_by=now,
    )  # fmt: skip
    said = text(operator.get(f"/operations/{row.pk}/"))
    assert "Look again…" in said
    assert "Seen refused…" in said
    assert "every 3s" not in said
    assert "Cancel…" not in said
    operator.post(f"/operations/{row.pk}/verify/", {"decided": "yes"})
    said = text(operator.get(f"/operations/{row.pk}/"))
    assert "Its provider is asked once more" in said
    assert "every 3s" in said
    operator.post(f"/operations/{row.pk}/seen-refused/", {"decided": "yes", "reason": "A call was refused."})
    row.refresh_from_db()
    assert (row.proof, row.look_at, row.verify_by) == ("verified", None, None)
    assert "Seen refused…" not in text(operator.get(f"/operations/{row.pk}/"))


def test_consequences_stand_before_the_form(operator: Client):
    one = key("one")
    use(one)
    said = text(operator.get(f"/credentials/rotate/?id={one.pk}"))
    assert said.index("Blast radius") < said.index("/run/one") < said.index('name="reason"')
    assert "1 client at 1 server" in said


def test_a_rotation_is_asked_for_from_a_page(operator: Client):
    one = key("one")
    assert "/credentials/rotate/" in text(operator.get(f"/credentials/{one.pk}/"))
    answer = operator.post("/credentials/rotate/", {"decided": "yes", "id": str(one.pk), "reason": "It is due."})
    row = Operation.objects.get()
    assert (row.kind, answer.headers["Location"]) == ("rotation", f"/operations/{row.pk}/")
    assert "Rotation" in text(operator.get(f"/credentials/{one.pk}/"))


def test_many_are_one_batch(operator: Client):
    keys = [str(key(f"key-{n}").pk) for n in range(3)]
    answer = operator.post("/credentials/revoke/", {"decided": "yes", "id": keys, "reason": "They leaked."})
    batch = Batch.objects.get()
    assert answer.headers["Location"] == f"/batches/{batch.pk}/"
    assert (batch.operation_kind, batch.size) == ("revocation", 3)


def test_from_a_finding_it_is_linked_with_what_resolves_it(operator: Client):
    now, one = timezone.now(), key("one")
    finding = Finding.objects.create(
        credential=one, rule="unrotated", severity=Severity.HIGH, opened_at=now, refreshed_at=now, due_at=now,
        evidence={"known_since": now.isoformat(), "max_age": 86_400},
    )  # fmt: skip
    assert "/findings/rotate/" in text(operator.get(f"/findings/{finding.pk}/"))
    operator.post("/findings/rotate/", {"decided": "yes", "id": str(finding.pk), "reason": "It is due."})
    link = FindingLink.objects.get()
    assert (link.kind, link.url) == ("operation", f"/operations/{Operation.objects.get().pk}/")


def test_an_owner_asks_for_what_is_theirs_alone():
    mine, me = owners_browser()
    own, foreign = key("own", owner=me), key("foreign")
    mine.post("/credentials/revoke/", {"decided": "yes", "id": str(foreign.pk), "reason": "No."})
    assert not Operation.objects.exists()
    mine.post("/credentials/revoke/", {"decided": "yes", "id": str(own.pk), "reason": "It leaked.", "is_urgent": "on"})
    assert Operation.objects.get().is_urgent is True
    assert "foreign" not in text(mine.get("/operations/?is_open=true"))


def test_an_unknown_sink_is_refused_beside_its_field(operator: Client):
    one = credential(name="one")
    answer = operator.post(
        f"/credentials/{one.pk}/delivery/", {"decided": "yes", "sink": "aws_secrets", "location": "aws-sm://one"}
    )
    assert answer.status_code == 422
    assert "needs a connection" in text(answer)
    assert not Delivery.objects.exists()
