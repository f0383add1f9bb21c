"""What drf-spectacular cannot guess of the API: names, exports, sparse fields, writes and the problems of each call."""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import serializers

from web.deprecations import of_noun
from web.problems import MEDIA_TYPE
from web.shapes import Shape

LISTINGS = frozenset({"list", "ndjson", "csv"})
HEADER = "Idempotency-Key"
LONGEST_KEY = 200
NO_CONTENT = 204
REFUSALS = {
    "400": "A parameter is unknown or has a value that is not understood; `errors` names it.",
    "401": "Nobody is signed in, or the API token is unknown or has expired.",
    "403": "The actor holds no role that allows this.",
    "404": "There is nothing here, or nothing that the actor may see.",
    "429": "The budget of requests is used up; `Retry-After` says for how many seconds.",
}
WRITE_REFUSALS = {
    "400": "The body is not understood; `errors` names the field.",
    "403": "The actor may not do this, or the token of the session is missing.",
    "409": "It cannot be done as things stand; `detail` says why.",
    "415": "The body is no JSON.",
    "422": "The key came with another request before.",
}
SENTENCES = {
    "list": "List {nouns}, a page at a time.",
    "retrieve": "One of the {nouns}.",
    "ndjson": "Every one of the {nouns} that the filters leave, one JSON object a line, streamed.",
    "csv": "Every one of the {nouns} that the filters leave, as CSV, streamed. A linked object has two columns.",
}


class ProblemSerializer(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = serializers.CharField(help_text="A name for this kind of problem, for programs.")
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence for people.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="What is wrong with which parameter or field.",
    )
    reference = serializers.CharField(required=False, help_text="Of an unexpected failure: where the log has it.")


def refusals_of_a_read() -> dict[tuple[int, str], OpenApiResponse]:
    """What a read that is no noun's declares beside its answer."""
    return {
        (int(status), MEDIA_TYPE): OpenApiResponse(ProblemSerializer, description=sentence)
        for status, sentence in REFUSALS.items()
    }


def write_of(view: Any) -> Any:
    """The write that a view is asked for, or nothing."""
    found = getattr(view, getattr(view, "action", None) or "", None)
    return found if hasattr(found, "body") else None


class ReadSchema(AutoSchema):
    """For `web.api.ReadOnlyViewSet` and `web.writes.WritingViewSet`."""

    view: Any

    @property
    def noun(self) -> str:
        return str(self.view.serializer_class.noun)

    @property
    def action(self) -> str:
        return str(self.view.action)

    @property
    def write(self) -> Any:
        return write_of(self.view)

    def get_tags(self) -> list[str]:
        return [self.noun]

    def get_operation_id(self) -> str:
        verbs = {"list": "list", "retrieve": "read", "ndjson": "export", "csv": "export_csv"}
        verb = verbs.get(self.action, self.action)
        return f"{verb}_{self.noun.replace('-', '_')}"

    def get_summary(self) -> str:
        if self.write is not None:
            return str(self.write.summary)
        return SENTENCES[self.action].format(nouns=self.noun.replace("-", " "))

    def get_description(self) -> str:  # type: ignore[override]
        return " ".join(each.words for each in of_noun(self.noun) if not each.parameter)

    def is_deprecated(self) -> bool:
        return any(not each.parameter for each in of_noun(self.noun))

    def _get_parameters(self) -> Any:
        found = super()._get_parameters()  # type: ignore[no-untyped-call]
        leaving = {each.parameter: each for each in of_noun(self.noun) if each.parameter}
        for parameter in found:
            if each := leaving.get(parameter["name"]):
                parameter["deprecated"] = True
                parameter["description"] = f"{parameter.get('description', '')} {each.words}".strip()
        return found

    def get_filter_backends(self) -> list[Any]:
        return list(self.view.filter_backends) if self.action in LISTINGS else []

    def get_request_serializer(self) -> Any:
        return self.write.body if self.write is not None else None

    def get_override_parameters(self) -> list[Any]:
        if self.write is not None:
            return [
                OpenApiParameter(
                    HEADER,
                    {"type": "string", "maxLength": LONGEST_KEY},
                    OpenApiParameter.HEADER,
                    description="The same key with the same body is done once; the answer is that of the first time.",
                )
            ]
        if self.action in self.view.files.values():
            return []
        names = self.view.shape.names()
        parameters = [
            OpenApiParameter(
                "fields",
                {"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1},
                description="Only these members of each object.",
                explode=False,
                style="form",
            )
        ]
        if self.view.has_past:
            parameters.append(
                OpenApiParameter(
                    "as_of",
                    {"type": "string", "format": "date-time"},
                    description=(
                        "As it stood at that instant, with its zone, such as `2026-06-30T00:00:00Z`. Refused for one"
                        " that has not come yet, or that lies before history began."
                    ),
                )
            )
        if self.action != "retrieve":
            choices = [name for each in self.view.orderings for name in (each.name, f"-{each.name}")]
            parameters.append(
                OpenApiParameter(
                    "ordering",
                    {"type": "string", "enum": choices, "default": self.view.orderings[0].parameter},
                    description="What to sort by; a minus sorts from the end.",
                )
            )
        return parameters

    def get_response_serializers(self) -> Any:
        return self.view.shape

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        """No member of an object is there for certain: `fields` may have left it out."""
        found = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if issubclass(serializer if isinstance(serializer, type) else type(serializer), Shape):
            found.pop("required", None)
        return found

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        problem = self.resolve_serializer(ProblemSerializer, "response").ref
        refusals = REFUSALS if self.write is None else {**REFUSALS, **WRITE_REFUSALS}
        if self.action in self.view.files.values():
            refusals = {**refusals, **self.view.file_refusals}
        for status, sentence in refusals.items():
            bodies[status] = {"description": sentence, "content": {MEDIA_TYPE: {"schema": problem}}}
        if self.write is not None:
            return self._of_write(bodies)
        bodies["200"]["description"] = re.sub(r"\.$", "", self.get_summary())
        if self.action == "csv":
            bodies["200"]["content"] = {"text/csv": {"schema": {"type": "string"}}}
        if self.action in {"list", "retrieve"}:
            bodies["200"]["headers"] = {"ETag": {"schema": {"type": "string"}}}
            bodies["304"] = {"description": "What `If-None-Match` names is still what there is."}
        return bodies

    def _of_write(self, bodies: Any) -> Any:
        done = next(bodies.pop(status) for status in ("200", "201", "204") if status in bodies)
        if self.write.status == NO_CONTENT:
            done = {}
        bodies[str(self.write.status)] = {**done, "description": re.sub(r"\.$", "", self.get_summary())}
        if self.write.status == 200:
            bodies["204"] = {"description": "Done, and the caller may not see it any more"}
        return bodies
