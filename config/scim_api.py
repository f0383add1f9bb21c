"""SCIM 2.0 (RFC 7644) for people: the addresses that a directory calls with the token of a program."""

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from access.actors import Actor
from access.authentication import ApiTokenAuthentication
from access.rights import Right
from config import scim
from web.api import ByHeader
from web.bodies import JsonParser
from web.problems import problem_handler

MEDIA_TYPE = "application/scim+json"
MESSAGES = "urn:ietf:params:scim:api:messages:2.0"
LARGEST_PAGE = 200
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0"


class BearerAuthentication(ApiTokenAuthentication):
    """`Authorization: Bearer kr_…`, as directories send it."""

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ScimParser(JsonParser):
    media_type = MEDIA_TYPE


class ScimRenderer(JSONRenderer):
    media_type = MEDIA_TYPE
    charset = "utf-8"


def error(status: int, detail: str, kind: str = "") -> Response:
    body = {"schemas": [f"{MESSAGES}:Error"], "status": str(status), "detail": detail}
    return Response({**body, **({"scimType": kind} if kind else {})}, status=status)


class ScimView(APIView):
    schema = None
    authentication_classes = (BearerAuthentication,)
    parser_classes = (ScimParser, JsonParser)
    renderer_classes = (ScimRenderer, JSONRenderer)
    content_negotiation_class = ByHeader
    rights: ClassVar = {"*": Right.PROVISION, "get": Right.PROVISION}

    @property
    def actor(self) -> Actor:
        actor: Actor = self.request._request.actor  # type: ignore[attr-defined]
        return actor

    @property
    def root(self) -> str:
        return self.request.build_absolute_uri(reverse("scim_root"))

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, scim.ScimError):
            response = error(exc.status, str(exc), exc.kind)
            response.exception = True
            return response
        if not isinstance(exc, APIException):
            return super().handle_exception(exc)
        told = problem_handler(exc, {"request": self.request})
        response = error(told.status_code, str(told.data["detail"]))
        if told.status_code == 401:
            response["WWW-Authenticate"] = "Bearer"
        if told.has_header("Retry-After"):
            response["Retry-After"] = told["Retry-After"]
        response.exception = True
        return response


class Users(ScimView):
    def get(self, request: Request) -> Response:
        rows = scim.matching(request.query_params.get("filter", "")).order_by("pk")
        start = max(_number(request.query_params.get("startIndex", "1")), 1)
        count = min(_number(request.query_params.get("count", "100")), LARGEST_PAGE)
        page = list(rows[start - 1 : start - 1 + count])
        return Response(
            {
                "schemas": [f"{MESSAGES}:ListResponse"],
                "totalResults": rows.count(),
                "startIndex": start,
                "itemsPerPage": len(page),
                "Resources": [scim.as_resource(owner, self.root) for owner in page],
            }
        )

    def post(self, request: Request) -> Response:
        owner = scim.join(scim.read(request.data), actor=self.actor, now=timezone.now())
        resource = scim.as_resource(owner, self.root)
        return Response(resource, status=201, headers={"Location": resource["meta"]["location"]})


class OneUser(ScimView):
    def get(self, request: Request, pk: UUID) -> Response:
        return Response(scim.as_resource(scim.found(pk), self.root))

    def put(self, request: Request, pk: UUID) -> Response:
        return self._made(scim.found(pk), scim.read(request.data))

    def patch(self, request: Request, pk: UUID) -> Response:
        owner = scim.found(pk)
        return self._made(owner, scim.patched(scim.as_person(owner), request.data))

    def _made(self, owner: Any, person: scim.Person) -> Response:
        moved = scim.move(owner, person, actor=self.actor, now=timezone.now())
        return Response(scim.as_resource(moved, self.root))

    def delete(self, request: Request, pk: UUID) -> Response:
        scim.leave(scim.found(pk), actor=self.actor, now=timezone.now())
        return Response(status=204)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise scim.ScimError("startIndex and count are whole numbers.")
    return int(text)


class About(ScimView):
    """What is offered here."""

    said: ClassVar[Mapping[str, Any]] = {}

    def get(self, request: Request) -> Response:
        return Response(self.said)


class ProviderConfig(About):
    said: ClassVar[Mapping[str, Any]] = {
        "schemas": [f"{SCHEMA}:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": LARGEST_PAGE},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": False},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "API token",
                "description": "Authorization: Bearer kr_…, of the role automation.",
            }
        ],
    }


class ResourceTypes(About):
    said: ClassVar[Mapping[str, Any]] = {
        "schemas": [f"{MESSAGES}:ListResponse"],
        "totalResults": 1,
        "startIndex": 1,
        "itemsPerPage": 1,
        "Resources": [
            {
                "schemas": [f"{SCHEMA}:ResourceType"],
                "id": "User",
                "name": "User",
                "endpoint": "/Users",
                "schema": scim.USER,
                "schemaExtensions": [{"schema": scim.ENTERPRISE, "required": False}],
            }
        ],
    }


class Root(ScimView):
    def get(self, request: Request) -> HttpResponse:
        raise scim.NotThere("Ask for Users, ServiceProviderConfig or ResourceTypes.")


urlpatterns = [
    path("", Root.as_view(), name="scim_root"),
    path("Users", Users.as_view(), name="scim_users"),
    path("Users/<uuid:pk>", OneUser.as_view(), name="scim_user"),
    path("ServiceProviderConfig", ProviderConfig.as_view(), name="scim_provider"),
    path("ResourceTypes", ResourceTypes.as_view(), name="scim_types"),
]
