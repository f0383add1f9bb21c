"""The queue of findings, one finding, and what a person can do about it. Waivers have pages of their own."""

from collections.abc import Hashable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from history.past import now as clock
from inventory.errors import InventoryError
from inventory.models import Connection, Credential, McpClient, McpServer, Owner
from inventory.states import Severity
from inventory.views.questions import Question, ask, go, is_decided, nothing_picked, way_back
from lifecycle.actions.findings import acknowledge, add_link, assign, comment, remove_link
from lifecycle.errors import LifecycleError
from lifecycle.filters import IS_OWNER, FindingFilter
from lifecycle.forms import AssignmentForm, CommentForm, LinkForm
from lifecycle.models import Finding, FindingLink, ScheduledJob, Waiver
from lifecycle.models.findings import FindingQuerySet, SubjectRow, mildness, owner_key, place_key
from lifecycle.rules import Subject
from lifecycle.rules.explained import EXPLAINED
from lifecycle.states import COUNTED, ENDS_SOON, LinkKind, Raised, WaiverState
from lifecycle.views.evidence_words import shown, title
from lifecycle.views.history import history_of
from web.lists import TAB_LIMIT, Bulk, Column, Empty, ListPage, View
from web.narrowing import once
from web.paging import Ordering, capped_counts
from web.past import answers_past, is_bare
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
BULK_MOST = 500
NAMED = 3  # findings named in a question; the rest are counted
MOST = 50  # findings of one subject on its own page
OPEN = "&".join(f"state={state.value}" for state in COUNTED)
RESOLVED_BY = {"resolution", "resolved_after", "resolved_before"}
# What asks for resolved findings, or for those of one subject, of which there are few.
BEYOND_OPEN = {"state", "unresolved", *RESOLVED_BY, *(subject.value for subject in Subject)}


def owner_of(finding: Finding) -> Owner | None:
    """Who answers for the subject, as the evaluation found it."""
    return finding.owner


def due_group(finding: Finding) -> Hashable:
    now = clock()
    if finding.due_at < now:
        return "Past due"
    if finding.due_at < now + timedelta(days=1):
        return "Within a day"
    if finding.due_at < now + timedelta(days=7):
        return "Within a week"
    return "Later"


COLUMNS = (
    Column("finding", "Finding", value=lambda row: row.title_now(clock())),
    Column("subject", "Subject", value=lambda row: row.subject, priority=2),
    Column("rule", "Rule", value=lambda row: row.rule, priority=4, css="muted", sort="rule"),
    Column("owner", "Owner", value=owner_of, priority=3, sort="owner"),
    Column("server", "At server", value=lambda row: row.at_server, priority=4, is_shown=False, sort="server"),
    Column("assignee", "Assigned to", value=lambda row: row.assigned_to, priority=3),
    Column("state", "State", value=lambda row: row.state, priority=4, css="muted"),
    Column("opened", "Open for", value=lambda row: row.opened_at, priority=4, is_numeric=True, sort="opened"),
    Column("due", "Due", value=lambda row: row.due_at, is_numeric=True, sort="due"),
    Column("severity", "Severity", value=lambda row: row.get_severity_display(), sort="severity"),
)
OWNER = Ordering("owner", (owner_key(), "due_at"), False, "by owner, soonest due first", "by owner, latest due first")
SERVER = Ordering(
    "server", (place_key(), "due_at"), False, "by server, soonest due first", "by server, latest due first"
)
SEVERITY = Ordering("severity", ("severity",), True, "least severe first", "most severe first")
DUE = Ordering("due", ("due_at",), False, "soonest due first", "latest due first")
RULE = Ordering("rule", ("rule", mildness()), False, "by rule, most severe first", "by rule, backwards")
OPENED = Ordering("opened", (), True, "oldest first", "newest first")
RESOLVED = Ordering("resolved", ("resolved_at",), True, "resolved longest ago first", "resolved last first")


class Grouping:
    """How the queue is parted: each way is an order that an index serves."""

    def __init__(
        self,
        label: str,
        *orderings: Ordering,
        key: Any = None,
        rows: Any = None,
        alone: Any = None,
        template: str = "lifecycle/_finding_group.html",
    ) -> None:
        self.label, self.orderings, self.key, self.rows, self.alone = label, orderings, key, rows, alone
        self.template = template if key is not None else ""


