"""Rotates and revokes the access keys of IAM users.

A user has at most two keys, so the second is issued beside the first, and one is gone before there is room again. IAM
shows a secret once and takes no request key: what a worker issued before it died is found by listing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from providers.aws import Aws, Key, Reach, asking, code_of, in_utc
from providers.aws_iam import NO_ENTITY, STATUSES, hint, last_use, list_keys
from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    DiscoveredVersion,
    Issued,
    Liveness,
    Secret,
    Seen,
    Status,
)
from providers.errors import Denied, NoRoom, Permanent, ProviderError

KIND = "aws_access_key"
FULL = "LimitExceeded"
PROOF = "sts:GetCallerIdentity"  # needs no right, so what it refuses is the key itself
# What AWS answers to a key that it does not take, against one that it takes with the wrong secret.
NO_KEY, WRONG_SECRET = "InvalidClientTokenId", "SignatureDoesNotMatch"


@dataclass(frozen=True, slots=True)
class _Holder:
    """The user whose key it is, where it lives."""

    iam: Any
    aws: Aws
    user: str


class AccessKeys:
    """An `Operable` over the access keys of the users that a connection reaches.

    What is suspended is proved by IAM's own list, or by a signed call that is refused where the secret is at hand. A
    signed call and the list may differ for some seconds after a change; then nobody can tell.
    """

    capabilities = frozenset(
        {
            Capability.ISSUE,
            Capability.SUSPEND,
            Capability.DESTROY,
            Capability.LISTS_VERSIONS,
            Capability.PRESENTS,
            Capability.LAST_USED,
        }
    )

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def versions(self, ref: CredentialRef) -> list[DiscoveredVersion]:
        holder = self._holder(ref)
        found = []
        for key in list_keys(holder.iam, holder.user) or []:
            with asking("iam:ListAccessKeys"):
                key_id, status, made = str(key["AccessKeyId"]), str(key["Status"]), in_utc(key["CreateDate"])
            found.append(
                DiscoveredVersion(
                    external_id=key_id,
                    status=STATUSES.get(status, Status.UNKNOWN),
                    issued_at=made,
                    last_used_at=last_use(holder.iam, key_id).at,
                )
            )
        return found

    def issue(self, ref: CredentialRef, *, request_key: str) -> Issued:
        holder = self._holder(ref)
        # Once: tried again after a time-out by the SDK, it could leave a key behind that no answer names.
        once = holder.aws.client("iam", attempts=1)
        with asking("iam:CreateAccessKey"):
            try:
                made = once.create_access_key(UserName=holder.user)["AccessKey"]
            except ClientError as exc:
                if code_of(exc) == FULL:
                    raise NoRoom(self._full(ref, holder.user)) from exc
                if code_of(exc) == NO_ENTITY:
                    raise Permanent(f"There is no IAM user {holder.user} any more.") from exc
                raise
            key_id = str(made["AccessKeyId"])
            return Issued(
                external_id=key_id,
                secret=Secret(str(made["SecretAccessKey"])),
                identity=f"aws:{key_id}",
                hint=hint(key_id),
                issued_at=in_utc(made.get("CreateDate")),
            )

    def verify(self, ref: CredentialRef, external_id: str, secret: Secret | None) -> Seen:
        holder = self._holder(ref)
        if secret is None:
            return _by_record(self._status(holder, external_id), external_id)
        refusal = _presented(holder.aws, external_id, secret)
        if refusal == WRONG_SECRET:
            return Seen(
                liveness=Liveness.REFUSED,
                basis=Basis.PRESENTED,
                sentence=f"AWS refused a call signed with {hint(external_id)}: the secret does not belong to the key.",
            )
        try:
            listed: Status | None = self._status(holder, external_id)
        except Denied:
            listed = None  # the call itself says enough
        return _by_call(external_id, refusal, listed)

    def suspend(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._spare(external_id)
        self._switch(ref, external_id, "Inactive")

    def resume(self, ref: CredentialRef, external_id: str) -> None:
        if not self._switch(ref, external_id, "Active"):
            raise Permanent(f"The access key {hint(external_id)} is gone; what was destroyed does not come back.")

    def destroy(self, ref: CredentialRef, external_id: str, secret: Secret | None = None) -> None:
        self._spare(external_id)
        holder = self._holder(ref)
        with asking("iam:DeleteAccessKey"):
            try:
                holder.iam.delete_access_key(UserName=holder.user, AccessKeyId=external_id)
            except ClientError as exc:
                if code_of(exc) != NO_ENTITY:
                    raise

    def _holder(self, ref: CredentialRef) -> _Holder:
        if ref.kind != KIND:
            raise Permanent("Of what AWS issues only access keys of IAM users are rotated and revoked from here.")
        account, user = _named(ref)
        if user == "root":
            raise Permanent("Only the root user itself changes its access keys. Sign in as it and delete them there.")
        aws = self._reach.into(account)
        return _Holder(iam=aws.client("iam"), aws=aws, user=user)

    def _status(self, holder: _Holder, key_id: str) -> Status:
        """How the list says a key stands; DESTROYED is one that it does not have."""
        for key in list_keys(holder.iam, holder.user) or []:
            with asking("iam:ListAccessKeys"):
                if key["AccessKeyId"] == key_id:
                    return STATUSES.get(str(key["Status"]), Status.UNKNOWN)
        return Status.DESTROYED

    def _switch(self, ref: CredentialRef, key_id: str, status: str) -> bool:
        """Whether the key is there to be switched."""
        holder = self._holder(ref)
        with asking("iam:UpdateAccessKey"):
            try:
                holder.iam.update_access_key(UserName=holder.user, AccessKeyId=key_id, Status=status)
            except ClientError as exc:
                if code_of(exc) == NO_ENTITY:
                    return False
                raise
        return True

    def _spare(self, key_id: str) -> None:
        if self._reach.is_own_key(key_id):
            raise Permanent(
                f"The connection itself signs with {hint(key_id)} and would lock itself out. "
                "Change its access key first, then resume."
            )

    def _full(self, ref: CredentialRef, user: str) -> str:
        try:
            keys = [_stands(version) for version in self.versions(ref)]
        except ProviderError:
            keys = []
        which = f": {' and '.join(keys)}" if keys else ""
        return (
            f"The IAM user {user} has as many access keys as AWS allows{which}. "
            "Revoke the one that nobody needs, then resume."
        )


def _named(ref: CredentialRef) -> tuple[str, str]:
    """Account and user: as the listing says, else as the ARN of the principal does."""
    account, user = _text(ref.details, "account"), _text(ref.details, "user")
    parts = ref.principal.split(":", 5)
    if len(parts) == 6 and parts[2] == "iam" and parts[5].startswith("user/"):
        account, user = account or parts[4], user or parts[5].rpartition("/")[2]
    if not user:
        raise Permanent("Nobody knows which IAM user has this key. Sync the connection, so that the listing says it.")
    return account, user


def _text(details: Mapping[str, Any], name: str) -> str:
    value = details.get(name)
    return value if isinstance(value, str) else ""


def _stands(version: DiscoveredVersion) -> str:
    used = f"last used on {version.last_used_at:%Y-%m-%d}" if version.last_used_at else "not known to be used"
    return f"{hint(version.external_id)} ({version.status}, {used})"


def _presented(aws: Aws, key_id: str, secret: Secret) -> str:
    """The code with which AWS refuses a call that this key signed; empty when it answers."""
    holder = aws.signing_with(Key(access_key_id=key_id, secret_access_key=secret))
    with asking(PROOF):
        try:
            holder.client("sts").get_caller_identity()
        except ClientError as exc:
            if (code := code_of(exc)) in {NO_KEY, WRONG_SECRET}:
                return code
            raise
    return ""


def _by_record(listed: Status, key_id: str) -> Seen:
    match listed:
        case Status.ACTIVE:
            return Seen(liveness=Liveness.ALIVE, basis=Basis.RECORD, sentence=f"IAM lists {hint(key_id)} as active.")
        case Status.DESTROYED:
            return Seen(
                liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=f"IAM does not list {hint(key_id)} any more."
            )
        case Status.SUSPENDED | Status.EXPIRED:
            word = "inactive" if listed is Status.SUSPENDED else "expired"
            return Seen(liveness=Liveness.REFUSED, basis=Basis.RECORD, sentence=f"IAM lists {hint(key_id)} as {word}.")
    return Seen(
        liveness=Liveness.UNKNOWN,
        basis=Basis.NOTHING,
        sentence=f"IAM lists {hint(key_id)} in a state that is not known.",
    )


def _by_call(key_id: str, refusal: str, listed: Status | None) -> Seen:
    """What a signed call showed, beside what IAM lists; where the two differ, the change has not arrived everywhere."""
    record = {
        None: "the list may not be read",
        Status.ACTIVE: "IAM lists the key as active",
        Status.SUSPENDED: "IAM lists it as inactive",
        Status.DESTROYED: "IAM does not list it",
    }.get(listed, "IAM lists it in another state")
    called = f"AWS {'refused' if refusal else 'answered'} a call signed with {hint(key_id)}"
    differs = listed is not None and bool(refusal) == (listed is Status.ACTIVE)
    if differs:
        return Seen(
            liveness=Liveness.UNKNOWN,
            basis=Basis.PRESENTED,
            sentence=f"{called}, and {record}: a change takes a while to arrive everywhere.",
        )
    return Seen(
        liveness=Liveness.REFUSED if refusal else Liveness.ALIVE,
        basis=Basis.PRESENTED,
        sentence=f"{called} ({refusal}); {record}." if refusal else f"{called}; {record}.",
    )
