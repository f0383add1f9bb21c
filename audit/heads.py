"""Sign the chain's head with Ed25519 and export it: then not even a database administrator can rewrite unseen."""

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry, ChainHead


def message(seq: int, digest: bytes, signed_at: datetime) -> bytes:
    return f"keyreeve chain head 1\n{seq}\n{digest.hex()}\n{signed_at.isoformat()}\n".encode()


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key at `path`; made there (0600) when there is none yet."""
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text().strip()))
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(key.private_bytes_raw().hex() + "\n")
        return key


@action
def sign_head(key: Ed25519PrivateKey, *, now: datetime, actor: Actor) -> ChainHead | None:
    """Sign the last entry. None when there is none, or when nothing but the last signing has happened since."""
    last = AuditEntry.objects.order_by("-seq").first()
    if last is None or last.event == Event.CHAIN_HEAD_SIGNED.value:
        return None
    head = ChainHead(
        seq=last.seq,
        hash=bytes(last.hash),
        signed_at=now,
        signature=key.sign(message(last.seq, bytes(last.hash), now)),
        public_key=key.public_key().public_bytes_raw(),
    )
    head.save(force_insert=True)
    record(Event.CHAIN_HEAD_SIGNED, actor=actor, subject=head, detail={"seq": head.seq, "hash": head.hash.hex()})
    return head


def export_head(head: ChainHead, folder: Path) -> Path:
    """Write `head` as one small JSON file, readable without Keyreeve."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{head.seq:012d}.json"
    content = {
        "seq": head.seq,
        "hash": bytes(head.hash).hex(),
        "signed_at": head.signed_at.isoformat(),
        "signature": bytes(head.signature).hex(),
        "public_key": bytes(head.public_key).hex(),
    }
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)
    return path


class HeadUnreadable(Exception):
    """An exported head is not what a head looks like."""


def exported_heads(folder: Path) -> Iterator[tuple[Path, int, bytes, datetime, bytes, bytes]]:
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text())
            yield (
                path,
                int(content["seq"]),
                bytes.fromhex(content["hash"]),
                datetime.fromisoformat(content["signed_at"]),
                bytes.fromhex(content["signature"]),
                bytes.fromhex(content["public_key"]),
            )
        except (ValueError, KeyError, TypeError, OSError) as exc:
            raise HeadUnreadable(f"{path.name} is not a chain head") from exc


def first_broken_head(folder: Path, *, trusted_key: bytes | None = None) -> str | None:
    """Compare every exported head with the chain; what is wrong with the first that does not hold, or None.

    `trusted_key` is a public key the auditor holds from elsewhere; without it a head is only checked against itself.
    """
    for path, seq, digest, signed_at, signature, public_key in exported_heads(folder):
        if trusted_key is not None and public_key != trusted_key:
            return f"{path.name} is signed by another key"
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message(seq, digest, signed_at))
        except (InvalidSignature, ValueError):
            return f"{path.name} has a signature that does not hold"
        entry = AuditEntry.objects.filter(seq=seq).values_list("hash", flat=True).first()
        if entry is None:
            return f"entry {seq} was signed as a head and is gone"
        if bytes(entry) != digest:
            return f"entry {seq} is not the one that was signed as a head"
    return None
