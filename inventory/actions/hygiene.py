"""Score the clients of one authorization server: live, duplicate, dead, or not known. Linear in their number.

Part of the action that ends a look, so it records no audit entry of its own; what stays the same is not written.
"""

import json
from collections import defaultdict
from datetime import datetime, timedelta

from django.db import connection as database

from inventory.models import McpClient
from inventory.posture.hygiene import Reason, RegisteredClient, Score, hygiene, hygiene_key
from inventory.states import Admission

LIVE_WITHIN = timedelta(days=30)
DEAD_AFTER = timedelta(days=90)
CHUNK = 5_000

_WRITE = """
UPDATE inventory_mcpclient c SET hygiene = r.hygiene, hygiene_key = r.key, hygiene_reason = r.reason
FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, hygiene text, key text, reason text)
WHERE c.id = r.id AND (c.hygiene, c.hygiene_key, c.hygiene_reason) IS DISTINCT FROM (r.hygiene, r.key, r.reason)
"""


def score_clients(issuer: str, *, now: datetime) -> dict[str, int]:
    """Score every present client of `issuer`; how many say something else now."""
    groups: defaultdict[str, list[RegisteredClient]] = defaultdict(list)
    ids: dict[str, str] = {}
    clients = McpClient.objects.present().registered().filter(authorization_server__issuer=issuer)
    listed = clients.exclude(admission=Admission.REMOVED)
    # Where the server says of any client when it was used, it would say so of the others.
    is_use_known = listed.filter(last_used_at__isnull=False).exists()
    columns = ("pk", "client_id", "name", "redirect_uris", "issued_at", "last_used_at", "secret_expires_at")
    for pk, client_id, name, redirects, issued, used, expires in listed.values_list(*columns).iterator(CHUNK):
        ids[str(pk)] = client_id
        groups[hygiene_key(_own_name(name, client_id), redirects, issuer)].append(
            RegisteredClient(
                key=str(pk),
                registered_at=issued,
                last_used_at=used,
                is_use_known=is_use_known,
                secret_expires_at=expires,
            )
        )
    rows = [
        {"id": score.key, "hygiene": score.hygiene.value, "key": key, "reason": said(score, ids)}
        for key, group in groups.items()
        for score in hygiene(group, now=now, live_within=LIVE_WITHIN, dead_after=DEAD_AFTER)
    ]
    changed = 0
    with database.cursor() as cursor:
        for start in range(0, len(rows), CHUNK):
            cursor.execute(_WRITE, [json.dumps(rows[start : start + CHUNK])])
            changed += cursor.rowcount
    return {"clients_rescored": changed}


def _own_name(name: str, client_id: str) -> str:
    """The name that the client gave itself: those that gave none look alike, whatever we call them."""
    return "" if client_id and name.endswith(client_id) else name


def said(score: Score, ids: dict[str, str]) -> str:
    """The reason as a sentence that stays true: with dates, not with ages."""
    detail = score.detail

    def on(name: str) -> str:
        at = detail.get(name)
        return f"{at:%Y-%m-%d}" if isinstance(at, datetime) else "an unknown day"

    beside = ids.get(str(detail.get("by")), "")
    beside = f"{beside[:12]}…" if len(beside) > 13 else beside or "another one"
    match score.reason:
        case Reason.USED_LATELY:
            return f"Used within {LIVE_WITHIN.days} days."
        case Reason.NEW:
            return f"Registered on {on('registered_at')}, too lately to say."
        case Reason.SECRET_EXPIRED:
            return f"Its secret expired on {on('expired_at')}, and it was not seen since."
        case Reason.UNUSED:
            return f"Last used on {on('last_used_at')}, more than {DEAD_AFTER.days} days ago."
        case Reason.NEVER_USED:
            return f"Never used since it was registered on {on('registered_at')}."
        case Reason.SUPERSEDED:
            since = f"Last used on {on('last_used_at')}" if detail.get("last_used_at") else "Never used"
            return f"{since}; {beside} looks the same and is livelier or newer."
        case Reason.LOOKS_ALIKE:
            return f"Whether it is used is not known; {beside} looks the same."
        case Reason.USED_SOME_TIME_AGO:
            return f"Last used on {on('last_used_at')}, neither lately nor long ago."
        case Reason.USE_NOT_KNOWN:
            return "Whether it is used is not known."
