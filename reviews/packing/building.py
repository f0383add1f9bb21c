"""Build a pack that was asked for: one lease, one snapshot, one file that appears when it is whole."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection as database
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, QueryDict

from access.actors import Actor
from audit.errors import AuditError
from audit.heads import signing_key
from history.past import NoSuchPast, check, looking_at
from inventory.models import Credential
from lifecycle.filters import CredentialPageFilter
from reviews.actions.evidence import claim, fail, finish, remove
from reviews.measured import ROWS
from reviews.models import EvidencePack
from reviews.packing.archive import BLOCK
from reviews.packing.lists import sources
from reviews.packing.metrics import SUBJECTS
from reviews.packing.writing import Inputs, write_pack
from reviews.packs import LEASE, PackLost, PackMissing, PackNotReady, PackRemoved, PackState

logger = logging.getLogger(__name__)
Clock = Callable[[], datetime]
SYSTEM = Actor.system("evidence")
SAID_EVERY = timedelta(seconds=1)
ZIP = "application/zip"
AT_ONCE = 1_000  # old files that one run removes
LAST_STEPS = 3  # sample, OSCAL, audit segment
_KEEP = """
UPDATE reviews_evidencepack SET step = %s, done = %s, total = %s, lease_until = %s
WHERE id = %s AND lease_token = %s
"""


def population_of(query: str) -> QuerySet[Credential]:
    """The credentials that a filter leaves, as the list of credentials has it; ValidationError where it is wrong."""
    filters = CredentialPageFilter(QueryDict(query), queryset=Credential.objects.all())
    if not filters.form.is_valid():
        raise ValidationError({name: [str(each) for each in texts] for name, texts in filters.errors.items()})
    unknown = sorted(set(QueryDict(query)) - set(filters.base_filters))
    if unknown:
        raise ValidationError({name: ["There is no such filter of credentials."] for name in unknown})
    found: QuerySet[Credential] = filters.qs
    return found


def place_of(pack: EvidencePack) -> Path:
    return Path(settings.EVIDENCE_DIR) / pack.file_name


def opened(pack: EvidencePack) -> IO[bytes]:
    """The file of a pack that is ready."""
    if pack.state == PackState.REMOVED:
        raise PackRemoved
    if pack.state != PackState.READY:
        raise PackNotReady
    try:
        return place_of(pack).open("rb")
    except FileNotFoundError as exc:
        raise PackMissing from exc


def served(pack: EvidencePack) -> FileResponse:
    """The ZIP, streamed. Its digest is the entity tag and stands in a header of its own."""
    response = FileResponse(opened(pack), as_attachment=True, filename=pack.download_name, content_type=ZIP)
    response["ETag"] = f'"{pack.sha256}"'
    response["Digest"] = f"sha-256={pack.sha256}"
    response["Cache-Control"] = "private, no-cache"
    return response


def build(pk: UUID, *, clock: Clock, key: Ed25519PrivateKey | None = None) -> bool:
    """Build the pack, unless somebody else does. Whether it was built here.

    What goes wrong is told on its page; a worker that dies leaves a lease that runs out, and the sweep begins again.
    """
    token = claim(pk, clock(), actor=SYSTEM)
    if token is None:
        return False
    pack = EvidencePack.objects.get(pk=pk)
    place = place_of(pack)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = place.with_name(f"{place.name}.{token.hex}.part")
    try:
        # Before the snapshot: the first time anybody signs, the key begins, and that is written.
        signer = key or signing_key(settings.CHAIN_KEY, now=clock(), actor=SYSTEM)
        with _told(pack, token, clock) as progress, _new(partial) as file, _estate(pack, clock) as taken_at:
            inputs = Inputs(
                purpose=pack.purpose,
                begins_at=pack.begins_at,
                taken_at=taken_at,
                ends_at=pack.ends_at,
                release=settings.VERSION,
                sample_size=pack.sample_size,
                sample_seed=pack.sample_seed,
                sample_filter=pack.sample_filter,
                population=population_of(pack.sample_filter) if pack.sample_size else None,
            )
            written = write_pack(file, inputs, key=signer, progress=progress)
            os.fsync(file.fileno())
        digest, size = _digest(partial)
        built = {
            "taken_at": taken_at,
            "size": size,
            "sha256": digest,
            "manifest_sha256": written.manifest_sha256,
            "summary": written.summary,
        }
        partial.replace(place)  # before the row says so: a file without a row is nothing, a row without one a lie
        finish(pk, token, built, actor=SYSTEM, now=clock())
    except PackLost:
        logger.warning("another worker builds evidence pack %s now", pk)
        return False
    except (OSError, ValidationError, AuditError, NoSuchPast) as exc:
        fail(pk, token, _words(exc), actor=SYSTEM)
        return False
    finally:
        partial.unlink(missing_ok=True)
    return True


def _words(exc: Exception) -> str:
    if isinstance(exc, AuditError | NoSuchPast):
        return str(exc)
    if isinstance(exc, OSError):
        return f"Its file could not be written: {exc.strerror or type(exc).__name__}."
    return "The filter of its sample is not understood any more."


def _new(path: Path) -> IO[bytes]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "w+b")


@contextmanager
def one_snapshot() -> Iterator[datetime]:
    """A transaction in which every statement sees the same; its instant. Within another one that one's rules hold."""
    is_outermost = not database.in_atomic_block
    with transaction.atomic():
        with database.cursor() as cursor:
            if is_outermost:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT now()")
            (taken_at,) = cursor.fetchone()
        yield taken_at


@contextmanager
def _estate(pack: EvidencePack, clock: Clock) -> Iterator[datetime]:
    """One snapshot of the estate as the pack shows it, and of which instant: of a past one all that keeps its past."""
    with one_snapshot() as taken_at:
        if pack.ends_at is None:
            yield taken_at
            return
        check(pack.ends_at, now=clock())  # versions may have been forgotten since it was asked for
        with looking_at(pack.ends_at, is_gathering=True):
            yield pack.ends_at


def remove_old(before: datetime, *, clock: Clock) -> int:
    """Remove the files of packs that were built before then; how many. Their rows stay.

    The file goes first: who dies in between leaves a row without one, and the next to come ends it.
    """
    old = list(EvidencePack.objects.built_before(before).order_by("pk")[:AT_ONCE])
    for pack in old:
        place_of(pack).unlink(missing_ok=True)
        remove(pack.pk, actor=SYSTEM, now=clock())
    return len(old)


@contextmanager
def _told(pack: EvidencePack, token: UUID, clock: Clock) -> Iterator[Callable[[str], None]]:
    """Say how far it is and keep the lease, by a connection of its own: the snapshot sees and commits nothing."""
    beside = database.copy()
    total = len(sources(pack.begins_at, pack.ends_at)) + len(SUBJECTS) + len(ROWS) + LAST_STEPS
    begun: set[str] = set()
    said_at = clock() - SAID_EVERY

    def progress(step: str) -> None:
        nonlocal said_at
        begun.add(step.partition(",")[0].removesuffix(" as CSV"))
        now = clock()
        if now - said_at < SAID_EVERY:
            return
        said_at = now
        with beside.cursor() as cursor:
            cursor.execute(_KEEP, [step, min(len(begun), total), total, now + LEASE, pack.pk, token])
            if not cursor.rowcount:
                raise PackLost

    try:
        yield progress
    finally:
        beside.close()


def _digest(path: Path) -> tuple[str, int]:
    digest, size = sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size
