"""Delivers new secrets to Secrets Manager, by staging labels.

A location is `aws-sm://NAME` or `aws-sm://ARN`, whose whole text is the secret; `…#KEY`, where the text is a JSON
object and the secret one member of it; or `…#KEY,ID_KEY`, where the public id is another. Consumers read AWSCURRENT. A
new secret waits in a version with a label of its own, which nobody asks for; promoted, AWSCURRENT moves to it in one
call that fails if somebody moved it meanwhile. What was current before keeps a label of ours until it is settled.
AWSPENDING is left to a rotation that the entry may have by itself.

A version's id follows from the request key, so storing again is no second version. For one member it also follows from
the version whose other members it takes over: those that changed since it was stored are taken over anew.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from botocore.exceptions import ClientError

from providers.aws import Reach, asking, code_of
from providers.aws_secrets import CURRENT, LONGEST_NAME, SCHEME
from providers.base import Delivered, Secret
from providers.errors import Permanent, Transient

PREVIOUS = "AWSPREVIOUS"
OURS = "keyreeve-"
BEFORE, BACK = f"{OURS}before-", f"{OURS}back-"
NAMESPACE = UUID("6d0f3a52-6c5e-4e39-9d5b-3f0c62a8b0d1")
LOCATION = re.compile(rf"{SCHEME}(?P<name>[A-Za-z0-9/_+=.@:!-]{{1,{LONGEST_NAME}}})(?:#(?P<members>.+))?")
MEMBER = re.compile(r"[^\x00-\x1f\x7f#,]{1,200}")
ARN = re.compile(r"arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):(\d{12}):secret:.+")
GONE = "ResourceNotFoundException"
EXISTS = "ResourceExistsException"
MOVED = "InvalidParameterException"
GENERATIONS = 10
ATTEMPTS = 3  # to take over what others change in the same entry


@dataclass(frozen=True, slots=True)
class Location:
    """An entry of Secrets Manager, and what of it is the secret."""

    name: str
    member: str = ""
    id_member: str = ""

    @property
    def region(self) -> str:
        found = ARN.fullmatch(self.name)
        return found[1] if found else ""

    @property
    def account(self) -> str:
        found = ARN.fullmatch(self.name)
        return found[2] if found else ""

    @property
    def where(self) -> str:
        """In words, for sentences."""
        parts = f" under {self.member!r}" if self.member else ""
        return f"the entry {self.name[:200]} of Secrets Manager{parts}"


def parse_location(text: str) -> Location:
    """Raises `Permanent`, without the text: people paste secrets where references belong."""
    found = LOCATION.fullmatch(text.strip())
    members = (found["members"] or "").split(",") if found else []
    is_wrong = len(members) > 2 or (members != [""] and not all(map(MEMBER.fullmatch, members)))
    if found is None or is_wrong or len(set(members)) != len(members):
        raise Permanent(
            f"A location in Secrets Manager is {SCHEME}NAME or its ARN, {SCHEME}NAME#KEY for one member of a JSON "
            f"object, and {SCHEME}NAME#KEY,ID_KEY where the public id is another member."
        )
    return Location(found["name"], *members)


class StagedSecrets:
    """A `SecretSink` over the entries that a connection may write. It makes none: an entry is there, with a value."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def check(self, location: str) -> str:
        entry = self._entry(location)
        current = entry.current()
        if entry.location.member:
            entry.members(current)
        return f"New secrets go to {entry.location.where}; consumers read its version {CURRENT}."

    def store(self, location: str, delivered: Delivered, *, request_key: str) -> None:
        entry = self._entry(location)
        if (kept := entry.under(request_key)) and not entry.holds(kept, delivered):
            raise _taken(entry)
        if not kept:
            entry.put(delivered, request_key, onto=entry.current())

    def promote(self, location: str, *, request_key: str) -> None:
        entry = self._entry(location)
        for _ in range(ATTEMPTS):
            kept, current = entry.under(request_key), entry.current()
            if not kept:
                raise Permanent(f"Nothing that could be promoted is stored for {entry.location.where}.")
            if kept == current:
                return
            if entry.before(request_key) and entry.holds(current, entry.read(kept)):
                return  # others have written the same entry since, with our secret in it
            if not entry.is_onto(kept, request_key, onto=current):
                kept = entry.put(entry.read(kept), request_key, onto=current)
            entry.label(BEFORE + _uuid(request_key), current)
            if entry.move(CURRENT, kept, away_from=current):
                return
        raise Transient(f"Others keep changing {entry.location.where}.")

    def read(self, location: str, *, request_key: str = "") -> Delivered | None:
        entry = self._entry(location)
        version = entry.under(request_key) if request_key else entry.current()
        found = entry.read(version) if version else None
        return found if found and found.secret.reveal() else None

    def roll_back(self, location: str, *, request_key: str) -> None:
        entry = self._entry(location)
        for _ in range(ATTEMPTS):
            kept, before, current = entry.under(request_key), entry.before(request_key), entry.current()
            is_read = bool(kept) and (current == kept or (bool(entry.location.member) and entry.same(current, kept)))
            if not is_read or not before:
                break  # consumers read something else
            # Where others have changed other members since, those stay and ours alone goes back.
            back = before if current == kept else entry.put_back(before, request_key, onto=current)
            if entry.move(CURRENT, back, away_from=current):
                break
        else:
            raise Transient(f"Others keep changing {entry.location.where}.")
        for start in (BACK, OURS, BEFORE):
            entry.unlabel(start + _uuid(request_key))

    def settle(self, location: str, *, request_key: str) -> None:
        entry = self._entry(location)
        before = entry.before(request_key)
        if not before or before == entry.current():
            return
        mine = BEFORE + _uuid(request_key)
        if not any(label.startswith(BEFORE) for label in entry.labels(before) - {mine}):
            # The label of an earlier rotation goes with its version, unless that one still knows a way back.
            for label in sorted(entry.labels(before) - {mine}):
                if label == PREVIOUS or (label.startswith(OURS) and not entry.labelled(BEFORE + label[len(OURS) :])):
                    entry.unlabel(label)
        if entry.under(request_key) != entry.current():
            entry.unlabel(OURS + _uuid(request_key))
        entry.unlabel(mine)  # last: until then a worker that follows does all of it again

    def _entry(self, text: str) -> "_Entry":
        location = parse_location(text)
        client = self._reach.into(location.account).client("secretsmanager", location.region)
        return _Entry(client, location)


