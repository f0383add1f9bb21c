"""What the audit trail says of people, of Keyreeve's own tokens and of clients, as signals to other systems."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings

from audit.events import Event
from audit.models import AuditEntry
from notifications.ocsf import active_now
from notifications.sets import Signal, opaque
from notifications.states import SignalType
from notifications.translating import signal

SECOND_FACTORS = {"totp": "app", "webauthn": "fido2-roaming"}  # as CAEP calls them
CLIENTS = {
    Event.CLIENT_SUSPENDED.value: SignalType.ACCOUNT_DISABLED,
    Event.CLIENT_QUARANTINED.value: SignalType.ACCOUNT_DISABLED,
    Event.CLIENT_REINSTATED.value: SignalType.ACCOUNT_ENABLED,
    Event.CLIENT_REMOVED.value: SignalType.ACCOUNT_PURGED,
}


def initiator(entry: AuditEntry) -> str:
    """Who began it, in the words of CAEP."""
    if entry.actor_kind == "system":
        return "system"
    return "user" if (entry.subject_kind, entry.subject_id) == ("user", entry.actor_id) else "admin"


def person(entry: AuditEntry) -> dict[str, str]:
    """A person by their id here: neither name nor address leaves."""
    return {"format": "iss_sub", "iss": settings.PUBLIC_URL, "sub": entry.subject_id}


def credential_change(credential_type: str, change: str, **more: str) -> dict[str, str]:
    return {"credential_type": credential_type, "change_type": change, **more}


def _of(entry: AuditEntry, kind: SignalType, subject: Mapping[str, Any], part: str = "", **claims: str) -> Signal:
    return Signal(
        type=kind,
        subject=subject,
        at=entry.at,
        part=part,
        claims={"initiating_entity": initiator(entry), **claims},
        txn=f"audit:{entry.seq}",
    )


def of_people(entry: AuditEntry) -> list[Signal]:
    who = person(entry)
    change, revoked = SignalType.CREDENTIAL_CHANGE, SignalType.SESSION_REVOKED
    match entry.event:
        case Event.USER_SIGNED_OUT:
            return [_of(entry, revoked, who)]
        case Event.USER_PASSWORD_CHANGED:
            return [_of(entry, change, who, **credential_change("password", "update"))]
        case Event.USER_SECOND_FACTOR_ADDED | Event.USER_SECOND_FACTOR_REMOVED:
            kind = SECOND_FACTORS.get(str(entry.detail.get("kind")))
            how = "create" if entry.event == Event.USER_SECOND_FACTOR_ADDED else "delete"
            return [_of(entry, change, who, **credential_change(kind, how))] if kind else []
    is_active = active_now(entry.detail)
    if is_active is None:
        return []
    if is_active:
        return [_of(entry, SignalType.ACCOUNT_ENABLED, who)]
    return [_of(entry, SignalType.ACCOUNT_DISABLED, who), _of(entry, revoked, who)]


def of_tokens(entry: AuditEntry) -> list[Signal]:
    how = "create" if entry.event == Event.TOKEN_ISSUED else "revoke"
    claims = credential_change("api-key", how, friendly_name=entry.subject_label)
    return [_of(entry, SignalType.CREDENTIAL_CHANGE, opaque("token", entry.subject_id), **claims)]


def of_clients(entry: AuditEntry) -> list[Signal]:
    return [_of(entry, CLIENTS[entry.event], opaque("client", entry.subject_id))]


def each(of: Callable[[AuditEntry], list[Signal]]) -> Callable[[Sequence[AuditEntry]], dict[int, list[Signal]]]:
    """Of several entries, where nothing is to be looked up."""
    return lambda entries: {entry.seq: of(entry) for entry in entries if entry.subject_id}


def declare() -> None:
    signal(
        (
            Event.USER_SIGNED_OUT,
            Event.USER_PASSWORD_CHANGED,
            Event.USER_SECOND_FACTOR_ADDED,
            Event.USER_SECOND_FACTOR_REMOVED,
            Event.USER_CHANGED,
        ),
        each(of_people),
    )
    signal((Event.TOKEN_ISSUED, Event.TOKEN_REVOKED), each(of_tokens))
    signal([Event(name) for name in CLIENTS], each(of_clients))
