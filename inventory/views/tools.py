"""The tools of a server: what they say they do, what was approved, and what changed since."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.actions.grants import approve_tools, seen_tools
from inventory.errors import InventoryError
from inventory.forms import ApproveToolsForm
from inventory.models import McpServer, Tool
from inventory.views.questions import Question, ask, go, is_decided, way_back
from web.wording import plural

SHOWN = 500
LISTED = 40  # definitions described in a question
ANNOTATIONS = {"is_read_only": "read-only", "is_destructive": "destructive", "is_open_world": "open world"}


@dataclass(frozen=True)
class ToolRow:
    """A tool that is listed, with how its definition differs from the approved one as far as that is known."""

    tool: Tool
    differences: list[str] = field(default_factory=list)

    @property
    def is_new(self) -> bool:
        return not self.tool.approved_digest


@dataclass(frozen=True)
class ToolPanel:
    rows: list[ToolRow]
    changed: int
    new: int
    is_cut: bool
    may_approve: bool

    @property
    def pending(self) -> int:
        return self.changed + self.new


def rows_of(server: McpServer) -> list[ToolRow]:
    """The tools that a server lists, changed ones first, then the destructive."""
    tools = list(Tool.objects.present().filter(server=server).order_by("name", "pk")[: SHOWN + 1])
    tools.sort(key=lambda tool: (not tool.is_changed, not tool.is_destructive))
    return [ToolRow(tool, differences(tool) if tool.is_changed else []) for tool in tools]


def panel(server: McpServer, actor: Actor) -> ToolPanel:
    rows = rows_of(server)
    return ToolPanel(
        rows=rows[:SHOWN],
        changed=sum(row.tool.is_changed for row in rows),
        new=sum(row.is_new for row in rows),
        is_cut=len(rows) > SHOWN,
        may_approve=may_approve(server, actor),
    )


def may_approve(server: McpServer, actor: Actor) -> bool:
    return actor.may_everywhere(Right.GRANT) or McpServer.objects.answered_for_by(actor).filter(pk=server.pk).exists()


def differences(tool: Tool) -> list[str]:
    """What is no longer as it was approved. Of the schema there is only the digest, so that it differs is all."""
    before = tool.approved_definition
    if not before:
        return ["What it was when it was approved was not kept; its digest differs."]
    found = [
        _annotation(words, before.get(name), getattr(tool, name))
        for name, words in ANNOTATIONS.items()
        if before.get(name) != getattr(tool, name)
    ]
    if before.get("description") != tool.description:
        found.append(f"Its description was: “{_short(before.get('description') or 'empty')}”")
    gained = sorted(set(tool.scopes) - set(before.get("scopes") or ()))
    lost = sorted(set(before.get("scopes") or ()) - set(tool.scopes))
    if gained:
        found.append(f"It asks for {', '.join(gained[:5])} now.")
    if lost:
        found.append(f"It no longer asks for {', '.join(lost[:5])}.")
    return found or ["Its input or output schema differs."]


def _annotation(words: str, before: Any, now: Any) -> str:
    if now is None:
        return f"It no longer says whether it is {words}."
    said = {True: f"said it was {words}", False: f"said it was not {words}"}.get(
        before, f"did not say whether it is {words}"
    )
    return f"It {said}; now it says it is {'' if now else 'not '}{words}."


def _short(text: Any) -> str:
    words = str(text)
    return words if len(words) <= 240 else f"{words[:239]}…"


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.GRANT)
def tools_approve(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Take the definitions of a server's tools as they are: all that are new or changed."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    servers = McpServer.objects.visible_to(actor)
    server = get_object_or_404(servers if actor.may_everywhere(Right.GRANT) else servers.answered_for_by(actor), pk=pk)
    back = way_back(request, reverse("server_detail", args=[pk]))
    pending = [row for row in rows_of(server) if row.is_new or row.tool.is_changed]
    if not pending:
        messages.info(request, "Every definition is approved as it is.")
        return go(request, back)
    as_seen = seen_tools(row.tool for row in pending)
    form = ApproveToolsForm(request.POST if is_decided(request) else None, initial={"as_seen": as_seen})
    if is_decided(request) and form.is_valid():
        try:
            count = approve_tools(
                server,
                [row.tool.name for row in pending],
                as_seen=form.cleaned_data["as_seen"],
                actor=actor,
                now=timezone.now(),
                reason=form.cleaned_data["reason"],
            )
        except InventoryError as exc:
            form = ApproveToolsForm({**request.POST.dict(), "as_seen": as_seen})
            form.full_clean()
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"{plural(count, 'definition')} of {server} approved.")
            return go(request, back)
    facts = [("Server", server.name), *(_to_decide(row) for row in pending[:LISTED])]
    if len(pending) > LISTED:
        facts.append(("And", f"{len(pending) - LISTED} more; the server's page has them"))
    question = Question(
        title=f"Approve {plural(len(pending), 'definition')}",
        text="From then on a change to any of them is a finding again. Grants that name them hold for these.",
        facts=facts,
        form=form,
        submit=f"Approve {plural(len(pending), 'definition')}",
        back=back,
    )
    return ask(request, question)


def _to_decide(row: ToolRow) -> tuple[str, str]:
    """What a person has to read of a definition: what changed, or what a new one says it does."""
    if row.tool.is_changed:
        return row.tool.name, f"Changed. {' '.join(row.differences)}"
    said = [words for name, words in ANNOTATIONS.items() if getattr(row.tool, name)]
    told = f"New{', ' + ', '.join(said) if said else ''}."
    return row.tool.name, f"{told} {_short(row.tool.description)}".strip()
