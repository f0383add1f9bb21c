"""The kinds of notices that can be sent, as data. Whoever has something to tell declares its kinds here at the start.

This app knows how to reach people and programs, and nothing of what they are told.
"""

import re
from dataclasses import dataclass

from access.roles import Role
from notifications.states import Timing

_SLUG = re.compile(r"[a-z]+(?:\.[a-z_]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind. `template` is that of its mails, without `.txt` and `.html`; empty where none are sent.

    A person may choose among `timings`, the first of which is what they get until they do; without any there is nothing
    to choose. A kind with `roles` is for who holds one of them; webhooks can ask for one with words `for_endpoints`,
    and it is called `endpoint_name` there where that differs.
    """

    slug: str
    name: str
    help: str = ""
    template: str = ""
    timings: tuple[Timing, ...] = ()
    roles: frozenset[Role] = frozenset()
    for_endpoints: str = ""
    endpoint_name: str = ""

    def __post_init__(self) -> None:
        if not _SLUG.fullmatch(self.slug):
            raise ValueError(f"{self.slug!r} is no plain name of a kind of notices")


TEST = Kind(slug="test", name="Test", template="notifications/mail/test")
KINDS: dict[str, Kind] = {TEST.slug: TEST}


def declare(*kinds: Kind) -> None:
    """Make kinds known. The same declaration again changes nothing; another one of that name is a mistake."""
    for kind in kinds:
        if KINDS.setdefault(kind.slug, kind) != kind:
            raise ValueError(f"the kind {kind.slug} is declared twice")


def chosen_by_people() -> list[Kind]:
    """The kinds about which a person can choose, in the order they were declared."""
    return [kind for kind in KINDS.values() if kind.timings]


def offered_to_endpoints() -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.for_endpoints]


def name_for_endpoints(slug: str) -> str:
    """What it is called where it says what an endpoint is told."""
    return (slug in KINDS and KINDS[slug].endpoint_name) or name_of(slug)


def name_of(slug: str) -> str:
    """What people call a kind; its slug where no release declares it any more."""
    return KINDS[slug].name if slug in KINDS else slug
