"""The board of operations, one operation, and asking for rotations and revocations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms as django_forms
from django.contrib import messages
from django.db.models import Case, Count, IntegerField, Q, Value, When
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from audit.models import AuditEntry
from inventory.models import Connection, Credential, Use
from inventory.states import Verdict
from inventory.views.questions import Question, ask, go, is_decided, nothing_picked, way_back
from lifecycle import progress, tasks
from lifecycle.actions import batches, by_hand, consumers, deliveries, requests
from lifecycle.actions.findings import add_link
from lifecycle.engine import reach
from lifecycle.errors import LifecycleError
from lifecycle.filters import OperationFilter
from lifecycle.forms import (
    ConsumerForm,
    DeliveryForm,
    ExtensionForm,
    HandOverForm,
    OperationReasonForm,
    OptionalReasonForm,
    RevocationForm,
)
from lifecycle.models import Delivery, Finding, Operation, ProviderLoad, ProviderMinute, StepAttempt
from lifecycle.models.consumers import consumers_of
from lifecycle.models.readiness import readiness
from lifecycle.models.scopes import Scope
from lifecycle.models.windows import Openness
from lifecycle.states import (
    OPERABLE,
    BatchKind,
    BatchState,
    LinkKind,
    OperationKind,
    OperationState,
    Proof,
    ScopeKind,
    Step,
)
from lifecycle.views import timeline
from providers.errors import ProviderError
from web.lists import Column, Empty, ListPage, View
from web.pages import render_page_or_fragment
from web.paging import Ordering, rows_together
from web.wording import plural, some

METHODS = ["GET", "HEAD", "POST"]
MOST = 500  # credentials that are asked for at once from a list
NAMED = 5
JOURNAL = 60
MOST_ATTEMPTS = 200
MINUTES = 15
AT_HAND = 2  # of what may be asked of an operation
# Windows, freezes and halts hold the schedule back alone; where a secret goes is said beside.
ASKED_OF_A_PERSON = frozenset({"provider", "owner", "consumers", "last_time"})
LANES = (
    "Stalled: needs somebody", "Proposed: somebody approves", "Waits for a person", "Running", "Waiting", "To verify",
    "Ended",
)  # fmt: skip


def lane() -> Case:
    """What needs somebody comes first. Running is a live lease, whatever is stored."""
    running = Q(lease_until__gt=Now())
    return Case(
        When(Q(proof=Proof.UNVERIFIABLE, verify_by__isnull=False), then=Value(5)),
        When(closed_at__isnull=False, then=Value(6)),
        When(state=OperationState.STALLED, then=Value(0)),
        When(state=OperationState.PROPOSED, then=Value(1)),
        When(running, then=Value(3)),
        When(state=OperationState.WAITING, due_at=None, then=Value(2)),
        default=Value(4),
        output_field=IntegerField(),
    )


def dressed(row: Operation, now: datetime) -> Operation:
    """With its progress, as rows and the page show it."""
    state = row.state_at(now)
    given = (row.kind, row.step, state)
    row.shown = state  # type: ignore[attr-defined]
    row.word = progress.words(*given, is_rolling_back=row.is_rolling_back)  # type: ignore[attr-defined]
    row.parts = progress.parts(*given, is_rolling_back=row.is_rolling_back)  # type: ignore[attr-defined]
    return row


def standing(row: Operation) -> str:
    return str(dressed(row, timezone.now()).word)  # type: ignore[attr-defined]


OPERATIONS = ListPage(
    name="operations",
    title="Operations",
    noun="operation",
    columns=(
        Column("operation", "Operation", value=str),
        Column("state", "State", value=standing),
        Column("connection", "Connection", value=lambda row: row.connection, priority=3, css="muted"),
        Column("owner", "Owner", value=lambda row: row.credential.owner, priority=2),
        Column("environment", "Env", value=lambda row: row.credential.environment, priority=4, css="muted"),
        Column("trigger", "Asked for by", value=lambda row: row.get_trigger_display(), priority=4, css="muted"),
        Column("proof", "Proof", value=lambda row: row.get_proof_display(), priority=3),
        Column("since", "At this step", value=lambda row: row.step_at, priority=3, is_numeric=True),
        Column("due", "Goes on", value=lambda row: row.due_at, priority=2, is_numeric=True),
    ),
    orderings=(Ordering("lane", (lane(),), False, "what needs somebody first", "what needs somebody last"),),
    filterset=OperationFilter,
    row_template="lifecycle/_operation_cells.html",
    template="lifecycle/operation_list.html",
    group=lambda row: LANES[row.lane],
    views=(
        View("Open", "is_open=true"),
        View("Needs somebody", "needs_somebody=true"),
        View("Rotations", "is_open=true&kind=rotation"),
        View("Revocations", "is_open=true&kind=revocation"),
        View("Ended", "is_open=false", is_counted=False),
    ),
    row_css=lambda row: "ended" if row.closed_at else "",
    empty=Empty(
        "No operation",
        "Rotate or revoke a credential from its page. What falls due is proposed here by its policy.",
        "/credentials/",
        "To the credentials",
    ),
)


def listed(actor: Actor) -> Any:
    related = ("credential__owner", "credential__environment", "connection", "old_version", "new_version")
    return Operation.objects.visible_to(actor).select_related(*related).annotate(lane=lane())


@require_GET
@requires_reader
def operation_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if not request.GET:
        return redirect(f"{reverse('operation_list')}?{OPERATIONS.views[0].query}")
    now = timezone.now()
    return OPERATIONS.respond(request, listed(actor), context={"now": now, **board(actor, now)})


@require_GET
@requires_reader
def operation_live(request: HttpRequest) -> HttpResponse:
    """The part of the board that changes by itself: the lanes, the providers, and the states of the rows shown."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    keys = []
    for text in request.GET.getlist("id")[:100]:
        try:
            keys.append(UUID(text))
        except ValueError:
            continue
    rows = [dressed(row, now) for row in Operation.objects.visible_to(actor).filter(pk__in=keys)] if keys else []
    return render(request, "lifecycle/_operation_board.html", {"now": now, "rows": rows, **board(actor, now)})


