"""A secret in what a person wrote is seen, and what merely looks like one is not."""

import pytest

from inventory.discovery.prose import holds_secret
from tests.inventory.discovery_samples import github_token, hexadecimal, noise


@pytest.mark.parametrize(
    "text",
    [
        "The key is {token}, as seen yesterday.",
        "password={noise}",
        "PASSWORD: {noise}",
        'API_KEY="{noise}"',
        "client_secret := {noise}",
        "Send Authorization: Bearer {noise} to it.",
        "My token {noise} still works.",
        "postgres://app:{noise}@db.internal/app",
        "See https://x.example/?api_key={noise} for it.",
        "The password is {noise}.",
        "curl -u deploy:{noise} https://x.example/",
        "client_secret%3D{noise}",
        "pass\u200bword={noise}",
        "\uff50assword\uff1a{noise}",
    ],
)
def test_a_secret_in_a_sentence_is_seen(text: str):
    # A digit and both cases, as a made password has; chance alone could leave one of them out.
    assert holds_secret(text.format(token=github_token(), noise=f"a7K{noise(30)}"))


@pytest.mark.parametrize(
    "text",
    [
        "Moves to the new gateway in July; see CHG-4711.",
        "Fixed in commit {digest}.",
        "The id is 019a0000-0000-7000-8000-000000000000.",
        "See https://tickets.example/browse/SEC-12?focus=1 and https://git.example/infra/pull/12.",
        "Owner: Payments. Due: Friday. Token: rotated last week.",
        "password: the one in the vault was changed",
        "The token is short-lived, its key is AES256-wrapped.",
        "curl -u deploy:$PASSWORD https://x.example/",
        "Kept at op://vault/item/field and aws-sm://payments/api, password=${{DB_PASSWORD}}.",
        "API key: KEY-1234 in the register; key=AKIA is only its beginning.",
        "",
    ],
)
def test_what_people_write_about_secrets_is_none(text: str):
    assert not holds_secret(text.format(digest=hexadecimal(40)))
