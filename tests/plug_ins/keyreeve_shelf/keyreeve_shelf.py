"""A provider and a sink in a folder, as a package of somebody else would bring them to Keyreeve.

Each credential is a file of versions; of a secret only its digest is kept there.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    Delivered,
    DiscoveredCredential,
    DiscoveredVersion,
    Issued,
    Liveness,
    Secret,
    Seen,
    Status,
)
from providers.errors import Permanent


def connect(settings, *, resolve):
    return Shelf(_folder(settings))


def connect_sink(settings, *, resolve):
    return ShelfSink(_folder(settings))


def _folder(settings) -> Path:
    folder = Path(settings.get("folder", ""))
    if not folder.is_absolute() or not folder.is_dir():
        raise Permanent("The setting folder is the whole path of a folder that is there.")
    return folder


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


class Shelf:
    capabilities = frozenset(
        {
            Capability.ISSUE,
            Capability.SUSPEND,
            Capability.DESTROY,
            Capability.LISTS_VERSIONS,
            Capability.PRESENTS,
        }
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self) -> str:
        return f"There are {len(list(self._folder.glob('*.json')))} credentials on the shelf."

    def discover(self) -> Iterator[DiscoveredCredential]:
        for path in sorted(self._folder.glob("*.json")):
            for external_id, held in json.loads(path.read_text()).items():
                yield DiscoveredCredential(
                    identity=f"shelf:{path.stem}",
                    name=path.stem,
                    kind="api_key",
                    principal=path.stem,
                    external_id=external_id,
                    status=Status(held["status"]),
                    issued_at=datetime.fromisoformat(held["issued_at"]),
                )

    def versions(self, ref: CredentialRef) -> list[DiscoveredVersion]:
        return [
            DiscoveredVersion(
                external_id=external_id,
                status=Status(held["status"]),
                issued_at=datetime.fromisoformat(held["issued_at"]),
                mark=held["mark"],
            )
            for external_id, held in self._held(ref).items()
        ]

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        held = self._held(ref)
        external_id, secret, now = f"shelf-{secrets.token_hex(6)}", secrets.token_urlsafe(24), datetime.now(UTC)
        held[external_id] = {
            "digest": _digest(secret),
            "status": Status.ACTIVE.value,
            "issued_at": now.isoformat(),
            "mark": request_key,
        }
        self._keep(ref, held)
        return Issued(external_id=external_id, secret=Secret(secret), issued_at=now)

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        held = self._held(ref).get(external_id, {})
        is_taken = held.get("status") == Status.ACTIVE
        basis = Basis.RECORD
        if secret is not None:
            is_taken = is_taken and held.get("digest") == _digest(secret.reveal())
            basis = Basis.PRESENTED
        words = "is taken" if is_taken else "is refused"
        liveness = Liveness.ALIVE if is_taken else Liveness.REFUSED
        return Seen(liveness=liveness, basis=basis, sentence=f"{external_id} {words}.")

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._switch(ref, external_id, Status.SUSPENDED)

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        if not self._switch(ref, external_id, Status.ACTIVE):
            raise Permanent(f"There is no version {external_id} on the shelf.")

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        held = self._held(ref)
        if held.pop(external_id, None) is not None:
            self._keep(ref, held)

    def _switch(self, ref: CredentialRef, external_id: str, status: Status) -> bool:
        held = self._held(ref)
        if external_id in held:
            held[external_id]["status"] = status.value
            self._keep(ref, held)
        return external_id in held

    def _held(self, ref: CredentialRef) -> dict[str, dict[str, str]]:
        path = self._path(ref)
        return json.loads(path.read_text()) if path.exists() else {}

    def _keep(self, ref: CredentialRef, held: dict[str, dict[str, str]]) -> None:
        self._path(ref).write_text(json.dumps(held))

    def _path(self, ref: CredentialRef) -> Path:
        return self._folder / f"{Path(ref.principal).name}.json"


class ShelfSink:
    """A location is a name. What consumers read is `current`; the rest is for the way there and back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, location: str) -> str:
        return f"Secrets go to {location} on the shelf."

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None:
        def stored(held) -> None:
            if held.get("key") != request_key:
                held.setdefault("pending", {})[request_key] = [delivered.secret.reveal(), delivered.external_id]

        self._change(location, stored)

    def promote(self, location: str, *, request_key: str) -> None:
        def promoted(held) -> None:
            if held.get("key") == request_key:
                return
            if request_key not in held.get("pending", {}):
                raise Permanent(f"Nothing is stored at {location} under this key.")
            held.setdefault("before", {})[request_key] = [held.get("current"), held.get("key")]
            held["current"], held["key"] = held["pending"].pop(request_key), request_key

        self._change(location, promoted)

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        held = self._held(location)
        is_current = not request_key or held.get("key") == request_key
        found = held.get("current") if is_current else held.get("pending", {}).get(request_key)
        return Delivered(secret=Secret(found[0]), external_id=found[1]) if found else None

    def roll_back(self, location: str, *, request_key: str) -> None:
        def back(held) -> None:
            held.get("pending", {}).pop(request_key, None)
            if held.get("key") == request_key and request_key in held.get("before", {}):
                held["current"], held["key"] = held["before"].pop(request_key)

        self._change(location, back)

    def settle(self, location: str, *, request_key: str) -> None:
        self._change(location, lambda held: held.get("before", {}).pop(request_key, None))

    def _change(self, location: str, change: Callable[[dict], object]) -> None:
        held = self._held(location)
        change(held)
        self._path(location).write_text(json.dumps(held))

    def _held(self, location: str) -> dict:
        path = self._path(location)
        return json.loads(path.read_text()) if path.exists() else {}

    def _path(self, location: str) -> Path:
        return self._folder / f"{Path(location).name}.sink"
