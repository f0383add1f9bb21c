"""The navigation beside every page: what is where, and how much of it."""

from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.urls import reverse

from access.actors import Actor
from access.permissions import may_read
from history.past import instant
from web.pages import wants_fragment

LIMIT = 10_000

GROUPS: list[tuple[str, list[tuple[str, str, str, str]]]] = [
    ("", [("overview", "overview", "Overview", "")]),
    (
        "Inventory",
        [
            ("server_list", "server", "Servers", "servers"),
            ("client_list", "client", "Clients", "clients"),
            ("client_admission", "review", "Admission", "quarantined"),
            ("authorization_server_list", "lock", "Authorization", ""),
            ("credential_list", "key", "Credentials", "credentials"),
            ("grant_matrix", "check", "Grants", ""),
            ("exposure_list", "eye", "Exposures", "exposures"),
            ("owner_list", "person", "Owners", ""),
            ("ownership_list", "transfer", "Ownership", ""),
        ],
    ),
    (
        "Lifecycle",
        [
            ("finding_list", "flag", "Findings", "findings"),
            ("operation_list", "operation", "Operations", "operations"),
            ("waiver_list", "pause", "Waivers", "requested"),
            ("batch_list", "stop", "Kill switch", ""),
            ("upcoming_rotations", "overlap", "Upcoming", ""),
            ("policy_list", "policy", "Policies", ""),
            ("rule_list", "evidence", "Rules", ""),
        ],
    ),
    (
        "Assurance",
        [
            ("review_queue", "todo", "My reviews", ""),
            ("campaign_list", "review", "Access reviews", ""),
            ("control_list", "check", "Controls", ""),
            ("evidence_list", "evidence", "Evidence", ""),
            ("audit_list", "audit", "Audit", ""),
        ],
    ),
    (
        "Set-up",
        [
            ("connection_list", "plug", "Connections", ""),
            ("notice_list", "bell", "Notifications", ""),
            ("job_list", "clock", "Schedule", ""),
        ],
    ),
]
QUEUES = frozenset(
    {"quarantined", "requested", "operations"}
)  # counts of what waits, which are part of the other counts
# One statement; each part stops at the limit, so it costs the same at any size.
COUNTS = """
SELECT {}
""".format(
    ",\n".join(
        f"(SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {condition} LIMIT {LIMIT + 1}) {name}) AS {name}"
        for name, table, condition in [
            ("servers", "inventory_mcpserver", "gone_at IS NULL"),
            ("clients", "inventory_mcpclient", "gone_at IS NULL"),
            ("quarantined", "inventory_mcpclient", "gone_at IS NULL AND admission = 'quarantined'"),
            ("credentials", "inventory_credential", "gone_at IS NULL"),
            ("exposures", "inventory_exposure", "gone_at IS NULL"),
            ("findings", "lifecycle_finding", "resolved_at IS NULL AND state IN ('open', 'acknowledged')"),
            ("requested", "lifecycle_waiver", "state = 'requested'"),
            (
                "operations",
                "lifecycle_operation",
                "closed_at IS NULL AND (state IN ('stalled', 'proposed') OR (state = 'waiting' AND due_at IS NULL))",
            ),
        ]
    )
)


def shown(count: int) -> str:
    return f"{LIMIT:,}+".replace(",", "\u202f") if count > LIMIT else f"{count:,}".replace(",", "\u202f")


def counts(actor: Actor) -> dict[str, str]:
    """How many there are of each noun; nothing for an owner, whose numbers are theirs alone."""
    if not actor.sees_everything:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(COUNTS)
        row = cursor.fetchone()
        return {column.name: shown(value) for column, value in zip(cursor.description, row, strict=True)}


def navigation(request: HttpRequest) -> dict[str, Any]:
    """The template context `nav` and `estate_name`. Fragments and pages for the unknown have no navigation."""
    actor: Actor = getattr(request, "actor", None)  # type: ignore[assignment]
    said = {"estate_name": settings.ESTATE_NAME}
    looks_back = instant() is not None  # what a reader of the past may read was decided before
    if actor is None or wants_fragment(request) or not (looks_back or may_read(actor)):
        return said
    numbers = {} if looks_back else counts(actor)  # half of them are of what keeps no past
    path = request.path
    # A page below two entries belongs to the nearer one.
    here = max(
        (url for _, entries in GROUPS for name, *_ in entries if path.startswith(url := reverse(name))),
        key=len,
        default="",
    )
    groups = []
    for label, entries in GROUPS:
        shown_entries = []
        for name, icon, title, noun in entries:
            url = reverse(name)
            count = numbers.get(noun, "")
            shown_entries.append(
                {
                    "url": url,
                    "icon": icon,
                    "label": title,
                    "count": count,
                    "tone": "t-crit" if noun in {"findings", "exposures"} and count not in {"", "0"} else "",
                    "current": path == url if url == "/" else url == here,
                }
            )
        groups.append({"label": label, "entries": shown_entries})
    return {**said, "nav": groups}