def _of_owner(rows: QuerySet[Any], owner: Owner | None) -> QuerySet[Any]:
    return rows.owned_by(owner)  # type: ignore[attr-defined,no-any-return]


def _of_server(rows: QuerySet[Any], server: McpServer | None) -> QuerySet[Any]:
    return rows.at(server)  # type: ignore[attr-defined,no-any-return]


def _one_owner(owner: Owner | None) -> Mapping[str, str]:
    return {"owner": str(owner.pk)} if owner else {"has_owner": "false"}


def _one_server(server: McpServer | None) -> Mapping[str, str]:
    return {"at_server": str(server.pk)} if server else {"has_server": "false"}


GROUPS: dict[str, Grouping] = {
    "owner": Grouping("Owner", OWNER, key=lambda row: row.owner, rows=_of_owner, alone=_one_owner),
    "due": Grouping("Due", DUE, key=due_group, template=""),
    "severity": Grouping(
        "Severity", SEVERITY, key=lambda row: row.severity, template="lifecycle/_severity_group.html",
        rows=lambda rows, severity: rows.filter(severity=severity),
        alone=lambda severity: {"severity": Severity(severity).name.lower()},
    ),
    "rule": Grouping(
        "Rule", RULE, key=lambda row: row.rule, template="lifecycle/_rule_group.html",
        rows=lambda rows, rule: rows.filter(rule=rule), alone=lambda rule: {"rule": rule},
    ),
    "server": Grouping(
        "Server", SERVER, key=lambda row: row.at_server, rows=_of_server, alone=_one_server,
        template="lifecycle/_server_group.html",
    ),
    "none": Grouping("None", DUE, SEVERITY, RULE, OPENED, OWNER, SERVER),
    # Not offered: what is resolved has no due date, and no index by owner.
    "resolved": Grouping("None", RESOLVED, OPENED),
}  # fmt: skip
VIEWS = (
    View("Open", OPEN),
    View("Past due", "overdue=true"),
    View("Critical", f"{OPEN}&severity=critical"),
    View("Escalated", f"{OPEN}&escalated=true"),
    View("Exposed", f"{OPEN}&rule=hard-coded"),
    View("Waived", "state=waived"),
    View("Ending soon", "waiver=ending"),
    View("Resolved", "state=resolved", is_counted=False),
)
MINE = View("Mine", f"{OPEN}&mine=true")


def _page(group: str, *, is_owner: bool) -> ListPage:
    grouping = GROUPS[group]
    return ListPage(
        name="findings",
        title="Findings",
        noun="finding",
        # What the heads of the groups say need not stand in every row; it can be asked for.
        columns=[replace(column, is_shown=False) if column.key == group else column for column in COLUMNS],
        orderings=grouping.orderings,
        filterset=FindingFilter,
        row_template="lifecycle/_finding_cells.html",
        group=grouping.key,
        group_template=grouping.template,
        group_rows=grouping.rows,
        group_filter=grouping.alone,
        template="lifecycle/finding_list.html",
        views=(MINE, *VIEWS) if is_owner else VIEWS,
        row_css=lambda row: "ended" if row.resolved_at else "",
        row_label=lambda row: f"{row.name}, {row.subject}",
        empty=Empty(
            "Nothing needs you",
            "No finding matches. Findings open by themselves when a rule is violated, and resolve when it is seen met.",
            "/policies/",
            "See what the rules ask",
        ),
    )


PAGES = {(group, is_owner): _page(group, is_owner=is_owner) for group in GROUPS for is_owner in (True, False)}


def listed(actor: Actor) -> FindingQuerySet:
    return Finding.objects.visible_to(actor).with_subjects()


