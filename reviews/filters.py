"""Filters of campaigns, review items and what was decided, for pages and the REST API."""

from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import CharFilter, FilterSet

from inventory.models import Connection, Credential, Environment, Grant, McpClient, McpServer, Owner
from inventory.states import CredentialKind, Severity
from reviews.models import Campaign, ReviewItem, Trigger
from reviews.recommendations import SIGNALS
from reviews.states import (
    CHOICES,
    CampaignState,
    Ending,
    ItemState,
    LeftOut,
    NoAnswer,
    Occasion,
    Origin,
    Passed,
    Reviewed,
    Seat,
    What,
)
from web.narrowing import ChoicesFilter, FlagFilter, LevelFilter, RowFilter, SearchFilter, SetFilter, after, before

Rows = QuerySet[Any]


def _items(request: Any) -> QuerySet[ReviewItem]:
    """What may be named in a filter: decoys too, as long as nothing tells them apart."""
    return ReviewItem.with_decoys.visible_to(request.actor) if request else ReviewItem.with_decoys.all()


class AlikeField(forms.CharField):
    """What items that are decided in one go have in common, which the database keeps as one text."""

    @staticmethod
    def in_words(value: str) -> str:
        parts = value.split("|")
        if len(parts) != 6:
            return value
        _, variety, _, _, recommendation, is_outlier = parts
        kind = dict(CredentialKind.choices).get(variety, variety.replace("_", " "))
        advice = dict(What.choices).get(recommendation, "nothing").lower()
        return f"{kind}, {advice} recommended{', stands out' if is_outlier.startswith('t') else ''}"


class AlikeFilter(CharFilter):  # type: ignore[misc]
    field_class = AlikeField


