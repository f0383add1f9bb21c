"""What a server and its tools ask, what a session carries, what an identity may: pure comparison of the three.

None stands for what nobody knows. It never counts as nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inventory.states import IDLE_MISMATCHES, UNKNOWN_MISMATCHES, GrantState, Mismatch
from web.wording import plural, some

NAMED = 4
Scopes = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool that the server lists."""

    name: str
    is_destructive: bool | None = None
    is_changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The grant of the pair; `state` is None where there is none."""

    state: GrantState | None
    tools: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()

    @property
    def is_in_force(self) -> bool:
        return self.state is GrantState.APPROVED


@dataclass(frozen=True, slots=True)
class Named:
    """One mismatch, in a sentence that names what differs."""

    kind: Mismatch
    sentence: str
    what: tuple[str, ...] = ()

    @property
    def is_unknown(self) -> bool:
        return self.kind in UNKNOWN_MISMATCHES

    @property
    def is_idle(self) -> bool:
        return self.kind in IDLE_MISMATCHES


def _listed(names: Sequence[str]) -> str:
    return some(names, NAMED)


def of_tools(grant: Granted, offered: Sequence[Offered] | None, *, why_unknown: str = "") -> Iterator[Named]:
    """How the tools that are reachable differ from those granted. `offered` is None where nobody could list them."""
    if grant.state is None:
        yield Named(Mismatch.NO_GRANT, "The client reaches the server and nobody granted it anything.")
    elif grant.state is GrantState.DRAFT:
        yield Named(Mismatch.NO_GRANT, "The grant is a draft. Until somebody approves it, it allows nothing.")
    elif grant.state is GrantState.ENDED:
        yield Named(Mismatch.GRANT_ENDED, "The grant has ended and the client still reaches the server.")
    allowed = grant.tools if grant.is_in_force else frozenset()
    if offered is None:
        reason = f" {why_unknown}" if why_unknown else ""
        yield Named(Mismatch.TOOLS_UNKNOWN, f"Which tools the server offers is unknown.{reason}")
        return
    beyond = sorted(tool.name for tool in offered if tool.name not in allowed)
    destructive = sorted(tool.name for tool in offered if tool.name not in allowed and tool.is_destructive)
    changed = sorted(tool.name for tool in offered if tool.name in allowed and tool.is_changed)
    idle = sorted(allowed - {tool.name for tool in offered})
    if destructive:
        said = f"{plural(len(destructive), 'destructive tool')} reachable without a grant: {_listed(destructive)}."
        yield Named(Mismatch.DESTRUCTIVE_UNGRANTED, said, tuple(destructive))
    if grant.is_in_force and beyond:
        said = f"{plural(len(beyond), 'tool')} reachable that the grant does not name: {_listed(beyond)}."
        yield Named(Mismatch.TOOLS_UNGRANTED, said, tuple(beyond))
    if changed:
        said = f"No longer defined as approved: {_listed(changed)}."
        yield Named(Mismatch.TOOL_CHANGED, said, tuple(changed))
    if idle:
        said = f"Granted, and the server does not list it: {_listed(idle)}."
        yield Named(Mismatch.TOOL_NOT_OFFERED, said, tuple(idle))


def of_scopes(grant: Granted, *, asked: Scopes, carried: Scopes, registered: Scopes) -> Iterator[Named]:
    """How the three scopes of one path differ: what is asked, what the session carries, what the identity may."""
    if carried is None:
        yield Named(Mismatch.SCOPES_UNKNOWN, "What this credential carries is unknown: its issuer names no scopes.")
    else:
        if grant.is_in_force and (beyond := sorted(carried - grant.scopes)):
            said = f"The session carries {_listed(beyond)}, which nobody granted."
            yield Named(Mismatch.SCOPE_NOT_GRANTED, said, tuple(beyond))
        if registered is not None and (unregistered := sorted(carried - registered)):
            said = f"The session carries {_listed(unregistered)}, for which the client is not registered."
            yield Named(Mismatch.SCOPE_NOT_REGISTERED, said, tuple(unregistered))
        if grant.is_in_force and (missing := sorted(grant.scopes - carried)):
            said = f"Granted, and the session does not carry it: {_listed(missing)}."
            yield Named(Mismatch.SCOPE_NOT_CARRIED, said, tuple(missing))
    if asked is not None and grant.is_in_force and (more := sorted(asked - grant.scopes)):
        yield Named(
            Mismatch.SERVER_ASKS_MORE, f"The server asks for {_listed(more)}, which nobody granted.", tuple(more)
        )
