"""The queue of findings, one finding, and what a person can do about it."""

from collections.abc import Hashable
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.roles import Role
from audit.models import AuditEntry
from inventory.models import Connection, Credential, McpClient, McpServer
from inventory.posture.catalogue import CHECKS
from inventory.states import Severity
from lifecycle.actions.findings import acknowledge, waive_all, withdraw_waiver
from lifecycle.errors import LifecycleError
from lifecycle.filters import FindingFilter
from lifecycle.forms import WaiverForm
from lifecycle.models import Finding, RuleState, ScheduledJob, Waiver
from lifecycle.models.findings import FindingQuerySet, SubjectRow
from lifecycle.rules import RULES, Subject
from lifecycle.rules.wording import length
from lifecycle.states import COUNTED, DUE_WITHIN
from lifecycle.views import timeline
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.wording import plural

BULK_MOST = 500
MOST = 50  # findings of one subject on its own page
OPEN = "&".join(f"state={state.value}" for state in COUNTED)


def owner_of(finding: Finding) -> Any:
    """Who answers for the subject; of a server's three owners the first that is set. Nobody for what is no asset."""
    subject = finding.subject
    if isinstance(subject, Connection | ScheduledJob):
        return None
    if isinstance(subject, Credential | McpClient):
        return subject.owner
    return subject.iam_owner or subject.platform_owner or subject.application_owner


def due_group(finding: Finding) -> Hashable:
    now = timezone.now()
    if finding.due_at < now:
        return "Past due"
    if finding.due_at < now + timedelta(days=1):
        return "Within a day"
    if finding.due_at < now + timedelta(days=7):
        return "Within a week"
    return "Later"


COLUMNS = (
    Column("finding", "Finding", value=lambda row: row.title_now(timezone.now())),
    Column("subject", "Subject", value=lambda row: row.subject, priority=2),
    Column("rule", "Rule", value=lambda row: row.rule, priority=4, css="muted", sort="rule"),
    Column("owner", "Owner", value=owner_of, priority=3),
    Column("state", "State", value=lambda row: row.state, priority=4, css="muted"),
    Column("opened", "Open for", value=lambda row: row.opened_at, priority=3, is_numeric=True, sort="opened"),
    Column("due", "Due", value=lambda row: row.due_at, is_numeric=True, sort="due"),
    Column("severity", "Severity", value=lambda row: row.get_severity_display(), sort="severity"),
)
SEVERITY = Ordering("severity", ("severity",), True, "least severe first", "most severe first")
DUE = Ordering("due", ("due_at",), False, "soonest due first", "latest due first")
RULE = Ordering("rule", ("rule",), False, "by rule", "by rule, backwards")
OPENED = Ordering("opened", (), True, "oldest first", "newest first")
GROUPS: dict[str, tuple[str, tuple[Ordering, ...], Any, str]] = {
    "none": ("None", (SEVERITY, DUE, RULE, OPENED), None, ""),
    "severity": ("Severity", (SEVERITY,), lambda row: row.severity, "lifecycle/_severity_group.html"),
    "due": ("Due", (DUE,), due_group, ""),
    "rule": ("Rule", (RULE,), lambda row: row.name, ""),
}


def _page(group: str) -> ListPage:
    _label, orderings, grouping, template = GROUPS[group]
    return ListPage(
        name="findings",
        title="Findings",
        noun="finding",
        # What the heads of the groups say need not stand in every row; it can be asked for.
        columns=[replace(column, is_shown=False) if column.key == group else column for column in COLUMNS],
        orderings=orderings,
        filterset=FindingFilter,
        row_template="lifecycle/_finding_cells.html",
        group=grouping,
        group_template=template,
        template="lifecycle/finding_list.html",
        views=(
            View("Open", OPEN),
            View("Past due", "overdue=true"),
            View("Critical", f"{OPEN}&severity=critical"),
            View("Exposed", f"{OPEN}&rule=hard-coded"),
            View("Waived", "state=waived"),
            View("Resolved", "state=resolved"),
        ),
        row_css=lambda row: "ended" if row.resolved_at else "",
        row_label=lambda row: f"{row.name}, {row.subject}",
        empty=Empty(
            "Nothing needs you",
            "No finding matches. Findings open by themselves when a rule is violated, and resolve when it is seen met.",
            "/policies/",
            "See what the rules ask",
        ),
    )


PAGES = {group: _page(group) for group in GROUPS}


def listed(actor: Actor) -> FindingQuerySet:
    return Finding.objects.visible_to(actor).with_subjects()


@require_GET
@requires_reader
def finding_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    # Groups follow one order; who asks for another order has it without groups.
    group = request.GET.get("group") or ("none" if "sort" in request.GET else "severity")
    bulk = (
        [
            Bulk("Acknowledge", reverse("finding_acknowledge"), "check"),
            Bulk("Waive…", reverse("finding_waive"), "clock", "w"),
        ]
        if actor.has(Role.REVIEWER)
        else []
    )
    choices = [(name, label, name == group) for name, (label, *_rest) in GROUPS.items()]
    return PAGES.get(group, PAGES["severity"]).respond(
        request, listed(actor), bulk=bulk, context={"groupings": choices, "now": timezone.now()}
    )


@require_GET
@requires_reader
def finding_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    finding = get_object_or_404(listed(actor).select_related("credential__environment", "server__environment"), pk=pk)
    waivers = list(Waiver.objects.filter(finding=finding).order_by("-id")[:20])
    entries = list(AuditEntry.objects.about(finding)[: timeline.LENGTH])
    happenings = timeline.newest([*timeline.from_audit(entries), *timeline.from_findings([finding], now)])
    return render(
        request,
        "lifecycle/finding_detail.html",
        {
            "finding": finding,
            "title": finding.title_now(now),
            "rule": finding.declaration,
            "subject_url": subject_url(finding.subject),
            "owner": owner_of(finding),
            "evidence": [(title(name), value) for name, value in shown_evidence(finding)],
            "waivers": waivers,
            "active_waiver": next((w for w in waivers if w.withdrawn_at is None and w.expired_at is None), None),
            "happenings": happenings,
            "is_open": finding.state in COUNTED,
            "can_decide": actor.has(Role.REVIEWER),
            "now": now,
        },
    )


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


