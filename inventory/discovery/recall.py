"""A literal that a file holds, read again for showing it to who issued it: known by its fingerprint, kept nowhere."""

from collections.abc import Iterable
from hmac import compare_digest

from inventory.discovery.classify import Draft, Judge
from inventory.discovery.model import Class
from inventory.discovery.parse import parse
from inventory.discovery.scan import read_within
from inventory.fingerprints import fingerprint
from providers.base import Secret


class _Seeking(Judge):
    """Finds what discovery finds, and remembers the one value whose fingerprint is asked for."""

    def __init__(self, key: bytes, wanted: str) -> None:
        super().__init__(key)
        self._wanted = wanted
        self.found: Secret | None = None

    def settle(self, drafts: list[Draft]) -> list[Draft]:
        for draft in drafts:
            if self.found is None and draft.class_ is Class.LITERAL and self._is_wanted(draft.secret):
                self.found = Secret(draft.secret)
        return super().settle(drafts)

    def _is_wanted(self, secret: str) -> bool:
        return bool(secret) and compare_digest(fingerprint(secret, key=self.key), self._wanted)


def literal(path: str, *, places: Iterable[str], wanted: str, key: bytes) -> Secret | None:
    """The literal of this fingerprint in a file of these places; None where there is none any more.

    A file that cannot be read, or lies elsewhere once its links are followed, holds none.
    """
    data = read_within(path, places)
    if not data or not wanted:
        return None
    seeking = _Seeking(key, wanted)
    parse(data, path=path, client=None, judge=seeking)
    return seeking.found
