"""How the demo company's owners answered when they were asked whether they answer for what is in their name.

The real sweep asks in the past, and people answer with the real actions: some accept, one hands over, one declines, and
a team that never says a word is asked through its deputy and its manager until what it had is quarantined.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from demo.decisions import MIRA, PRIYA
from demo.weeks import Decision
from inventory.actions import answering
from inventory.actions.asking import sweep
from inventory.actions.ownership import assign_owner, assign_server_owner
from inventory.actions.terms import terms
from inventory.models import Credential, McpServer, Owner, OwnershipQuestion

ACCEPTED = {
    "Mira Okafor": (39, "All of it is in use."),
    "Ana Duarte": (39, "The desk works with it every day."),
    "Priya Raman": (38, "Cursor is hers."),
    "Payments": (37, "Said by their lead at the Tuesday desk."),
    "Platform": (36, "Said by who is on call."),
    "Customs": (34, "Written in their ticket of last week."),
}


def over_the_weeks() -> Iterator[tuple[int, Decision]]:
    """Each answer with how many days ago it was given; from the twelfth day on they are asked every day."""
    yield 40, ask
    for name, (days, reason) in ACCEPTED.items():
        yield days, partial(_answer, name, answering.accept, reason)
    yield 35, partial(_answer, "Data", answering.decline, "Platform has run it since the move.")
    yield 33, partial(_answer, "Data", answering.accept, "Their deputy has its keys already.")
    for days in (26, 19):  # nobody answers for Workplace IT: its deputy is asked, then its manager
        yield days, ask
    yield 9, partial(_answer, "Payments", answering.accept, "Invoices are theirs, said their lead.")
    yield 8, partial(_answer, "Routing", answering.accept, "Said in the stand-up.")
    yield 4, find_an_owner
    yield 2, partial(_hand_over, "Data", "Platform", "The collectors run on the platform's hosts.")


def ask(now: datetime) -> None:
    sweep(now=now, terms=terms())


def find_an_owner(_now: datetime) -> None:
    """Of two things that nobody had: she brought them in. She is asked the next day, and has not answered yet."""
    mira = Owner.objects.get(name="Mira Okafor")
    notion = Credential.objects.filter(name__startswith="notion /")
    linear = McpServer.objects.filter(name="linear")
    assign_owner(notion, mira, actor=PRIYA, reason="She brought it in.")
    assign_server_owner(linear, "iam_owner", mira, actor=PRIYA, reason="She brought it in.")


def _question(owner: str) -> OwnershipQuestion:
    return OwnershipQuestion.objects.open().filter(owner__name=owner).order_by("asked_at", "pk")[0]


def _answer(owner: str, how: Callable[..., Any], reason: str, now: datetime) -> None:
    how(_question(owner), actor=PRIYA if owner != "Priya Raman" else MIRA, now=now, terms=terms(), reason=reason)


def _hand_over(owner: str, to: str, reason: str, now: datetime) -> None:
    taker = Owner.objects.get(name=to)
    answering.hand_over(_question(owner), taker, actor=PRIYA, now=now, terms=terms(), reason=reason)
