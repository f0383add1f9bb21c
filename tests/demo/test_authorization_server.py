"""The demo authorization server speaks the standards that the product's adapter relies on."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.authorization_server import ROOT, AuthorizationServer, running


@pytest.fixture
def metadata(authorization_server: AuthorizationServer) -> dict[str, Any]:
    return dict(httpx2.get(f"{authorization_server.issuer}/.well-known/oauth-authorization-server").json())


def managed(server: AuthorizationServer, url: str) -> list[dict[str, Any]]:
    """Every row of a listing, page after page."""
    rows: list[dict[str, Any]] = []
    following: str | None = url
    while following:
        bearer = {"Authorization": f"Bearer {server.secret('management_token')}"}
        page = httpx2.get(following, headers=bearer).json()
        rows += page.get("clients", page.get("tokens"))
        following = page["next"]
    return rows


def test_metadata_names_every_endpoint_and_only_safe_flows(authorization_server, metadata) -> None:
    endpoints = {name for name in metadata if name.endswith("_endpoint")}
    assert endpoints == {
        f"{name}_endpoint"
        for name in ("authorization", "token", "revocation", "introspection", "registration", "device_authorization")
    }
    assert metadata["issuer"] == authorization_server.issuer
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert not {"implicit", "password"} & set(metadata["grant_types_supported"])


def test_the_lax_one_offers_what_is_forbidden(lax_authorization_server) -> None:
    document = httpx2.get(f"{lax_authorization_server.issuer}/.well-known/oauth-authorization-server").json()
    assert {"implicit", "password"} <= set(document["grant_types_supported"])
    assert "plain" in document["code_challenge_methods_supported"]


def test_a_registration_is_read_changed_and_taken_back(authorization_server) -> None:
    made = authorization_server.register(client_name="Desk tool", software_id="example.desk", scope="mcp:tools")
    bearer = {"Authorization": f"Bearer {made['registration_access_token']}"}
    read = httpx2.get(made["registration_client_uri"], headers=bearer).json()
    assert (read["client_name"], read["software_id"], read["scope"]) == ("Desk tool", "example.desk", "mcp:tools")
    changed = {"client_id": made["client_id"], "client_name": "Desk", "redirect_uris": read["redirect_uris"]}
    assert httpx2.put(made["registration_client_uri"], headers=bearer, json=changed).json()["client_name"] == "Desk"
    authorization_server.deregister(made)
    assert httpx2.get(made["registration_client_uri"], headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "uri",
    ["not a uri", "javascript:alert(1)", "http://far.example/cb", "https://far.example/*", "https://a.example/#b"],
)
def test_an_unsafe_redirect_is_refused(authorization_server, uri) -> None:
    answer = httpx2.post(authorization_server.places["registration_endpoint"], json={"redirect_uris": [uri]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_redirect_uri")


def test_the_listing_holds_every_kind_of_registration(authorization_server) -> None:
    rows = managed(authorization_server, f"{authorization_server.places['clients_url']}?page_size=7")
    assert len({row["client_id"] for row in rows}) == len(rows) >= 52
    assert {row["registration_type"] for row in rows} == {"pre_registered", "dynamic", "cimd"}
    assert sum(row["client_name"] == "Cursor" for row in rows) == 14
    assert any(row["last_used_at"] is None for row in rows)


def test_the_listing_of_tokens_says_no_value(authorization_server) -> None:
    rows = managed(authorization_server, f"{authorization_server.places['tokens_url']}?page_size=9")
    assert {row["token_type"] for row in rows} == {"access_token", "refresh_token"}
    values = [Path(path).read_text() for path in authorization_server.places["tokens"].values()]
    assert not any(value in json.dumps(rows) for value in values)


def test_a_listing_is_for_the_management_token_alone(authorization_server) -> None:
    answer = httpx2.get(authorization_server.places["clients_url"], headers={"Authorization": "Bearer guessed"})
    assert answer.status_code == 401


def introspect(server: AuthorizationServer, endpoint: str, token: str, client: str) -> dict[str, Any]:
    secret = Path(server.places["client_secrets"][client]).read_text()
    return dict(httpx2.post(endpoint, data={"token": token}, auth=(client, secret)).json())


def test_introspection_tells_who_may_know(authorization_server, metadata) -> None:
    token = authorization_server.token("mira-desktop")
    claims = introspect(authorization_server, metadata["introspection_endpoint"], token, "keyreeve")
    assert (claims["active"], claims["sub"], claims["client_id"]) == (True, "mira", "claude-desktop-managed")
    unknown = introspect(authorization_server, metadata["introspection_endpoint"], token, "ci-runner")
    assert unknown == {"active": False}
    assert httpx2.post(metadata["introspection_endpoint"], data={"token": token}).status_code == 401


def test_taking_stock_of_a_token_is_no_use_of_it(authorization_server, metadata) -> None:
    def last_used() -> set[int | None]:
        rows = managed(authorization_server, authorization_server.places["tokens_url"])
        return {row["last_used_at"] for row in rows if row["client_id"] == "nightly-reports"}

    token, before = authorization_server.token("nightly-reports"), last_used()
    introspect(authorization_server, metadata["introspection_endpoint"], token, "keyreeve")
    assert last_used() == before
    introspect(authorization_server, metadata["introspection_endpoint"], token, "mcp-billing")
    assert last_used() != before


def test_a_revoked_token_is_inactive(authorization_server, metadata) -> None:
    secret = Path(authorization_server.places["client_secrets"]["ci-runner"]).read_text()
    form = {"grant_type": "client_credentials", "scope": "repo:read", "resource": "https://mcp.halden.example/github"}
    token = httpx2.post(metadata["token_endpoint"], data=form, auth=("ci-runner", secret)).json()["access_token"]
    endpoint = metadata["introspection_endpoint"]
    assert introspect(authorization_server, endpoint, token, "keyreeve")["aud"] == [form["resource"]]
    httpx2.post(metadata["revocation_endpoint"], data={"token": token}, auth=("ci-runner", secret))
    assert introspect(authorization_server, endpoint, token, "keyreeve") == {"active": False}


def test_a_device_is_given_a_code_to_show(authorization_server, metadata) -> None:
    form = {"client_id": "board-tablet", "scope": "tickets:read"}
    answer = httpx2.post(metadata["device_authorization_endpoint"], data=form).json()
    assert answer["user_code"]
    assert answer["verification_uri"].startswith(authorization_server.issuer)


def test_secrets_lie_in_files_that_only_their_owner_reads(authorization_server) -> None:
    files = [path for path in (authorization_server.folder / "secrets").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    shown = json.dumps(authorization_server.places)
    assert not any(path.read_text() in shown for path in files)


def test_a_second_start_continues(tmp_path) -> None:
    with running(tmp_path) as server:
        first = managed(server, server.places["clients_url"])
    with running(tmp_path) as server:
        assert [row["client_id"] for row in managed(server, server.places["clients_url"])] == [
            row["client_id"] for row in first
        ]


def test_a_taken_port_is_said_in_one_sentence(authorization_server, tmp_path) -> None:
    port = str(authorization_server.places["port"])
    command = [sys.executable, "-m", "demo.authorization_server", "--data", str(tmp_path), "--port", port]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert ended.stderr == f"Port {port} is taken: start the authorization server with another --port.\n"
