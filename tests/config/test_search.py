"""Finding by name: whatever somebody pastes or remembers of a thing leads to it."""

import pytest

from access.roles import Role
from tests import factories
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db


def found(asked: str) -> str:
    return text(browser(Role.AUDITOR).get("/search/", {"q": asked}))


@pytest.mark.parametrize(
    "asked",
    [
        "https://mcp.halden.example/parcels",
        "mcp.halden.example",
        "mcp.halden",
        "parcels-live",
        "parcels_live",
        "PARC",
        "@halden/parcels",
    ],
)
def test_a_server_is_found_by_its_address_its_package_and_its_name(asked: str):
    server = factories.server(name="parcels-live", url="https://mcp.halden.example/parcels", package="@halden/parcels")
    assert f"/servers/{server.pk}/" in found(asked)


@pytest.mark.parametrize("asked", ["GITHUB_PERSONAL_ACCESS_TOKEN", "github_pers", "personal access"])
def test_a_credential_is_found_by_the_variable_it_is_called_after(asked: str):
    credential = factories.credential(name="github-prod / GITHUB_PERSONAL_ACCESS_TOKEN")
    assert f"/credentials/{credential.pk}/" in found(asked)


@pytest.mark.parametrize("asked", ["'", "\\", "o'brien\\", "&|!():*", "a' | 'b", "\x00x", "<->"])
def test_no_sign_breaks_the_question(asked: str):
    factories.server(name="parcels")
    assert "parcels" not in found(asked)


def test_a_tool_leads_to_the_tools_of_its_server():
    tool = factories.tool(factories.server(name="parcels"), "look_up")
    shown = found("look_up")
    assert f"/servers/{tool.server_id}/#tools" in shown
    assert "on parcels" in shown


def test_an_owner_finds_no_tool_of_a_server_of_others():
    factories.tool(factories.server(name="parcels"), "look_up")
    client, _ = owners_browser()
    assert "#tools" not in text(client.get("/search/", {"q": "look_up"}))


def test_registered_clients_of_one_name_are_told_apart_by_their_ids():
    for client_id in ("first-id", "second-id"):
        factories.client(name="Cursor", host="", client_id=client_id)
    shown = found("Cursor")
    assert "first-id" in shown
    assert "second-id" in shown


def test_the_way_to_all_that_match_carries_the_question_whole():
    for _ in range(7):
        factories.server(name="a&b #1")
    assert "/servers/?q=a%26b+%231" in found("a&b #1")
