"""Who may do what, to whose things: the one table that pages, the API, the manual and the tests read.

A right is held *everywhere* (over the whole estate) or for one's *own*: what an owner answers for, what an actor asked
for, or the actor's own account. A role is named where it begins; the roles that imply it hold the right as well.
Whoever adds a page or a verb of the API names its right there, so that an address without one lets nobody in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from access.roles import Role, held


class Reach(StrEnum):
    EVERYWHERE = "everywhere"
    OWN = "own"


class Right(StrEnum):
    """What can be allowed. The first two ask for no role."""

    ANYBODY = "anybody"
    SIGNED_IN = "signed_in"
    READ = "read"
    MONITOR = "monitor"
    PREFER = "prefer"
    ASSIGN_OWNER = "assign_owner"
    RECORD_OWNER = "record_owner"
    ANSWER_FOR = "answer_for"
    RECORD_FACT = "record_fact"
    CLASSIFY = "classify"
    KEEP = "keep"
    ADMIT = "admit"
    NARROW = "narrow"
    GRANT = "grant"
    CONNECT = "connect"
    FEED = "feed"
    WORK_ON_FINDING = "work_on_finding"
    ASK_FOR_WAIVER = "ask_for_waiver"
    DECIDE_WAIVER = "decide_waiver"
    CAP_WAIVERS = "cap_waivers"
    SET_POLICY = "set_policy"
    OPERATE = "operate"
    DECIDE_OPERATION = "decide_operation"
    DELIVER = "deliver"
    ACKNOWLEDGE = "acknowledge"
    REVOKE_MANY = "revoke_many"
    DECIDE_MANY = "decide_many"
    STEER_SCHEDULE = "steer_schedule"
    LIMIT_OPERATIONS = "limit_operations"
    RUN_CAMPAIGN = "run_campaign"
    REVIEW = "review"
    NOTIFY = "notify"
    STREAM = "stream"
    ISSUE_TOKEN = "issue_token"
    PROVISION = "provision"
    BUILD_EVIDENCE = "build_evidence"


@dataclass(frozen=True, slots=True)
class Held:
    """What a right is, in words that follow “may”, and from which roles on it is held."""

    says: str
    everywhere: frozenset[Role] = frozenset()
    own: frozenset[Role] = frozenset()

    def reach(self, roles: Iterable[Role]) -> Reach | None:
        """How far somebody with `roles` may go; None where they hold no part of it."""
        theirs = held(frozenset(roles))
        if theirs & self.everywhere:
            return Reach.EVERYWHERE
        return Reach.OWN if theirs & self.own else None


def _held(says: str, *everywhere: Role, own: tuple[Role, ...] = ()) -> Held:
    return Held(says, frozenset(everywhere), frozenset(own))


OWNER = (Role.OWNER,)
TABLE: dict[Right, Held] = {
    Right.ANYBODY: _held("sign in, and ask whether Keyreeve runs"),
    Right.SIGNED_IN: _held("look after their own account, and sign out"),
    Right.READ: _held("read", Role.AUDITOR, own=OWNER),
    Right.MONITOR: _held("read the metrics", Role.AUDITOR),
    Right.PREFER: _held("save views, and choose which notices to get", own=(Role.AUDITOR, Role.OWNER)),
    Right.ASSIGN_OWNER: _held("say who answers for servers, clients and credentials", Role.REVIEWER, own=OWNER),
    Right.RECORD_OWNER: _held("record owners, who is in line for them, and that one has left", Role.REVIEWER),
    Right.ANSWER_FOR: _held(
        "accept what they are asked to answer for, hand it over or decline it", Role.REVIEWER, own=OWNER
    ),
    Right.RECORD_FACT: _held("record dates that no provider tells, and what a server logs", Role.REVIEWER),
    Right.CLASSIFY: _held("set roles and environments, and answer checks that no probe can", Role.OPERATOR),
    Right.KEEP: _held("confirm that credentials are needed, and tag them", Role.REVIEWER, own=OWNER),
    Right.ADMIT: _held("let clients in", Role.REVIEWER),
    Right.NARROW: _held("quarantine, suspend and remove clients", Role.REVIEWER, own=OWNER),
    Right.GRANT: _held("draft, approve and withdraw grants, and approve tools", Role.REVIEWER, own=OWNER),
    Right.CONNECT: _held("add, change, test and remove connections, and sync them", Role.OPERATOR),
    Right.FEED: _held("send rows to a feed", Role.OPERATOR, Role.AUTOMATION),
    Right.WORK_ON_FINDING: _held("acknowledge, assign, comment and link findings", Role.REVIEWER, own=OWNER),
    Right.ASK_FOR_WAIVER: _held("ask for a waiver, and withdraw one", Role.REVIEWER, own=OWNER),
    Right.DECIDE_WAIVER: _held("approve and decline waivers that others asked for", Role.REVIEWER),
    Right.CAP_WAIVERS: _held("cap the waivers of a team", Role.ADMINISTRATOR),
    Right.SET_POLICY: _held("set policies and rules", Role.REVIEWER),
    Right.OPERATE: _held(
        "ask for rotations and revocations, and see to those that are under way",
        Role.OPERATOR, Role.AUTOMATION, own=OWNER,
    ),
    Right.DECIDE_OPERATION: _held("approve and decline what was proposed, and retire a version early", Role.OPERATOR),
    Right.DELIVER: _held("set where new secrets go, and put references in place of literals", Role.OPERATOR),
    Right.ACKNOWLEDGE: _held(
        "say that a consumer uses the new version", Role.OPERATOR, Role.AUTOMATION, own=OWNER
    ),
    Right.REVOKE_MANY: _held(
        "ask for the revocation of many, and halt, resume and cancel it", Role.OPERATOR, Role.AUTOMATION, own=OWNER
    ),
    Right.DECIDE_MANY: _held(
        "preview and rehearse the kill switch, approve and decline it, and decide for leavers", Role.OPERATOR
    ),
    Right.STEER_SCHEDULE: _held("set freezes and windows, and resume a halted schedule", Role.OPERATOR),
    Right.LIMIT_OPERATIONS: _held("set how many operations may run at once", Role.ADMINISTRATOR),
    Right.RUN_CAMPAIGN: _held("draft, launch, move and cancel access reviews", Role.REVIEWER),
    Right.REVIEW: _held("decide what is theirs to review, hand it on, attest and sign", Role.REVIEWER, own=OWNER),
    Right.NOTIFY: _held("add, change and test webhooks, and send notices again", Role.OPERATOR),
    Right.STREAM: _held("set up streams of events, and begin the keys that sign them", Role.ADMINISTRATOR),
    Right.ISSUE_TOKEN: _held(
        "issue API tokens of a role that one holds, and revoke them",
        Role.ADMINISTRATOR, own=(Role.REVIEWER, Role.AUTOMATION, Role.OWNER)
    ),
    Right.BUILD_EVIDENCE: _held("build evidence packs", Role.REVIEWER, Role.AUTOMATION),
    Right.PROVISION: _held("say who joins, moves and leaves, as a directory does", Role.AUTOMATION),
}  # fmt: skip


def reach(right: Right, roles: Iterable[Role]) -> Reach | None:
    return TABLE[right].reach(roles)


def may(right: Right, roles: Iterable[Role]) -> bool:
    return reach(right, roles) is not None


def holders(right: Right) -> dict[Role, Reach]:
    """Every role with a part of it, in the order of the roles."""
    found = {role: reach(right, {role}) for role in Role}
    return {role: how for role, how in found.items() if how is not None}


def refusal(right: Right) -> str:
    """Why somebody may not, and who could."""
    return f"To {TABLE[right].says} takes the role {spoken(holders(right))}."


def spoken(roles: Iterable[Role]) -> str:
    *some, last = [role.value for role in roles]
    return f"{', '.join(some)} or {last}" if some else last
