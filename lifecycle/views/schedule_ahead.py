"""Upcoming rotations: what falls due when, whether it can be rotated then, and what holds the schedule back."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.models import Credential, Owner
from inventory.models.base import AnyOf
from inventory.views.questions import Question, ask, go, is_decided, way_back
from lifecycle.actions import windows
from lifecycle.errors import LifecycleError
from lifecycle.filters import UpcomingFilter
from lifecycle.models import ChangeFreeze, MaintenanceWindow, Obligation, OperatingLimits, ScheduleHalt
from lifecycle.models.readiness import readiness
from lifecycle.models.upcoming import counts_by_day
from lifecycle.models.windows import Openness
from lifecycle.window_forms import WEEKDAYS, FreezeForm, LimitsForm, NothingMoreForm, WhyForm, WindowForm
from web.lists import Column, Empty, Listing, ListPage, View
from web.pages import render_page_or_fragment
from web.paging import Ordering
from web.wording import span

METHODS = ["GET", "HEAD", "POST"]
DAYS_AHEAD = 90
STRIP = 14
WEEK = timedelta(days=7)
DAY = timedelta(days=1)


def _automation(row: Obligation) -> str:
    return str(row.policy.get_automation_display()) if row.policy is not None else ""


UPCOMING = ListPage(
    name="upcoming-rotations",
    title="Upcoming rotations",
    noun="rotation",
    columns=(
        Column("credential", "Credential", value=lambda row: row.credential.name),
        Column("due", "Due", value=attrgetter("rotate_by"), sort="due", is_numeric=True),
        Column("readiness", "Readiness"),
        Column("environment", "Env", value=lambda row: row.credential.environment, priority=3, css="muted"),
        Column("owner", "Owner", value=lambda row: row.credential.owner, priority=2),
        Column("policy", "Policy", value=attrgetter("policy"), priority=3),
        Column("automation", "When due", value=_automation, priority=4, css="muted"),
        Column("connection", "Connection", value=lambda row: row.credential.connection, priority=4, css="muted"),
    ),
    orderings=(Ordering("due", ("rotate_by",), False, "first due first", "last due first"),),
    filterset=UpcomingFilter,
    row_template="lifecycle/_upcoming_cells.html",
    row_label=lambda row: row.credential.name,
    views=(View("All"), View("To come", "overdue=false"), View("Overdue", "overdue=true")),
    template="lifecycle/upcoming_rotations.html",
    empty=Empty(
        "Nothing falls due in 90 days",
        "A credential has a date when a policy limits its age and somebody knows when it was issued.",
        "/policies/",
        "Open policies",
    ),
)


def upcoming(actor: Actor, now: datetime) -> QuerySet[Obligation]:
    """What is overdue, and what falls due within the time that the page shows."""
    rows = Obligation.objects.filter(rotate_by__lte=_midnight(now.date()) + DAYS_AHEAD * DAY)
    if not actor.sees_everything:
        rows = rows.filter(AnyOf("credential_id", Credential.objects.visible_to(actor)))
    return rows.select_related(
        "credential", "credential__owner", "credential__environment", "credential__connection", "policy"
    )


@require_GET
@requires_reader
def upcoming_rotations(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    if request.GET.get("format") == "csv":
        return UPCOMING.respond(request, upcoming(actor, now))
    listing = Listing(UPCOMING, request, upcoming(actor, now))
    openness = Openness.at(now)
    halts = list(ScheduleHalt.objects.standing().select_related("connection").order_by("id"))
    reasons = {halt.connection_id: halt.reason for halt in halts}
    found = readiness([row.pk for row in listing.rows], now, openness=openness, halts=reasons)
    for row in listing.rows:
        row.readiness = found.get(row.pk)
    return render_page_or_fragment(
        request,
        UPCOMING.template,
        UPCOMING.fragment,
        {"list": listing, "now": now, **_around(actor, now, openness, halts)},
        status=400 if listing.faults else 200,
    )


def _around(actor: Actor, now: datetime, openness: Openness, halts: list[ScheduleHalt]) -> dict[str, Any]:
    """What stands above the list: the coming days and weeks, and what holds the schedule back."""
    today = now.date()
    owners = None if actor.sees_everything else list(Owner.objects.visible_to(actor).values_list("pk", flat=True))
    counted = counts_by_day(_midnight(today), DAYS_AHEAD, owners)
    return {
        "days": [
            {"on": on, "url": _url(on, on + DAY), "counts": {"rotation": counted.get(on.isoformat(), 0)}}
            for on in (today + n * DAY for n in range(STRIP))
        ],
        "weeks": _weeks(counted, today),
        "today": today,
        "total": sum(counted.values()),
        "freezes": openness.freezes,
        "in_force": [each for each in openness.freezes if each.covers(now)],
        "windows": [(each, _said(each), each.is_open(now)) for each in openness.windows],
        "halts": halts if actor.sees_everything else [],
        "limits": OperatingLimits.current() if actor.sees_everything else None,
        "may_operate": actor.may(Right.STEER_SCHEDULE),
        "may_limit": actor.may(Right.LIMIT_OPERATIONS),
    }


def _weeks(counted: dict[str, int], today: date) -> list[dict[str, Any]]:
    """The weeks of the time shown, from Monday to Sunday, each with how many fall due in it."""
    monday = today - timedelta(days=today.weekday())
    last = today + (DAYS_AHEAD - 1) * DAY
    weeks = []
    while monday <= last:
        days = [monday + n * DAY for n in range(7)]
        number = sum(counted.get(day.isoformat(), 0) for day in days)
        weeks.append({"on": monday, "number": number, "url": _url(max(monday, today), monday + WEEK)})
        monday += WEEK
    return weeks


def _url(first: date, after: date) -> str:
    return f"{reverse('upcoming_rotations')}?due_after={first}&due_before={after}"


def _midnight(on: date) -> datetime:
    return datetime.combine(on, time(), UTC)


def _said(window: MaintenanceWindow) -> str:
    """`Saturday, Sunday at 02:00 for 3 h (Europe/Berlin)`."""
    named = dict(WEEKDAYS)
    days = ", ".join(named[str(day)] for day in window.weekdays) or "every day"
    return f"{days} at {window.begins:%H:%M} for {span(window.length) or 'a minute'} ({window.timezone})"


# ── Freezes, windows, limits, halts ────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.STEER_SCHEDULE)
def freeze_set(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = FreezeForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given, now = form.cleaned_data, timezone.now()
        return _done(
            request,
            form,
            lambda: windows.set_freeze(
                environment=given["environment"],
                begins_at=now,
                ends_at=given["ends_at"],
                reason=given["reason"],
                actor=actor,
                now=now,
            ),
            f"Nothing begins by itself in {given['environment'] or 'any environment'}.",
            _freeze_question(request, form),
        )
    return ask(request, _freeze_question(request, form))


def _freeze_question(request: HttpRequest, form: Any) -> Question:
    return Question(
        title="Freeze changes",
        text="The schedule begins no rotation from now on. Revocations and what was begun go on.",
        form=form,
        submit="Freeze changes",
        back=_back(request),
    )


@require_http_methods(METHODS)
@requires(Right.STEER_SCHEDULE)
def freeze_lift(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    freeze = get_object_or_404(ChangeFreeze.objects.visible_to(actor), pk=pk)
    form = NothingMoreForm(request.POST if is_decided(request) else None)
    question = Question(
        title=f"Lift the freeze in {freeze.environment or 'every environment'}",
        text="The schedule begins again what falls due.",
        facts=[("Set by", freeze.set_by), ("Reason", freeze.reason)],
        form=form,
        submit="Lift the freeze",
        back=_back(request),
    )
    if is_decided(request) and form.is_valid():
        now = timezone.now()
        lift = partial(windows.lift_freeze, freeze, actor=actor, now=now)
        return _done(request, form, lift, "The freeze is lifted.", question)
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.STEER_SCHEDULE)
def window_add(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = WindowForm(request.POST if is_decided(request) else None)
    question = Question(
        title="Add a maintenance window",
        text="An environment with windows has rotations begun by itself only while one of them is open.",
        form=form,
        submit="Add the window",
        back=_back(request),
    )
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        add = partial(
            windows.set_window,
            environment=given["environment"],
            weekdays=[int(day) for day in given["weekdays"]],
            begins=given["begins"],
            length=form.length,
            timezone=given["timezone"],
            actor=actor,
        )
        return _done(request, form, add, "The window is added.", question)
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.STEER_SCHEDULE)
def window_retire(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    window = get_object_or_404(MaintenanceWindow.objects.visible_to(actor), pk=pk)
    form = NothingMoreForm(request.POST if is_decided(request) else None)
    question = Question(
        title=f"Retire the window of {window.environment or 'every environment'}",
        text="Without any window left, rotations may begin there at all times.",
        facts=[("Window", _said(window))],
        form=form,
        submit="Retire the window",
        back=_back(request),
    )
    if is_decided(request) and form.is_valid():
        retire = partial(windows.retire_window, window, actor=actor, now=timezone.now())
        return _done(request, form, retire, "The window is retired.", question)
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.LIMIT_OPERATIONS)
def operating_limits(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    current = OperatingLimits.current()
    form = LimitsForm(
        request.POST if is_decided(request) else None,
        initial={name: getattr(current, name) for name in LimitsForm.base_fields if name != "reason"},
    )
    question = Question(
        title="Limits of operations",
        text="What was begun goes on. From now on the schedule and batches keep to these.",
        form=form,
        submit="Set the limits",
        back=_back(request),
    )
    if is_decided(request) and form.is_valid():
        change = partial(windows.set_limits, **form.cleaned_data, actor=actor, now=timezone.now())
        return _done(request, form, change, "The limits are set.", question)
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.STEER_SCHEDULE)
def schedule_resume(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    halt = get_object_or_404(ScheduleHalt.objects.visible_to(actor).select_related("connection"), pk=pk)
    form = WhyForm(request.POST if is_decided(request) else None)
    question = Question(
        title=f"Resume scheduled rotations of {halt.connection or 'everything'}",
        text="What had stalled by now is not counted again.",
        facts=[("Halted", halt.reason)],
        form=form,
        submit="Resume",
        back=_back(request),
    )
    if is_decided(request) and form.is_valid():
        resume = partial(
            windows.resume_schedule, halt, actor=actor, now=timezone.now(), reason=form.cleaned_data["reason"]
        )
        return _done(request, form, resume, "The schedule goes on.", question)
    return ask(request, question)


def _back(request: HttpRequest) -> str:
    return way_back(request, reverse("upcoming_rotations"))


def _done(request: HttpRequest, form: Any, work: Callable[[], Any], said: str, question: Question) -> HttpResponse:
    try:
        work()
    except LifecycleError as exc:
        form.add_error(None, str(exc))
        return ask(request, question)
    messages.success(request, said)
    return go(request, question.back)