@require_GET
@requires_reader
@answers_past
def finding_list(request: HttpRequest) -> HttpResponseBase:
    """The queue: what is unresolved, by owner and due date, unless something else is asked for."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    is_owner, waivers = _standing(actor)
    once(request, IS_OWNER, lambda: is_owner)
    if is_bare(request):
        return redirect(f"{reverse('finding_list')}?{MINE.query if is_owner else OPEN}")
    rows = listed(actor)
    if not BEYOND_OPEN & set(request.GET):
        rows = rows.unresolved()
    group = _group_of(request)
    bulk = (
        [
            Bulk("Acknowledge", reverse("finding_acknowledge"), "check"),
            Bulk("Assign…", reverse("finding_assign"), "person", "o"),
            Bulk("Waive…", reverse("finding_waive"), "clock", "w"),
            Bulk("Comment…", reverse("finding_comment"), "", "c"),
        ]
        if may_decide(actor)
        else []
    )
    if actor.may(Right.OPERATE):
        bulk.append(Bulk("Rotate…", reverse("finding_rotate"), "operation", "r"))
        bulk.append(Bulk("Revoke…", reverse("finding_revoke"), "stop", "v", "danger"))
    kept = request.GET.copy()
    for name in ("group", "sort", "cursor", "format", "col"):
        kept.pop(name, None)
    choices = []
    for name, grouping in GROUPS.items():
        if name != "resolved":
            kept["group"] = name
            choices.append((f"?{kept.urlencode()}", grouping.label, name == group))
    context = {"groupings": choices if group != "resolved" else [], "now": clock(), "waivers": waivers}
    return PAGES[group, is_owner].respond(request, rows, bulk=bulk, context=context)


def _group_of(request: HttpRequest) -> str:
    """Groups follow one order; who asks for another order has it without groups."""
    given = request.GET
    if given.getlist("state") == ["resolved"] or given.get("unresolved") == "false" or RESOLVED_BY & set(given):
        return "resolved"
    sort = given.get("sort", "").removeprefix("-")
    group = given.get("group") or ("none" if sort else "owner")
    if group not in GROUPS or group == "resolved":
        group = "owner"
    return group if sort in {"", *(ordering.name for ordering in GROUPS[group].orderings)} else "none"


def _standing(actor: Actor) -> tuple[bool, dict[str, int]]:
    """Whether this person answers for anything, and how many waivers ask for attention, in one statement."""
    rows = Waiver.objects.visible_to(actor)
    soon = timezone.now() + ENDS_SOON
    wanted = [Owner.objects.being(actor), rows.requested(), rows.ending_before(soon), rows.outgrown()]
    me, requested, ending, outgrown = (count.value for count in capped_counts(wanted, TAB_LIMIT))
    return me > 0, {"requested": requested, "ending": ending, "outgrown": outgrown}


def may_decide(actor: Actor) -> bool:
    """Reviewers decide about all findings, owners about theirs."""
    return actor.may(Right.WORK_ON_FINDING)


@require_GET
@requires_reader
@answers_past
def finding_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = clock()
    finding = get_object_or_404(listed(actor), pk=pk)
    waivers = list(Waiver.objects.filter(finding=finding).order_by("-id")[:20])
    by_state = {waiver.state: waiver for waiver in reversed(waivers) if not waiver.is_over}
    active, asked = by_state.get(WaiverState.ACTIVE), by_state.get(WaiverState.REQUESTED)
    is_mine = asked is not None and asked.requested_by_key == actor.key
    return render(
        request,
        "lifecycle/finding_detail.html",
        {
            "finding": finding,
            "title": finding.title_now(now),
            "rule": finding.declaration,
            "subject_url": subject_url(finding.subject),
            "evidence": [(title(name), value) for name, value in shown(finding.evidence)],
            "raised_by": [_because(each, finding.rule) for each in finding.raised_by],
            "waivers": waivers,
            "active": active,
            "scheduled": by_state.get(WaiverState.SCHEDULED),
            "asked": asked,
            "ends_soon": active is not None and active.ends_at < now + ENDS_SOON,
            "is_outgrown": active is not None and finding.severity > active.severity,
            "is_mine": is_mine,
            "may_approve": asked is not None and not is_mine and actor.may(Right.DECIDE_WAIVER),
            "links": list(FindingLink.objects.present().filter(finding=finding).order_by("id")[:50]),
            "history": history_of(finding, actor, now=now, before=_moment(request.GET.get("before", ""))),
            "before": request.GET.get("before", ""),
            "comment_form": CommentForm(),
            "is_open": finding.state in COUNTED,
            "can_decide": may_decide(actor),
            "can_operate": finding.credential_id is not None and actor.may(Right.OPERATE),
            "now": now,
        },
    )


def _moment(text: str) -> datetime | None:
    """What a link to earlier history names; anything else shows the newest."""
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None


def _because(reason: str, rule: str) -> str:
    """Why it is more severe; of what the rule itself raises, in the rule's own words."""
    if reason == Raised.RULE and rule in EXPLAINED and EXPLAINED[rule].graded:
        return EXPLAINED[rule].graded
    known = {each.value: each.label for each in Raised}
    return str(known.get(reason, title(reason)))


