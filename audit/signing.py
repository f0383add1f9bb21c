"""What is signed with Ed25519, pure: chain heads, and the keys that sign them, each vouched for by the one before.

A document is one small JSON file, readable and verifiable without Keyreeve: docs/audit.md says how.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from audit.errors import HeadUnreadable

HEAD_SUFFIX, KEY_SUFFIX = ".json", ".key.json"


@dataclass(frozen=True, slots=True)
class Head:
    """The hash of one entry, signed."""

    seq: int
    hash: bytes
    signed_at: datetime
    public_key: bytes
    signature: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.seq:012d}{HEAD_SUFFIX}"

    def message(self) -> bytes:
        return f"keyreeve chain head 1\n{self.seq}\n{self.hash.hex()}\n{self.signed_at.isoformat()}\n".encode()

    def holds(self) -> bool:
        return _holds(self.public_key, self.signature, self.message())

    def document(self) -> bytes:
        return _document(
            seq=self.seq,
            hash=self.hash.hex(),
            signed_at=self.signed_at.isoformat(),
            signature=self.signature.hex(),
            public_key=self.public_key.hex(),
        )


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and from where on it signs: heads of entries behind `after`. Its `signer` vouches for it.

    The first key vouches for itself, and so does one that follows a key that was lost.
    """

    public_key: bytes
    signer: bytes
    after: int
    began_at: datetime
    signature: bytes = b""

    @property
    def name(self) -> str:
        return f"{self.after:012d}-{fingerprint(self.public_key)[:16]}{KEY_SUFFIX}"

    @property
    def is_vouched_for(self) -> bool:
        return self.signer != self.public_key

    def message(self) -> bytes:
        said = f"{self.public_key.hex()}\n{self.signer.hex()}\n{self.after}\n{self.began_at.isoformat()}"
        return f"keyreeve chain key 1\n{said}\n".encode()

    def holds(self) -> bool:
        return _holds(self.signer, self.signature, self.message())

    def document(self) -> bytes:
        return _document(
            public_key=self.public_key.hex(),
            signer=self.signer.hex(),
            after=self.after,
            began_at=self.began_at.isoformat(),
            signature=self.signature.hex(),
        )


def signed_head(seq: int, digest: bytes, at: datetime, key: Ed25519PrivateKey) -> Head:
    draft = Head(seq, digest, at, public(key))
    return Head(seq, digest, at, draft.public_key, key.sign(draft.message()))


def signed_key(public_key: bytes, after: int, at: datetime, signer: Ed25519PrivateKey) -> Key:
    draft = Key(public_key, public(signer), after, at)
    return Key(public_key, draft.signer, after, at, signer.sign(draft.message()))


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def fingerprint(public_key: bytes) -> str:
    """What two people compare by voice."""
    return sha256(public_key).hexdigest()


def pem(public_key: bytes) -> str:
    """As `openssl` takes it."""
    loaded = Ed25519PublicKey.from_public_bytes(public_key)
    return loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _holds(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _document(**content: str | int) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def parsed(name: str, content: bytes) -> Head | Key:
    """The head or key in a document. Raises HeadUnreadable."""
    try:
        said = json.loads(content)
        if name.endswith(KEY_SUFFIX):
            return Key(
                public_key=bytes.fromhex(said["public_key"]),
                signer=bytes.fromhex(said["signer"]),
                after=int(said["after"]),
                began_at=datetime.fromisoformat(said["began_at"]),
                signature=bytes.fromhex(said["signature"]),
            )
        return Head(
            seq=int(said["seq"]),
            hash=bytes.fromhex(said["hash"]),
            signed_at=datetime.fromisoformat(said["signed_at"]),
            public_key=bytes.fromhex(said["public_key"]),
            signature=bytes.fromhex(said["signature"]),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise HeadUnreadable(f"{name} is not a chain {'key' if name.endswith(KEY_SUFFIX) else 'head'}") from exc


@dataclass
class Signed:
    """What a place's documents say together: the hashes signed, and the first thing that does not hold."""

    heads: dict[int, bytes] = field(default_factory=dict)
    last: Head | None = None
    keys: list[Key] = field(default_factory=list)
    by_given_keys: int = 0
    by_earlier_keys: int = 0
    problem: str | None = None


def signed(documents: Iterable[tuple[str, bytes]], *, trusted: Iterable[bytes] = ()) -> Signed:
    """Check every signature, who vouches for whom, and that each key signed only within its period.

    `trusted` are public keys that the reader holds from elsewhere; without them documents are only checked against
    each other. A key that a trusted one vouches for is trusted; heads of keys before it say less and are told apart.
    """
    found = Signed()
    heads: list[tuple[str, Head]] = []
    keys: dict[bytes, Key] = {}
    try:
        for name, content in documents:
            each = parsed(name, content)
            if not each.holds():
                found.problem = found.problem or f"{name} has a signature that does not hold"
            elif each.name != name:
                found.problem = found.problem or f"{name} is a document of another name, {each.name}"
            elif isinstance(each, Head):
                heads.append((name, each))
            elif each.public_key in keys:
                found.problem = found.problem or f"{name} begins a key that had begun before"
            else:
                keys[each.public_key] = each
    except HeadUnreadable as exc:
        found.problem = str(exc)
    found.keys = sorted(keys.values(), key=lambda key: (key.after, key.began_at))
    until: dict[bytes, int] = {}
    for key in found.keys:
        if key.is_vouched_for and key.signer in until:
            found.problem = found.problem or f"{key.name}: the key before it had vouched for another one already"
        if key.is_vouched_for:
            until[key.signer] = key.after
    given = set(trusted)
    accepted, earlier = _following(given, found.keys), _before(given, keys)
    for name, head in sorted(heads, key=lambda pair: pair[1].seq):
        problem = None
        if given and head.public_key not in accepted | earlier:
            problem = f"{name} is signed by another key"
        elif (began := keys.get(head.public_key)) and head.seq <= began.after:
            problem = f"{name} is signed by a key that began only later"
        elif head.seq > until.get(head.public_key, head.seq):
            problem = f"{name} is signed by a key that had been replaced"
        found.problem = found.problem or problem
        found.heads[head.seq] = head.hash
        found.last = head
        found.by_given_keys += head.public_key in accepted
        found.by_earlier_keys += head.public_key in earlier - accepted
    if given and heads and not found.by_given_keys and not found.problem:
        found.problem = "no head is signed by a given key"
    return found


def _following(given: set[bytes], keys: Iterable[Key]) -> set[bytes]:
    """The given keys and those that they vouch for, in the order in which they began."""
    accepted = set(given)
    for key in keys:
        if key.signer in accepted:
            accepted.add(key.public_key)
    return accepted


def _before(given: set[bytes], keys: Mapping[bytes, Key]) -> set[bytes]:
    """The keys that a given one came after."""
    found: set[bytes] = set()
    left = list(given)
    while left:
        key = keys.get(left.pop())
        if key is not None and key.is_vouched_for and key.signer not in found:
            found.add(key.signer)
            left.append(key.signer)
    return found