def board(actor: Actor, now: datetime) -> dict[str, Any]:
    """How many stand in each lane, and how each provider is asked: three statements."""
    open_ones = Operation.objects.visible_to(actor).open()
    counts = open_ones.aggregate(
        stalled=Count("pk", filter=Q(state=OperationState.STALLED)),
        proposed=Count("pk", filter=Q(state=OperationState.PROPOSED)),
        person=Count("pk", filter=Q(state=OperationState.WAITING, due_at=None) & ~Q(lease_until__gt=now)),
        running=Count("pk", filter=Q(lease_until__gt=now)),
        all=Count("pk"),
    )
    counts["waiting"] = counts["all"] - sum(counts[name] for name in ("stalled", "proposed", "person", "running"))
    lanes = [
        ("Stalled", counts["stalled"], "state=stalled", "t-crit"),
        ("Proposed", counts["proposed"], "state=proposed", ""),
        ("Wait for a person", counts["person"], "needs_somebody=true", ""),
        ("Running", counts["running"], "state=running", ""),
        ("Go on by themselves", max(counts["waiting"], 0), "is_open=true", ""),
    ]
    return {"lanes": lanes, "is_live": counts["all"] > 0, "providers": providers(actor, now)}


def providers(actor: Actor, now: datetime) -> list[dict[str, Any]]:
    """What was asked of each provider in the last minutes: nothing hammers it."""
    if not actor.sees_everything:
        return []
    since = now - timedelta(minutes=MINUTES)
    asked: dict[UUID, dict[int, tuple[int, int]]] = {}
    for each in ProviderMinute.objects.filter(minute__gt=since):
        ago = int((now - each.minute).total_seconds() // 60)
        asked.setdefault(each.connection_id, {})[ago] = (each.calls, each.failed)
    loads = {load.pk: load for load in ProviderLoad.objects.all()[:200]}
    busy = set(asked) | {key for key, load in loads.items() if load.failures or load.paused_until}
    found = []
    for place in Connection.objects.filter(pk__in=busy).order_by("name")[:20] if busy else ():
        minutes = asked.get(place.pk, {})
        load = loads.get(place.pk)
        found.append(
            {
                "connection": place,
                "points": [minutes.get(ago, (0, 0))[0] for ago in reversed(range(MINUTES))],
                "last": max((minutes.get(ago, (0, 0))[0] for ago in (0, 1)), default=0),
                "failed": sum(failed for _, failed in minutes.values()),
                "at_once": load.at_once if load is not None else None,
                "paused_until": load.paused_until if load and load.paused_until and load.paused_until > now else None,
                "is_slow": load is not None and load.is_slow,
            }
        )
    return found


# ── One operation ──────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def operation_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    related = ("assigned_to", "policy", "batch", "supersedes")
    row = dressed(get_object_or_404(listed(actor).select_related(
        "credential__owner", "credential__environment", "connection", "old_version", "new_version", *related
    ), pk=pk), now)  # fmt: skip
    attempts = list(StepAttempt.objects.filter(operation=row).order_by("-number")[:MOST_ATTEMPTS])
    every = attempts if len(attempts) < MOST_ATTEMPTS else None
    entries = list(
        AuditEntry.objects.filter(subject_kind="operation", subject_id=str(row.pk))
        .exclude(event="operation.step_ended")
        .order_by("-seq")[:JOURNAL]
    )
    is_open = row.closed_at is None
    may = (is_open or row.proof == Proof.UNVERIFIABLE) and requests.may_operate(row.credential, actor)
    return render_page_or_fragment(
        request,
        "lifecycle/operation_detail.html",
        "lifecycle/_operation.html",
        {
            "operation": row,
            "steps": steps_shown(row, attempts),
            "done": sum(part.standing == "done" for part in row.parts),  # type: ignore[attr-defined]
            "journal": journal(attempts, entries)[:JOURNAL],
            "consumers": consumers_of(row, every) if row.kind == OperationKind.ROTATION else (),
            "findings": list(Finding.objects.for_credential(row.credential).filter(resolved_at=None)[:NAMED]),
            **acts_of(row, actor, may=may),
            "next": what_next(row),
            "now": now,
            "soon": now + timedelta(minutes=1),
        },
    )


def acts_of(row: Operation, actor: Actor, *, may: bool) -> dict[str, Any]:
    """What somebody may ask of it: one or two at hand, what is asked for less often under a menu."""
    is_open = row.closed_at is None
    fitting = [(verb, act) for verb, act in ACTS.items() if may and act.is_of_open is is_open and act.fits(row, actor)]
    at_hand = [(verb, act) for verb, act in fitting if act.is_at_hand][:AT_HAND] or fitting[-1:]
    return {
        "acts": at_hand,
        "more_acts": [each for each in fitting if each not in at_hand],
        "may_revoke": may and is_open and row.kind == OperationKind.ROTATION,
    }


def steps_shown(row: Operation, attempts: Sequence[StepAttempt]) -> list[dict[str, Any]]:
    """Each step with what came of it; of the one it is at, what is waited for or what failed."""
    last: dict[str, StepAttempt] = {}
    tries: dict[str, int] = {}
    for each in attempts:
        last.setdefault(each.step, each)
        tries[each.step] = tries.get(each.step, 0) + 1
    shown = []
    for part in row.parts:  # type: ignore[attr-defined]
        attempt = last.get(part.step)
        is_here = part.standing in {"running", "waits", "stalled"}
        said = attempt.said if attempt is not None and part.standing in {"done", "stalled"} else ""
        text = (row.error if part.standing == "stalled" else row.waits_for or row.error) if is_here else said
        shown.append(
            {
                "part": part,
                "text": text or said or part.meaning,
                "at": row.step_at if is_here else attempt.ended_at if attempt is not None else None,
                "tries": tries.get(part.step, 0),
                "is_here": is_here,
                "is_unknown": part.step in {Step.VERIFY_GONE, Step.VERIFY_REFUSED}
                and part.standing == "done"
                and row.proof == Proof.UNVERIFIABLE,
            }
        )
    return shown


def journal(attempts: Sequence[StepAttempt], entries: Sequence[AuditEntry]) -> list[tuple[datetime, str, str, str]]:
    """What happened, newest first: when, who, what, and the address of the record."""
    lines = []
    tries: dict[str, int] = {}
    for each in sorted(attempts, key=lambda attempt: attempt.number):
        tries[each.step] = tries.get(each.step, 0) + 1
        said = each.said or ("A worker is at it." if each.ended_at is None else each.get_outcome_display())
        again = f", attempt {tries[each.step]}" if tries[each.step] > 1 else ""
        title = f"{Step(each.step).label}{again}:"
        lines.append((each.ended_at or each.begun_at, title, said, ""))
    for happening in timeline.from_audit(list(entries)):
        said = f"{happening.what}: {happening.detail}" if happening.detail else happening.what
        lines.append((happening.at, happening.who, said, happening.url))
    return sorted(lines, key=lambda line: line[0], reverse=True)


def what_next(row: Operation) -> str:
    """What somebody does about it, in a sentence; nothing where it goes on by itself."""
    if row.state == OperationState.STALLED:
        lost = "Nothing was lost: consumers still use the old version. " if row.kind == OperationKind.ROTATION else ""
        return f"{lost}Mend what it says, then let it try again. It tries nothing by itself any more."
    if row.state == OperationState.PROPOSED:
        return "Nothing has begun. Somebody other than who asked approves or declines it."
    if row.by_hand and row.closed_at is None:
        return "No provider can be asked. End the credential where it was issued, then say here that it is done."
    if row.state == OperationState.WAITING and row.due_at is None:
        return row.waits_for or "Somebody has to do something before it goes on."
    if row.proof == Proof.UNVERIFIABLE and row.verify_by is not None:
        if row.look_at is not None:
            return "Its provider is asked once more whether it is refused."
        if row.by_hand:
            return "No provider can be asked whether it is refused. Look at it where it is used, and say what you saw."
        return (
            "Nobody could tell whether it is refused. Have its provider asked once more, or look at it where it is "
            "used and say what you saw."
        )
    return ""


@dataclass(frozen=True)
class Act:
    """What a person may ask of an operation: its question, and the action behind it."""

    label: str
    text: str
    form: type[django_forms.Form]
    do: Callable[..., Any]
    fits: Callable[[Operation, Actor], bool]
    tone: str = ""
    done: str = "Done."
    submit: str = ""  # what the button says, where the label alone says too little
    is_of_open: bool = True  # or of one that has ended and was not seen refused
    is_at_hand: bool = True  # or under the menu, unless nothing else may be asked


def _approve(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.approve(row, actor=actor, now=now, reason=given["reason"])


def _decline(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.decline(row, actor=actor, now=now, reason=given["reason"])


def _resume(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.resume(row, actor=actor, now=now, reason=given["reason"])


def _hand_over(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.hand_over(row, given["assignee"], actor=actor, now=now, reason=given["reason"])


def _cancel(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.cancel(row, actor=actor, now=now, reason=given["reason"])


def _urgent(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.request_revocation(row.credential, actor=actor, now=now, reason=given["reason"], is_urgent=True)


def _acknowledge(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    consumers.acknowledge(row, given["consumer"], actor=actor, now=now)


def _extend(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    until = now + timedelta(days=given["days"])
    consumers.extend(row, until, actor=actor, now=now, reason=given["reason"])


def _retire(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    consumers.retire_anyway(row, actor=actor, now=now, reason=given["reason"])


def _done(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    by_hand.done_by_hand(row, actor=actor, now=now, reason=given["reason"])


def _verify(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.look_again(row, actor=actor, now=now, reason=given["reason"])


def _seen_refused(row: Operation, given: Any, actor: Actor, now: datetime) -> None:
    requests.seen_refused(row, actor=actor, now=now, reason=given["reason"])


def _overlaps(row: Operation, actor: Actor) -> bool:
    return row.step == Step.OVERLAP and row.state == OperationState.WAITING


ACTS: dict[str, Act] = {
    "approve": Act(
        "Approve", "It begins at once.", OptionalReasonForm, _approve,
        lambda row, actor: row.state == OperationState.PROPOSED and actor.may(Right.DECIDE_OPERATION), "primary",
        "You approved it; it begins.",
    ),
    "decline": Act(
        "Decline", "Nothing is done.", OperationReasonForm, _decline,
        lambda row, actor: row.state == OperationState.PROPOSED and actor.may(Right.DECIDE_OPERATION), "",
        "You declined it.",
    ),
    "resume": Act(
        "Try again", "The step it stalled at is tried again, with as many attempts as a new one has.",
        OperationReasonForm, _resume, lambda row, _actor: row.state == OperationState.STALLED, "primary",
        "It tries again.",
    ),
    "done": Act(
        "Done by hand", "You ended the credential where it was issued. It stays unverifiable until somebody looks.",
        OperationReasonForm, _done,
        lambda row, _actor: row.may_be_done_by_hand and row.state != OperationState.PROPOSED, "",
        "It is recorded that you did it.",
    ),
    "acknowledge": Act(
        "Consumer has moved", "Say that one of its consumers uses the new version.", ConsumerForm, _acknowledge,
        _overlaps, "", "It is recorded.",
    ),
    "extend": Act(
        "Extend the overlap", "Both versions work longer.", ExtensionForm, _extend, _overlaps, "", "It waits longer.",
    ),
    "retire": Act(
        "Retire the old version anyway",
        "Not every consumer is known to have moved. Those that have not are refused from here on.",
        OperationReasonForm, _retire, lambda row, actor: _overlaps(row, actor) and actor.may(Right.DECIDE_OPERATION),
        "danger", "The old version is suspended next.", is_at_hand=False,
    ),
    "urgent": Act(
        "Make urgent", "It skips every wait.", OperationReasonForm, _urgent,
        lambda row, _actor: row.kind == OperationKind.REVOCATION and not row.is_urgent, "danger", "It is urgent now.",
    ),
    "hand-over": Act(
        "Hand over", "Who sees to it. It goes on as it did.", HandOverForm, _hand_over, lambda _row, _actor: True, "",
        "You handed it over.", is_at_hand=False,
    ),
    "cancel": Act(
        "Cancel", "A rotation that has issued something goes the way back: consumers read the old version again.",
        OperationReasonForm, _cancel, lambda row, _actor: not row.is_rolling_back, "danger", "You cancelled it.",
        "Cancel the operation", is_at_hand=False,
    ),
    "verify": Act(
        "Look again", "A worker asks its provider once more whether it is refused. Nothing is changed there.",
        OptionalReasonForm, _verify, lambda row, _actor: not row.by_hand and row.look_at is None, "primary",
        "A worker looks at it.", is_of_open=False,
    ),
    "seen-refused": Act(
        "Seen refused", "Say what you saw: a call, a login or a sign-in with the old secret that was refused.",
        OperationReasonForm, _seen_refused, lambda _row, _actor: True, "", "It is recorded that you saw it refused.",
        is_of_open=False,
    ),
}  # fmt: skip


@require_http_methods(METHODS)
@requires(Right.OPERATE)
def operation_act(request: HttpRequest, pk: UUID, verb: str) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if verb not in ACTS:
        raise Http404
    act = ACTS[verb]
    row = get_object_or_404(listed(actor), pk=pk)
    here = reverse("operation_detail", args=[row.pk])
    form = act.form(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            act.do(row, form.cleaned_data, actor, timezone.now())
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            tasks.ring(row)
            messages.success(request, act.done)
            return go(request, here)
    question = Question(
        title=f"{act.label}: {str(row)[:1].lower()}{str(row)[1:]}",
        text=act.text,
        form=form,
        submit=act.submit or act.label,
        back=here,
        leave="Leave it as it is",
        tone="danger solid" if act.tone == "danger" else "primary",
    )
    return ask(request, question)


# ── Asking for one, or for many ────────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.OPERATE)
def credential_rotate(request: HttpRequest) -> HttpResponse:
    return _asked(request, OperationKind.ROTATION, keys_of(request), reverse("credential_list"))


@require_http_methods(METHODS)
@requires(Right.OPERATE)
def credential_revoke(request: HttpRequest) -> HttpResponse:
    return _asked(request, OperationKind.REVOCATION, keys_of(request), reverse("credential_list"))


@require_http_methods(METHODS)
@requires(Right.OPERATE)
def finding_rotate(request: HttpRequest) -> HttpResponse:
    return _of_findings(request, OperationKind.ROTATION)


@require_http_methods(METHODS)
@requires(Right.OPERATE)
def finding_revoke(request: HttpRequest) -> HttpResponse:
    return _of_findings(request, OperationKind.REVOCATION)


def keys_of(request: HttpRequest) -> list[UUID]:
    found = []
    for text in (request.POST.getlist("id") or request.GET.getlist("id"))[:MOST]:
        try:
            found.append(UUID(text))
        except ValueError:
            continue
    return found


def _of_findings(request: HttpRequest, kind: OperationKind) -> HttpResponse:
    """What findings are about; each is linked with what will resolve it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    findings = list(Finding.objects.visible_to(actor).unresolved().filter(pk__in=keys_of(request)))
    keys = [finding.credential_id for finding in findings if finding.credential_id]
    return _asked(request, kind, keys, reverse("finding_list"), findings)


def _asked(
    request: HttpRequest, kind: OperationKind, keys: Sequence[UUID], otherwise: str, findings: Sequence[Finding] = ()
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    back_to = way_back(request, otherwise)
    visible = Credential.objects.visible_to(actor).filter(pk__in=keys).select_related("connection", "environment")
    chosen = list(visible.order_by("name"))
    if not chosen:
        return nothing_picked(request, back_to, "credentials")
    is_rotation = kind == OperationKind.ROTATION
    form_class = OperationReasonForm if is_rotation else RevocationForm
    form = form_class(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            url, words = _ask_for(kind, chosen, form.cleaned_data, actor=actor, now=now, findings=findings)
        except LifecycleError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, words)
            return go(request, url)
    verb = "Rotate" if is_rotation else "Revoke"
    what = plural(len(chosen), "credential")
    return ask(
        request,
        Question(
            title=f"{verb} {what}" if len(chosen) > 1 else f"{verb} {chosen[0]}",
            text=(
                "A second version is issued and delivered. The old one is retired once its consumers have moved."
                if is_rotation
                else "It is refused from the first step on, and destroyed after an hour. Whoever uses it loses it."
            ),
            facts=[*consequences(kind, chosen), *(standing_in_the_way(chosen, now) if is_rotation else ())],
            form=form,
            submit=f"{verb} {what}",
            back=back_to,
            tone="primary" if is_rotation else "danger solid",
            ids=[str(key) for key in ([finding.pk for finding in findings] or [row.pk for row in chosen])],
        ),
    )


def _ask_for(
    kind: OperationKind,
    chosen: Sequence[Credential],
    given: Any,
    *,
    actor: Actor,
    now: datetime,
    findings: Sequence[Finding],
) -> tuple[str, str]:
    """One operation, or a batch of them; where to look at it, and what is said."""
    reason, urgent = given["reason"], given.get("is_urgent", False)
    if len(chosen) > 1:
        scope = Scope(
            ScopeKind.CREDENTIALS, label=plural(len(chosen), "credential"), ids=tuple(str(row.pk) for row in chosen)
        )
        batch = batches.request_batch(
            scope, actor=actor, now=now, reason=reason, kind=BatchKind.BULK, operation_kind=kind, is_urgent=urgent
        )
        tasks.ring_batch(batch)
        waits = batch.state == BatchState.REQUESTED
        words = "It waits for a second person." if waits else f"{plural(len(chosen), 'operation')} begin."
        return reverse("batch_detail", args=[batch.pk]), words
    (row,) = chosen
    if kind == OperationKind.ROTATION:
        operation = requests.request_rotation(row, actor=actor, now=now, reason=reason)
    else:
        operation = requests.request_revocation(row, actor=actor, now=now, reason=reason, is_urgent=urgent)
    tasks.ring(operation)
    url = reverse("operation_detail", args=[operation.pk])
    for finding in findings[:NAMED]:
        add_link(finding, kind=LinkKind.OPERATION, reference=str(operation)[:200], url=url, actor=actor, now=now)
    return url, f"You asked for it: {operation.get_kind_display().lower()} of {row}."


def consequences(kind: OperationKind, chosen: Sequence[Credential]) -> list[tuple[str, str]]:
    """What it reaches, before it is asked for: one statement for any number."""
    keys = [row.pk for row in chosen]
    uses = Use.objects.present().filter(credential__in=keys).order_by()
    found = rows_together(
        reached=uses.annotate(every=Value(1))
        .values("every")
        .annotate(clients=Count("client", distinct=True), servers=Count("server", distinct=True)),
        users=uses.order_by("client__name").values("client__name").distinct()[:50],
        deliveries=Delivery.objects.filter(credential__in=keys).values("credential", "location"),
        taken=Operation.objects.open().filter(credential__in=keys).values("credential__name")[:NAMED],
    )
    counts = next(iter(found["reached"]), {"clients": 0, "servers": 0})
    names = [row["client__name"] for row in found["users"]]
    facts = [("Credentials" if len(chosen) > 1 else "Credential", some([str(row) for row in chosen], NAMED))]
    users = f"{plural(counts['clients'], 'client')} at {plural(counts['servers'], 'server')}"
    facts.append(("Blast radius", f"{users}: {some(names, NAMED)}" if names else "No known consumer"))
    places = sorted({str(row.environment) for row in chosen if row.environment_id})
    if places:
        facts.append(("Environment", ", ".join(places)))
    if kind == OperationKind.ROTATION:
        told = {row["credential"]: row["location"] for row in found["deliveries"]}
        missing = [str(row) for row in chosen if str(row.pk) not in told]
        if told:
            facts.append(("New secret goes to", some(sorted(told.values()), NAMED)))
        if missing:
            facts.append(("No place of delivery", f"{some(missing, NAMED)}: set one on the credential's page first"))
    manual = [str(row) for row in chosen if row.connection.kind not in OPERABLE]
    if manual:
        facts.append(("By hand", f"{some(manual, NAMED)}: no provider can be asked"))
    taken = [row["credential__name"] for row in found["taken"]]
    if taken:
        facts.append(("Under way", f"{', '.join(taken)}: an operation is open already"))
    return facts


def standing_in_the_way(chosen: Sequence[Credential], now: datetime) -> list[tuple[str, str]]:
    """What is known to keep a rotation that a person asks for from going through: four statements for any number."""
    openness = Openness.at(now)
    known = readiness([row.pk for row in chosen], now, openness=openness)
    said = []
    for row in chosen:
        wanting = [fact for fact in known[row.pk].wanting if fact.check in ASKED_OF_A_PERSON]
        # Of many only what fails is told: what is not known of each would bury it.
        told = [fact.words for fact in wanting if len(chosen) == 1 or fact.verdict == Verdict.VIOLATED]
        if told:
            said.append(" ".join(told) if len(chosen) == 1 else f"{row}: {told[0]}")
    ready = "Ready." if len(chosen) == 1 else "Nothing is known to stand in the way."
    more = f" And {len(said) - NAMED} more." if len(said) > NAMED else ""
    facts = [("Readiness", " ".join(said[:NAMED]) + more if said else ready)]
    frozen = next(filter(None, (openness.frozen_by(row.environment_id, now) for row in chosen)), None)
    if frozen is not None:
        facts.append(("Change freeze", f"{frozen.reason}: the schedule waits, what a person asks for does not"))
    return facts


@require_http_methods(METHODS)
@requires(Right.DELIVER)
def credential_delivery(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Where the new secret of a credential goes. The place is looked at before it is kept."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    credential = get_object_or_404(Credential.objects.visible_to(actor), pk=pk)
    known = Delivery.objects.filter(credential=credential).first()
    here = reverse("credential_detail", args=[pk])
    initial: dict[str, Any] | None = None
    if known is not None:
        days = known.quiet.days if known.quiet is not None else None
        initial = {
            "sink": known.sink,
            "location": known.location,
            "connection": known.connection_id,
            "quiet_days": days,
        }
    connections = Connection.objects.visible_to(actor).order_by("name")
    form = DeliveryForm(request.POST if is_decided(request) else None, initial=initial, connections=connections)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        quiet = timedelta(days=given["quiet_days"]) if given["quiet_days"] is not None else None
        asked = {name: given[name] for name in ("sink", "location", "connection")}
        try:
            said = reach.sink(Delivery(credential=credential, **asked)).check(given["location"])
            deliveries.set_delivery(
                credential, **asked, quiet=quiet, actor=actor, now=timezone.now(), reason=given["reason"]
            )
        except (LifecycleError, ProviderError) as exc:
            form.add_error("location", str(exc))
        else:
            messages.success(request, f"New secrets go there. {said}")
            return go(request, here)
    question = Question(
        title="Where its new secrets go",
        text="Consumers read them there. It is looked at now, without writing a secret.",
        facts=[("Credential", str(credential))],
        form=form,
        submit="Set the place",
        back=here,
    )
    return ask(request, question)
