"""AWS accounts: lists what they issue and keep, rotates and revokes access keys, delivers to Secrets Manager."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from inventory.listings.base import Batch, Place
from inventory.listings.provided import Settings, batches
from inventory.outside import check_endpoint, references
from providers.aws import DEFAULT_REGION, Accounts, Aws, Key, Lister, Reach, Role, permitted_endpoint
from providers.aws_iam import access_keys, service_credentials
from providers.aws_keys import AccessKeys
from providers.aws_secrets import stored_secrets
from providers.aws_staging import StagedSecrets
from providers.base import Operable, Provider, SecretSink
from providers.errors import Permanent
from providers.regions import known_region

AWS = "amazonaws.com"
MOST_ROLES, MOST_REGIONS = 1_000, 50


def look(place: Place) -> Iterator[Batch]:
    return batches(connect(place.settings).discover(), place.clock)


def check(place: Place) -> str:
    return connect(place.settings).check()


def connect(given: Mapping[str, Any]) -> Provider:
    """The provider that a connection's settings describe. Raises `ProviderError` with what is wrong in them."""
    account = _accounts(given)
    listers: list[Lister] = [access_keys, service_credentials]
    if account.with_secrets:
        listers.append(partial(stored_secrets, regions=account.regions))
    return Accounts(account.aws, listers=listers, roles=account.roles, with_own=account.with_own)


def operable(given: Mapping[str, Any], *, label: str = "") -> Operable:
    """What rotates and revokes the access keys of those accounts."""
    return AccessKeys(_reach(given))


def sink(given: Mapping[str, Any]) -> SecretSink:
    """What leaves new secrets in their Secrets Manager."""
    return StagedSecrets(_reach(given))


def _reach(given: Mapping[str, Any]) -> Reach:
    account = _accounts(given)
    return Reach(account.aws, roles=account.roles, with_own=account.with_own)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accounts:
    aws: Aws
    roles: Sequence[Role]
    with_own: bool
    with_secrets: bool
    regions: Sequence[str]


def _accounts(given: Mapping[str, Any]) -> _Accounts:
    settings = Settings(given)
    aws = _identity(settings)
    roles = [_role(entry) for entry in settings.entries("roles", MOST_ROLES)]
    found = _Accounts(
        aws=aws,
        roles=roles,
        with_own=settings.flag("own_account", not roles),
        with_secrets=settings.flag("secrets", True),
        regions=[_region(entry) for entry in settings.entries("regions", MOST_REGIONS)] or [aws.region],
    )
    settings.end()
    return found


def _identity(settings: Settings) -> Aws:
    """Whom we are when we call AWS: a key by reference, or what this machine is lent where the settings say so."""
    endpoint = permitted_endpoint(settings.text("endpoint"))
    names: Sequence[Any] = settings.entries("regions", MOST_REGIONS)
    region = _region(names[0]) if names else DEFAULT_REGION
    bound_to = settings.text("bound_to") or AWS
    key_id, secret, token = (settings.text(name) for name in ("access_key_id", "secret_access_key", "session_token"))
    if settings.flag("use_machine_identity", False):
        if key_id or secret or token:
            raise Permanent("Either name a key, or use the identity of this machine: not both.")
        return Aws(None, region=region, endpoint=check_endpoint(endpoint))
    if not key_id or not secret:
        raise Permanent("Name access_key_id and a reference as secret_access_key, or set use_machine_identity.")
    # A signature proves the secret without sending it, but an address that was changed gets no signature either.
    resolve = partial(references().resolve, bound_to=bound_to, host=urlsplit(endpoint).netloc or AWS)
    key = Key(
        access_key_id=resolve(key_id).reveal() if "://" in key_id else key_id,
        secret_access_key=resolve(secret),
        session_token=resolve(token) if token else None,
    )
    return Aws(key, region=region, endpoint=check_endpoint(endpoint))


def _role(entry: Any) -> Role:
    if isinstance(entry, str):
        return Role(arn=entry.strip())
    if not isinstance(entry, dict):
        raise Permanent("A role is its ARN, or an object with arn and external_id.")
    settings = Settings(entry)
    role = Role(arn=settings.text("arn"), external_id=settings.text("external_id"))
    settings.end()
    return role


def _region(entry: Any) -> str:
    if not isinstance(entry, str):
        raise Permanent("A region is named like eu-central-1.")
    return known_region(entry.strip())
