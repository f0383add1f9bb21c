"""Who holds the secret of a version, so that it can be shown to its provider: found, shown, and kept nowhere."""

from hmac import compare_digest

from django.conf import settings

from inventory.discovery.keys import fingerprint_key
from inventory.errors import NoFingerprintKey
from inventory.fingerprints import fingerprint
from inventory.models import Credential, CredentialVersion
from lifecycle.engine.reach import REACH, Reach
from lifecycle.models import Delivery
from providers.base import Delivered, Secret


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

    Raises `ProviderError` where such a place does not answer.
    """
    return _delivered(credential, version, reach)


def _delivered(credential: Credential, version: CredentialVersion, reach: Reach) -> Secret | None:
    delivery = Delivery.objects.select_related("connection").filter(credential=credential).first()
    if delivery is None:
        return None
    found: Delivered | None = reach.sink(delivery).read(delivery.location)
    return found.secret if found is not None and is_of(version, found.secret, lasting_key()) else None