@require_GET
@requires_reader
def findings_about(request: HttpRequest, kind: str, pk: UUID) -> HttpResponse:
    """The unresolved findings of one subject, for a page that knows the subject alone; without htmx their list."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if kind not in set(Subject):
        raise Http404
    if not request.htmx:  # type: ignore[attr-defined]
        return redirect(f"{reverse('finding_list')}?unresolved=true&{kind}={pk}")
    now = timezone.now()
    found = listed(actor).unresolved().filter(**{f"{kind}_id": pk}).order_by("-severity", "due_at")[:MOST]
    findings = [(finding, finding.title_now(now)) for finding in found]
    return render(request, "lifecycle/_findings_about.html", {"findings": findings, "kind": kind, "now": now})


def noun_of(subject: SubjectRow) -> str:
    nouns: dict[type[SubjectRow], str] = {
        Credential: "credential",
        McpServer: "server",
        McpClient: "client",
        Connection: "connection",
        ScheduledJob: "job",
    }
    return nouns[type(subject)]


def subject_url(subject: SubjectRow) -> str:
    return reverse(f"{noun_of(subject)}_detail", args=[subject.pk])


# What a rule looked at stands on the page of its subject, under this heading.
WHERE = {
    "hard-coded": ("See where", "exposures"),
    "anonymous-server": ("See the checks", "posture"),
    "posture-violations": ("See the checks", "posture"),
    "client-posture-violations": ("See the checks", "posture"),
    "tool-definition-changed": ("See the tools", "tools"),
}


def next_step(finding: Finding, actor: Actor) -> dict[str, str]:
    """The first thing to do about it here, as a link with its verb."""
    subject = finding.subject
    noun = noun_of(subject)
    may_assign = actor.may(Right.ASSIGN_OWNER)
    if finding.rule in {"no-owner", "owner-inactive", "server-owner-missing", "client-owner-missing"} and may_assign:
        return {"label": "Assign owner…", "url": f"{reverse(f'{noun}_assign_owner')}?id={subject.pk}", "noun": noun}
    if finding.rule == "server-unclassified" and actor.may(Right.CLASSIFY):
        return {"label": "Classify…", "url": f"{reverse('server_classify')}?id={subject.pk}", "noun": noun}
    if (
        finding.rule == "issuer-posture-violations"
        and isinstance(subject, McpServer)
        and subject.authorization_server_id
    ):
        url = reverse("authorization_server_detail", args=[subject.authorization_server_id])
        return {"label": "See the checks", "url": f"{url}#posture", "noun": noun}
    if finding.rule in {"tool-surface-ungranted", "destructive-tool-ungranted"}:
        return {"label": "See its grants", "url": f"{reverse('grant_matrix')}?server={subject.pk}", "noun": noun}
    if finding.rule in WHERE:
        label, anchor = WHERE[finding.rule]
        return {"label": label, "url": f"{subject_url(subject)}#{anchor}", "noun": noun}
    return {"label": "Open", "url": subject_url(subject), "noun": noun}


def named(request: HttpRequest) -> FindingQuerySet:
    """The findings that the request names and its actor may see."""
    ids = []
    for text in (request.POST.getlist("id") or request.GET.getlist("id"))[:BULK_MOST]:
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return listed(actor).filter(pk__in=ids)


def chosen(request: HttpRequest) -> FindingQuerySet:
    """Those of them that are unresolved."""
    return named(request).unresolved()


@require_POST
@requires(Right.WORK_ON_FINDING)
def finding_acknowledge(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        count = acknowledge(chosen(request).values_list("pk", flat=True), actor=actor, now=timezone.now())
    except LifecycleError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"You acknowledged {plural(count, 'finding')}.")
    return redirect(back(request))


def about(findings: list[Finding]) -> list[tuple[str, str]]:
    """What a question is about: the first few by name, the rest counted."""
    names = [f"{finding.name}, {finding.subject}" for finding in findings[:NAMED]]
    return [("Finding" if len(findings) == 1 else "Findings", some(names, NAMED, len(findings)))]


@require_http_methods(METHODS)
@requires(Right.WORK_ON_FINDING)
def finding_assign(request: HttpRequest) -> HttpResponse:
    """Who works on it. Who answers for the subject stays as it is."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back_to = way_back(request, reverse("finding_list"))
    findings = list(chosen(request))
    if not findings:
        return nothing_picked(request, back_to, "unresolved findings")
    form = AssignmentForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        owner, reason = form.cleaned_data["assignee"], form.cleaned_data["reason"]
        try:
            count = assign([finding.pk for finding in findings], owner, actor=actor, reason=reason)
        except (LifecycleError, InventoryError) as exc:
            form.add_error("assignee", str(exc))
        else:
            who = str(owner) if owner else "nobody"
            messages.success(request, f"{plural(count, 'finding')} assigned to {who}.")
            return go(request, back_to)
    return ask(
        request,
        Question(
            title=f"Assign {plural(len(findings), 'finding')}",
            text="Who works on it from now on. Whoever answers for the subject still does.",
            facts=about(findings),
            form=form,
            submit="Assign",
            back=back_to,
            ids=[str(finding.pk) for finding in findings],
        ),
    )


