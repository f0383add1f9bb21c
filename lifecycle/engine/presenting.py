"""Who holds the secret of a version, so that it can be shown to its provider: found, shown, and kept nowhere."""

from collections.abc import Iterator
from hmac import compare_digest
from urllib.parse import urlsplit

from django.conf import settings

from inventory.discovery.keys import fingerprint_key
from inventory.discovery.recall import literal
from inventory.errors import NoFingerprintKey
from inventory.fingerprints import fingerprint
from inventory.models import Connection, Credential, CredentialVersion, Exposure
from inventory.outside import references
from inventory.states import ConnectionKind
from lifecycle.engine.reach import REACH, Reach
from lifecycle.models import Delivery
from providers.base import Delivered, Secret
from providers.errors import Permanent, ProviderError

MOST_REFERENCES = 500
MOST_EXPOSURES = 20


def lasting_key() -> bytes:
    """The key of the fingerprints. Raises NoFingerprintKey rather than make some that nothing can be held against."""
    key, is_kept = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
    if not is_kept:
        raise NoFingerprintKey
    return key


def is_of(version: CredentialVersion, secret: Secret, key: bytes) -> bool:
    return bool(version.fingerprint) and compare_digest(fingerprint(secret.reveal(), key=key), version.fingerprint)


def present(credential: Credential, version: CredentialVersion, *, reach: Reach = REACH) -> Secret | None:
    """The secret of this version, from wherever it is held; None where it is held nowhere that can be read.

    Where it is delivered, where a reference names it, and where a file of this machine holds it as a literal. Raises
    `ProviderError` where such a place does not answer, and no other has it.
    """
    silent: ProviderError | None = None
    for held in (_delivered(credential, reach), _referenced(credential), _exposed(credential, version)):
        try:
            for secret in held:
                if is_of(version, secret, lasting_key()):
                    return secret
        except ProviderError as exc:
            silent = silent or exc
    if silent is not None:
        raise silent
    return None


def _delivered(credential: Credential, reach: Reach) -> Iterator[Secret]:
    delivery = Delivery.objects.select_related("connection").filter(credential=credential).first()
    if delivery is None:
        return
    found: Delivered | None = reach.sink(delivery).read(delivery.location)
    if found is not None:
        yield found.secret


def _referenced(credential: Credential) -> Iterator[Secret]:
    """What the credential's own reference leads to, then what its connection names, as far as they may be read here."""
    connection = credential.connection
    named = [credential.reference]
    if connection.kind == ConnectionKind.OAUTH:
        named += [*connection.settings.get("tokens", []), *connection.settings.get("refresh_tokens", [])]
    # What a connection names is meant for its host, and that is where its provider sends it.
    bound_to = bound_host(connection)
    for reference in dict.fromkeys(each for each in named[:MOST_REFERENCES] if isinstance(each, str)):
        try:
            yield references().resolve(reference, bound_to=bound_to, host=bound_to)
        except Permanent:
            continue  # one of those that a file names and only its client understands, or one that is not open here


def bound_host(connection: Connection) -> str:
    """The host that a connection's secrets are meant for; empty where it says none, which nothing is sent to."""
    if named := connection.settings.get("bound_to"):
        return str(named)
    issuer = connection.settings.get("issuer", "") if connection.kind == ConnectionKind.OAUTH else ""
    return urlsplit(str(issuer)).netloc.rpartition("@")[2]


def _exposed(credential: Credential, version: CredentialVersion) -> Iterator[Secret]:
    """The literal in a file where it was seen, if the file is one of this machine and still holds it."""
    if not version.fingerprint:
        return
    seen = Exposure.objects.present().filter(credential=credential, connection__kind=ConnectionKind.MCP_CONFIG)
    for exposure in seen.select_related("connection").order_by("-id")[:MOST_EXPOSURES]:
        known = exposure.connection.settings
        places = [str(settings.MACHINE_HOME)] if known.get("this_machine") else [str(p) for p in known.get("paths", [])]
        found = literal(exposure.file, places=places, wanted=version.fingerprint, key=lasting_key())
        if found is not None:
            yield found
