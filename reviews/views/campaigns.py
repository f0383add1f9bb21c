"""Campaigns: drafted with a look at their size, launched, followed, attested and signed."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count, Exists, OuterRef
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.forms import ReasonForm, called
from inventory.models import Owner
from inventory.views.questions import REFUSED, Question, ask, go, is_decided
from lifecycle.errors import LifecycleError
from reviews.actions import campaigns, signing
from reviews.actions.reminding import remind_by_hand
from reviews.actions.triggers import WHY, set_trigger
from reviews.errors import CampaignRefused, ReviewError
from reviews.filters import CampaignFilter
from reviews.forms import CampaignForm, DueForm, StatementForm, TriggerForm
from reviews.models import Attestation, Campaign, Decision, Exclusion, Occurrence, ReviewItem, StaleApproval, Trigger
from reviews.models.figures import pace, standing
from reviews.models.preview import preview
from reviews.states import CampaignState, Ending, ItemState, LeftOut, NoAnswer, Occasion
from web.lists import Column, Empty, ListPage, View
from web.paging import BadCursor, Ordering, page
from web.pictures import Part
from web.wording import plural

METHODS = ["GET", "HEAD", "POST"]
REFUSALS = (ReviewError, LifecycleError)
EXCLUDED = 20
TOLD = 50  # decoys that were decided, newest first
PACED = 10_000  # items; how reviewers decide in a larger campaign is counted when somebody asks
TONES = {
    ItemState.CLOSED: "ok",
    ItemState.ACTING: "woad",
    ItemState.OPEN: "faint",
    ItemState.RETURNED: "med",
    ItemState.DISPUTED: "high",
    ItemState.CANCELLED: "none",
}
CAMPAIGNS = ListPage(
    name="campaigns",
    title="Access reviews",
    noun="campaign",
    columns=(
        Column("name", "Campaign", value=lambda row: row.name),
        Column("state", "State", value=lambda row: row.get_state_display()),
        Column("size", "Items", value=lambda row: row.size, is_numeric=True),
        Column("lead", "Lead", value=lambda row: row.lead, priority=2),
        Column("due", "Due", value=lambda row: row.due_at, sort="due", is_numeric=True),
        Column("signed", "Signed by", value=lambda row: row.signed_by, priority=3),
    ),
    orderings=(
        Ordering("created", (), True, "first drafted first", "last drafted first"),
        Ordering("due", ("due_at",), False, "first due first", "last due first"),
    ),
    filterset=CampaignFilter,
    row_template="reviews/_campaign_cells.html",
    template="reviews/campaign_list.html",
    views=(
        View("All"),
        View("Under way", "is_running=true"),
        View("Drafts", "state=draft"),
        View("Signed", "state=signed"),
    ),
    empty=Empty(
        "Nothing has been reviewed yet",
        "A campaign freezes what a scope holds, asks whoever answers for it, and is signed once every item was seen to "
        "its end.",
        "/campaigns/new/",
        "Draft a campaign",
    ),
)


@require_GET
@requires_reader
def campaign_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = Campaign.objects.visible_to(actor).select_related("lead")
    context: dict[str, Any] = {"may_run": actor.may(Right.RUN_CAMPAIGN)}
    if actor.sees_everything:
        context["triggers"] = _triggers()
    return CAMPAIGNS.respond(request, rows, context=context)


def _triggers() -> list[dict[str, Any]]:
    """Each occasion, whether it is switched on, and how much waits for the review under way to end."""
    known = {row.occasion: row for row in Trigger.objects.select_related("lead")}
    waits = dict(Occurrence.objects.waiting().order_by().values_list("trigger").annotate(n=Count("*")))
    return [
        {"occasion": each, "row": (row := known.get(each)), "waiting": waits.get(row.pk, 0) if row else 0}
        for each in Occasion
    ]


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_trigger(request: HttpRequest, occasion: str) -> HttpResponse:
    """Whether something that occurs is reviewed by itself."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    if occasion not in Occasion.values:
        raise Http404
    about = Occasion(occasion)
    row = Trigger.objects.select_related("lead").filter(occasion=about).first()
    known = {"is_on": row is None or row.is_on, "no_answer": NoAnswer.ESCALATE, "days": 14}
    if row is not None:
        known |= {"lead": called(row.lead), "no_answer": row.no_answer, "days": row.answer_within.days}
    form = TriggerForm(_data(request), initial=known)
    back = reverse("campaign_list")
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            set_trigger(
                about,
                is_on=given["is_on"],
                lead=given["lead"],
                no_answer=NoAnswer(given["no_answer"]),
                answer_within=timedelta(days=given["days"]),
                actor=actor,
                now=timezone.now(),
            )
        except REFUSALS as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"{about.label}: {'reviewed by itself' if given['is_on'] else 'not reviewed'}.")
            return go(request, back)
    question = Question(
        title=f"{about.label}: review it by itself",
        text=f"{WHY[about]} One such review is under way at a time; what occurs meanwhile gathers for the next.",
        form=form,
        submit="Save",
        back=back,
    )
    return ask(request, question)


