"""Deciding: what waits for whom, a dense table for one sitting, one item per screen, and what takes a word more."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Count, Exists, F, Min, OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from access.actors import Actor, ActorKind
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.models import Owner
from inventory.views.questions import Question, ask, go, is_decided, way_back
from lifecycle.errors import LifecycleError
from reviews.actions import decisions
from reviews.errors import FactsChanged, ReasonNeeded, ReviewError
from reviews.filters import ReviewItemFilter
from reviews.forms import DecisionForm, HandOnForm
from reviews.models import Campaign, Decision, ReviewItem
from reviews.models.cuts import At, Cut, Effect, cuts_of, effect_of_revoking
from reviews.models.subjects import BOUND, at_present
from reviews.states import CHOICES, RUNNING, Reviewed, Seat, What
from reviews.tasks import ring_decided
from web.lists import Bulk, Column, Empty, ListPage, View
from web.narrowing import FlagFilter
from web.pages import wants_fragment
from web.paging import Ordering, capped_counts
from web.wording import plural

METHODS = ["GET", "HEAD", "POST"]
REFUSALS = (ReviewError, LifecycleError)
BEFORE, AFTER = 4, 16  # of an item, how many stand beside it
SUBJECT_PAGES = {
    Reviewed.CREDENTIAL: "credential_detail",
    Reviewed.CLIENT: "client_detail",
    Reviewed.SERVER: "server_detail",
}
VERBS = {
    What.KEEP: "Keep",
    What.ROTATE: "Rotate",
    What.REVOKE: "Revoke",
    What.REASSIGN: "Reassign",
    What.REDUCE: "Reduce the scope of",
}


TO_DECIDE = "mine=true&drafted=false"  # what waits for somebody and is not decided by them either


class SittingFilter(ReviewItemFilter):
    """Those of one campaign, so that what waits for somebody is looked for there alone."""

    drafted = FlagFilter(method="decided_by_me", label="Decided, not submitted")

    def waiting_for_me(self, rows: Any, name: str, value: bool) -> Any:
        return rows.waiting_for(self.request.actor) if value else super().waiting_for_me(rows, name, value)

    def decided_by_me(self, rows: Any, name: str, value: bool) -> Any:
        own = Decision.with_decoys.current().filter(decided_by_key=self.request.actor.key, submitted_at=None)
        drafted = own.filter(round=F("item__round")).order_by().values("item")
        return rows.filter(pk__in=drafted) if value else rows.exclude(pk__in=drafted)


SITTING = ListPage(
    name="review-items",
    title="Review",
    noun="item",
    columns=(
        Column("name", "Item", value=lambda row: row.name),
        Column("owner", "Owner", value=lambda row: row.owner, priority=2),
        Column("used", "Last used", value=lambda row: row.last_used_at, is_numeric=True, priority=2),
        Column("age", "Age", value=lambda row: row.known_since, is_numeric=True, priority=3),
        Column("exposures", "Exposed", value=lambda row: row.exposures, is_numeric=True, priority=2),
        Column("reach", "Reach", value=lambda row: row.reach, is_numeric=True, priority=3),
        Column("findings", "Findings", value=lambda row: row.open_findings, is_numeric=True, priority=3),
        Column("changed", "Since last time", value=lambda row: ", ".join(sorted(row.changes)), priority=4),
        Column("advice", "Recommended", value=lambda row: row.recommendation, priority=2),
        Column("decision", "Decision", value=lambda row: row.what or getattr(row, "my_what", "")),
    ),
    orderings=(
        Ordering("arrival", (), False, "what stands out first", "what stands out last"),
        Ordering("risk", ("risk", "score"), True, "least risk first", "most risk first"),
    ),
    filterset=SittingFilter,
    size=20,  # each row holds every choice: at a hundred thousand items thirty take half as long again as a page may
    row_template="reviews/_review_cells.html",
    template="reviews/review_sitting.html",
    views=(
        View("To decide", TO_DECIDE),
        View("Decided, not submitted", "drafted=true"),
        View("For any reviewer", "has_reviewer=false&is_open=true"),
        View("Reviewers disagree", "state=disputed"),
        View("Come back", "state=returned"),
        View("All"),
    ),
    empty=Empty(
        "Nothing is left for you to decide",
        "What you decided can be taken back until you submit it; then you attest it. The rest stands under All.",
    ),
)


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    return actor


def _with_decisions(rows: Any, actor: Actor) -> Any:
    """Each with what this person decided in this round, and what somebody else has submitted."""
    said = Decision.with_decoys.current().filter(item=OuterRef("pk"), round=OuterRef("round")).exclude(seat=Seat.CLOCK)
    mine = said.filter(decided_by_key=actor.key)
    others = said.exclude(decided_by_key=actor.key).filter(submitted_at__isnull=False)
    return rows.annotate(
        my_what=Subquery(mine.values("what")[:1]),
        my_reason=Subquery(mine.values("reason")[:1]),
        my_submitted_at=Subquery(mine.values("submitted_at")[:1]),
        other_what=Subquery(others.values("what")[:1]),
        other_by=Subquery(others.values("decided_by")[:1]),
    )


# ── What waits ─────────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def review_queue(request: HttpRequest) -> HttpResponse:
    """My reviews: every campaign under way in which something waits for this person, soonest first."""
    actor = _actor(request)
    waiting = ReviewItem.with_decoys.seated(actor).waiting_for(actor).filter(campaign__state__in=RUNNING).order_by()
    per_campaign = waiting.values("campaign").annotate(number=Count("pk"), due=Min("due_at"))
    found = {each["campaign"]: each for each in per_campaign}
    drafted = Decision.with_decoys.current().filter(decided_by_key=actor.key, submitted_at=None).order_by()
    unsubmitted = dict(drafted.values_list("campaign").annotate(Count("pk")))
    campaigns = Campaign.objects.running().filter(pk__in={*found, *unsubmitted}).select_related("lead")
    rows = [(row, found.get(row.pk, {"number": 0, "due": row.due_at}), unsubmitted.get(row.pk, 0)) for row in campaigns]
    others = Campaign.objects.none()
    if actor.may_everywhere(Right.REVIEW):
        others = Campaign.objects.running().exclude(pk__in={*found, *unsubmitted}).order_by("due_at")[:20]
    context = {
        "rows": sorted(rows, key=lambda each: (each[1]["due"], each[0].pk)),
        "others": others,
        "now": timezone.now(),
        "may_run": actor.may(Right.RUN_CAMPAIGN),
    }
    return render(request, "reviews/review_queue.html", context)


def _campaign(request: HttpRequest, pk: UUID) -> Campaign:
    return get_object_or_404(Campaign.objects.visible_to(_actor(request)), pk=pk)


def may_decide(actor: Actor, campaign: Campaign) -> bool:
    return campaign.is_running and actor.kind is ActorKind.USER and actor.may(Right.REVIEW)


@require_GET
@requires_reader
def review_sitting(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    actor, campaign = _actor(request), _campaign(request, pk)
    rows = _with_decisions(ReviewItem.with_decoys.visible_to(actor).filter(campaign=campaign), actor)
    rows = rows.select_related("owner", "environment")
    may = may_decide(actor, campaign)
    context = {"campaign": campaign, "may_decide": may, "among_alike": "alike" in request.GET}
    context |= {} if wants_fragment(request) else _own_progress(campaign, actor)
    return SITTING.respond(request, rows, bulk=_bulk() if may else (), context=context)


def _bulk() -> list[Bulk]:
    decide = reverse("review_decide")
    several = [(What.KEEP, "check", "1"), (What.ROTATE, "operation", "2"), (What.REVOKE, "ended", "3")]
    return [
        *(Bulk(VERBS[what], f"{decide}?what={what.value}", icon, key) for what, icon, key in several),
        Bulk("Reassign…", f"{decide}?what={What.REASSIGN.value}", "transfer", "4"),
        Bulk("Hand on…", reverse("review_hand_on"), "person", "h"),
    ]


def _own_progress(campaign: Campaign, actor: Actor) -> dict[str, Any]:
    """How far this person is in a campaign: what is submitted, what is decided and not, what waits."""
    own = Decision.with_decoys.current().filter(campaign=campaign, decided_by_key=actor.key)
    waiting, drafted, submitted = capped_counts(
        [
            ReviewItem.with_decoys.filter(campaign=campaign).waiting_for(actor),
            own.filter(submitted_at=None),
            own.filter(submitted_at__isnull=False),
        ]
    )
    left = max(waiting.value - drafted.value, 0)
    return {
        "drafted": drafted.value,
        "submitted": submitted.value,
        "left": left,
        "is_left_capped": waiting.more,
        "made": drafted.value + submitted.value,
        "total": drafted.value + submitted.value + left,
        "is_done": bool(submitted.value) and not left and not drafted.value,
    }


# ── One of them ────────────────────────────────────────────────────────────────────────────────


@require_GET
@requires_reader
def review_item(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = _actor(request)
    visible = _with_decisions(ReviewItem.with_decoys.visible_to(actor), actor)
    joined = visible.select_related("campaign", "owner", "environment", "connection", "reviewer", "second", "last_item")
    its_own = visible.waiting_for(actor).filter(pk=OuterRef("pk")).values("pk")
    row = get_object_or_404(joined.annotate(waits_for_me=Exists(its_own)), pk=pk)
    now = timezone.now()
    may = may_decide(actor, row.campaign) and row.is_undecided
    beside = visible.filter(campaign=row.campaign_id).only("name", "risk", "recommendation", "state", "what", "kind")
    before, after = _around(row, beside if request.GET.get("all") else beside.waiting_for(actor))
    if not (before or after or row.waits_for_me):  # nothing waits for them, so they look at all
        before, after = _around(row, beside)
    said = Decision.with_decoys.current().filter(item=row, round=row.round).select_related("to_owner").order_by("id")
    context: dict[str, Any] = {
        "row": row,
        "campaign": row.campaign,
        "may_decide": may,
        "before": before,
        "after": after,
        "said": [each for each in said if each.submitted_at or each.decided_by_key == actor.key],
        "moved": _moved(row, now) if row.is_undecided and row.campaign.state in RUNNING else {},
        "subject_url": _subject_url(row) if row.is_told else "",
        "cuts": _cuts(row, actor) if row.campaign.state in RUNNING else [],
        "now": now,
    }
    return render(request, "reviews/review_item.html", context)


def _around(row: ReviewItem, rows: Any) -> tuple[list[ReviewItem], list[ReviewItem]]:
    before = list(rows.filter(pk__lt=row.pk).order_by("-pk")[:BEFORE])[::-1]
    return before, list(rows.filter(pk__gt=row.pk).order_by("pk")[:AFTER])


def _moved(row: ReviewItem, now: Any) -> dict[str, Any]:
    """What differs now from what its reviewers last saw; empty where nothing does."""
    present = at_present(row.kind, [row.subject_id], now=now).get(row.subject_id)
    if present is None or present.digest == row.seen_digest:
        return {}
    seen = row.seen_facts
    found = {
        name: [seen.get(name), present.facts.get(name)] for name in BOUND if seen.get(name) != present.facts.get(name)
    }
    return found or {"something": ["as it was frozen", "otherwise"]}


def _cuts(row: ReviewItem, actor: Actor) -> list[tuple[Cut, list[tuple[str, str]]]]:
    """Each hop with how it is cut there. Nothing is cut of what turned out to be a decoy."""
    if row.decoy and row.closed_at:
        return []
    return [(each, _cut_ways(each, actor) if row.is_told or not each.what else []) for each in cuts_of(row)]


def _cut_ways(cut: Cut, actor: Actor) -> list[tuple[str, str]]:
    """How it is cut when that is no decision about the item itself: words and address; none where they may not."""
    behind, of = (
        actor.may(Right.DECIDE_MANY),
        f"{reverse('batch_new')}?{urlencode({'kind': cut.at.value, 'id': cut.id})}",
    )
    may_suspend = cut.can_suspend and actor.may_everywhere(Right.NARROW)
    match cut.at:
        case At.PERSON if cut.id:
            suspended = f"{reverse('client_suspend')}?{urlencode({'owner': cut.id})}"
            ways = [("Suspend their clients…", suspended, may_suspend), ("Revoke what they reach…", of, behind)]
        case At.CLIENT:
            ways = [
                ("Suspend it…", f"{reverse('client_suspend')}?id={cut.id}", may_suspend),
                ("Revoke behind it…", of, behind and not may_suspend),
            ]
        case At.GRANT:
            ways = [("Withdraw it…", f"{reverse('grant_withdraw')}?id={cut.id}", actor.may(Right.GRANT))]
        case At.SERVER:
            ways = [("Revoke behind it…", of, behind)]
        case At.CREDENTIAL:
            ways = [("Revoke it…", f"{reverse('credential_revoke')}?id={cut.id}", actor.may(Right.OPERATE))]
        case _:
            ways = []
    return [(words, url) for words, url, may in ways if may]


def _subject_url(row: ReviewItem) -> str:
    if row.kind == Reviewed.GRANT:
        return reverse("grant_matrix")
    return reverse(SUBJECT_PAGES[Reviewed(row.kind)], args=[row.subject_id])


# ── Deciding ───────────────────────────────────────────────────────────────────────────────────


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def review_decide(request: HttpRequest) -> HttpResponse:
    """Decide about one item or several alike; asks for what the decision lacks, in a dialog or on a page of its own."""
    actor = _actor(request)
    rows, seen = _asked_for(request, actor)
    back = way_back(request, reverse("review_queue"))
    if not rows:
        messages.warning(request, "No items were picked.")
        return go(request, back)
    what = _what(request, rows)
    reason = request.POST.get("reason", "").strip()
    form = DecisionForm(initial={"reason": reason}, what=what, items=rows)
    if is_decided(request) or _is_enough(rows, what, reason):
        said = DecisionForm(request.POST, what=what, items=rows)
        if said.is_valid():
            try:
                _decide(rows, what, said, seen, actor)
            except REFUSALS as exc:
                form = said
                form.add_error("reason" if isinstance(exc, ReasonNeeded) else None, str(exc))
                if isinstance(exc, FactsChanged) and len(rows) == 1:
                    back = reverse("review_item", args=[rows[0].pk])
            else:
                return _decided(request, rows, actor, back, said=f"{what.label}: {_named(rows)}.")
        else:
            form = said
    return _ask(request, rows, what, form, back)


def _asked_for(request: HttpRequest, actor: Actor) -> tuple[list[ReviewItem], dict[UUID, int] | None]:
    """The items that a request names: `one` as `ID:VERSION`, else `id` of each that was picked. 404 for others'."""
    given = request.POST if request.method == "POST" else request.GET
    one, _, version = given.get("one", "").partition(":")
    try:
        keys = list(dict.fromkeys(UUID(each) for each in ([one] if one else given.getlist("id"))))
        seen = {keys[0]: int(version)} if version else None
    except ValueError as exc:
        raise Http404 from exc
    if len(keys) > decisions.MOST:
        raise Http404
    found = ReviewItem.with_decoys.visible_to(actor).filter(pk__in=keys).select_related("campaign")
    rows = {row.pk: row for row in found}
    if len(rows) != len(keys):
        raise Http404
    return [rows[key] for key in keys], seen