class CampaignFilter(FilterSet):  # type: ignore[misc]
    state = ChoicesFilter(choices=CampaignState.choices, label="State")
    origin = ChoicesFilter(choices=Origin.choices, label="Came from")
    no_answer = ChoicesFilter(choices=NoAnswer.choices, label="Where nobody answers")
    reviewed = ChoicesFilter(choices=Reviewed.choices, method="reviewing", label="What is reviewed")
    lead = RowFilter(Owner, offered=True, field_name="lead", label="Lead")
    is_running = FlagFilter(method="under_way", label="Under way")
    follows = RowFilter(Campaign, field_name="follows", label="Follows")
    due_after = after("due_at", "Due from")
    due_before = before("due_at", "Due before")

    def reviewing(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(reviewed__overlap=value) if value else rows

    def under_way(self, rows: Rows, name: str, value: bool) -> Rows:
        running = Campaign.objects.running().order_by().values("pk")
        return rows.filter(pk__in=running) if value else rows.exclude(pk__in=running)


class ReviewItemFilter(FilterSet):  # type: ignore[misc]
    q = SearchFilter()
    campaign = RowFilter(Campaign, field_name="campaign", label="Campaign")
    kind = ChoicesFilter(choices=Reviewed.choices, label="Kind")
    state = ChoicesFilter(choices=ItemState.choices, label="State")
    mine = FlagFilter(method="waiting_for_me", label="Waits for me")
    is_open = FlagFilter(method="still_open", label="Open")
    is_overdue = FlagFilter(method="overdue", label="Past its date")
    recommendation = ChoicesFilter(choices=What.choices, label="Recommended")
    has_recommendation = FlagFilter(method="recommended", label="Something is recommended")
    reason = ChoicesFilter(choices=[(each.slug, each.words) for each in SIGNALS], method="because", label="Because")
    what = ChoicesFilter(choices=What.choices, label="Decided")
    ending = ChoicesFilter(choices=Ending.choices, label="Ended")
    risk = LevelFilter(Severity, field_name="risk", label="Risk")
    is_outlier = FlagFilter(field_name="is_outlier", label="Stands out")
    is_changed = FlagFilter(method="changed", label="Changed since its last review")
    has_drifted = FlagFilter(method="drifted", label="Changed since it was frozen")
    needs_second = FlagFilter(field_name="needs_second", label="Takes two")
    variety = ChoicesFilter(choices=CredentialKind.choices, label="Kind of credential")
    alike = AlikeFilter(field_name="alike", label="Alike", max_length=200)
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")
    environment = RowFilter(Environment, offered=True, field_name="environment", label="Environment")
    owner = RowFilter(Owner, offered=True, field_name="owner", label="Owner")
    reviewer = RowFilter(Owner, offered=True, field_name="reviewer", label="Reviewer")
    second = RowFilter(Owner, field_name="second", label="Second reviewer")
    has_reviewer = SetFilter(field_name="reviewer", label="Has a reviewer")
    credential = RowFilter(Credential, field_name="credential", label="Credential")
    client = RowFilter(McpClient, field_name="client", label="Client")
    grant = RowFilter(Grant, field_name="grant", label="Grant")
    server = RowFilter(McpServer, field_name="server", label="Server")
    due_after = after("due_at", "Due from")
    due_before = before("due_at", "Due before")
    closed_after = after("closed_at", "Closed from")
    closed_before = before("closed_at", "Closed before")

    def waiting_for_me(self, rows: Rows, name: str, value: bool) -> Rows:
        mine = ReviewItem.with_decoys.waiting_for(self.request.actor).order_by().values("pk")
        return rows.filter(pk__in=mine) if value else rows.exclude(pk__in=mine)

    def still_open(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(closed_at__isnull=value)

    def overdue(self, rows: Rows, name: str, value: bool) -> Rows:
        late = ReviewItem.with_decoys.undecided().filter(due_at__lte=timezone.now()).order_by().values("pk")
        return rows.filter(pk__in=late) if value else rows.exclude(pk__in=late)

    def recommended(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(recommendation="") if value else rows.filter(recommendation="")

    def because(self, rows: Rows, name: str, value: list[str]) -> Rows:
        return rows.filter(reasons__overlap=value) if value else rows

    def changed(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(changes={}) if value else rows.filter(changes={})

    def drifted(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.exclude(drift_digest="") if value else rows.filter(drift_digest="")


class DecisionFilter(FilterSet):  # type: ignore[misc]
    campaign = RowFilter(Campaign, field_name="campaign", label="Campaign")
    item = RowFilter(ReviewItem, queryset=_items, field_name="item", label="Review item")
    what = ChoicesFilter(choices=[(each.value, each.label) for each in (*CHOICES, What.SUSPEND)], label="Decision")
    seat = ChoicesFilter(choices=Seat.choices, label="Part")
    is_against = FlagFilter(field_name="is_against", label="Against the recommendation")
    in_bulk = FlagFilter(method="at_once", label="With others")
    is_submitted = FlagFilter(method="submitted", label="Submitted")
    is_current = FlagFilter(method="current", label="Stands")
    decided_after = after("decided_at", "Decided from")
    decided_before = before("decided_at", "Decided before")

    def at_once(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(group__isnull=not value)

    def submitted(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(submitted_at__isnull=not value)

    def current(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(withdrawn_at__isnull=value)


class DelegationFilter(FilterSet):  # type: ignore[misc]
    item = RowFilter(ReviewItem, queryset=_items, field_name="item", label="Review item")
    seat = ChoicesFilter(choices=Seat.choices, label="Part")
    why = ChoicesFilter(choices=Passed.choices, label="Why")
    from_owner = RowFilter(Owner, offered=True, field_name="from_owner", label="From")
    to_owner = RowFilter(Owner, offered=True, field_name="to_owner", label="To")
    passed_after = after("passed_at", "Passed on from")
    passed_before = before("passed_at", "Passed on before")


class AttestationFilter(FilterSet):  # type: ignore[misc]
    campaign = RowFilter(Campaign, field_name="campaign", label="Campaign")
    signed_after = after("signed_at", "Signed from")
    signed_before = before("signed_at", "Signed before")


class ExclusionFilter(FilterSet):  # type: ignore[misc]
    campaign = RowFilter(Campaign, field_name="campaign", label="Campaign")
    kind = ChoicesFilter(choices=Reviewed.choices, label="Kind")
    reason = ChoicesFilter(choices=LeftOut.choices, label="Why")
    connection = RowFilter(Connection, offered=True, field_name="connection", label="Connection")


class TriggerFilter(FilterSet):  # type: ignore[misc]
    occasion = ChoicesFilter(choices=Occasion.choices, label="Occasion")
    is_on = FlagFilter(field_name="is_on", label="On")


class OccurrenceFilter(FilterSet):  # type: ignore[misc]
    trigger = RowFilter(Trigger, field_name="trigger", label="Begun by")
    campaign = RowFilter(Campaign, field_name="campaign", label="Campaign")
    kind = ChoicesFilter(choices=Reviewed.choices, label="Kind")
    is_reviewed = SetFilter(field_name="campaign", label="Part of a campaign")
    happened_after = after("happened_at", "Happened from")
    happened_before = before("happened_at", "Happened before")


class ApprovalFilter(FilterSet):  # type: ignore[misc]
    kind = ChoicesFilter(choices=Reviewed.choices, label="Kind")
    item = RowFilter(ReviewItem, queryset=_items, field_name="item", label="Review item")
    is_standing = FlagFilter(method="standing", label="Stands")
    is_lapsed = FlagFilter(field_name="is_lapsed", label="Lapsed")
    approved_after = after("approved_at", "Approved from")
    approved_before = before("approved_at", "Approved before")

    def standing(self, rows: Rows, name: str, value: bool) -> Rows:
        return rows.filter(ended_at__isnull=value)
