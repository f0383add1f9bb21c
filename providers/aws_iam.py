"""Access keys of an account's IAM users, with their age and last use, and what IAM issues for single services.

`ListAccessKeys` is asked for every user that has a key, because nothing else names the keys. For age and use the
credential report comes first: one document about every user, at most four hours old. `GetAccessKeyLastUsed` is asked
only for a key that the report does not tell apart or does not know yet.
"""

import csv
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

from botocore.exceptions import ClientError

from providers.aws import Account, asking, code_of, in_utc, paged, place
from providers.base import DiscoveredCredential, Problem, Status
from providers.errors import Denied, Permanent, ProviderError, Transient

ISSUER = "AWS"
ROOT = "<root_account>"
WORKERS = 8  # as many as the SDK's own pool of connections takes
REPORT_WAITS = (0.2, 0.5, 1, 2, 3, 5, 5, 5, 5, 5, 5)  # seconds; a report of thousands of users takes half a minute
LARGEST_REPORT = 64 * 1024 * 1024
NOTHING = {"", "N/A", "no_information", "not_supported"}
STATUSES = {"Active": Status.ACTIVE, "Inactive": Status.SUSPENDED, "Expired": Status.EXPIRED}
SERVICE_KINDS = {"bedrock.amazonaws.com": "api_key", "cassandra.amazonaws.com": "database_password"}
NO_ENTITY = "NoSuchEntity"
Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Usage:
    """When and where a key was last used. `is_known` and no date: never, as far as AWS keeps record."""

    is_known: bool
    at: datetime | None = None
    service: str = ""
    region: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """One of a user's two places for a key in the credential report, which names no key ids."""

    is_active: bool
    changed_at: datetime | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class Reported:
    """A user's row of the credential report. Without slots the user had no key."""

    arn: str
    slots: tuple[Slot, ...]


Report = Mapping[str, Reported]


def access_keys(account: Account, *, sleep: Sleep = time.sleep) -> Iterator[DiscoveredCredential | Problem]:
    """Every access key of every user, and the root user's. Without the report the root user's cannot be seen."""
    iam = account.aws.client("iam")
    report: Report | None = None
    try:
        report = credential_report(iam, sleep=sleep)
    except ProviderError as exc:
        yield Problem(place=place(account.number, "root"), reason=f"Keys of the root user cannot be seen. {exc}")
    if report is not None and ROOT in report:
        yield from _root_keys(account, report[ROOT])

    def look(user: Mapping[str, Any]) -> list[DiscoveredCredential]:
        return list(_keys_of(iam, account, user, report))

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="iam") as pool:
        for users in paged(iam, "list_users", "Users", "iam:ListUsers", PaginationConfig={"PageSize": 1_000}):
            for found in pool.map(look, users):
                yield from found


def service_credentials(account: Account) -> Iterator[DiscoveredCredential | Problem]:
    """What IAM issues for one service alone: API keys of Bedrock, passwords for CodeCommit and Keyspaces."""
    iam = account.aws.client("iam")
    what = "iam:ListServiceSpecificCredentials"
    marker = ""
    while True:
        with asking(what):
            try:
                answer = iam.list_service_specific_credentials(AllUsers=True, **({"Marker": marker} if marker else {}))
            except ClientError as exc:
                if _is_unknown_action(exc):  # an endpoint that is not AWS itself, or a partition that has none of these
                    return
                raise
            found = [_service_credential(account, entry) for entry in answer["ServiceSpecificCredentials"]]
            following = str(answer.get("Marker", "")) if answer.get("IsTruncated") else ""
        yield from found
        if not following:
            return
        if following == marker:
            raise Permanent(f"The answer to {what} leads in a circle.")
        marker = following


def _is_unknown_action(exc: ClientError) -> bool:
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in {404, 501} or code_of(exc) in {"InvalidAction", "UnknownOperationException", "NotImplemented"}


def _service_credential(account: Account, entry: Mapping[str, Any]) -> DiscoveredCredential:
    number, service, user = str(entry["ServiceSpecificCredentialId"]), str(entry["ServiceName"]), str(entry["UserName"])
    return DiscoveredCredential(
        identity=f"aws:{number}",
        name=f"{user} / {service.removesuffix('.amazonaws.com')} {hint(number)}",
        kind=SERVICE_KINDS.get(service, "other"),
        principal=user,
        external_id=number,
        issuer=ISSUER,
        status=STATUSES.get(str(entry["Status"]), Status.UNKNOWN),
        hint=hint(number),
        issued_at=in_utc(entry["CreateDate"]),
        expires_at=in_utc(entry.get("ExpirationDate")),
        details={"account": account.number, "user": user, "service": service},
    )


def hint(key_id: str) -> str:
    """A key id is public and still long: its kind and last four are enough to tell two apart."""
    return f"{key_id[:4]}…{key_id[-4:]}"


def _root_keys(account: Account, row: Reported) -> Iterator[DiscoveredCredential]:
    for number, slot in enumerate(row.slots, 1):
        yield DiscoveredCredential(
            identity=f"aws:{account.number}:root:{number}",
            name=f"root user of {account.number} / access key {number}",
            kind="aws_access_key",
            principal=row.arn,
            issuer=ISSUER,
            status=Status.ACTIVE if slot.is_active else Status.SUSPENDED,
            issued_at=slot.changed_at,
            last_used_at=slot.usage.at,
            details={
                "account": account.number,
                "user": "root",
                "issued": "created, or switched on or off, at this time",
                **_told(slot.usage),
            },
        )