def _what(request: HttpRequest, rows: Sequence[ReviewItem]) -> What:
    asked = request.POST.get("what") or request.GET.get("what") or rows[0].recommendation or What.KEEP
    if asked not in CHOICES:
        raise Http404
    return What(asked)


def _is_enough(rows: Sequence[ReviewItem], what: What, reason: str) -> bool:
    """Whether nothing more has to be said: one item, decided as it is recommended, or with a reason."""
    if what in {What.REASSIGN, What.REDUCE} or len(rows) != 1:
        return False
    return bool(reason) or rows[0].recommendation == what


def _decide(
    rows: Sequence[ReviewItem], what: What, form: DecisionForm, seen: Mapping[UUID, int] | None, actor: Actor
) -> None:
    decisions.decide(
        [row.pk for row in rows],
        what,
        actor=actor,
        now=timezone.now(),
        reason=form.cleaned_data["reason"],
        to=form.cleaned_data.get("to"),
        detail=form.detail(),
        seen=seen,
    )


def _ask(request: HttpRequest, rows: Sequence[ReviewItem], what: What, form: DecisionForm, back: str) -> HttpResponse:
    one = rows[0] if len(rows) == 1 else None
    against = [row for row in rows if row.recommendation != what]
    facts: list[tuple[str, str]] = []
    if against:
        advice = {What(row.recommendation).label if row.recommendation else "nothing" for row in against}
        facts.append(("Recommended", ", ".join(sorted(advice))))
    if what is What.REVOKE:
        facts += _stops(effect_of_revoking([row.pk for row in rows]))
    text = ""
    if against:
        text = "This is not what is recommended, so say why."
    elif what is What.KEEP and one is None:
        text = "Many are kept at once, so say why. Only items that are alike are decided in one go."
    if "reason" in form.fields and (against or (what is What.KEEP and one is None)):
        form.fields["reason"].widget.attrs["required"] = True
    question = Question(
        title=f"{VERBS[what]} {_named(rows)}",
        text=text,
        form=form,
        submit=f"{VERBS[what]} {'it' if one else plural(len(rows), 'item')}",
        back=back,
        facts=facts,
        ids=[] if one else [str(row.pk) for row in rows],
        hidden=[
            ("what", what.value),
            *([("one", f"{one.pk}:{one.version}")] if one else []),
            *((name, "yes") for name in ("cell", "on") if request.POST.get(name)),
        ],
    )
    answer = ask(request, question)
    if wants_fragment(request):
        answer["HX-Retarget"], answer["HX-Reswap"] = "#dialog-slot", "innerHTML"
    return answer


