"""What every table of the inventory shares: time-ordered keys and the question who may see a row."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db import connection as database
from django.db import models

PART = re.compile(r"[^\W_]+")


class Uuid7(models.Func):
    """A version 7 UUID made by the database (RFC 9562, section 5.7), so that bulk SQL gets one too."""

    function = "keyreeve_uuid7"
    arity = 0
    output_field = models.UUIDField()


def new_keys(number: int) -> list[UUID]:
    """Keys for rows that are inserted together, in order."""
    with database.cursor() as cursor:
        cursor.execute("SELECT keyreeve_uuid7() FROM generate_series(1, %s)", [number])
        return sorted(key for (key,) in cursor.fetchall())


class Row(models.Model):
    """A row with a time-ordered key: the order of keys is the order of arrival."""

    id = models.UUIDField(primary_key=True, db_default=Uuid7(), editable=False)

    class Meta:
        abstract = True
        ordering: ClassVar = ["-id"]


class AnyOf(models.Func):
    """`column = ANY (ARRAY(SELECT …))`, for use in `filter`: that the column is among the keys that `rows` selects.

    `IN (SELECT …)` says the same, but PostgreSQL makes no range of an index of it where it is one side of an OR: it
    reads the whole table then. This it looks up first, once, and joins the ranges of as many indexes. For a few
    thousand keys, not for most of a table. Keys that are known already go as one array: ten thousand parameters take
    longer to read than to find.
    """

    template = "(%(expressions)s))"
    arg_joiner = " = ANY ("
    output_field = models.BooleanField()

    def __init__(
        self, column: str | models.Expression, rows: models.QuerySet[Any] | Sequence[UUID], key: str = "pk"
    ) -> None:
        if isinstance(rows, models.QuerySet):
            keys: ArraySubquery | models.Value = ArraySubquery(rows.order_by().values(key))
        else:
            keys = models.Value(list(rows), ArrayField(models.UUIDField()))
        super().__init__(column, keys)


def words(*fields: str) -> SearchVector:
    """The vector that `matching` asks and that the table's GIN index holds."""
    return SearchVector(*fields, config="simple")


def prefix_query(text: str) -> SearchQuery | None:
    """Every word of `text` as a prefix; None when nothing in it is a word.

    PostgreSQL keeps an address or a scoped package as one lexeme and parts other names at their signs, so a word is
    asked for both ways: as it stands, and by its parts.
    """
    kept = []
    for word in text.split()[:8]:
        parts = PART.findall(word)[:8]
        if parts:
            whole = "".join(char for char in word[:200] if char.isprintable()).replace("\\", "\\\\").replace("'", "''")
            kept.append(f"('{whole}':* | ({' & '.join(f'{part}:*' for part in parts)}))")
    return SearchQuery(" & ".join(kept), search_type="raw", config="simple") if kept else None