def shown_evidence(finding: Finding) -> list[tuple[str, Any]]:
    """The evidence in the words of a record; lengths are kept in seconds and said in days."""
    shown: list[tuple[str, Any]] = []
    for name, value in finding.evidence.items():
        if value is None:
            continue
        if name.endswith("_at") or name in {"known_since", "rotate_by", "review_by"}:
            try:
                shown.append((name, datetime.fromisoformat(str(value))))
            except ValueError:
                shown.append((name, value))
        elif name.startswith("max_") or name in {"lifetime", "interval"}:
            shown.append((name, length(timedelta(seconds=int(value)))))
        elif name == "checks" and isinstance(value, list):
            shown.append(
                (name, "; ".join(f"{each} {CHECKS[each].title}" if each in CHECKS else each for each in value))
            )
        elif isinstance(value, list):
            shown.append((name, ", ".join(str(each) for each in value)))
        elif isinstance(value, bool):
            shown.append((name, "yes" if value else "no"))
        else:
            shown.append((name, value))
    return shown


def title(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


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
    may_assign = actor.has(Role.REVIEWER) or actor.has(Role.OWNER)
    if finding.rule in {"no-owner", "owner-inactive", "server-owner-missing", "client-owner-missing"} and may_assign:
        return {"label": "Assign owner…", "url": f"{reverse(f'{noun}_assign_owner')}?id={subject.pk}", "noun": noun}
    if finding.rule == "server-unclassified" and actor.has(Role.OPERATOR):
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


def chosen(request: HttpRequest) -> FindingQuerySet:
    """The unresolved findings that the request names and its actor may see."""
    ids = []
    for text in (request.POST.getlist("id") or request.GET.getlist("id"))[:BULK_MOST]:
        try:
            ids.append(UUID(text))
        except ValueError:
            continue
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return listed(actor).unresolved().filter(pk__in=ids)


@require_POST
@requires(Role.REVIEWER)
def finding_acknowledge(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        count = acknowledge(chosen(request).values_list("pk", flat=True), actor=actor, now=timezone.now())
    except LifecycleError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, f"You acknowledged {plural(count, 'finding')}.")
    return redirect(back(request))


@require_http_methods(["GET", "POST"])
@requires(Role.REVIEWER)
def finding_waive(request: HttpRequest) -> HttpResponse:
    """The form for one finding or many; the risk is accepted by name, with a reason and an end."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    findings = list(chosen(request))
    if not findings:
        messages.error(request, "No unresolved finding of yours was chosen.")
        return redirect("finding_list")
    longest = min(Waiver.longest(finding.severity) for finding in findings)
    is_answer = request.method == "POST" and "reason" in request.POST
    form = WaiverForm(request.POST if is_answer else None, today=now.date(), longest=longest)
    if is_answer and form.is_valid():
        ends_at = datetime.combine(form.cleaned_data["until"], time(23, 59, 59), tzinfo=now.tzinfo)
        ends_at = min(ends_at, now + longest)
        try:
            count = waive_all(findings, reason=form.cleaned_data["reason"], ends_at=ends_at, actor=actor, now=now)
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(
                request, f"You waived {plural(count, 'finding')} until {form.cleaned_data['until']:%-d %B}."
            )
            return redirect("finding_detail", findings[0].pk) if len(findings) == 1 else redirect("finding_list")
    titles = [(finding, finding.title_now(now)) for finding in findings[:8]]
    context = {"form": form, "findings": titles, "count": len(findings), "more": max(len(findings) - 8, 0)}
    context["ids"] = [finding.pk for finding in findings]
    return render(request, "lifecycle/finding_waive.html", context, status=422 if form.errors else 200)


@require_POST
@requires(Role.REVIEWER)
def waiver_withdraw(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    waiver = get_object_or_404(Waiver.objects.visible_to(actor).active(), pk=pk)
    try:
        withdraw_waiver(waiver, actor=actor, now=timezone.now())
    except LifecycleError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, "You withdrew the waiver; the finding is open again.")
    return redirect("finding_detail", waiver.finding_id)


def back(request: HttpRequest) -> str:
    """Where the person came from, when that is one finding; else the list."""
    finding = chosen(request).first() if request.POST.get("from") == "detail" else None
    return reverse("finding_detail", args=[finding.pk]) if finding is not None else reverse("finding_list")


@require_GET
@requires_reader
def rule_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """A rule explains itself, with its population as the last full evaluation counted it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rule = RULES.get(slug)
    if rule is None:
        return render(request, "404.html", status=404)
    state = RuleState.objects.filter(rule=slug).first() if actor.sees_everything else None
    now = timezone.now()
    worst = list(listed(actor).unresolved().filter(rule=slug).order_by("-severity", "due_at")[:10])
    return render(
        request,
        "lifecycle/rule_detail.html",
        {
            "rule": rule,
            "state": state,
            "parts": parts_of(state),
            "due_within": DUE_WITHIN[Severity(rule.severity)],
            "findings": [(finding, finding.title_now(now)) for finding in worst],
            "now": now,
        },
    )


def parts_of(state: RuleState | None) -> list[tuple[str, int, str]]:
    if state is None:
        return []
    return [("crit", state.violated, "Violated"), ("none", state.unknown, "Unknown"), ("ok", state.met, "Met")]
