"""Notices for operators: by which ways they go, and what became of each."""

from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.views.questions import go
from notifications import sending
from notifications.actions.endpoints import post_test
from notifications.actions.outbox import try_again
from notifications.actions.recipients import recipient_of
from notifications.filters import DeliveryFilter
from notifications.kinds import name_for_endpoints
from notifications.mail import is_on
from notifications.models import Delivery, Endpoint, EventStream
from notifications.states import DeliveryState
from notifications.translating import lags
from web.lists import Bulk, Column, Empty, ListPage, View
from web.paging import Ordering
from web.wording import plural

MOST_AT_ONCE = 500


def told(delivery: Delivery) -> str:
    """Who a notice is for."""
    return str(delivery.endpoint or delivery.notice.recipient)


DELIVERIES = ListPage(
    name="deliveries",
    title="Notifications",
    noun="delivery,deliveries",
    columns=(
        Column("subject", "Notice", value=attrgetter("notice.subject")),
        Column("told", "To", value=told, priority=2),
        Column("kind", "Kind", value=attrgetter("notice.kind_name"), priority=4, css="muted"),
        Column("state", "State", value=lambda row: row.get_state_display()),
        Column("attempts", "Tries", value=attrgetter("attempts"), priority=3, is_numeric=True),
        Column("error", "Last answer", value=attrgetter("error"), priority=3, css="muted"),
        Column("created", "Written", value=attrgetter("created_at"), is_numeric=True, sort="created"),
    ),
    orderings=(Ordering("created", (), True, "oldest first", "newest first"),),
    filterset=DeliveryFilter,
    row_template="notifications/_delivery_row.html",
    template="notifications/notice_list.html",
    views=(
        View("All"),
        View("Given up", f"state={DeliveryState.GIVEN_UP.value}"),
        View("Waiting", f"state={DeliveryState.WAITING.value}"),
    ),
    row_label=lambda row: f"{row.notice.subject}, to {told(row)}",
    empty=Empty(
        "Nobody was told anything yet",
        "A critical finding is told at once to who answers for it and to endpoints; everything else comes in digests.",
        "/account/notifications/",
        "See what you are told",
    ),
    csv=(
        ("id", attrgetter("notice_id")),
        ("kind", attrgetter("notice.kind")),
        ("subject", attrgetter("notice.subject")),
        ("to", told),
        ("by", attrgetter("channel")),
        ("state", attrgetter("state")),
        ("tries", attrgetter("attempts")),
        ("last_answer", attrgetter("error")),
        ("written_at", attrgetter("created_at")),
        ("ended_at", attrgetter("ended_at")),
    ),
)
AGAIN = Bulk("Try again", "/notifications/again/", icon="operation")


@require_safe
@requires_reader
def notice_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    deliveries = Delivery.objects.visible_to(actor).select_related(
        "endpoint", "notice__recipient__owner", "notice__recipient__user"
    )
    may_change = actor.may(Right.NOTIFY)
    streams = list(EventStream.objects.visible_to(actor))
    behind = lags(streams) if streams else {}
    context = {
        "streams": [(each, behind[each.pk]) for each in streams],
        "may_stream": actor.may(Right.STREAM),
        "now": timezone.now(),
        "may_change": may_change,
        "sees_everything": actor.sees_everything,
        "mail_server": settings.MAIL_SERVER,
        "mail_from": settings.DEFAULT_FROM_EMAIL,
        "public_url": settings.PUBLIC_URL,
        "endpoints": [(each, list(map(name_for_endpoints, each.kinds))) for each in Endpoint.objects.visible_to(actor)],
    }
    return DELIVERIES.respond(request, deliveries, bulk=[AGAIN] if may_change else (), context=context)


@require_POST
@requires(Right.NOTIFY)
def notice_again(request: HttpRequest) -> HttpResponse:
    """Send again what was given up."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    try:
        ids = {UUID(text) for text in request.POST.getlist("id")[:MOST_AT_ONCE]}
    except ValueError as exc:
        raise Http404 from exc
    number = try_again(Delivery.objects.visible_to(actor).filter(pk__in=ids), actor=actor, now=timezone.now())
    if number:
        messages.success(request, f"{plural(number, 'notice')} will be sent again within a minute.")
    else:
        messages.warning(request, "None of the picked notices was given up.")
    return go(request, reverse("notice_list"))


@require_POST
@requires(Right.NOTIFY)
def mail_test(request: HttpRequest) -> HttpResponse:
    """Send whoever asks a mail, and say what came of it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    recipient = recipient_of(actor, now=timezone.now())
    if not is_on():
        messages.warning(request, "No mail server is set up: KEYREEVE_MAIL_URL is empty.")
    elif recipient is None or not recipient.address:
        messages.warning(request, "You have no e-mail address to which a mail could go.")
    else:
        delivery = post_test(recipient=recipient, actor=actor, now=timezone.now())
        say_outcome(request, sending.send_now(delivery.pk, clock=timezone.now), recipient.address)
    return go(request, reverse("notice_list"))


def say_outcome(request: HttpRequest, done: Delivery | None, name: Any) -> None:
    """What came of a test, on the page that follows."""
    if done is None:
        messages.success(request, f"A worker is sending the test to {name} this moment; its outcome stands below.")
    elif done.state == DeliveryState.DELIVERED:
        messages.success(request, f"{name} took the test.")
    else:
        messages.error(request, f"{name} did not take the test. {done.error}")