def _stops(effect: Effect) -> list[tuple[str, str]]:
    """What stops working, as facts of a question."""
    if not effect.ways:
        return [("Stops working", "nothing that is known: nobody is seen to use it")]
    said = [("Stops working", _ways(effect))]
    if effect.people:
        said.append(("Whom it meets", ", ".join(effect.people)))
    return said


def _ways(effect: Effect) -> str:
    clients, servers = (", ".join(each) for each in (effect.clients, effect.servers))
    verb = "goes" if effect.going_on == 1 else "go"
    going_on = f"; {effect.going_on} of them {verb} on by another credential" if effect.going_on else ""
    return f"{plural(effect.ways, 'way')}: {clients} to {servers}{going_on}"


def _named(rows: Sequence[ReviewItem]) -> str:
    return rows[0].name if len(rows) == 1 else plural(len(rows), "item")


def _decided(
    request: HttpRequest, rows: Sequence[ReviewItem], actor: Actor, back: str, *, said: str, step: int = 1
) -> HttpResponse:
    """Without script the page it came from, or the next item; with it the one cell, and the cursor moves on."""
    if wants_fragment(request) and request.POST.get("cell") and len(rows) == 1:
        row = _with_decisions(ReviewItem.with_decoys.filter(pk=rows[0].pk), actor).select_related("campaign").get()
        context: dict[str, Any] = {
            "row": row,
            "may_decide": may_decide(actor, row.campaign),
            "campaign": row.campaign,
            "among_alike": "alike" in QueryDict(urlsplit(back).query),
        }
        content = render_to_string("reviews/_decision.html", context, request)
        context |= {**_own_progress(row.campaign, actor), "oob": True}
        answer = HttpResponse(content + render_to_string("reviews/_sitting_progress.html", context, request))
        answer["HX-Retarget"], answer["HX-Reswap"] = f"#decision-{row.pk}", "outerHTML"
        answer["HX-Trigger-After-Settle"] = json.dumps({"decided": {"id": str(row.pk), "step": step}})
        return answer
    if request.POST.get("on") and step:
        return go(request, _next_of(rows[0], actor))
    messages.success(request, said)
    return go(request, _among_all(back) if len(rows) > 1 else back)


