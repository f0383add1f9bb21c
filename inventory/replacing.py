"""Puts a reference in place of a literal secret in a client's configuration: seen first, then written at once."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from access.actors import Actor
from inventory.actions.exposures import record_replaced
from inventory.discovery import values
from inventory.discovery.clients import CLIENTS
from inventory.errors import NotReplaceable
from inventory.fingerprints import fingerprint
from inventory.models import Exposure, Use
from inventory.outside import delivery_folders, file_sink
from inventory.spellings import SPELLINGS, is_name
from inventory.states import ConnectionKind
from providers.base import Delivered, Secret
from providers.errors import ProviderError
from providers.folders import PREFIX, Content, Place
from providers.literals import MOST, Document, Found, document, find, line_of, parts, replaced

LABELS = {client.slug: client.label for client in CLIENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would change: one value of one file. Holds no secret.

    `digest` is of the file that was looked at: what is written must be what was seen.
    """

    path: str
    pointer: str
    line: int
    before: str
    after: str
    reference: str
    digest: str

    def lines(self) -> list[str]:
        """The change as a diff shows it."""
        return [
            f"--- {self.path}",
            f"+++ {self.path}",
            f"@@ line {self.line}: {self.pointer} @@",
            f"-{self.before}",
            f"+{self.after}",
        ]


def preview(exposure: Exposure, *, reference: str, key: bytes) -> Change:
    """What `replace` would do. Raises NotReplaceable and `ProviderError` with what is in the way."""
    spelled = spell(exposure, reference)
    with delivery_folders().opened(exposure.file) as place:
        return _Looked(place, exposure, key=key).change(spelled)


def replace(
    exposure: Exposure,
    *,
    reference: str,
    key: bytes,
    actor: Actor,
    now: datetime,
    digest: str = "",
    deliver_to: str = "",
) -> Change:
    """Put the reference in the literal's place. `digest` is of the file as it was seen; empty: as it is now.

    With `deliver_to`, a place in a file as the file sink has it, the secret goes there first.
    """
    spelled = spell(exposure, reference)
    with delivery_folders().opened(exposure.file) as place:
        looked = _Looked(place, exposure, key=key)
        change = looked.change(spelled)
        if digest and digest != change.digest:
            raise NotReplaceable("The file changed since it was looked at. Nothing was written; look again.")
        if deliver_to:
            _deliver(deliver_to, looked.secret, request_key=f"replace:{exposure.pk}")
        looked.write(spelled)
    record_replaced(exposure, reference=spelled, line=change.line, delivered_to=deliver_to, actor=actor, now=now)
    return change


def spell(exposure: Exposure, reference: str) -> str:
    """The reference as the client of this file reads it. A bare name is a variable; all else must be a reference."""
    if exposure.connection.kind != ConnectionKind.MCP_CONFIG or exposure.gone_at is not None:
        raise NotReplaceable("Only a literal that is present in a file of this machine is replaced here.")
    text = reference.strip()
    if is_name(text):
        product = product_of(exposure)
        pattern = SPELLINGS.get(product, "")
        if not pattern:
            label = LABELS.get(product, "This client")
            raise NotReplaceable(
                f"{label} is not known to read variables in its configuration. Give the whole reference as whatever "
                "starts it reads it, or let rotations deliver into the file."
            )
        return pattern.replace("NAME", text)
    found, rest = values.interpolations(text)
    is_whole = len(found) == 1 and not rest.strip() and found[0].default is None
    if not is_whole and values.reference_of(text) is None:
        raise NotReplaceable("A reference is the name of a variable, or a whole reference such as ${env:NAME}.")
    return text


def product_of(exposure: Exposure) -> str:
    use = (
        Use.objects.present()
        .filter(connection_id=exposure.connection_id, file=exposure.file, credential_id=exposure.credential_id)
        .select_related("client")
        .first()
    )
    return use.client.product if use is not None else ""


class _Looked:
    """One file as it is now, and the literal in it."""

    def __init__(self, place: Place, exposure: Exposure, *, key: bytes) -> None:
        self._place, self._exposure = place, exposure
        content = place.read(MOST)
        if content is None:
            raise NotReplaceable(f"{exposure.file} is not there any more; the next sync tells.")
        self._content: Content = content
        self._read: Document = document(content.data, exposure.file)
        found = find(self._read, exposure.pointer)
        wanted = exposure.credential.fingerprint
        secret = next((each for each in parts(found.value) if _is(each, wanted, key)), "") if found else ""
        if found is None or not secret:
            raise NotReplaceable(
                f"{exposure.pointer} of {exposure.file} does not hold this secret any more. Nothing was written; "
                "the next sync tells what is there."
            )
        self._found: Found = found
        self.secret = Secret(secret)

    def change(self, reference: str) -> Change:
        text = replaced(self._read, self._found, self.secret.reveal(), reference)
        before, after = self._found.value.split(self.secret.reveal())
        before, after = _shown(before), _shown(after)
        return Change(
            path=self._exposure.file,
            pointer=self._found.pointer,
            line=line_of(self._read.text, text),
            before=f"{before}{self._hint}{after}",
            after=f"{before}{reference}{after}",
            reference=reference,
            digest=sha256(self._content.data).hexdigest(),
        )

    def write(self, reference: str) -> None:
        """The backup first; then the file as a whole, if it is still what was looked at."""
        text = replaced(self._read, self._found, self.secret.reveal(), reference)
        backup = replaced(self._read, self._found, self.secret.reveal(), f"<removed {self._hint}>")
        now = self._place.read(MOST)
        if now is None or now.data != self._content.data:
            raise NotReplaceable("The file changed while it was looked at. Nothing was written; look again.")
        self._place.beside(f"{PREFIX}{self._place.name}.before").write(backup.encode())
        self._place.write(text.encode(), like=self._content)

    @property
    def _hint(self) -> str:
        return self._exposure.credential.hint or "…"


def _is(text: str, wanted: str, key: bytes) -> bool:
    return bool(text) and bool(wanted) and fingerprint(text, key=key) == wanted


def _shown(text: str) -> str:
    """What stands beside a secret, without what may be another one."""
    return " ".join("…" if values.is_random(word) or "@" in word else word for word in text.split(" "))[-80:]


def _deliver(location: str, secret: Secret, *, request_key: str) -> None:
    sink = file_sink()
    sink.store(location, Delivered(secret=secret), request_key=request_key)
    try:
        sink.promote(location, request_key=request_key)
    except ProviderError:
        sink.roll_back(location, request_key=request_key)
        raise
    sink.settle(location, request_key=request_key)
