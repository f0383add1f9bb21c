"""The token of a registration that an operation makes: a file that only we read, where the operator said."""

import json
from pathlib import Path
from secrets import token_urlsafe

import pytest
from pytest_django import Settings

from inventory.listings.kept_registrations import KeptRegistrations
from providers.base import Secret
from providers.errors import Permanent, Refused

URI = "https://login.example/register/c-1"


@pytest.fixture
def kept(tmp_path: Path, settings: Settings) -> KeptRegistrations:
    settings.REFERENCE_FOLDERS = (tmp_path,)
    (tmp_path / "registrations").mkdir()
    return at(tmp_path / "registrations")


def at(folder: Path) -> KeptRegistrations:
    return KeptRegistrations("https://login.example", folder=str(folder), bound_to="login.example")


def test_a_token_is_kept_for_us_alone_and_nothing_is_written_over(kept: KeptRegistrations, tmp_path: Path) -> None:
    first, second = Secret(token_urlsafe()), Secret(token_urlsafe())
    kept.keep("../../c-1", URI, first)
    with pytest.raises(Permanent, match="cannot be kept: file exists") as refused:
        kept.keep("../../c-1", URI, second)
    assert second.reveal() not in str(refused.value)
    (file,) = (tmp_path / "registrations").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["registration_access_token"] == first.reveal()
    kept.forget("../../c-1")
    kept.forget("../../c-1")
    assert list((tmp_path / "registrations").iterdir()) == []


@pytest.mark.django_db
def test_what_was_kept_is_read_again_for_its_host_alone(kept: KeptRegistrations) -> None:
    token = Secret(token_urlsafe())
    assert kept.of("c-1") is None
    kept.keep("c-1", URI, token)
    found = kept.of("c-1")
    assert found is not None
    assert (found.uri, found.token("login.example").reveal()) == (URI, token.reveal())
    with pytest.raises(Refused):
        found.token("elsewhere.example")


def test_a_folder_that_is_not_among_those_of_references_is_not_written_to(
    kept: KeptRegistrations, tmp_path: Path, settings: Settings
) -> None:
    settings.REFERENCE_FOLDERS = (tmp_path / "others",)
    with pytest.raises(Refused):
        kept.check()
    with pytest.raises(Permanent, match="Name a folder"):
        KeptRegistrations("https://login.example", folder="", bound_to="login.example").check()