def _among_all(url: str) -> str:
    """The same table, no longer narrowed to those alike: they are decided now."""
    parts = urlsplit(url)
    query = QueryDict(parts.query, mutable=True)
    for name in ("alike", "cursor") if "alike" in query else ():
        query.pop(name, None)
    return parts._replace(query=query.urlencode()).geturl()


def _next_of(row: ReviewItem, actor: Actor) -> str:
    """The next item that waits for this person and that they have not decided, else the table."""
    undone = ReviewItem.with_decoys.filter(campaign=row.campaign_id).waiting_for(actor)
    mine = Decision.with_decoys.current().filter(
        decided_by_key=actor.key, campaign=row.campaign_id, round=F("item__round")
    )
    undone = undone.exclude(pk__in=mine.values("item"))
    key = undone.filter(pk__gt=row.pk).order_by("pk").values_list("pk", flat=True).first()
    if key is None:
        key = undone.order_by("pk").values_list("pk", flat=True).first()
    if key is None:
        return f"{reverse('review_sitting', args=[row.campaign_id])}?{TO_DECIDE}"
    return reverse("review_item", args=[key])


@require_POST
@requires(Right.REVIEW)
def review_undo(request: HttpRequest) -> HttpResponse:
    actor = _actor(request)
    rows, _ = _asked_for(request, actor)
    back = way_back(request, reverse("review_queue"))
    try:
        decisions.undo([row.pk for row in rows], actor=actor, now=timezone.now())
    except REFUSALS as exc:
        messages.warning(request, str(exc))
        return go(request, back)
    return _decided(request, rows, actor, back, said=f"Taken back: {_named(rows)}.", step=0)