def _keys_of(
    iam: Any, account: Account, user: Mapping[str, Any], report: Report | None
) -> Iterator[DiscoveredCredential]:
    with asking("iam:ListUsers"):
        name, arn = str(user["UserName"]), str(user["Arn"])
    reported = report.get(name) if report is not None else None
    keys = list_keys(iam, name) or []
    known = told_apart(keys, reported.slots) if reported is not None and len(keys) else {}
    for key in keys:
        with asking("iam:ListAccessKeys"):
            key_id, status, created = str(key["AccessKeyId"]), str(key["Status"]), key["CreateDate"]
        usage = known.get(key_id) or last_use(iam, key_id)
        yield DiscoveredCredential(
            identity=f"aws:{key_id}",
            name=f"{name} / {hint(key_id)}",
            kind="aws_access_key",
            principal=arn,
            external_id=key_id,
            issuer=ISSUER,
            status=STATUSES.get(status, Status.UNKNOWN),
            hint=hint(key_id),
            issued_at=in_utc(created),
            last_used_at=usage.at,
            details={"account": account.number, "user": name, **_told(usage)},
        )


def list_keys(iam: Any, name: str) -> list[dict[str, Any]] | None:
    """A user's keys as IAM lists them; None when there is no such user (any more)."""
    with asking("iam:ListAccessKeys"):
        try:
            pages = iam.get_paginator("list_access_keys").paginate(UserName=name)
            return [key for page in pages for key in page["AccessKeyMetadata"]]
        except ClientError as exc:
            if code_of(exc) == NO_ENTITY:
                return None
            raise


def last_use(iam: Any, key_id: str) -> Usage:
    """What IAM says of one key. A key that may not be asked about, or is gone by now, has an unknown use."""
    try:
        with asking("iam:GetAccessKeyLastUsed"):
            answer = iam.get_access_key_last_used(AccessKeyId=key_id)["AccessKeyLastUsed"]
            at = in_utc(answer.get("LastUsedDate"))
            return Usage(True, at, *((_word(answer["ServiceName"]), _word(answer["Region"])) if at else ()))
    except Transient:
        raise
    except (Denied, Permanent) as exc:
        return Usage(False, reason=str(exc))


def _told(usage: Usage) -> dict[str, str]:
    if not usage.is_known:
        return {"last_used": f"unknown: {usage.reason}"}
    if usage.at is None:
        return {"last_used": "never, as far as AWS keeps record"}
    return {"last_used_service": usage.service, "last_used_region": usage.region}


def told_apart(keys: Sequence[Mapping[str, Any]], slots: Sequence[Slot]) -> dict[str, Usage]:
    """Which key each slot of the report speaks of, where only one answer is possible.

    A slot's date is that of the key's creation or of its last switching on or off, so a key made later than that was
    made after the report. A slot with a use but no service or region says less than IAM would.
    """
    if len(keys) != len(slots):
        return {}
    fitting = [order for order in permutations(slots) if all(map(_fits, keys, order))]
    if len(fitting) != 1:
        return {}
    return {
        str(key["AccessKeyId"]): slot.usage
        for key, slot in zip(keys, fitting[0], strict=True)
        if slot.usage.at is None or (slot.usage.service and slot.usage.region)
    }


def _fits(key: Mapping[str, Any], slot: Slot) -> bool:
    is_made = slot.changed_at is not None and key["CreateDate"] <= slot.changed_at
    return is_made and slot.is_active == (key["Status"] == "Active")


# ── The credential report ──────────────────────────────────────────────────────────────────────────
def credential_report(iam: Any, *, sleep: Sleep) -> Report:
    """Have the report made, wait for it a bounded time, and read it."""
    for seconds in (*REPORT_WAITS, None):
        with asking("iam:GenerateCredentialReport"):
            state = iam.generate_credential_report()["State"]
        if state == "COMPLETE":
            with asking("iam:GetCredentialReport"):
                content = iam.get_credential_report()["Content"]
            return parse_report(content)
        if seconds is not None:
            sleep(seconds)
    raise Transient("The credential report is not ready yet.")


def parse_report(content: bytes) -> Report:
    """The report's rows by user name. Columns are found by name, so more of them do no harm."""
    if len(content) > LARGEST_REPORT:
        raise Permanent("The credential report is larger than any that AWS makes.")
    rows = csv.DictReader(io.StringIO(content.decode("utf-8", "replace")))
    try:
        return {row["user"]: Reported(row["arn"], tuple(_slots(row))) for row in rows}
    except (KeyError, AttributeError, TypeError, csv.Error) as exc:
        raise Permanent("The credential report is not one that AWS makes.") from exc


def _slots(row: Mapping[str, str]) -> Iterator[Slot]:
    for number in ("1", "2"):
        start = f"access_key_{number}_"
        is_active, changed = row[start + "active"] == "true", _date(row[start + "last_rotated"])
        if is_active or changed is not None:
            used = _date(row[start + "last_used_date"])
            service, region = _word(row[start + "last_used_service"]), _word(row[start + "last_used_region"])
            yield Slot(is_active, changed, Usage(True, used, service, region))


def _word(text: str) -> str:
    return "" if text in NOTHING else text[:100]


def _date(text: str) -> datetime | None:
    if text in NOTHING:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
