"""The register of waivers: asking for one, deciding about it, ending it, and how many a team may have."""

from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from history.past import now as clock
from inventory.models import Owner
from inventory.views.questions import Question, ask, go, is_decided, nothing_picked, way_back
from inventory.views.questions import chosen as chosen_rows
from lifecycle.actions.waivers import (
    approve_waivers,
    decline_waivers,
    remove_cap,
    request_waivers,
    set_cap,
    withdraw_waiver,
)
from lifecycle.errors import LifecycleError
from lifecycle.filters import WaiverFilter
from lifecycle.forms import CapForm, DecisionForm, WaiverForm, WithdrawalForm
from lifecycle.models import Finding, Waiver, WaiverCap
from lifecycle.models.waivers import WaiverQuerySet
from lifecycle.states import ENDS_SOON, WaiverState
from lifecycle.views.findings import about, chosen
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.past import answers_past, is_bare
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
NAMED = 3
SHOWN = 8  # findings named in the form that asks for a waiver
TEAMS = 20  # with a cap of their own or with most active waivers
UNOWNED = "what nobody answers for"

COLUMNS = (
    Column("finding", "Finding", value=lambda row: f"{row.finding.name}, {row.finding.subject}"),
    Column("state", "State", value=lambda row: row.get_state_display(), priority=2),
    Column("reason", "Why", value=lambda row: row.reason, priority=3, css="muted"),
    Column("control", "Meanwhile", value=lambda row: row.compensating_control, priority=3, css="muted"),
    Column("requester", "Asked by", value=lambda row: row.requested_by, priority=2),
    Column("approver", "Decided by", value=lambda row: row.approved_by or row.declined_by, priority=4),
    Column("team", "Team", value=lambda row: row.finding.owner, priority=4),
    Column("ends", "Ends", value=lambda row: row.ends_at, is_numeric=True, sort="ends"),
    Column("severity", "Severity", value=lambda row: row.finding.get_severity_display()),
)
WAIVERS = ListPage(
    name="waivers",
    title="Waivers",
    noun="waiver",
    columns=COLUMNS,
    orderings=(
        Ordering("asked", (), True, "first asked for first", "last asked for first"),
        Ordering("ends", ("ends_at",), False, "soonest to end first", "latest to end first"),
    ),
    filterset=WaiverFilter,
    row_template="lifecycle/_waiver_cells.html",
    template="lifecycle/waiver_list.html",
    views=(
        View("To decide", "state=requested"),
        View("Active", "is_active=true"),
        View("Ending soon", "ending_soon=true"),
        View("More severe now", "outgrown=true"),
        View("Begin later", "state=scheduled"),
        View("Ended", "state=declined&state=withdrawn&state=expired", is_counted=False),
    ),
    row_css=lambda row: "ended" if row.is_over else "",
    row_label=lambda row: f"waiver of {row.finding.name}, {row.finding.subject}",
    empty=Empty(
        "No waiver",
        "Whoever cannot resolve a finding in time asks for one from its page; somebody else decides.",
        "/findings/",
        "To the findings",
    ),
)


def listed(actor: Actor) -> WaiverQuerySet:
    return Waiver.objects.visible_to(actor).select_related(
        "finding__owner", "finding__credential", "finding__server", "finding__client", "finding__connection",
        "finding__job",
    )  # fmt: skip


