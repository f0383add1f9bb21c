"""What every table of the inventory shares: time-ordered keys and the question who may see a row."""

from typing import ClassVar

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import models


class Uuid7(models.Func):
    """A version 7 UUID made by the database (RFC 9562, section 5.7), so that bulk SQL gets one too."""

    function = "keyreeve_uuid7"
    arity = 0
    output_field = models.UUIDField()


class Row(models.Model):
    """A row with a time-ordered key: the order of keys is the order of arrival."""

    id = models.UUIDField(primary_key=True, db_default=Uuid7(), editable=False)

    class Meta:
        abstract = True
        ordering: ClassVar = ["-id"]


def words(*fields: str) -> SearchVector:
    """The vector that `matching` asks and that the table's GIN index holds."""
    return SearchVector(*fields, config="simple")


def prefix_query(text: str) -> SearchQuery | None:
    """Every word of `text` as a prefix; None when nothing in it is a word."""
    parts = ["".join(char for char in part if char.isalnum()) for part in text.replace("-", " ").split()]
    kept = [part for part in parts if part][:8]
    return SearchQuery(" & ".join(f"{part}:*" for part in kept), search_type="raw", config="simple") if kept else None
