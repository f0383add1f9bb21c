"""An object of the API as one JSON expression: the database writes it, so lists, objects and exports are the same.

A serializer declares the shape once. It never runs: its fields say which SQL gives each value, and the OpenAPI
document is read from the same declaration. A page of a hundred objects is then one query and no work in Python.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db.models import BigIntegerField, Case, F, Func, JSONField, Model, Q, TextField, Value, When
from django.db.models.expressions import Combinable, Expression
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

Sql = Expression | F | Q


class JsonObject(Func):
    """`json_build_object`, which keeps the order of its members, as the `jsonb` of the stock function does not."""

    def __init__(self, *members: tuple[str, Sql]) -> None:
        self.names = [name for name, _ in members]
        super().__init__(*(value for _, value in members), output_field=TextField())

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        parts, params = [], []
        for name, expression in zip(self.names, self.get_source_expressions(), strict=True):
            sql, values = compiler.compile(expression)
            parts.append(f"'{name}', {sql}")
            params += values
        return f"json_build_object({', '.join(parts)})", params


class AsText(Func):
    template = "(%(expressions)s)::text"
    output_field = TextField()


class Joined(Func):
    """Texts one after the other, what is NULL left out."""

    function = "concat"
    output_field = TextField()


class Concatenated(Func):
    """Texts one after the other, NULL where one is. A fifth faster than `Joined`, and a row has many addresses."""

    template = "(%(expressions)s)"
    arg_joiner = " || "
    output_field = TextField()


class Seconds(Func):
    """A length of time in whole seconds."""

    template = "extract(epoch FROM %(expressions)s)::bigint"
    output_field = BigIntegerField()


class FromMap(Func):
    """What a constant mapping has for a text; the database parses the mapping once a statement."""

    template = "(%(expressions)s)"
    arg_joiner = " -> "

    def __init__(self, key: str | Combinable, mapping: Mapping[str, Any]) -> None:
        self.key, self.mapping = key, mapping
        super().__init__(Value(dict(mapping), JSONField()), key, output_field=TextField())


class TextFromMap(FromMap):
    arg_joiner = " ->> "


def joined(texts: FromMap, separator: str) -> TextFromMap:
    """Where a mapping has lists of texts: each list as one text."""
    return TextFromMap(texts.key, {name: separator.join(each) for name, each in texts.mapping.items()})


# ── Fields ─────────────────────────────────────────────────────────────────────────────────────


class Text(serializers.CharField):
    """A text that the database puts together."""

    def __init__(self, sql: Sql, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self.expression = sql

    def sql(self, root: str, noun: str) -> Sql:
        return self.expression


class Flag(serializers.BooleanField):
    """A condition that the database decides."""

    def __init__(self, sql: Sql, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self.expression = sql

    def sql(self, root: str, noun: str) -> Sql:
        return self.expression


class Texts(serializers.ListField):
    """A list of texts that the database puts together."""

    child = serializers.CharField()

    def __init__(self, sql: Sql, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self.expression = sql

    def sql(self, root: str, noun: str) -> Sql:
        return self.expression


class OnlyMembers(Func):
    """A JSON object without the members that are not named."""

    def as_sql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        (whole, params), (names, more) = (compiler.compile(each) for each in self.get_source_expressions())
        kept = f"SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each({whole}) m WHERE m.key = ANY({names})"
        return f"coalesce(({kept}), '{{}}'::jsonb)", [*params, *more]


class Members(serializers.JSONField):
    """Those members of a JSON object that have one of these names; whatever else it holds is not told."""

    def __init__(self, column: str, names: Iterable[str], **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        texts = Value(sorted(names), output_field=ArrayField(TextField()))
        self.expression = OnlyMembers(F(column), texts, output_field=JSONField())

    def sql(self, root: str, noun: str) -> Sql:
        return self.expression


class Length(serializers.IntegerField):
    """A length of time in whole seconds; null where there is none."""

    def __init__(self, column: str | Sql, **kwargs: Any) -> None:
        super().__init__(read_only=True, **{"help_text": "Whole seconds.", **kwargs})
        self.length = F(column) if isinstance(column, str) else column

    def sql(self, root: str, noun: str) -> Sql:
        return Seconds(self.length)


class Level(serializers.ChoiceField):
    """An ordered enum as its lower-case name: `high`, where the column holds 3."""

    def __init__(self, levels: Any, column: str, **kwargs: Any) -> None:
        super().__init__([(level.name.lower(), level.label) for level in levels], read_only=True, **kwargs)
        self.levels = levels
        self.column = column

    def sql(self, root: str, noun: str) -> Sql:
        steps = [When(**{self.column: level.value}, then=Value(level.name.lower())) for level in self.levels]
        return Case(*steps, output_field=TextField())


class Url(serializers.URLField):
    """The object's own address."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)

    def sql(self, root: str, noun: str) -> Sql:
        return address(root, noun, "pk")


def address(root: str, noun: str, key: str) -> Sql:
    return Concatenated(Value(f"{root}{noun}/"), F(key), Value("/"))


class LinkSerializer(serializers.Serializer[Any]):
    """Another object: its id, its address and how a person calls it."""

    id = serializers.CharField()
    url = serializers.URLField()
    display = serializers.CharField()

    class Meta:
        ref_name = "Link"


@extend_schema_field(LinkSerializer)
class Link(serializers.Field[Any, Any, Any, Any]):
    """A foreign key as `{"id", "url", "display"}`, or null. `display` is a column over there or an expression."""

    def __init__(self, noun: str, column: str, display: str | Sql = "name", **kwargs: Any) -> None:
        super().__init__(read_only=True, **kwargs)
        self.noun = noun
        self.column = column
        self.display = F(f"{column}__{display}") if isinstance(display, str) else display

    def sql(self, root: str, noun: str) -> Sql:
        key = f"{self.column}_id"
        link = JsonObject(("id", F(key)), ("url", address(root, self.noun, key)), ("display", self.display))
        return Case(When(**{f"{self.column}__isnull": False}, then=link), output_field=TextField())

    def parts(self) -> tuple[Sql, Sql]:
        """How it is called and its id, for a table; a display that is put together says nothing where there is none."""
        is_there = Q(**{f"{self.column}__isnull": False})
        named = self.display if isinstance(self.display, F) else Case(When(is_there, then=self.display))
        return named, F(f"{self.column}_id")


# ── Shapes ─────────────────────────────────────────────────────────────────────────────────────


class Shape(serializers.ModelSerializer[Model]):
    """Base of every shape. `noun` is the plural in its address."""

    noun: ClassVar[str]

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        for field in fields.values():
            # Nothing is required: `fields=` leaves out what was not asked for.
            field.read_only, field.required = True, False
        return fields

    @classmethod
    def names(cls) -> Sequence[str]:
        return list(cls.Meta.fields)  # type: ignore[attr-defined]

    @classmethod
    def row(cls, root: str, names: Sequence[str]) -> Expression:
        """The text of one object with these members; `root` is where the API begins."""
        return _row(cls, root, tuple(names))


@cache
def fields_of(shape: type[Shape]) -> Mapping[str, Any]:
    return shape().fields


@lru_cache(maxsize=1_000)
def _row(shape: type[Shape], root: str, names: tuple[str, ...]) -> Expression:
    fields = fields_of(shape)
    return AsText(JsonObject(*((name, sql_of(fields[name], root, shape.noun)) for name in names)))


def sql_of(field: Any, root: str, noun: str) -> Sql:
    """What gives the value of one field of a shape."""
    return field.sql(root, noun) if hasattr(field, "sql") else F(field.source.replace(".", "__"))
