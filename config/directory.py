"""The directory that people may sign in through, read from the environment: OpenID Connect and what its groups mean."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from access.roles import Role
from config import env

PROVIDER = "sso"


@dataclass(frozen=True)
class Directory:
    """None where `apps` is empty. `roles` says by name of a group which role it gives."""

    apps: list[dict[str, Any]] = field(default_factory=list)
    origin: str = ""
    scopes: list[str] = field(default_factory=list)
    groups_claim: str = "groups"
    roles: dict[str, str] = field(default_factory=dict)


def oidc() -> Directory:
    given = env.text("KEYREEVE_OIDC_ISSUER")
    issuer = given.rstrip("/")
    if not issuer:
        return Directory()
    parts = urlsplit(issuer)
    is_local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not parts.hostname or parts.username or parts.query or (parts.scheme != "https" and not is_local):
        raise ImproperlyConfigured("KEYREEVE_OIDC_ISSUER must be an https address, without user, query or fragment.")
    client, secret = env.text("KEYREEVE_OIDC_CLIENT_ID"), env.secret("KEYREEVE_OIDC_CLIENT_SECRET")
    if not client or not secret:
        raise ImproperlyConfigured(
            "KEYREEVE_OIDC_ISSUER is set, so KEYREEVE_OIDC_CLIENT_ID and KEYREEVE_OIDC_CLIENT_SECRET must be too."
        )
    app = {
        "provider_id": PROVIDER,
        "name": env.text("KEYREEVE_OIDC_NAME") or parts.hostname,
        "client_id": client,
        "secret": secret,
        # Tokens have to name the issuer of the settings, whatever its document says.
        "settings": {
            "server_url": issuer,
            "oauth_pkce_enabled": True,
            "openid_configuration_overrides": {"issuer": given},
        },
    }
    return Directory(
        [app],
        f"{parts.scheme}://{parts.netloc}",
        list(env.names("KEYREEVE_OIDC_SCOPES", ("openid", "profile", "email"))),
        env.text("KEYREEVE_OIDC_GROUPS_CLAIM", "groups"),
        roles(env.names("KEYREEVE_OIDC_ROLES")),
    )


def roles(pairs: tuple[str, ...]) -> dict[str, str]:
    """`group=role` pairs; a group's name may hold a `=` of its own, as those of LDAP do."""
    found = {}
    for pair in pairs:
        group, equals, role = pair.rpartition("=")
        if not equals or not group or role not in set(Role):
            known = ", ".join(Role)
            raise ImproperlyConfigured(f"KEYREEVE_OIDC_ROLES takes group=role pairs with one of these roles: {known}.")
        found[group] = role
    if not found:
        raise ImproperlyConfigured("KEYREEVE_OIDC_ISSUER is set, so KEYREEVE_OIDC_ROLES must say what groups may do.")
    return found
