"""What people write at a finding: comments, and links to what will resolve it."""

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

from history.kept import appended, kept
from inventory.models.base import Row
from lifecycle.models.findings import Finding, OfFindingQuerySet
from lifecycle.states import LinkKind

LONGEST_COMMENT = 4_000


class CommentIsFinal(Exception):
    """Comments are never changed."""


class FindingCommentQuerySet(OfFindingQuerySet):
    def update(self, **_values: Any) -> NoReturn:
        raise CommentIsFinal(CommentIsFinal.__doc__)


class FindingLinkQuerySet(OfFindingQuerySet):
    def present(self) -> "FindingLinkQuerySet":
        return self.filter(removed_at=None)


@appended("written_at")
class FindingComment(Row):
    """What somebody said about a finding. The database refuses every change; it goes when its finding goes."""

    finding = models.ForeignKey(Finding, models.CASCADE, related_name="+", db_index=False)
    author = models.CharField(max_length=200)
    author_key = models.CharField(max_length=200)
    text = models.TextField()
    written_at = models.DateTimeField()

    objects = FindingCommentQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=~Q(text=""), name="finding_comment_says_something"),
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("text"), LONGEST_COMMENT),
                name="finding_comment_has_at_most_4000_characters",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["finding", "-id"], name="finding_comment_by_finding")]

    def __str__(self) -> str:
        return f"comment by {self.author}"


@kept()
class FindingLink(Row):
    """What will resolve a finding, here or elsewhere. One that was removed stays, with who removed it."""

    finding = models.ForeignKey(Finding, models.CASCADE, related_name="+", db_index=False)
    kind = models.CharField(max_length=20, choices=LinkKind)
    reference = models.CharField(max_length=200, help_text="As people call it: SEC-4711.")
    url = models.CharField(max_length=500, blank=True, help_text="https, or a path of ours.")
    label = models.CharField(max_length=200, blank=True)
    added_at = models.DateTimeField()
    added_by = models.CharField(max_length=200)
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_by = models.CharField(max_length=200, blank=True)

    objects = FindingLinkQuerySet.as_manager()

    class Meta(Row.Meta):
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=LinkKind.values), name="finding_link_kind_is_known"),
            models.CheckConstraint(condition=~Q(reference=""), name="finding_link_has_a_reference"),
            models.CheckConstraint(
                # Nothing that a browser would run or send elsewhere in the clear.
                condition=Q(url="") | Q(url__startswith="https://") | Q(url__regex=r"^/([^/\\]|$)"),
                name="finding_link_leads_to_https_or_to_a_page_of_ours",
            ),
            models.UniqueConstraint(
                fields=["finding", "kind", "reference"],
                condition=Q(removed_at=None),
                name="finding_link_one_per_reference",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["finding", "-id"], name="finding_link_by_finding")]

    def __str__(self) -> str:
        return self.label or self.reference
