"""Secrets Manager: which entries an account keeps and how their rotation stands. Values are read by reference alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from providers.aws import Account, Aws, asking, in_utc, paged, place
from providers.base import DiscoveredCredential, Problem, Secret, Status
from providers.errors import Denied, Permanent, ProviderError, Refused

ISSUER = "AWS Secrets Manager"
SCHEME = "aws-sm://"
CURRENT = "AWSCURRENT"
OWNER_KINDS = {"rds": "database_password", "redshift": "database_password", "docdb": "database_password"}
SAME_MOMENT = timedelta(minutes=5)  # a rotation ends a little after the change it made
MOST_VERSIONS, LONGEST_LABEL = 20, 100
LONGEST_NAME = 2_048


def stored_secrets(account: Account, *, regions: Sequence[str]) -> Iterator[DiscoveredCredential | Problem]:
    """Every entry in these regions, planned deletions included. Not one value is read.

    A region that cannot be listed is a `Problem` and stops no other.
    """
    for region in regions:
        try:
            yield from _in_region(account, region)
        except ProviderError as exc:
            yield Problem(place=place(account.number, "secretsmanager", region), reason=str(exc))


def _in_region(account: Account, region: str) -> Iterator[DiscoveredCredential]:
    client = account.aws.client("secretsmanager", region)
    what = f"secretsmanager:ListSecrets in {region}"
    pages = paged(
        client, "list_secrets", "SecretList", what, IncludePlannedDeletion=True, PaginationConfig={"PageSize": 100}
    )
    for entries in pages:
        with asking(what):
            found = [_stored(client, account, region, entry) for entry in entries]
        yield from found


def _stored(client: Any, account: Account, region: str, entry: Mapping[str, Any]) -> DiscoveredCredential:
    arn, name = str(entry["ARN"]), str(entry["Name"])
    labels: Mapping[str, list[str]] = entry.get("SecretVersionsToStages") or {}
    issued, reason = _issued(client, entry)
    deleted = entry.get("DeletedDate")
    return DiscoveredCredential(
        identity=f"ref:{SCHEME}{arn}",  # as a configuration file that names it by ARN is identified
        name=name,
        kind=OWNER_KINDS.get(str(entry.get("OwningService", "")), "other"),
        principal=arn,
        external_id=next((version for version, stages in labels.items() if CURRENT in stages), ""),
        issuer=ISSUER,
        status=Status.SUSPENDED if deleted else Status.ACTIVE,
        reference=f"{SCHEME}{arn}",
        issued_at=in_utc(issued),
        last_used_at=in_utc(entry.get("LastAccessedDate")),
        labels=tuple(
            (str(tag.get("Key", "")), str(tag.get("Value", "")))
            for tag in entry.get("Tags") or ()
            if not str(tag.get("Key", "")).startswith("aws:")  # what AWS itself marks, as for a stack
        ),
        details=_without_nothing(
            account=account.number,
            region=region,
            rotation="on" if entry.get("RotationEnabled") else "off",
            rotation_rule=_rule(entry.get("RotationRules") or {}),
            last_rotated=_text(entry.get("LastRotatedDate")),
            last_changed=_text(entry.get("LastChangedDate")),
            last_accessed=_text(entry.get("LastAccessedDate")),
            next_rotation=_text(entry.get("NextRotationDate")),
            created=_text(entry.get("CreatedDate")),
            deletion_planned=_text(deleted),
            owned_by=str(entry.get("OwningService", "")),
            issued=reason,
            staging_labels={
                version[:LONGEST_LABEL]: sorted(stage[:LONGEST_LABEL] for stage in stages)
                for version, stages in sorted(labels.items())[:MOST_VERSIONS]
            },
        ),
    )


def _issued(client: Any, entry: Mapping[str, Any]) -> tuple[datetime | None, str]:
    """When the current value was put there, and why that is unknown where it is.

    "Last changed" also moves for a new tag or description, so it dates the value only when nothing came after the
    creation or the rotation. In every other case the versions are asked for, which costs a call.
    """
    created, changed, rotated = (entry.get(name) for name in ("CreatedDate", "LastChangedDate", "LastRotatedDate"))
    if rotated and changed and abs(changed - rotated) <= SAME_MOMENT:
        return rotated, ""
    if created and changed and changed - created <= SAME_MOMENT:
        return created, ""
    try:
        with asking("secretsmanager:ListSecretVersionIds"):
            # One page holds them: without the deprecated ones there are no more versions than staging labels, twenty.
            for version in client.list_secret_version_ids(SecretId=entry["ARN"], MaxResults=100)["Versions"]:
                if CURRENT in version.get("VersionStages", ()):
                    return version["CreatedDate"], ""
    except (Denied, Permanent) as exc:
        return None, f"unknown: {exc}"
    return None, "unknown: the entry has no current version"


def _rule(rules: Mapping[str, Any]) -> str:
    if schedule := rules.get("ScheduleExpression"):
        return str(schedule)[:LONGEST_LABEL]
    days = rules.get("AutomaticallyAfterDays")
    return f"every {days} days" if days else ""


def _text(at: datetime | None) -> str:
    known = in_utc(at)
    return known.isoformat() if known else ""


def _without_nothing(**details: Any) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value}


class SecretReader:
    """Reads `aws-sm://NAME` and `aws-sm://NAME#KEY` for those who may: the one place where a value is fetched."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def __call__(self, name: str, json_key: str = "") -> Secret:
        if not 0 < len(name) <= LONGEST_NAME:
            raise Refused("A secret in Secrets Manager is named by its name or ARN.")
        region = name.split(":")[3] if name.startswith("arn:") and name.count(":") >= 6 else ""
        with asking(f"secretsmanager:GetSecretValue of {name[:200]}"):
            answer = self._aws.client("secretsmanager", region).get_secret_value(SecretId=name, VersionStage=CURRENT)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise Permanent("The secret holds bytes, not text.")
        return Secret(_member(text, json_key)) if json_key else Secret(text)


def _member(text: str, json_key: str) -> str:
    """One member of a secret that is a JSON object. The error says nothing of what is in there."""
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        members = None
    found = members.get(json_key) if isinstance(members, dict) else None
    if not isinstance(found, str) or not found:
        raise Permanent("The secret is no JSON object with a text under that key.") from None
    return found