def _campaign(request: HttpRequest, pk: UUID) -> Campaign:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return get_object_or_404(Campaign.objects.visible_to(actor).select_related("lead", "follows"), pk=pk)


# ── A draft ────────────────────────────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_new(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_change(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _edit(request, _campaign(request, pk))


def _edit(request: HttpRequest, campaign: Campaign | None) -> HttpResponse:
    """The form of a draft. "Try it" says how large it would be and who would review it; only "Save" keeps anything."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    initial = CampaignForm.said_by(campaign) if campaign else {}
    form = CampaignForm(request.POST) if request.method == "POST" else CampaignForm(initial=initial)
    context: dict[str, Any] = {"form": form, "campaign": campaign}
    if request.method == "POST" and form.is_valid():
        if "try" in request.POST:
            tried = Campaign(**form.values())
            tried.left_out = campaign.left_out if campaign else {}
            context["seen"] = preview(tried, now=now)
        else:
            try:
                if campaign is None:
                    campaign = campaigns.create_campaign(actor=actor, now=now, **form.values())
                else:
                    campaigns.change_campaign(campaign, actor=actor, now=now, **form.values())
            except CampaignRefused as exc:
                for name, problem in exc.problems.items():
                    field = CampaignForm.refused.get(name, name)
                    form.add_error(field if field in form.fields else None, problem)
            except REFUSALS as exc:
                form.add_error(None, str(exc))
            else:
                return redirect("campaign_detail", pk=campaign.pk)
    return render(request, "reviews/campaign_form.html", context, status=REFUSED if form.errors else 200)


# ── One of them ────────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def campaign_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    own = Decision.objects.filter(campaign=OuterRef("pk"), decided_by_key=actor.key, submitted_at__isnull=False)
    visible = Campaign.objects.visible_to(actor).select_related("lead", "follows")
    campaign = get_object_or_404(visible.annotate(has_submitted=Exists(own)), pk=pk)
    now = timezone.now()
    me = {str(key) for key in Owner.objects.being(actor).values_list("pk", flat=True)}
    is_lead = str(campaign.lead_id) in me
    may_run = actor.may(Right.RUN_CAMPAIGN)
    context: dict[str, Any] = {
        "campaign": campaign,
        "may_run": may_run,
        "may_review": actor.may(Right.REVIEW),
        "may_sign": is_lead or actor.may_everywhere(Right.REVIEW),
        "may_remind": is_lead or may_run,
        "is_late": campaign.is_running and campaign.due_at < now,
    }
    if campaign.state == CampaignState.DRAFT:
        context["seen"] = preview(campaign, now=now)
        context["signed_for"] = list(StaleApproval.objects.filter(campaign=campaign).select_related("connection"))
    elif campaign.launched_at is not None:
        context |= _progress(campaign)
        context["waits_for_me"] = any(each["id"] is None or each["id"] in me for each in context["waiting"])
        context["attestations"] = list(Attestation.objects.filter(campaign=campaign).order_by("id")[:100])
        if may_run or is_lead or actor.sees_everything:
            is_asked = campaign.size <= PACED or "pace" in request.GET
            context |= {"pace": pace(campaign.pk)} if is_asked else {"pace_waits": True}
            context["told"] = list(ReviewItem.with_decoys.told().filter(campaign=campaign)[:TOLD])
        context["places"] = [_place(each) for each in campaign.completeness]
        excluded = Exclusion.objects.visible_to(actor).filter(campaign=campaign).select_related("connection")
        context["excluded"] = _excluded(excluded, request.GET.get("cursor", ""))
    return render(request, "reviews/campaign_detail.html", context)


def _progress(campaign: Campaign) -> dict[str, Any]:
    said, waiting = standing(campaign.pk)
    states = said["states"]
    done = sum(states.get(each, 0) for each in (ItemState.CLOSED, ItemState.CANCELLED))
    return {
        "parts": [Part(tone, states[state], str(state.label)) for state, tone in TONES.items() if states.get(state)],
        "endings": [(ending.label, said["endings"][ending]) for ending in Ending if said["endings"].get(ending)],
        "against": said["against_recommendation"],
        "done": done,
        "decided": campaign.size - sum(states.get(each, 0) for each in ("open", "disputed", "returned")),
        "is_closed": done == campaign.size,
        "waiting": waiting if campaign.is_running and done < campaign.size else [],
    }


def _place(held: dict[str, Any]) -> dict[str, Any]:
    """One connection of what a campaign rests on; what was left out in words."""
    return {**held, "left": [(LeftOut(reason).label, number) for reason, number in held["left_out"].items()]}


def _excluded(rows: Any, cursor: str) -> Any:
    by_arrival = Ordering("id", ())
    try:
        return page(rows, by_arrival, cursor or None, EXCLUDED)
    except BadCursor:
        return page(rows, by_arrival, None, EXCLUDED)


# ── What is done with one ──────────────────────────────────────────────────────────────────────


def _asked(
    request: HttpRequest,
    campaign: Campaign,
    form: forms.Form,
    act: Callable[[dict[str, Any]], str],
    *,
    title: str,
    text: str,
    submit: str,
    **more: Any,
) -> HttpResponse:
    """Ask, and do it once it is answered; what is refused stands above the form."""
    back = reverse("campaign_detail", args=[campaign.pk])
    if is_decided(request) and form.is_valid():
        try:
            said = act(form.cleaned_data)
        except REFUSALS as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, said)
            return go(request, back)
    return ask(request, Question(title=title, text=text, form=form, submit=submit, back=back, **more))


def _data(request: HttpRequest) -> Any:
    return request.POST if is_decided(request) else None


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_launch(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)

    def act(_: dict[str, Any]) -> str:
        row = campaigns.launch(campaign, actor=actor, now=timezone.now())
        beside = f" and {plural(row.planted, 'decoy')}" if row.planted else ""
        return f"Launched with {plural(row.size, 'item')}{beside}."

    facts: list[tuple[str, str]] = []
    if campaign.state == CampaignState.DRAFT and not is_decided(request):
        seen = preview(campaign, now=timezone.now())
        facts = [
            ("Items", str(seen["size"])),
            ("Reviewers", str(seen["reviewers"]["number"])),
            ("For any reviewer", str(seen["for_any_reviewer"])),
        ]
        if campaign.decoys:
            facts.append(("Decoys", f"{campaign.decoys} at most for each reviewer"))
        if seen["stale"]:
            facts.append(("Not looked at lately", ", ".join(seen["stale"][:5])))
    text = (
        "Everything in its scope is frozen as it stands now, and its reviewers are asked. The scope does not change "
        "after that. Over what was not looked at lately another person signs first."
    )
    title = f"Launch {campaign.name}"
    return _asked(
        request, campaign, forms.Form(_data(request)), act, title=title, text=text, submit="Launch it", facts=facts
    )


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_accept_stale(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)

    def act(given: dict[str, Any]) -> str:
        number = campaigns.accept_stale(campaign, actor=actor, now=timezone.now(), reason=given["reason"])
        return f"You signed for {plural(number, 'connection')}. Somebody else launches it now."

    text = (
        "You state that what these connections last said is good enough for this campaign. Your name and reason go "
        "into its evidence, and another person launches it."
    )
    title = "Sign for what is not fresh"
    return _asked(request, campaign, ReasonForm(_data(request)), act, title=title, text=text, submit="Sign for it")


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_due(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)
    form = DueForm(_data(request), initial={"due_on": campaign.due_at.date()})

    def act(given: dict[str, Any]) -> str:
        campaigns.change_due(campaign, form.due_at, actor=actor, now=timezone.now(), reason=given["reason"])
        return f"Due on {given['due_on']:%-d %B %Y}."

    text = "Items that nobody decided move with it, and their reviewers are reminded anew."
    return _asked(request, campaign, form, act, title="Move the date", text=text, submit="Move the date")


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def campaign_remind(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)

    def act(_: dict[str, Any]) -> str:
        told = remind_by_hand(campaign, actor=actor, now=timezone.now())
        return f"{plural(told, 'reviewer')} told by mail."

    text = "Everybody it waits for is told by mail how much, until when, and where. Once a day."
    last = [("Reminded last", f"{campaign.reminded_at:%-d %B %Y, %H:%M} UTC")] if campaign.reminded_at else []
    return _asked(
        request,
        campaign,
        forms.Form(_data(request)),
        act,
        title="Remind its reviewers",
        text=text,
        submit="Remind them",
        facts=last,
    )


@require_http_methods(METHODS)
@requires(Right.RUN_CAMPAIGN)
def campaign_cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)
    still = ReviewItem.objects.filter(campaign=campaign).open().count() if campaign.launched_at else 0

    def act(given: dict[str, Any]) -> str:
        campaigns.cancel_campaign(campaign, actor=actor, now=timezone.now(), reason=given["reason"])
        return "It ended unsigned."

    text = (
        f"It ends unsigned, and {plural(still, 'open item')} with it. Operations that came of it go on to their ends. "
        "This cannot be undone."
    )
    return _asked(
        request,
        campaign,
        ReasonForm(_data(request)),
        act,
        title=f"Cancel {campaign.name}",
        text=text,
        submit="End it unsigned",
        tone="danger solid",
        leave="Go back",
    )


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def campaign_attest(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)

    def act(given: dict[str, Any]) -> str:
        made = signing.attest(campaign, actor=actor, now=timezone.now(), statement=given["statement"])
        return f"You attested {plural(made.decisions, 'decision')}."

    form = StatementForm(_data(request), initial={"statement": "I looked at each of these and decided as I found fit."})
    text = "You sign by name for everything that you decided in this campaign."
    return _asked(request, campaign, form, act, title="Attest my decisions", text=text, submit="Attest")


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def campaign_sign(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    campaign = _campaign(request, pk)

    def act(given: dict[str, Any]) -> str:
        signing.sign(campaign, actor=actor, now=timezone.now(), statement=given["statement"])
        return "Signed. Its digest is in the audit chain."

    form = StatementForm(_data(request))
    text = (
        "A digest over every item and decision goes into the audit chain, and nothing of the campaign changes after "
        "that. Every item is closed first, and whoever decided has attested."
    )
    return _asked(request, campaign, form, act, title=f"Sign {campaign.name}", text=text, submit="Sign it")
