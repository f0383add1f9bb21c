"""Published manifests: read without being believed, kept by syncs, and held against what configurations hold."""

import json
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from access.actors import Actor
from access.roles import Role
from inventory.actions.connections import create_connection
from inventory.discovery.manifests import MOST_INPUTS, manifest_in
from inventory.engine import sync
from inventory.models import Credential, Exposure, Manifest, McpClient, Use
from inventory.states import ConnectionKind, RunState, Storage
from inventory.views.declared import comparison
from tests import factories
from tests.people import browser, text

ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def published(**more) -> dict:
    """A manifest as the registry's format has it."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": "com.example/orders",
        "version": "1.2.0",
        "packages": [
            {
                "registryType": "npm",
                "identifier": "@Example/Orders",
                "version": "1.2.0",
                "transport": {"type": "stdio"},
                "environmentVariables": [
                    {"name": "ORDERS_KEY", "isRequired": True, "isSecret": True},
                    {"name": "LOG_LEVEL", "default": "info"},
                ],
                "packageArguments": [{"type": "named", "name": "--port", "isRequired": True}],
            }
        ],
        "remotes": [
            {
                "type": "streamable-http",
                "url": "https://Orders.example.com:443/mcp/",
                "headers": [
                    {"name": "Authorization", "value": "Bearer {token}", "variables": {"token": {"isSecret": True}}}
                ],
            }
        ],
        **more,
    }


def inputs_of(manifest) -> dict[str, tuple[str, bool, bool]]:
    return {each.name: (each.place, each.is_required, each.is_secret) for each in manifest.inputs}


# ── Reading ──


def test_a_manifest_is_read_with_its_inputs_by_name_and_place():
    manifest = manifest_in(published())
    assert (manifest.name, manifest.version) == ("com.example/orders", "1.2.0")
    assert manifest.packages == ("npm:@example/orders",)
    assert manifest.urls == ("https://orders.example.com/mcp",)
    assert inputs_of(manifest) == {
        "ORDERS_KEY": ("environment", True, True),
        "LOG_LEVEL": ("environment", False, False),
        "--port": ("argument", True, False),
        "Authorization": ("header", False, True),
    }


def test_the_spelling_of_the_first_drafts_is_read_too():
    package = {
        "registry_type": "pypi",
        "identifier": "Weather_MCP",
        "environment_variables": [{"name": "KEY", "is_required": True, "is_secret": True}],
    }
    manifest = manifest_in({"name": "a/b", "version_detail": {"version": "0.5"}, "packages": [package]})
    assert (manifest.version, manifest.packages) == ("0.5", ("pypi:weather-mcp",))
    assert inputs_of(manifest) == {"KEY": ("environment", True, True)}


def test_a_container_is_known_by_its_image_without_its_tag():
    package = {"registryType": "oci", "identifier": "docker.io/Halden/orders:1.0"}
    assert manifest_in({"name": "a/b", "packages": [package]}).packages == ("oci:halden/orders",)


def test_a_constant_is_nothing_that_somebody_has_to_give():
    package = {"registryType": "npm", "identifier": "a", "packageArguments": [{"name": "--mode", "value": "mcp"}]}
    assert manifest_in({"name": "a/b", "packages": [package]}).inputs == ()


def test_no_value_of_a_manifest_is_kept():
    secret = token_hex(20)
    variables = [{"name": "KEY", "isSecret": True, "value": secret, "default": secret, "placeholder": secret}]
    package = {"registryType": "npm", "identifier": "a", "environmentVariables": variables}
    assert secret not in repr(manifest_in({"name": "a/b", "packages": [package]}))


@pytest.mark.parametrize(
    "tree", [None, [], "text", {}, {"name": "a"}, {"name": 1, "packages": [{}]}, {"packages": [{}]}]
)
def test_what_is_no_manifest_is_none(tree):
    assert manifest_in(tree) is None


def test_a_manifest_of_a_hundred_thousand_inputs_is_cut():
    variables = [{"name": f"V{n}"} for n in range(100_000)]
    package = {"registryType": "npm", "identifier": "a", "environmentVariables": variables}
    manifest = manifest_in({"name": "x" * 10_000, "packages": [package] * 1_000})
    assert len(manifest.inputs) == MOST_INPUTS
    assert len(manifest.name) == 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["name", "packages", "remotes", "url", "headers", "identifier", "registryType", "environmentVariables",
         "packageArguments", "variables", "transport", "value", "isSecret", "version", "version_detail"]
    ), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(json_values)
def test_whatever_stands_in_it_reading_ends_with_a_manifest_or_none(tree):
    manifest = manifest_in({"name": "a/b", "packages": [tree], "remotes": tree} if tree else tree)
    assert manifest is None or all(each.name for each in manifest.inputs)


# ── Keeping ──


@pytest.fixture
def place(tmp_path, db):
    (tmp_path / "server.json").write_text(json.dumps(published()))
    return tmp_path


def look(folder, connection=None, now=NOW):
    made = connection or create_connection(
        kind=ConnectionKind.MCP_CONFIG, name="src", settings={"paths": [str(folder)]}, actor=ACTOR, now=now
    )
    return made, sync(made.pk, clock=lambda: now, actor=ACTOR)


def test_a_sync_keeps_the_manifests_it_finds(place):
    _, run = look(place)
    manifest = Manifest.objects.get()
    assert run.counts["manifests_added"] == 1
    assert manifest.file == str(place / "server.json")
    assert {"name": "ORDERS_KEY", "place": "environment", "is_required": True, "is_secret": True} in manifest.inputs


def test_a_manifest_is_no_client_and_uses_nothing(place):
    look(place)
    assert not McpClient.objects.exists()
    assert not Use.objects.exists()


def test_a_literal_secret_in_a_manifest_is_an_exposure_all_the_same(place):
    tree = published()
    tree["packages"][0]["environmentVariables"][0]["value"] = token_hex(20)
    (place / "server.json").write_text(json.dumps(tree))
    look(place)
    assert Exposure.objects.get().pointer == "/packages/0/environmentVariables/0/value"
    assert Credential.objects.count() == 1


def test_the_same_manifest_twice_writes_nothing(place):
    connection, _ = look(place)
    before = list(Manifest.objects.values())
    _, run = look(place, connection, NOW + timedelta(hours=1))
    assert run.counts == {}
    assert list(Manifest.objects.values()) == before


def test_a_manifest_that_says_something_else_is_changed_in_its_row(place):
    connection, _ = look(place)
    (place / "server.json").write_text(json.dumps(published(version="1.3.0")))
    _, run = look(place, connection, NOW + timedelta(hours=1))
    assert run.counts == {"manifests_changed": 1}
    assert Manifest.objects.get().version == "1.3.0"


def test_a_manifest_that_is_no_longer_there_is_gone_and_comes_back_as_a_new_row(place):
    connection, _ = look(place)
    (place / "server.json").unlink()
    _, run = look(place, connection, NOW + timedelta(hours=1))
    assert run.counts == {"manifests_gone": 1}
    assert Manifest.objects.get().gone_at == NOW + timedelta(hours=1)
    (place / "server.json").write_text(json.dumps(published()))
    look(place, connection, NOW + timedelta(hours=2))
    assert Manifest.objects.count() == 2


def test_a_manifest_that_cannot_be_read_is_not_gone(place):
    connection, _ = look(place)
    (place / "server.json").write_text('{"name": "com.example/orders", "packages": [')
    _, run = look(place, connection, NOW + timedelta(hours=1))
    assert run.state == RunState.PARTIAL
    assert Manifest.objects.present().count() == 1


def test_a_manifest_of_another_connection_is_let_be(place):
    other = factories.manifest()
    look(place)
    assert Manifest.objects.present().filter(pk=other.pk).exists()


# ── Comparing ──

KEY = {"name": "ORDERS_KEY", "place": "environment", "is_required": True, "is_secret": True}


def declared(*inputs, server=None, **more):
    server = server or factories.server(launcher="npx", package="@example/orders")
    factories.manifest(packages=["npm:@example/orders"], inputs=list(inputs), **more)
    return server


def held(server, credential=None, pointer="/mcpServers/orders/env/ORDERS_KEY", **more):
    credential = credential or factories.credential(name="orders / ORDERS_KEY")
    return factories.use(credential, server=server, pointer=pointer, **{"held_as": Storage.REFERENCE, **more})


def words(server) -> dict[str, str]:
    return {line.name: " ".join(said.words for said in line.said) for line in comparison(server).lines}


@pytest.mark.django_db
def test_what_is_given_by_reference_everywhere_is_in_order():
    server = declared(KEY)
    held(server)
    assert words(server) == {"ORDERS_KEY": "Given by reference in 1 client."}


@pytest.mark.django_db
def test_a_missing_input_says_where_it_may_come_from():
    server = declared(KEY)
    held(server)
    factories.use(None, server=server)
    assert "Missing in 1 of 2 clients. It may come from the environment" in words(server)["ORDERS_KEY"]


@pytest.mark.django_db
def test_what_nobody_declared_is_extra():
    server = declared(KEY)
    held(server, pointer="/mcpServers/orders/env/OTHER_KEY")
    assert "the manifest does not ask for it" in words(server)["OTHER_KEY"]


@pytest.mark.django_db
def test_a_literal_and_a_shared_value_are_counted_by_client():
    server = declared(KEY)
    credential = factories.credential()
    for _ in range(3):
        held(server, credential, held_as=Storage.LITERAL)
    said = words(server)["ORDERS_KEY"]
    assert "Literal instead of a reference in 3 clients." in said
    assert "One value is shared by 3 clients." in said


@pytest.mark.django_db
def test_an_input_that_is_no_secret_is_unknown_not_missing():
    server = declared({"name": "LOG_LEVEL", "place": "environment", "is_required": True, "is_secret": False})
    factories.use(None, server=server)
    assert "was not recorded" in words(server)["LOG_LEVEL"]


@pytest.mark.django_db
def test_headers_are_compared_without_regard_to_capitals():
    server = declared({"name": "X-API-Key", "place": "header", "is_required": True, "is_secret": True})
    held(server, pointer="/mcpServers/orders/headers/x-api-key")
    assert words(server) == {"X-API-Key": "Given by reference in 1 client."}


@pytest.mark.django_db
def test_an_argument_is_known_by_its_flag():
    server = declared({"name": "--api-key", "place": "argument", "is_required": True, "is_secret": True})
    held(server, factories.credential(name="orders / --api-key"), pointer="/mcpServers/orders/args/3")
    assert words(server) == {"--api-key": "Given by reference in 1 client."}


@pytest.mark.django_db
def test_a_remote_server_is_known_by_its_address():
    server = factories.server(url="https://orders.example.com/mcp/", transport="http")
    factories.manifest(urls=["https://orders.example.com/mcp"])
    assert comparison(server) is not None


@pytest.mark.django_db
def test_the_manifest_of_the_version_in_use_is_the_one_that_counts():
    server = declared(KEY, server=factories.server(launcher="npx", package="@example/orders", package_version="1.0"))
    factories.manifest(packages=["npm:@example/orders"], version="1.0", name="the right one")
    factories.manifest(packages=["npm:@example/orders"], version="2.0")
    found = comparison(server)
    assert (found.manifest.name, found.others) == ("the right one", 2)


@pytest.mark.django_db
def test_a_server_without_a_manifest_has_no_panel():
    server = factories.server(launcher="npx", package="@example/orders")
    assert comparison(server) is None
    assert "Declared against observed" not in text(browser(Role.AUDITOR).get(f"/servers/{server.pk}/"))


@pytest.mark.django_db
def test_the_page_of_the_server_shows_the_comparison():
    server = declared(KEY)
    held(server, held_as=Storage.LITERAL)
    page = text(browser(Role.AUDITOR).get(f"/servers/{server.pk}/"))
    assert "Declared against observed" in page
    assert "Literal instead of a reference in 1 client." in page


@pytest.mark.django_db
def test_the_comparison_costs_two_statements():
    server = declared(KEY)
    for _ in range(20):
        held(server)
    with CaptureQueriesContext(database) as queries:
        comparison(server)
    assert len(queries) == 2
