"""Who holds the secret of a version, so that it can be shown to its provider: found, shown, and kept nowhere."""

from collections.abc import Iterator
from functools import cached_property
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
from lifecycle.engine.reach import Reach
from lifecycle.models import Delivery
from providers.base import Secret, SecretSink
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


class Places:
    """Where the secrets of one credential are held. The rows are read once, the places every time."""

    def __init__(self, credential: Credential, reach: Reach) -> None:
        self.credential, self._reach = credential, reach

    @cached_property
    def delivery(self) -> Delivery | None:
        rows = Delivery.objects.select_related("connection").filter(credential=self.credential)
        return next(iter(rows.order_by()), None)

    @cached_property
    def sink(self) -> SecretSink:
        if self.delivery is None:
            raise Permanent("Nobody says any more where the new secret goes. Set a place of delivery, then resume.")
        return self._reach.sink(self.delivery)

    @cached_property
    def exposures(self) -> list[Exposure]:
        seen = Exposure.objects.present().filter(credential=self.credential, connection__kind=ConnectionKind.MCP_CONFIG)
        return list(seen.select_related("connection").order_by("-id")[:MOST_EXPOSURES])

    def present(self, version: CredentialVersion) -> Secret | None:
        """The secret of this version, from wherever it is held; None where it is held nowhere that can be read.

        Where it is delivered, where a reference names it, and where a file of this machine holds it as a literal.
        Raises `ProviderError` where such a place does not answer, and no other has it.
        """
        silent: ProviderError | None = None
        for held in (self._delivered(), _referenced(self.credential), self._exposed(version)):
            try:
                for secret in held:
                    if is_of(version, secret, lasting_key()):
                        return secret
            except ProviderError as exc:
                silent = silent or exc
        if silent is not None:
            raise silent
        return None

    def _delivered(self) -> Iterator[Secret]:
        if self.delivery is None:
            return
        found = self.sink.read(self.delivery.location)
        if found is not None:
            yield found.secret

    def _exposed(self, version: CredentialVersion) -> Iterator[Secret]:
        """The literal in a file where it was seen, if the file is one of this machine and still holds it."""
        if not version.fingerprint:
            return
        for exposure in self.exposures:
            known = exposure.connection.settings
            paths = [str(settings.MACHINE_HOME)] if known.get("this_machine") else map(str, known.get("paths", []))
            found = literal(exposure.file, places=list(paths), wanted=version.fingerprint, key=lasting_key())
            if found is not None:
                yield found


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