@require_POST
@requires(Right.REVIEW)
def review_look_again(request: HttpRequest, pk: UUID) -> HttpResponse:
    actor = _actor(request)
    row = get_object_or_404(ReviewItem.with_decoys.visible_to(actor), pk=pk)
    try:
        decisions.look_again([row.pk], actor=actor, now=timezone.now())
    except REFUSALS as exc:
        messages.warning(request, str(exc))
    return redirect("review_item", pk=row.pk)


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def review_hand_on(request: HttpRequest) -> HttpResponse:
    """Hand one's own part to somebody else; whoever runs a campaign gives any part."""
    actor = _actor(request)
    rows, _ = _asked_for(request, actor)
    back = way_back(request, reverse("review_queue"))
    if not rows:
        messages.warning(request, "No items were picked.")
        return go(request, back)
    me = Owner.objects.being(actor).values_list("pk", flat=True).first()
    is_own = me is not None and all(me in {row.reviewer_id, row.second_id} for row in rows)
    form = HandOnForm(request.POST if is_decided(request) else None, is_own=is_own)
    if is_decided(request) and form.is_valid():
        keys, to, reason = [row.pk for row in rows], form.cleaned_data["to"], form.cleaned_data["reason"]
        try:
            if is_own:
                number = decisions.delegate(keys, to, actor=actor, now=timezone.now(), reason=reason)
            else:
                seat = Seat(form.cleaned_data["seat"])
                number = decisions.reassign(keys, seat, to, actor=actor, now=timezone.now(), reason=reason)
        except REFUSALS as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"{plural(number, 'item')} handed to {to}.")
            return go(request, back)
    question = Question(
        title=f"Hand on {_named(rows)}",
        text="They act for you from then on, so what you may not decide alone, they may not either."
        if is_own
        else "Another person takes this part.",
        form=form,
        submit="Hand on",
        back=back,
        ids=[str(row.pk) for row in rows],
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.REVIEW)
def review_submit(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stand by what one decided in a campaign. Before it everything can be taken back, after it nothing."""
    actor, campaign = _actor(request), _campaign(request, pk)
    back = way_back(request, f"{reverse('review_sitting', args=[campaign.pk])}?{TO_DECIDE}")
    own = Decision.with_decoys.current().filter(campaign=campaign, decided_by_key=actor.key, submitted_at=None)
    counts = dict(own.order_by().values_list("what").annotate(Count("pk")))
    number = sum(counts.values())
    revoked = list(own.filter(what=What.REVOKE).order_by("item").values_list("item", flat=True)[: decisions.MOST])
    stops = _stops(effect_of_revoking(revoked)) if revoked and not is_decided(request) else []
    form = forms.Form(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            done = decisions.submit(campaign, actor=actor, now=timezone.now())
        except REFUSALS as exc:
            form.add_error(None, str(exc))
        else:
            ring_decided()
            _tell(request, done)
            return go(request, back)
    question = Question(
        title=f"Submit {plural(number, 'decision')}",
        text="You stand by them, and nothing is taken back after that. What is kept closes; the rest is carried out "
        "and closes once it was seen to be so.",
        form=form,
        submit=f"Submit {plural(min(number, decisions.MOST), 'decision')}",
        back=back,
        facts=[*((What(what).label, str(counts[what])) for what in CHOICES if what in counts), *stops],
    )
    return ask(request, question)


def _of_decoys(done: decisions.Submitted) -> str:
    was = "1 item was a decoy" if done.decoys == 1 else f"{done.decoys} items were decoys"
    if done.decoys == 1:
        return f"{was}, and you {'found' if done.found else 'kept'} it. Nothing comes of it."
    return f"{was}, of which you found {done.found or 'none'}. Nothing comes of them."


def _tell(request: HttpRequest, done: decisions.Submitted) -> None:
    said = [
        f"{plural(done.decisions + done.decoys, 'decision')} submitted",
        f"{done.kept} kept" if done.kept else "",
        f"{done.begun} being carried out" if done.begun else "",
        f"{done.waiting} wait for the second reviewer" if done.waiting else "",
    ]
    messages.success(request, f"{', '.join(each for each in said if each)}.")
    if done.decoys:
        messages.info(request, _of_decoys(done))
    if done.disputed:
        messages.warning(request, f"Reviewers disagree about {plural(done.disputed, 'item')}; decide them again.")
    if done.changed:
        noun = plural(len(done.changed), "item")
        messages.warning(request, f"{noun} changed meanwhile and were not submitted; look at them again.")
