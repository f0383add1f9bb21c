"""The demo company's access reviews: one that was signed last week, one under way, one drafted, and a pack of evidence.

What was decided a while ago is decided by the real actions at instants that lie back; only the audit trail says when
they really ran. Everything in it was carried out when it was signed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from django.contrib.auth.models import Group

from access.actors import Actor
from access.models import User
from access.roles import Role
from demo.company import ACTOR, decided, people
from demo.decisions import DAY
from demo.weeks import Decision
from inventory.actions.ownership import assign_custodian, change_owner
from inventory.models import Connection, Credential, Environment, Grant, Owner
from inventory.states import CredentialKind
from reviews.actions.campaigns import accept_stale, create_campaign, launch
from reviews.actions.decisions import decide, submit
from reviews.actions.evidence import request_pack
from reviews.actions.signing import attest, sign
from reviews.actions.triggers import set_trigger
from reviews.models import Campaign, ReviewItem
from reviews.running import carry_on
from reviews.states import Occasion, Reviewed, What

LEAD, REVIEWER = "Priya Raman", "Mira Okafor"
QUARTERLY = "Quarterly review, production keys"
SIGNED = "What clients may use on our servers"
DRAFTED = "Clients that registered themselves"
MINUTE = timedelta(minutes=1)


def let_in(now: datetime) -> None:
    """The lead and her reviewer sign in, as themselves."""
    for name in (LEAD, REVIEWER):
        row = Owner.objects.get(name=name)
        user, _ = User.objects.get_or_create(username=row.email.partition("@")[0], email=row.email)
        user.first_name, user.last_name = name.split()
        user.save()
        user.groups.add(Group.objects.get(name=Role.REVIEWER))
        change_owner(row, user=user, actor=ACTOR, now=now, reason="They sign in now.")


def _actor(name: str) -> Actor:
    user = Owner.objects.get(name=name).user
    assert isinstance(user, User)  # noqa: S101  let in before
    return user.as_actor()


# ── What was signed ────────────────────────────────────────────────────────────────────────────
def over_the_weeks() -> Iterator[tuple[int, Decision]]:
    yield 11, launch_signed
    yield 10, partial(decide_all, REVIEWER)
    yield 9, partial(decide_all, LEAD)
    yield 8, sign_off


def launch_signed(now: datetime) -> None:
    let_in(now)
    lead = _actor(LEAD)
    campaign = create_campaign(
        actor=lead,
        now=now,
        name=SIGNED,
        description="Every grant in force: which client may use which tools, and whether somebody still needs that.",
        reviewed=[Reviewed.GRANT],
        ids=list(Grant.objects.current().filter(approved_at__isnull=False).values_list("pk", flat=True)),
        due_at=now + 14 * DAY,
        lead=Owner.objects.get(name=LEAD),
    )
    # One file on the workstations cannot be read, so they were never seen whole: somebody signs for what was seen.
    accept_stale(campaign, actor=_actor(REVIEWER), now=now, reason="What is not readable is an editor's draft.")
    launch(campaign, actor=lead, now=now)


def decide_all(name: str, now: datetime) -> None:
    """Everything that waits for one reviewer, one after the other, submitted and carried out."""
    actor, campaign = _actor(name), Campaign.objects.get(name=SIGNED)
    items = ReviewItem.objects.filter(campaign=campaign).select_related("grant__client")
    # Where nobody is left in line for the second part, any reviewer takes it.
    beside = items.undecided().filter(needs_second=True, second=None).exclude(reviewer__name=name)
    waiting = [*items.waiting_for(actor), *beside]
    at = now
    for number, item in enumerate(waiting):
        what, reason, detail = _decision(item)
        decide([item.pk], what, actor=actor, now=at, reason=reason, detail=detail)
        at += timedelta(seconds=20 + 13 * (number % 4))
    submit(campaign, actor=actor, now=at)
    carry_on(clock=lambda: at + MINUTE, ring=lambda _operation: None)


def _decision(item: ReviewItem) -> tuple[What, str, dict[str, list[str]]]:
    """The same by whoever decides, so that two agree."""
    client = item.grant.client.name if item.grant is not None else ""
    tools = item.facts.get("granted", [])
    if client == "Gemini CLI":
        return What.REVOKE, "Nobody there works with it.", {}
    if client == "CI runner" and len(tools) > 1:
        return What.REDUCE, "A build needs no more than that.", {"tools": tools[:1]}
    return What.KEEP, "Its owner showed what it is used for.", {}


def sign_off(now: datetime) -> None:
    campaign = Campaign.objects.get(name=SIGNED)
    for name in (REVIEWER, LEAD):
        attest(campaign, actor=_actor(name), now=now, statement="I looked at each of them.")
    statement = "Each grant that is left has somebody who uses it."
    sign(campaign, actor=_actor(LEAD), now=now + MINUTE, statement=statement)


# ── What is under way ──────────────────────────────────────────────────────────────────────────
def begin(accounts: Connection, now: datetime) -> int:
    """The quarter's access review of the keys in production, under way; of how many. Its reviewers may sign in."""
    owners = people()
    lead = _actor(LEAD)
    keys = Credential.objects.live().filter(connection=accounts, environment__name="prod")
    decided(assign_custodian, keys, owners[REVIEWER], reason="She looks after the keys of the teams.")
    campaign = create_campaign(
        actor=lead,
        now=now,
        name=QUARTERLY,
        description="Every key of the production account, as the card scheme's assessor asks for each quarter.",
        reviewed=[Reviewed.CREDENTIAL],
        kinds=[CredentialKind.AWS_ACCESS_KEY],
        environments=[Environment.objects.get(name="prod").pk],
        connections=[accounts.pk],
        due_at=now + 21 * DAY,
        lead=owners[LEAD],
    )
    create_campaign(
        actor=lead,
        now=now,
        name=DRAFTED,
        description="Whether anybody still needs what registered itself at the company's sign-in.",
        reviewed=[Reviewed.CLIENT],
        due_at=now + 30 * DAY,
        lead=owners[LEAD],
    )
    set_trigger(Occasion.OWNER_LEFT, is_on=True, lead=owners[LEAD], actor=lead, now=now)
    return launch(campaign, actor=lead, now=now).size


def ask_for_evidence(now: datetime) -> None:
    """A pack for the card scheme's assessor; a worker builds it within a minute."""
    purpose = "The card scheme's assessor, this quarter"
    request_pack(purpose=purpose, actor=_actor(LEAD), now=now, sample_size=25, sample_seed="halden")
