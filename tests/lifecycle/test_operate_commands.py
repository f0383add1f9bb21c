"""`rotate` and `revoke` from the command line."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory.states import ConnectionKind
from lifecycle.models import Delivery, Operation
from lifecycle.states import OperationState
from tests.factories import connection, credential

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> Any:
    made = credential(name="deploy", connection=connection(kind=ConnectionKind.AWS))
    Delivery.objects.create(credential=made, sink="file", location="/run/x", set_by="Otto", set_at=timezone.now())
    return made


def told(*args: str) -> dict[str, Any]:
    out = StringIO()
    call_command(*args, "--reason", "It is due.", "--format", "json", stdout=out)
    said: dict[str, Any] = json.loads(out.getvalue())
    return said


def test_a_credential_is_named_by_name_identity_or_id(key: Any):
    for name in ("deploy", key.identity_key, str(key.pk)):
        said = told("rotate", name)
        assert said["operations"][0]["credential"]["name"] == "deploy"
        now = timezone.now()
        Operation.objects.update(state=OperationState.CANCELLED, closed_at=now, due_at=None)


def test_an_unknown_or_ambiguous_name_is_a_wrong_call(key: Any):
    credential(name="deploy")
    for name in ("nothing", "deploy"):
        with pytest.raises(CommandError) as refused:
            told("revoke", name)
        assert refused.value.returncode == 2


def test_what_is_refused_is_said_and_ends_with_one(key: Any):
    told("rotate", "deploy")
    with pytest.raises(SystemExit) as ended:
        told("rotate", "deploy")
    assert ended.value.code == 1


def test_waiting_ends_with_its_time(key: Any):
    with pytest.raises(SystemExit) as ended:
        told("revoke", "deploy", "--urgent", "--wait", "--timeout", "0.01")
    assert ended.value.code == 1
    assert Operation.objects.get().is_urgent is True
    assert Operation.objects.get().requested_at > timezone.now() - timedelta(minutes=5)
