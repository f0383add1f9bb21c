"""What drf-spectacular cannot guess of the read API: names, exports, sparse fields and the problems of every call."""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from web.problems import MEDIA_TYPE

REFUSALS = {
    "400": "A parameter is unknown or has a value that is not understood; `errors` names it.",
    "401": "Nobody is signed in, or the API token is unknown or has expired.",
    "403": "The actor holds no role that allows this.",
    "404": "There is nothing here, or nothing that the actor may see.",
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


class ReadSchema(AutoSchema):
    """For `web.api.ReadOnlyViewSet`."""

    view: Any

    @property
    def noun(self) -> str:
        return str(self.view.serializer_class.noun)

    @property
    def action(self) -> str:
        return str(self.view.action)

    def get_tags(self) -> list[str]:
        return [self.noun]

    def get_operation_id(self) -> str:
        verb = {"list": "list", "retrieve": "read", "ndjson": "export", "csv": "export_csv"}[self.action]
        return f"{verb}_{self.noun.replace('-', '_')}"

    def get_summary(self) -> str:
        return SENTENCES[self.action].format(nouns=self.noun.replace("-", " "))

    def get_description(self) -> str:  # type: ignore[override]
        return ""

    def get_filter_backends(self) -> list[Any]:
        return [] if self.action == "retrieve" else list(self.view.filter_backends)

    def get_override_parameters(self) -> list[Any]:
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

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        problem = self.resolve_serializer(ProblemSerializer, "response").ref
        for status, sentence in REFUSALS.items():
            bodies[status] = {"description": sentence, "content": {MEDIA_TYPE: {"schema": problem}}}
        bodies["200"]["description"] = re.sub(r"\.$", "", self.get_summary())
        if self.action == "csv":
            bodies["200"]["content"] = {"text/csv": {"schema": {"type": "string"}}}
        if self.action in {"list", "retrieve"}:
            bodies["200"]["headers"] = {"ETag": {"schema": {"type": "string"}}}
            bodies["304"] = {"description": "What `If-None-Match` names is still what there is."}
        return bodies
