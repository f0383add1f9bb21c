"""Ownership over REST: what is asked, what comes of it, and who stands for what since when."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from access.rights import Right
from inventory import filters, serializers
from inventory.actions import answering
from inventory.actions.terms import terms
from inventory.errors import AnswerNeedsReason, InventoryError, NotAsked
from inventory.models import Owner, OwnershipDay, OwnershipQuestion, Tenure
from web.api import ARRIVAL, ReadOnlyViewSet
from web.paging import Ordering
from web.writes import WritingViewSet, writes


class OwnershipQuestionViewSet(WritingViewSet):
    """Who is asked whether they answer for what is in somebody's name, until when, and what they said."""

    queryset = OwnershipQuestion.objects.all()
    serializer_class = serializers.OwnershipQuestionSerializer
    filterset_class = filters.OwnershipQuestionFilter
    orderings = (ARRIVAL, Ordering("answer_by", ("answer_by",)))
    rights: ClassVar = {"*": Right.ANSWER_FOR}
    refusals: ClassVar = {NotAsked: 403, AnswerNeedsReason: 400, InventoryError: 409}
    verbs: ClassVar = {"accept": "accept", "hand-over": "hand_over", "decline": "decline"}

    @property
    def _said(self) -> dict[str, Any]:
        return {"actor": self.actor, "now": timezone.now(), "terms": terms()}

    @writes(serializers.AnswerBody, "Answer for what it is about from now on; of what is quarantined, take it back.")
    def accept(self, row: OwnershipQuestion, given: Mapping[str, Any]) -> OwnershipQuestion:
        answering.accept(row, reason=given["reason"], **self._said)
        return row

    @writes(serializers.HandOverBody, "Say that somebody else answers for it; they are asked.")
    def hand_over(self, row: OwnershipQuestion, given: Mapping[str, Any]) -> OwnershipQuestion:
        to = Owner.objects.filter(pk=given["to"]).first()
        if to is None:
            raise ValidationError({"to": ["There is no owner with this id."]})
        answering.hand_over(row, to, reason=given["reason"], **self._said)
        return row

    @writes(serializers.DeclineBody, "Say that one does not answer for it; the next in line is asked.")
    def decline(self, row: OwnershipQuestion, given: Mapping[str, Any]) -> OwnershipQuestion:
        answering.decline(row, reason=given["reason"], **self._said)
        return row


class TenureViewSet(ReadOnlyViewSet):
    """Who stands for which thing, or stood for it: since when, and whether they accepted it."""

    queryset = Tenure.objects.all()
    serializer_class = serializers.TenureSerializer
    filterset_class = filters.TenureFilter
    lookup_value_converter = "int"


class OwnershipDayViewSet(ReadOnlyViewSet):
    """How the estate was owned on a day, and how long things stood without an owner who had accepted them."""

    queryset = OwnershipDay.objects.all()
    serializer_class = serializers.OwnershipDaySerializer
    filterset_class = filters.OwnershipDayFilter
    lookup_value_converter = "int"


VIEWSETS: tuple[type[ReadOnlyViewSet], ...] = (OwnershipQuestionViewSet, TenureViewSet, OwnershipDayViewSet)