class _Entry:
    """One entry as it is now: which version has which labels is asked anew after each change."""

    def __init__(self, client: Any, location: Location) -> None:
        self._client = client
        self.location = location
        self._stages: Mapping[str, list[str]] | None = None

    # ── What is there ──
    def labels(self, version: str) -> set[str]:
        return set(self._labels().get(version, ()))

    def labelled(self, label: str) -> str:
        """The one version with a label; empty when none has it."""
        return next((version for version, labels in self._labels().items() if label in labels), "")

    def current(self) -> str:
        """The version that consumers read. Raises `Permanent` where there is none."""
        if found := self.labelled(CURRENT):
            return found
        raise Permanent(f"{_begun(self.location.where)} has no value yet. Put one there, then resume.")

    def under(self, request_key: str) -> str:
        """The version that holds what was stored under a key; empty when there is none."""
        return self.labelled(OURS + _uuid(request_key))

    def before(self, request_key: str) -> str:
        """The version that consumers read before what is stored under a key was promoted; empty when it was not."""
        return self.labelled(BEFORE + _uuid(request_key))

    def is_onto(self, version: str, request_key: str, *, onto: str) -> bool:
        """Whether a version of ours was made with the other members of this one."""
        return not self.location.member or version in set(self._versions_for(request_key, onto))

    def _versions_for(self, request_key: str, onto: str) -> Iterator[str]:
        """Which ids it may have: the first, unless what was stored with that was dropped and is something else."""
        first = uuid5(NAMESPACE, f"{request_key} {onto}") if self.location.member else UUID(_uuid(request_key))
        yield str(first)
        yield from (str(uuid5(first, str(number))) for number in range(1, GENERATIONS))

    def members(self, version: str) -> dict[str, Any]:
        """The text as a JSON object. Raises `Permanent` where it is none; nothing of the text is said."""
        try:
            found = json.loads(self._text(version))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Permanent(f"{_begun(self.location.where)} is no JSON object, so it has no members.") from None
        return found

    def read(self, version: str) -> Delivered:
        if not self.location.member:
            return Delivered(secret=Secret(self._text(version)))
        held = self.members(version)
        secret, public = held.get(self.location.member), held.get(self.location.id_member, "")
        return Delivered(
            secret=Secret(secret if isinstance(secret, str) else ""),
            external_id=public if isinstance(public, str) else "",
        )

    def holds(self, version: str, delivered: Delivered) -> bool:
        found = self.read(version)
        is_id = not self.location.id_member or found.external_id == delivered.external_id
        return found.secret.reveal() == delivered.secret.reveal() and is_id

    def same(self, one: str, other: str) -> bool:
        return self.holds(one, self.read(other))

    # ── What is changed ──
    def put(self, delivered: Delivered, request_key: str, *, onto: str) -> str:
        """A version with this secret, the other members being those of the version `onto`; its id."""
        return self._put(delivered, OURS + _uuid(request_key), self._versions_for(request_key, onto), onto)

    def put_back(self, before: str, request_key: str, *, onto: str) -> str:
        """A version with the secret of an earlier one, the other members being those of the version `onto`."""
        ids = self._versions_for(f"{request_key} back", onto)
        return self._put(self.read(before), BACK + _uuid(request_key), ids, onto)

    def _put(self, delivered: Delivered, label: str, versions: Iterator[str], onto: str) -> str:
        text = self._text_with(delivered, onto)
        for version in versions:
            self._stages = None
            with self._asked("PutSecretValue"):
                try:
                    self._client.put_secret_value(
                        SecretId=self.location.name,
                        ClientRequestToken=version,
                        SecretString=text,
                        VersionStages=[label],
                    )
                except ClientError as exc:
                    if code_of(exc) == EXISTS:
                        continue
                    raise
            self.label(label, version)  # one that was there already kept the labels that it had
            return version
        raise _taken(self)

    def _text_with(self, delivered: Delivered, onto: str) -> str:
        if not self.location.member:
            return delivered.secret.reveal()
        held = self.members(onto)
        for member, value in (
            (self.location.member, delivered.secret.reveal()),
            (self.location.id_member, delivered.external_id),
        ):
            if member and value:
                held[member] = value
            elif member:
                held.pop(member, None)
        return json.dumps(held, ensure_ascii=False)

    def label(self, label: str, version: str) -> None:
        if (holder := self.labelled(label)) != version:
            self.move(label, version, away_from=holder)

    def unlabel(self, label: str) -> None:
        if holder := self.labelled(label):
            self.move(label, "", away_from=holder)

    def move(self, label: str, version: str, *, away_from: str) -> bool:
        """Move a label. False when it is not where it was any more: then nothing has changed."""
        asked = {"SecretId": self.location.name, "VersionStage": label}
        if version:
            asked["MoveToVersionId"] = version
        if away_from:
            asked["RemoveFromVersionId"] = away_from
        self._stages = None
        with self._asked("UpdateSecretVersionStage"):
            try:
                self._client.update_secret_version_stage(**asked)
            except ClientError as exc:
                if code_of(exc) == MOVED and self.labelled(label) not in {away_from, version}:
                    return False
                raise
        return True

    def _labels(self) -> Mapping[str, list[str]]:
        if self._stages is None:
            with self._asked("DescribeSecret"):
                answer = self._client.describe_secret(SecretId=self.location.name)
                if answer.get("DeletedDate"):
                    raise Permanent(f"{_begun(self.location.where)} is to be deleted. Restore it, or name another.")
                self._stages = {
                    str(each): list(labels) for each, labels in answer.get("VersionIdsToStages", {}).items()
                }
        return self._stages

    def _text(self, version: str) -> str:
        with self._asked("GetSecretValue"):
            text = self._client.get_secret_value(SecretId=self.location.name, VersionId=version).get("SecretString")
        if not isinstance(text, str):
            raise Permanent(f"{_begun(self.location.where)} holds bytes, not text.")
        return text

    @contextmanager
    def _asked(self, action: str) -> Iterator[None]:
        with asking(f"secretsmanager:{action}"):
            try:
                yield
            except ClientError as exc:
                if code_of(exc) == GONE:
                    raise Permanent(
                        f"There is no {self.location.where.removeprefix('the ')}. Make it, or name another."
                    ) from exc
                raise


def _uuid(request_key: str) -> str:
    """A request key in the form that AWS takes as a token, which becomes the version's id."""
    try:
        return str(UUID(request_key))
    except ValueError:
        return str(uuid5(NAMESPACE, request_key))


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]


def _taken(entry: _Entry) -> Permanent:
    return Permanent(f"Another secret is stored for {entry.location.where} under the same key. Roll it back first.")
