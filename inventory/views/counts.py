"""Counts that stand beside a row. Each stops at its limit, so one large row cannot slow a page."""

from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery, Value

LIMIT = 1_000


class CappedCount(Subquery):
    """How many rows a correlated queryset has, looked at up to one more than `limit`."""

    template = "(SELECT count(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any], *distinct: str, limit: int = LIMIT) -> None:
        listed = (
            rows.order_by().values_list(*distinct).distinct() if distinct else rows.order_by().values_list(Value(1))
        )
        super().__init__(listed[: limit + 1])
