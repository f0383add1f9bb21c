"""API tokens over REST: listed, issued for a role that one holds, revoked. One answer alone has the value."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import Case, F, TextField, Value, When
from django.db.models.functions import Now
from django.http import HttpResponse
from django.utils import timezone
from django_filters import FilterSet
from rest_framework import serializers

from access.models import ApiToken, User
from access.rights import Right
from access.roles import Role
from config.tokens import LONGEST_NAME, MOST_DAYS, OutlivesItsIssuer, RoleAboveOnes, issue, revoke
from config.tokens import tell_inventory as tell
from web.api import ARRIVAL
from web.narrowing import ChoicesFilter, FlagFilter
from web.paging import Ordering
from web.shapes import Shape, Text, Url
from web.writes import CREATED, WritingViewSet, writes

ROLES = [(role.value, role.value) for role in Role]


class TokenSerializer(Shape):
    noun = "tokens"
    url = Url()
    display = Text(F("name"))
    prefix = Text(F("token_key"), help_text="How its value begins, as the audit log names it.")
    state = Text(
        Case(
            When(revoked_at__isnull=False, then=Value("revoked")),
            When(expiry__lte=Now(), then=Value("expired")),
            default=Value("active"),
            output_field=TextField(),
        ),
        help_text="active, expired or revoked.",
    )
    issued_by = Text(F("issued_by__username"), allow_null=True, help_text="Null: from the command line.")

    class Meta:
        model = ApiToken
        fields = (
            "id", "url", "display", "name", "role", "prefix", "state", "issued_by", "created", "expiry", "last_used_at",
            "revoked_at", "revoked_by",
        )  # fmt: skip


class TokenFilter(FilterSet):  # type: ignore[misc]
    role = ChoicesFilter(choices=ROLES, label="Role")
    is_live = FlagFilter(method="living", label="Works")

    def living(self, rows: Any, name: str, value: bool) -> Any:
        return rows.live(timezone.now()) if value else rows.ended(timezone.now())


class TokenBody(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=LONGEST_NAME)
    role = serializers.ChoiceField(ROLES, help_text="One that you hold.")
    days = serializers.IntegerField(min_value=1, max_value=MOST_DAYS, default=90)

    def validate_name(self, value: str) -> str:
        if not value.isprintable():
            raise serializers.ValidationError("Give printable characters.")
        return value


class NoTokenBody(serializers.Serializer[Any]):
    """Nothing more is said than what is asked for."""


class TokenViewSet(WritingViewSet):
    """Keyreeve's own API tokens. The answer that issues one has its value as `token`; no other answer ever has."""

    queryset = ApiToken.objects.all()
    serializer_class = TokenSerializer
    filterset_class = TokenFilter
    orderings = (ARRIVAL, Ordering("created", ("created",)), Ordering("expiry", ("expiry",)))
    rights: ClassVar = {"*": Right.ISSUE_TOKEN}
    verbs: ClassVar = {"revoke": "revoke"}
    refusals: ClassVar = {RoleAboveOnes: 403, OutlivesItsIssuer: 409}
    value = ""

    def write(self, request: Any, mark: Any, method: Any, **kwargs: Any) -> Any:
        """The value goes out with the first answer and into none that is kept for an Idempotency-Key."""
        response = super().write(request, mark, method, **kwargs)
        if self.value and isinstance(response, HttpResponse):
            response.content = json.dumps({**json.loads(response.content), "token": self.value})
        if response.status_code < 300:
            tell(clock=timezone.now)
        return response

    @writes(TokenBody, "Issue a token. Its value is in this answer alone.", status=CREATED)
    def create(self, given: Mapping[str, Any]) -> ApiToken:
        person = self.request.user if isinstance(self.request.user, User) else None
        token, self.value = issue(
            given["name"], Role(given["role"]), life=timedelta(days=given["days"]), actor=self.actor,
            now=timezone.now(), issuer=person,
        )  # fmt: skip
        return token

    @writes(NoTokenBody, "Revoke a token; it is refused at once.")
    def revoke(self, row: ApiToken, given: Mapping[str, Any]) -> ApiToken:
        mine = ApiToken.objects.revocable_by(self.actor).filter(pk=row.pk).first()
        if mine is None:
            raise RoleAboveOnes
        revoke(mine, actor=self.actor, now=timezone.now())
        return row