@require_GET
@requires_reader
@answers_past
def waiver_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if is_bare(request):
        return redirect(f"{reverse('waiver_list')}?{WAIVERS.views[0].query}")
    bulk = (
        [
            Bulk("Approve…", reverse("waiver_approve"), "check", "a", "primary"),
            Bulk("Decline…", reverse("waiver_decline"), "x", "d"),
        ]
        if actor.may(Right.DECIDE_WAIVER)
        else []
    )
    context = {
        "now": clock(),
        "soon": clock() + ENDS_SOON,
        "me": actor.key,
        "teams": teams(actor),
        "may_change_caps": actor.may(Right.CAP_WAIVERS),
        "reviewers_wait": actor.may(Right.DECIDE_WAIVER) and request.GET.get("state") == "requested",
    }
    return WAIVERS.respond(request, listed(actor), bulk=bulk, context=context)


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────
@require_http_methods(METHODS)
@requires(Right.ASK_FOR_WAIVER)
def finding_waive(request: HttpRequest) -> HttpResponse:
    """Ask for one finding or for many; for one that is waived, ask that it go on."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    findings = list(chosen(request))
    if not findings:
        messages.error(request, "No unresolved finding of yours was chosen.")
        return redirect("finding_list")
    active = {waiver.finding_id: waiver for waiver in Waiver.objects.active().filter(finding__in=findings)}
    begins = {finding.pk: active[finding.pk].ends_at if finding.pk in active else now for finding in findings}
    first, latest = max(begins.values()), min(begins[one.pk] + Waiver.longest(one.severity) for one in findings)
    is_answer = request.method == "POST" and "reason" in request.POST
    form = WaiverForm(request.POST if is_answer else None, begins=first.date(), latest=latest.date())
    if is_answer and form.is_valid():
        given = form.cleaned_data
        try:
            count = request_waivers(
                findings,
                reason=given["reason"],
                compensating_control=given["compensating_control"],
                ends_at=_end_of(given["until"], latest),
                actor=actor,
                now=now,
            )
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(
                request,
                f"You asked for {plural(count, 'waiver')} until {given['until']:%-d %B}. Somebody else decides.",
            )
            return redirect("finding_detail", findings[0].pk) if len(findings) == 1 else redirect("waiver_list")
    context = {
        "form": form,
        "findings": [(finding, finding.title_now(now), active.get(finding.pk)) for finding in findings[:SHOWN]],
        "count": len(findings),
        "more": max(len(findings) - SHOWN, 0),
        "extended": len(active),
        "ids": [finding.pk for finding in findings],
        "caps": usage({finding.owner_id: finding.owner for finding in findings}),
    }
    return render(request, "lifecycle/finding_waive.html", context, status=422 if form.errors else 200)


def _end_of(day: date, latest: datetime) -> datetime:
    """The last second of that day, or the latest instant allowed when that comes before."""
    return min(datetime.combine(day, time(23, 59, 59), tzinfo=latest.tzinfo), latest)


# ── Deciding ───────────────────────────────────────────────────────────────────────────────────
def _facts(waivers: list[Waiver]) -> list[tuple[str, str]]:
    """What is decided about; of one request everything, of many what they have in common."""
    facts = about([waiver.finding for waiver in waivers])
    if len(waivers) > 1:
        return [*facts, ("Asked by", some(sorted({waiver.requested_by for waiver in waivers}), NAMED))]
    (one,) = waivers
    return [
        *facts,
        ("Severity", f"{one.finding.get_severity_display()} now, {one.get_severity_display().lower()} when asked for"
         if one.finding.severity != one.severity else one.get_severity_display()),
        ("Asked by", f"{one.requested_by}, {one.requested_at:%-d %B %Y}"),
        ("Why", one.reason),
        ("Meanwhile", one.compensating_control),
        ("Until", f"{one.ends_at:%-d %B %Y}" + (", following the one in force" if one.extends_id else "")),
        ("Team", _standing(one.finding)),
    ]  # fmt: skip


def _standing(finding: Finding) -> str:
    (row,) = usage({finding.owner_id: finding.owner})
    return f"{row['team']}: {row['used']} of {row['cap'].most_active} active waivers"


def _decide(request: HttpRequest, *, verb: str, past: str, text: str, act: Any) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("waiver_list"))
    ids, rows = chosen_rows(request, listed(actor).requested())
    if not ids:
        return nothing_picked(request, back, "requests")
    waivers = list(rows.order_by("pk"))
    form = DecisionForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            count = act(waivers, reason=form.cleaned_data["reason"], actor=actor, now=timezone.now())
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"You {past} {plural(count, 'waiver')}.")
            return go(request, back)
    question = Question(
        title=f"{verb} {plural(len(waivers), 'waiver')}",
        text=text,
        facts=_facts(waivers),
        form=form,
        submit=f"{verb} {plural(len(waivers), 'waiver')}",
        back=back,
        ids=ids,
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.DECIDE_WAIVER)
def waiver_approve(request: HttpRequest) -> HttpResponse:
    text = "The risk counts as accepted until then. You cannot approve what you asked for yourself."
    return _decide(request, verb="Approve", past="approved", text=text, act=approve_waivers)


@require_http_methods(METHODS)
@requires(Right.DECIDE_WAIVER)
def waiver_decline(request: HttpRequest) -> HttpResponse:
    text = "The finding stays as it is, and whoever asked reads your reason."
    return _decide(request, verb="Decline", past="declined", text=text, act=decline_waivers)


@require_http_methods(METHODS)
@requires(Right.ASK_FOR_WAIVER)
def waiver_withdraw(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Take a request back, or end a waiver before its time."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    waiver = get_object_or_404(listed(actor), pk=pk)
    back = way_back(request, reverse("finding_detail", args=[waiver.finding_id]))
    form = WithdrawalForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        try:
            withdraw_waiver(waiver, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"])
        except LifecycleError as exc:
            messages.error(request, str(exc))
        else:
            was_active = waiver.state == WaiverState.ACTIVE
            said = "You withdrew the waiver; the finding is open again." if was_active else "You withdrew it."
            messages.success(request, said)
        return go(request, back)
    question = Question(
        title="Withdraw the waiver" if waiver.state == WaiverState.ACTIVE else "Withdraw the request",
        text="The finding is open again, and an extension that waits goes with it."
        if waiver.state == WaiverState.ACTIVE
        else "",
        facts=_facts([waiver]),
        form=form,
        submit="Withdraw",
        back=back,
    )
    return ask(request, question)


# ── Caps ───────────────────────────────────────────────────────────────────────────────────────
def _used(owners: Any = None) -> dict[Any, int]:
    """Active waivers of unresolved findings, by team."""
    rows = Waiver.objects.active().filter(finding__resolved_at=None)
    if owners is not None:
        known = [owner for owner in owners if owner is not None]
        rows = rows.filter(finding__owner__in=known) | (
            rows.filter(finding__owner=None) if None in owners else rows.none()
        )
    counted = rows.order_by().values("finding__owner").annotate(number=Count("pk")).order_by("-number")
    return {row["finding__owner"]: row["number"] for row in counted}


def usage(owners: dict[Any, Owner | None]) -> list[dict[str, Any]]:
    """How much of its cap each team has used."""
    caps = {(cap.is_default, cap.owner_id): cap for cap in WaiverCap.objects.all()}
    used = _used(set(owners))
    return [
        {
            "team": str(owner or UNOWNED),
            "owner": owner,
            "used": used.get(key, 0),
            "cap": caps.get((False, key)) or caps[True, None],
            "is_own": (False, key) in caps,
        }
        for key, owner in owners.items()
    ]


def teams(actor: Actor) -> list[dict[str, Any]]:
    """The default, then teams with a cap of their own or with active waivers; an owner sees their own alone."""
    caps: QuerySet[WaiverCap] = WaiverCap.objects.select_related("owner")
    by_team = {cap.owner_id: cap for cap in caps if not cap.is_default}
    default = next(cap for cap in caps if cap.is_default)
    used = _used()
    seen = Owner.objects.visible_to(actor)
    keys = list(dict.fromkeys([*by_team, *used, None]))
    if actor.sees_everything:
        keys = keys[:TEAMS]
        seen = seen.filter(pk__in=[key for key in keys if key])
    # An owner's own are few, and may stand anywhere among everybody's: they are looked up before anything is cut.
    owners = {owner.pk: owner for owner in seen[:TEAMS]}
    everybody = {"team": "Every team without a cap of its own", "cap": default, "used": None, "key": "default"}
    return [
        everybody,
        *(
            {
                "team": str(owners.get(key) or UNOWNED[:1].upper() + UNOWNED[1:]),
                "owner": owners.get(key),
                "cap": by_team.get(key, default),
                "is_own": key in by_team,
                "used": used.get(key, 0),
                "key": str(key) if key else "unowned",
            }
            for key in keys
            if key in owners or (key is None and actor.sees_everything)
        ),
    ]


@require_http_methods(METHODS)
@requires(Right.CAP_WAIVERS)
def waiver_cap(request: HttpRequest, team: str) -> HttpResponse:
    """Set the cap of every team (`default`), of what nobody answers for (`unowned`), or of one team by its id."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = reverse("waiver_list")
    is_default = team == "default"
    owner = None if team in {"default", "unowned"} else _owner(team)
    current = WaiverCap.objects.of(owner.pk if owner else None)
    if is_default:
        current = WaiverCap.objects.get(is_default=True)
    initial = {"most_active": current.most_active, "days": current.longest_total.days}
    form = CapForm(request.POST if is_decided(request) else None, initial=initial)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            cap = set_cap(
                owner=owner,
                is_default=is_default,
                most_active=given["most_active"],
                longest_total=timedelta(days=given["days"]),
                reason=given["reason"],
                actor=actor,
                now=timezone.now(),
            )
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"The cap of {cap} is {cap.most_active} active waivers and {given['days']} days.")
            return go(request, back)
    question = Question(
        title=f"Cap of {'every team' if is_default else owner or UNOWNED}",
        text="What was granted stays. From now on an approval beyond it is refused.",
        facts=[("Now", f"{current.most_active} active waivers, {current.longest_total.days} days for one finding")],
        form=form,
        submit="Set the cap",
        back=back,
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.CAP_WAIVERS)
def waiver_cap_remove(request: HttpRequest, team: str) -> HttpResponse:
    """Let the default hold for a team again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = reverse("waiver_list")
    owner = None if team == "unowned" else _owner(team)
    cap = get_object_or_404(WaiverCap, is_default=False, owner=owner)
    form = DecisionForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            remove_cap(cap, reason=form.cleaned_data["reason"], actor=actor)
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"The default holds for {cap} again.")
            return go(request, back)
    question = Question(
        title=f"Remove the cap of {cap}",
        text="The default holds for it again.",
        form=form,
        submit="Remove the cap",
        back=back,
    )
    return ask(request, question)


def _owner(text: str) -> Owner:
    try:
        return get_object_or_404(Owner, pk=UUID(text))
    except ValueError as exc:
        raise Http404 from exc
