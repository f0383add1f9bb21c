"""The one versioned API root, `/api/v1/`: every noun with its list, objects and exports, and the OpenAPI document."""

import json
from functools import cache
from typing import Any

from django.conf import settings
from django.http import Http404, HttpResponse
from django.urls import URLPattern, URLResolver, path, re_path, reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from rest_framework.request import Request
from rest_framework.views import APIView

from audit import api as audit
from config.token_api import TokenViewSet
from inventory import api as inventory
from inventory import ownership_api
from inventory.intake_api import Intake, RowSchema
from lifecycle import api as lifecycle
from notifications import api as notifications
from reviews import api as reviews
from reviews import controls_api, evidence_api
from web.api import ByHeader, CsvRenderer, NdjsonRenderer, ReadOnlyViewSet, answer, as_body, check_parameters
from web.writes import WritingViewSet

VIEWSETS: tuple[type[ReadOnlyViewSet], ...] = (
    inventory.ServerViewSet,
    inventory.ClientViewSet,
    inventory.AuthorizationServerViewSet,
    inventory.ToolViewSet,
    inventory.ClientRemovalViewSet,
    inventory.GrantViewSet,
    inventory.ManifestViewSet,
    lifecycle.CredentialViewSet,
    inventory.ExposureViewSet,
    inventory.OwnerViewSet,
    *ownership_api.VIEWSETS,
    inventory.EnvironmentViewSet,
    inventory.ConnectionViewSet,
    inventory.SyncRunViewSet,
    inventory.PostureCheckViewSet,
    inventory.LoggingRecordViewSet,
    inventory.MetadataSnapshotViewSet,
    inventory.UseViewSet,
    lifecycle.PolicyViewSet,
    lifecycle.PolicyVersionViewSet,
    lifecycle.FindingViewSet,
    lifecycle.FindingCommentViewSet,
    lifecycle.FindingLinkViewSet,
    lifecycle.FindingChangeViewSet,
    lifecycle.WaiverViewSet,
    lifecycle.OperationViewSet,
    lifecycle.BatchViewSet,
    lifecycle.BatchItemViewSet,
    lifecycle.StepAttemptViewSet,
    lifecycle.DeliveryViewSet,
    lifecycle.FreezeViewSet,
    lifecycle.WindowViewSet,
    lifecycle.RuleViewSet,
    lifecycle.RuleDayViewSet,
    lifecycle.SnapshotViewSet,
    lifecycle.JobViewSet,
    lifecycle.JobRunViewSet,
    lifecycle.JobHourViewSet,
    notifications.StreamViewSet,
    *reviews.VIEWSETS,
    *controls_api.VIEWSETS,
    evidence_api.EvidencePackViewSet,
    audit.AuditEntryViewSet,
    TokenViewSet,
    audit.ChainHeadViewSet,
)
NOUNS: dict[str, type[ReadOnlyViewSet]] = {viewset.serializer_class.noun: viewset for viewset in VIEWSETS}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "access.authentication.ApiTokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Authorization: Token kr_…`; `manage.py token` makes one.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "access.authentication.PageSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class Root(APIView):
    """The nouns and where they are."""

    schema = None
    content_negotiation_class = ByHeader

    def get(self, request: Request) -> HttpResponse:
        check_parameters(request.query_params, ())
        root = request.build_absolute_uri(reverse("api_root"))
        return answer(request._request, as_body({noun: f"{root}{noun}/" for noun in NOUNS}))


class Schema(APIView):
    """The OpenAPI document. It says nothing about the estate, so tools may read it without a token."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = ByHeader

    def get(self, request: Request) -> HttpResponse:
        return answer(request._request, document())


class NotFound(APIView):
    """Whatever else is asked for under the root."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = ByHeader

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise Http404


@cache
def document() -> bytes:
    generator: Any = SchemaGenerator  # untyped
    return json.dumps(generator().get_schema(request=None, public=True), ensure_ascii=False).encode()


def routes(noun: str, viewset: type[ReadOnlyViewSet]) -> list[URLPattern]:
    one = f"{noun}/<{viewset.lookup_value_converter}:id>/"
    writing = issubclass(viewset, WritingViewSet)
    create = {"post": "create"} if writing and hasattr(viewset, "create") else {}
    verbs = viewset.verbs if issubclass(viewset, WritingViewSet) else {}
    return [
        path(f"{noun}/", viewset.as_view({"get": "list", **create}), name=f"api_{noun}"),
        path(one, viewset.as_view({"get": "retrieve"}), name=f"api_{noun}_one"),
        path(f"export/{noun}.ndjson", viewset.as_view({"get": "ndjson"}, renderer_classes=[NdjsonRenderer])),
        path(f"export/{noun}.csv", viewset.as_view({"get": "csv"}, renderer_classes=[CsvRenderer])),
        *(path(f"{one}{verb}/", viewset.as_view({"post": method})) for verb, method in verbs.items()),
        *(path(f"{one}{name}/", viewset.as_view({"get": method})) for name, method in viewset.files.items()),
    ]


urlpatterns: list[URLPattern | URLResolver] = [
    path("", Root.as_view(), name="api_root"),
    path("schema/", Schema.as_view(), name="api_schema"),
    path("intake/", Intake.as_view(), name="api_intake"),
    path("evidence-sample/", evidence_api.EvidenceSample.as_view(), name="api_evidence_sample"),
    path("intake/schema/", RowSchema.as_view(), name="api_intake_schema"),
    *(route for noun, viewset in NOUNS.items() for route in routes(noun, viewset)),
    # Only with a slash at the end: a path without one is first tried again with it.
    re_path(r"^[\s\S]*/$", NotFound.as_view()),
]
