"""An audit entry in words: pure, from its event and its detail."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LONGEST = 240

# The URL that shows a subject, by the subject's kind.
PAGES = {
    "credential": "credential_detail",
    "mcpserver": "server_detail",
    "mcpclient": "client_detail",
    "authorizationserver": "authorization_server_detail",
    "owner": "owner_detail",
    "connection": "connection_detail",
    "finding": "finding_detail",
    "scheduledjob": "job_detail",
    "policy": "policy_detail",
    "operation": "operation_detail",
    "batch": "batch_detail",
    "evidencepack": "evidence_detail",
    "ownershipquestion": "ownership_detail",
}
NOUNS = {
    "mcpserver": "server",
    "mcpclient": "client",
    "authorizationserver": "authorization server",
    "apitoken": "API token",
    "chainhead": "chain head",
    "chainkey": "chain key",
    "exportplace": "place of chain heads",
    "evidencepack": "evidence pack",
    "eventstream": "stream",
    "signalkey": "signal key",
    "scheduledjob": "scheduled job",
    "waivercap": "waiver cap",
    "changefreeze": "change freeze",
    "maintenancewindow": "maintenance window",
    "operatinglimits": "operating limits",
    "ownershipquestion": "question of ownership",
    "schedulehalt": "schedule halt",
    "trigger": "review that begins by itself",
}
NAMES = ("tools", "scopes", "resources")  # what others called them: said as they wrote it
NAMED = ("client", "consumer", "by", "file", "pointer", "reference", "delivered_to")  # and these
HOLDERS = ("changed", "changes", "settings", "dates")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What the record of an event holds and its line leaves out: always, or where it is that value.
UNSAID: dict[str, dict[str, Any]] = {
    "connection.synced": {"digest": None, "unread": 0},
    "findings.evaluated": {"at": None, "clock_was_wrong": None},
    "grant.approved": {"as_seen": None},
    "finding.commented": {"digest": None},
    # The subject is called `Rotation of deploy`.
    "operation.requested": {"credential": None, "kind": None, "trigger": "person"},
    "operation.proposed": {"credential": None, "kind": None},
    "operation.step_ended": {"credential": None, "step": None},
    "operation.stalled": {"credential": None},
    "operation.cancelled": {"credential": None},
    "operation.completed": {"credential": None, "kind": None, "step": None},
    "batch.requested": {"urgent": False},
    "batch.rehearsed": {"digest": None},
    "credential.absorbed": {"identity": None, "credential": None},
    "exposure.replaced": {"replaced_at": None},
    "client.succeeded": {"grants": 0},
    "ownership.quarantined": {"digests": None},
}
# What is said without the name that the record has for it, or in other words, by the event or its kind of subject.
WORDS: dict[str, dict[str, str]] = {
    "operation": {"said": "{}", "proof": "{}", "consumer": "{}", "how": "known because {}", "trigger": "by the {}"},
    "batch": {"kind": "{}"},
    "client.succeeded": {"admission": "{}", "grants": "grants carried over: {}"},
    "grant.carried_over": {"client": "to {}", "server": "at {}"},
    "credential.absorbed": {"by": "as a version of {}", "owner": "its owner was {}"},
    "exposure.replaced": {"file": "{}", "pointer": "at {}", "reference": "by {}", "delivered_to": "delivered to {}"},
    "chain_head.signed": {"seq": "entry {}", "hash": "{}"},
    "chain_key": {"public_key": "key {}", "after": "behind entry {}"},
    "chain_export": {"error": "{}", "failing_since": "it had failed since {}"},
    "chain": {
        "entries": "entries {}", "last": "to entry {}", "heads": "against heads: {}", "place": "at {}", "problem": "{}",
    },
    "freeze": {"environment": "{}", "begins_at": "from {}", "ends_at": "to {}"},
    "window": {
        "environment": "{}", "weekdays": "on {}", "begins": "from {}", "minutes": "for {} minutes", "timezone": "{}",
    },
}  # fmt: skip
KNOWN_BECAUSE = {"api": "it said so", "seen": "it was seen using it", "person": "somebody said so"}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
AS_WRITTEN = ("client.succeeded",)  # from one name that others gave to another
NOBODY = ("operation.assigned", "ownership.quarantined")  # beside those that name an owner
CODE = re.compile(r"[a-z][a-z0-9_ -]*")  # a value of ours, and no path, address or reference
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
OWNED_AS = {
    "iam_owner": "IAM owner",
    "platform_owner": "platform owner",
    "application_owner": "application owner",
    "custodian": "custodian",
}


def title(event: str) -> str:
    """`credential.owner_assigned` → `Credential owner assigned`."""
    words = event.replace(".", " ").replace("_", " ")
    return words[:1].upper() + words[1:]


def noun(kind: str) -> str:
    return NOUNS.get(kind, kind.replace("_", " "))


def detail_line(detail: Mapping[str, Any], event: str = "") -> str:
    """What changed in one line: where it went from, where to, and why. Ids are for the record, not for the line."""
    rest = {name: value for name, value in detail.items() if value not in (None, "", [], {}) and not _is_id(value)}
    for name, value in UNSAID.get(event, {}).items():
        if value is None or rest.get(name) == value:
            rest.pop(name, None)
    parts = []
    if "to" in detail:
        role = OWNED_AS.get(str(rest.pop("as", "")), "")
        nothing = "nobody" if not event or "owner" in event or event in NOBODY else "none"
        say = str if event in AS_WRITTEN else _value
        change = " → ".join(nothing if end is None else say(end) for end in (detail.get("from"), detail["to"]))
        parts.append(f"{role}: {change}" if role else change)
        rest.pop("from", None)
        rest.pop("to", None)
    reason = rest.pop("reason", "")
    words = WORDS.get(event) or WORDS.get(event.partition(".")[0], {})
    parts += [
        words[name].format(_worded(name, value)) if name in words else _said(name, value)
        for name, value in rest.items()
    ]
    if reason:
        parts.append(f"“{reason}”")
    line = ", ".join(parts)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _worded(name: str, value: Any) -> str:
    if name in NAMED:
        return str(value)
    if name == "how":
        return KNOWN_BECAUSE.get(value, str(value))
    if name == "weekdays" and isinstance(value, list):
        return ", ".join(DAYS[(day - 1) % 7] if isinstance(day, int) else str(day) for day in value)
    return _value(value)


def _said(name: str, value: Any) -> str:
    """`uses added 3`, `not active`; what only holds others together is not said itself."""
    words = name.replace("_", " ")
    if name in NAMES and isinstance(value, list):
        return f"{words} {', '.join(str(each) for each in value)}"
    if isinstance(value, bool) or value in ("True", "False"):
        claim = words.removeprefix("is ")
        return claim if value in (True, "True") else f"not {claim}"
    return _value(value) if name in HOLDERS and isinstance(value, Mapping | list) else f"{words} {_value(value)}"


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and UUID.fullmatch(value) is not None


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(_said(str(name), each) for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_value(each) for each in value)
    text = "none" if value is None else str(value)
    if INSTANT.match(text):
        return _moment(text)
    if len(text) == 64 and text.isalnum():
        return f"{text[:12]}…"
    return text.replace("_", " ") if CODE.fullmatch(text) else text


def _moment(text: str) -> str:
    """An instant to the minute; a whole day without its midnight."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{at.day} {at:%b %Y}" if (at.hour, at.minute) == (0, 0) else f"{at.day} {at:%b %Y %H:%M}"
