"""Filters of the audit chain, for its page and the REST API."""

from typing import Any

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import QuerySet
from django_filters import CharFilter, FilterSet

from access.actors import ActorKind
from audit.events import Event
from web.narrowing import ChoicesFilter, after, before


class ChainHeadFilter(FilterSet):  # type: ignore[misc]
    signed_at_after = after("signed_at", "Signed from")
    signed_at_before = before("signed_at", "Signed before")


def _words(event: Event) -> str:
    subject, _, verb = event.value.partition(".")
    return f"{subject} {verb}".replace("_", " ").capitalize()


class AuditEntryFilter(FilterSet):  # type: ignore[misc]
    q = CharFilter(method="matching", label="Search", max_length=200)
    event = ChoicesFilter(choices=[(event.value, _words(event)) for event in Event], label="Event")
    actor_kind = ChoicesFilter(choices=[(kind.value, kind.value.capitalize()) for kind in ActorKind], label="By a")
    actor_id = CharFilter(method="by_actor", label="Actor's id", max_length=200)
    subject_kind = CharFilter(field_name="subject_kind", label="Kind of subject", max_length=60)
    subject_id = CharFilter(method="about", label="Subject's id", max_length=200)
    at_after = after("at", "From")
    at_before = before("at", "Before")

    def matching(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Every word as the beginning of a word of the subject's or the actor's label."""
        parts = ["".join(char for char in part if char.isalnum()) for part in value.replace("-", " ").split()]
        kept = [part for part in parts if part][:8]
        if not kept:
            return rows.none()
        query = SearchQuery(" & ".join(f"{part}:*" for part in kept), search_type="raw", config="simple")
        words = SearchVector("subject_label", "actor_label", config="simple")
        found: QuerySet[Any] = rows.alias(_words=words).filter(_words=query)
        return found

    # Ids lie behind their kind in the index; without a kind given, all kinds are tried.
    def by_actor(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(actor_kind__in=[kind.value for kind in ActorKind], actor_id=value)

    def about(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(subject_id=value)
