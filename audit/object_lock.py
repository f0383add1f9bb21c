"""Chain heads in S3 with Object Lock: what is put there nobody changes or removes before its date, not even we.

A bucket keeps every version of an object. Of each name the first one counts; what came later is told as a warning.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from audit.errors import PlaceInvalid, PlaceRefuses
from audit.places import Address

AT_ONCE = 12
IS_THERE, IS_BEING_WRITTEN = "PreconditionFailed", "ConditionalRequestConflict"


@dataclass(slots=True)
class Bucket:
    """One prefix of a bucket that has Object Lock."""

    at: Address
    client: Any
    clock: Callable[[], datetime]
    _warnings: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"s3://{self.at.bucket}/{self.at.prefix}"

    def put(self, name: str, content: bytes) -> None:
        until = self.clock() + timedelta(days=self.at.days)
        try:
            with _asking("s3:PutObject"):
                answer = self.client.put_object(
                    **self._object(name),
                    Body=content,
                    ContentType="application/json",
                    ChecksumAlgorithm="SHA256",
                    IfNoneMatch="*",
                    ObjectLockMode=self.at.mode,
                    ObjectLockRetainUntilDate=until,
                )
        except _IsThere:
            if self._first(name) != content:
                raise PlaceRefuses(f"{name} is there with another content; it was left as it is.") from None
            return
        # Seen, not believed: a store that does not know locks takes the document and says nothing.
        with _asking("s3:HeadObject"):
            kept = self.client.head_object(**self._object(name), VersionId=answer.get("VersionId", "null"))
        locked = kept.get("ObjectLockRetainUntilDate")
        if kept.get("ObjectLockMode") != self.at.mode or locked is None or locked < until - timedelta(days=1):
            raise PlaceRefuses(
                f"{name} was taken and is not seen locked. The bucket needs Object Lock, and we s3:GetObjectRetention."
            )

    def documents(self) -> Iterator[tuple[str, bytes]]:
        self._warnings.clear()
        first: dict[str, str] = {}
        again: dict[str, str] = {}
        with _asking("s3:ListBucketVersions"):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.at.bucket, Prefix=self.at.prefix
            )
            for page in pages:
                for version in page.get("Versions", ()):  # of one name the newest first
                    name = version["Key"].removeprefix(self.at.prefix)
                    if name in first:
                        again.setdefault(name, "was written again")
                    first[name] = version["VersionId"]
                for marker in page.get("DeleteMarkers", ()):
                    again[marker["Key"].removeprefix(self.at.prefix)] = "was deleted"
        kept = sorted(name for name in first if name.endswith(".json") and "/" not in name)
        self._warnings += [
            f"{name} {what}; the first one is compared" for name, what in sorted(again.items()) if name in first
        ]
        self._warnings += [
            f"{name} was deleted, and nothing of it is left" for name in sorted(again.keys() - first.keys())
        ]
        with ThreadPoolExecutor(AT_ONCE) as readers:
            yield from zip(kept, readers.map(lambda name: self._read(name, first[name]), kept), strict=True)

    def warnings(self) -> list[str]:
        return list(self._warnings)

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self.at.bucket, "Key": f"{self.at.prefix}{name}"}

    def _first(self, name: str) -> bytes:
        versions = []
        with _asking("s3:ListBucketVersions"):
            pages = self.client.get_paginator("list_object_versions").paginate(
                Bucket=self.at.bucket, Prefix=self._object(name)["Key"]
            )
            for page in pages:
                versions += [each for each in page.get("Versions", ()) if each["Key"] == self._object(name)["Key"]]
        return self._read(name, versions[-1]["VersionId"]) if versions else b""

    def _read(self, name: str, version: str) -> bytes:
        with _asking("s3:GetObjectVersion"):
            content: bytes = self.client.get_object(**self._object(name), VersionId=version)["Body"].read()
        return content


class _IsThere(Exception):
    """An object of this name exists."""


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Of AWS's own words only the code is kept: a message may repeat the request."""
    try:
        yield
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code") or "no code")[:80]
        if code == IS_THERE:
            raise _IsThere from None
        if code == IS_BEING_WRITTEN:
            raise PlaceRefuses("Somebody else is writing the same document just now.") from exc
        raise PlaceRefuses(f"The bucket refuses {what} ({code}).") from exc
    except BotoCoreError as exc:
        raise PlaceRefuses(f"The bucket gave no answer to {what} ({type(exc).__name__}).") from exc


def opened(address: str, *, key: str = "", clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Bucket:
    """The bucket of an address, as the identity of `ACCESS_KEY_ID:SECRET`, else as the one this machine is lent."""
    at = Address.read(address)
    access_key_id, colon, secret = key.partition(":")
    if key and not (access_key_id and colon and secret):
        raise PlaceInvalid("The key of the bucket is ACCESS_KEY_ID:SECRET_ACCESS_KEY.")
    identity = {"aws_access_key_id": access_key_id, "aws_secret_access_key": secret} if key else {}
    try:
        client = Session().create_client(
            "s3",
            region_name=at.region or None,
            endpoint_url=at.endpoint or None,
            config=Config(
                connect_timeout=5,
                read_timeout=15,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=AT_ONCE,
                s3={"addressing_style": "path"} if at.endpoint else {},
                user_agent_extra="keyreeve",
            ),
            **identity,
        )
    except (BotoCoreError, ValueError) as exc:
        raise PlaceInvalid(f"The bucket's address cannot be used ({type(exc).__name__}).") from exc
    return Bucket(at, client, clock)
