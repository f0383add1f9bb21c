"""The promises of every provider, kept by tokens and client secrets at the demo authorization server."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from providers.base import Secret
from providers.contract import ProviderContract, ProviderPlace
from providers.oauth_lifecycle import Speaker
from tests.authorization_server import AuthorizationServer as Demo
from tests.providers.test_oauth_lifecycle import (
    MACHINE,
    Kept,
    client_secrets,
    given,
    is_active,
    issued_to,
    listed_id,
    of_secret,
    of_token,
    tokens,
)


@pytest.fixture
def machine(authorization_server: Demo) -> Iterator[dict[str, Any]]:
    made = authorization_server.register(**MACHINE)
    yield made
    bearer = {"Authorization": f"Bearer {made['registration_access_token']}"}
    httpx2.delete(made["registration_client_uri"], headers=bearer)


class TestTokensByValue(ProviderContract):
    """At a server that has the standards and no more."""

    def rights(self, machine: dict[str, Any]) -> dict[str, Any]:
        own = Speaker(client_id=machine["client_id"], secret=given(machine["client_secret"]))
        return {"revokers": {machine["client_id"]: own}, "tokens_url": ""}

    @pytest.fixture
    def place(self, authorization_server: Demo, machine: dict[str, Any]) -> ProviderPlace:
        value = issued_to(authorization_server, machine)
        number = listed_id(authorization_server, machine["client_id"])
        rights = self.rights(machine)
        return ProviderPlace(
            provider=tokens(authorization_server, **rights),
            again=lambda: tokens(authorization_server, **rights),
            ref=of_token(machine["client_id"], number),
            external_id=number,
            secret=Secret(value),
            usable=lambda: {number} if is_active(authorization_server, value) else set(),
            unknown_external_id="access-99999999",
        )


class TestTokensByTheirAddress(TestTokensByValue):
    """At one that also answers the two listings, with an address for each row."""

    def rights(self, machine: dict[str, Any]) -> dict[str, Any]:
        return {"are_tokens_managed": True}


class TestClientSecrets(ProviderContract):
    @pytest.fixture
    def place(self, authorization_server: Demo, machine: dict[str, Any]) -> Iterator[ProviderPlace]:
        kept, seen = Kept(machine), {machine["client_id"]}
        ref = of_secret(machine["client_id"])

        def usable() -> set[str]:
            """Who can still be registered as, by the tokens that were kept; a client that is gone is told from 401."""
            seen.update(kept.held)
            return {client_id for client_id in seen if is_registered(kept, client_id)}

        yield ProviderPlace(
            provider=client_secrets(authorization_server, kept),
            again=lambda: client_secrets(authorization_server, kept),
            ref=ref,
            external_id=machine["client_id"],
            secret=Secret(machine["client_secret"]),
            usable=usable,
        )
        for client_id in list(kept.held):
            client_secrets(authorization_server, kept).destroy(of_secret(client_id), client_id)


def is_registered(kept: Kept, client_id: str) -> bool:
    held = kept.of(client_id)
    if held is None:
        return False
    bearer = {"Authorization": f"Bearer {held.token('').reveal()}"}
    return httpx2.get(held.uri, headers=bearer).status_code == 200
