"""The kinds of notices that findings and waivers give rise to."""

from access.roles import Role
from notifications.kinds import Kind
from notifications.states import Timing

FIRST_OF_ALL = (Timing.IMMEDIATELY, Timing.DIGEST, Timing.OFF)
IN_DIGEST = (Timing.DIGEST, Timing.OFF)

SEVERE = Kind(
    slug="findings.severe",
    name="Critical findings",
    help="One opened as critical, or was raised to it.",
    template="lifecycle/mail/severe",
    timings=FIRST_OF_ALL,
    for_endpoints="Findings that open as severe as is said below, or are raised to it",
    endpoint_name="Severe findings",
)
OPEN = Kind(
    slug="findings.open",
    name="Open findings",
    help="New ones, and those past due or due within a week.",
    timings=IN_DIGEST,
)
WAIVERS_ENDING = Kind(
    slug="waivers.ending",
    name="Waivers that end",
    help="Within 14 days; their findings are open again from then on.",
    timings=IN_DIGEST,
)
WAIVERS_REQUESTED = Kind(
    slug="waivers.requested",
    name="Waivers to decide",
    help="Somebody asked for them and nobody has decided.",
    timings=IN_DIGEST,
    roles=frozenset({Role.REVIEWER}),
)
UNSYNCED = Kind(
    slug="connections.unsynced",
    name="Connections not synced",
    help="What they hold is as old as their last look.",
    timings=IN_DIGEST,
    roles=frozenset({Role.OPERATOR}),
)
UNOWNED = Kind(
    slug="findings.unowned",
    name="Critical findings without an owner",
    help="Nobody else is told of them.",
    timings=IN_DIGEST,
    roles=frozenset({Role.OPERATOR}),
)
DIGEST = Kind(slug="digest", name="Digest", template="lifecycle/mail/digest")
FIGURES = Kind(
    slug="estate.figures",
    name="The day's figures",
    for_endpoints="The day's figures, once a day: open findings by severity, past due, waived",
)

ALL = (SEVERE, OPEN, WAIVERS_ENDING, WAIVERS_REQUESTED, UNSYNCED, UNOWNED, DIGEST, FIGURES)
