"""`manage.py campaign`, for people and for scripts."""

import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from reviews.models import Campaign
from tests import factories

pytestmark = pytest.mark.django_db


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    call_command("campaign", *words, "--format", "json")
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def place() -> Any:
    place = factories.connection(name="laptops", last_complete_at=timezone.now())
    factories.credential(connection=place, owner=factories.owner(name="Mira"))
    return place


def test_a_preview_changes_nothing(place: Any, capsys: pytest.CaptureFixture[str]):
    assert said(capsys, "preview", "Spring")["size"] == 1
    assert not Campaign.objects.exists()


def test_a_launch_freezes_what_was_named(place: Any, capsys: pytest.CaptureFixture[str]):
    factories.credential(connection=place, kind="aws_access_key")
    made = said(capsys, "launch", "Spring", "--kind", "aws_access_key", "--connection", "laptops", "--lead", "Mira")
    assert (made["state"], made["size"], made["lead"]) == ("open", 1, "Mira")
    assert [each["name"] for each in said(capsys, "list")] == ["Spring"]


def test_its_status_is_unfinished_until_it_has_ended(place: Any, capsys: pytest.CaptureFixture[str]):
    said(capsys, "launch", "Spring")
    with pytest.raises(SystemExit) as ended:
        call_command("campaign", "status", "Spring", "--format", "json")
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["waiting_on"][0]["name"] == "Mira"
    assert said(capsys, "close", "Spring", "--cancel", "Begun by mistake")["state"] == "cancelled"


def test_what_is_stale_is_refused_with_its_name(capsys: pytest.CaptureFixture[str]):
    factories.credential(connection=factories.connection(name="laptops"))
    with pytest.raises(CommandError, match="laptops") as refused:
        said(capsys, "launch", "Spring")
    assert refused.value.returncode == 3


def test_a_name_that_nothing_has_is_a_wrong_call(place: Any, capsys: pytest.CaptureFixture[str]):
    for words in (("status", "Autumn"), ("launch", "Spring", "--owner", "Nobody")):
        with pytest.raises(CommandError) as refused:
            said(capsys, *words)
        assert refused.value.returncode == 2
