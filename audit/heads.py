"""Sign the chain's head with Ed25519, so that once it is exported not even a database administrator rewrites unseen.

The private key is a file. It changes hands in three steps that a crash may part: the next key is written beside it, the
database says that it signs from here on, it takes the file's place. `signing_key` finishes what it finds unfinished.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection

from access.actors import Actor
from audit.actions import action, record
from audit.errors import ChainKeyMissing, ChainKeyUnknown
from audit.events import Event
from audit.models import AuditEntry, ChainHead, ChainKey
from audit.signing import Key, fingerprint, public, signed_head, signed_key


def _one_at_a_time() -> None:
    """Whoever signs or changes the key waits for the others here, before they wait for the chain."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('keyreeve chain heads', 0))")


def read_key(path: Path) -> Ed25519PrivateKey | None:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as exc:
        raise ChainKeyUnknown(f"{path} is not a key that signs chain heads: 64 hexadecimal digits.") from exc


def write_key(path: Path) -> Ed25519PrivateKey:
    """A new key at a path where nothing is, readable by us alone, and on the disk before anybody relies on it."""
    key = Ed25519PrivateKey.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def signing_key(path: Path, *, now: datetime, actor: Actor) -> Ed25519PrivateKey:
    """The key that signs now. Makes the first one; raises ChainKeyMissing or ChainKeyUnknown for any other trouble."""
    current = ChainKey.objects.first()
    _finish_rotation(path, current)
    key = read_key(path)
    if current is None:
        if key is None:
            key = write_key(path)
        _begin(key, now=now, actor=actor)
    elif key is None:
        raise ChainKeyMissing(
            f"{path} is not there, and {current} signs chain heads. Put it back, or begin another one: "
            "manage.py chain_key --lost."
        )
    elif public(key) != bytes(current.public_key):
        raise ChainKeyUnknown(
            f"{path} is not {current}, which signs chain heads. Give every host the same file, "
            "or begin another key: manage.py chain_key --lost."
        )
    return key


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _finish_rotation(path: Path, current: ChainKey | None) -> None:
    following = read_key(_next(path))
    if following is None:
        return
    if current is not None and public(following) == bytes(current.public_key):
        _next(path).replace(path)
    else:
        _next(path).unlink()  # nobody was told of it


@action
def _begin(key: Ed25519PrivateKey, *, now: datetime, actor: Actor) -> None:
    """Make `key` the first one."""
    _one_at_a_time()
    if ChainKey.objects.exists():  # somebody else was quicker, with the same file or with another one
        return
    row = _kept(signed_key(public(key), 0, now, key))
    record(Event.CHAIN_KEY_BEGUN, actor=actor, subject=row, detail={"public_key": bytes(row.public_key).hex()})


def _kept(key: Key) -> ChainKey:
    row = ChainKey(
        public_key=key.public_key, signer=key.signer, after=key.after, began_at=key.began_at, signature=key.signature
    )
    row.save(force_insert=True)
    return row


@action
def sign_head(key: Ed25519PrivateKey, *, now: datetime, actor: Actor) -> ChainHead | None:
    """Sign the last entry. None when there is none, or when nothing but the last signing has happened since."""
    _one_at_a_time()
    last = AuditEntry.objects.order_by("-seq").first()
    if last is None or last.event == Event.CHAIN_HEAD_SIGNED.value:
        return None
    signed = signed_head(last.seq, bytes(last.hash), now, key)
    head = ChainHead(
        seq=signed.seq,
        hash=signed.hash,
        signed_at=signed.signed_at,
        signature=signed.signature,
        public_key=signed.public_key,
    )
    head.save(force_insert=True)
    record(Event.CHAIN_HEAD_SIGNED, actor=actor, subject=head, detail={"seq": head.seq, "hash": signed.hash.hex()})
    return head


def rotate_key(
    path: Path, *, clock: Callable[[], datetime], actor: Actor, reason: str, is_lost: bool = False
) -> ChainKey:
    """Begin a new key. The one before signs what there is, vouches for the new one and is gone then.

    Of a lost key nothing vouches for the next: auditors have to be told the new one by another way.
    """
    old = None
    if is_lost:
        _finish_rotation(path, ChainKey.objects.first())
    else:
        old = signing_key(path, now=clock(), actor=actor)
        sign_head(old, now=clock(), actor=actor)
    following = _next(path)
    following.unlink(missing_ok=True)
    row = _follow(old, write_key(following), now=clock(), actor=actor, reason=reason)
    following.replace(path)
    return row


@action
def _follow(
    old: Ed25519PrivateKey | None, new: Ed25519PrivateKey, *, now: datetime, actor: Actor, reason: str
) -> ChainKey:
    _one_at_a_time()
    before = ChainKey.objects.first()
    if old is not None and before is not None and public(old) != bytes(before.public_key):
        raise ChainKeyUnknown(f"{before} has begun in the meantime.")
    after = ChainHead.objects.values_list("seq", flat=True).first() or 0
    row = _kept(signed_key(public(new), after, now, old or new))
    record(
        Event.CHAIN_KEY_LOST if old is None else Event.CHAIN_KEY_ROTATED,
        actor=actor,
        subject=row,
        detail={
            "from": before and fingerprint(bytes(before.public_key)),
            "to": fingerprint(bytes(row.public_key)),
            "public_key": bytes(row.public_key).hex(),
            "after": after,
            "reason": reason,
        },
    )
    return row