@require_http_methods(METHODS)
@requires(Right.WORK_ON_FINDING)
def finding_comment(request: HttpRequest) -> HttpResponse:
    """A comment at one finding or at many, resolved ones too: what was learned is written down afterwards as well."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back_to = way_back(request, reverse("finding_list"))
    findings = list(named(request))
    if not findings:
        return nothing_picked(request, back_to, "findings")
    form = CommentForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            count = comment(
                [finding.pk for finding in findings], form.cleaned_data["text"], actor=actor, now=timezone.now()
            )
        except LifecycleError as exc:
            form.add_error("text", str(exc))
        else:
            messages.success(request, f"You commented on {plural(count, 'finding')}.")
            return go(request, back_to)
    return ask(
        request,
        Question(
            title=f"Comment on {plural(len(findings), 'finding')}",
            facts=about(findings),
            form=form,
            submit="Write comment",
            back=back_to,
            ids=[str(finding.pk) for finding in findings],
        ),
    )


@require_http_methods(METHODS)
@requires(Right.WORK_ON_FINDING)
def finding_link(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Name what will resolve it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    finding = get_object_or_404(listed(actor), pk=pk)
    form = LinkForm(request.POST if is_decided(request) else None)
    here = reverse("finding_detail", args=[finding.pk])
    if is_decided(request) and form.is_valid():
        given = {**form.cleaned_data, "kind": LinkKind(form.cleaned_data["kind"])}
        try:
            link = add_link(finding, **given, actor=actor, now=timezone.now())
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"You linked {link}.")
            return go(request, here)
    return ask(
        request,
        Question(
            title="Link what will resolve it",
            facts=about([finding]),
            form=form,
            submit="Add link",
            back=here,
        ),
    )


@require_POST
@requires(Right.WORK_ON_FINDING)
def finding_unlink(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    link = get_object_or_404(FindingLink.objects.visible_to(actor), pk=pk)
    try:
        remove_link(link, actor=actor, now=timezone.now())
    except LifecycleError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"You removed the link to {link}.")
    return redirect("finding_detail", link.finding_id)


def back(request: HttpRequest) -> str:
    """Where the person came from, when that is one finding; else the list."""
    finding = named(request).first() if request.POST.get("from") == "detail" else None
    return reverse("finding_detail", args=[finding.pk]) if finding is not None else reverse("finding_list")
