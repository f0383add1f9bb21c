"""The library's endpoints, completed where it leaves out what a standard asks for."""

import ipaddress
import json
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken, refresh_token_expire_timedelta
from oauth2_provider.views import (
    ConnectDiscoveryInfoView,
    DeviceAuthorizationView,
    DynamicClientRegistrationManagementView,
    DynamicClientRegistrationView,
    IntrospectTokenView,
    OAuthServerMetadataView,
)
from oauthlib.common import Request as OauthlibRequest

from demo.authorization_server.models import Registration, TokenUse

REMEMBERED = {
    "software_id": 200,
    "software_version": 100,
    "client_uri": 500,
    "application_type": 20,
    "scope": 1000,
}


def seconds(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None


class Metadata(OAuthServerMetadataView):  # type: ignore[misc]
    """RFC 8414, with the device endpoint of RFC 8628 that the library serves and does not mention."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        document = json.loads(super().get(request, *args, **kwargs).content)
        document["device_authorization_endpoint"] = f"{settings.ISSUER}/device-authorization/"
        return JsonResponse(document)


class Discovery(ConnectDiscoveryInfoView):  # type: ignore[misc]
    """OpenID Connect Discovery; says of the rest what the other document says."""

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        document = json.loads(super().get(request, *args, **kwargs).content)
        shared = json.loads(Metadata.as_view()(request).content)
        return JsonResponse({**document, **shared})


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def refused_redirect(document: Any) -> str:
    """Why these redirect URIs cannot be registered; empty when they can."""
    uris = document.get("redirect_uris", []) if isinstance(document, dict) else []
    for uri in uris if isinstance(uris, list) else []:
        try:
            parts = urlsplit(uri)
        except (ValueError, AttributeError):
            return "A redirect URI is not a URI."
        if not parts.scheme or not (parts.netloc or parts.path.startswith("/")):
            return "A redirect URI is not absolute."
        if "#" in uri or "*" in uri:
            return "A redirect URI has a fragment or a wildcard."
        if parts.scheme == "http" and not is_loopback(parts.hostname) and not settings.IS_LAX:
            return "A redirect URI is neither https nor on the loopback."
        if parts.scheme not in settings.OAUTH2_PROVIDER["ALLOWED_REDIRECT_URI_SCHEMES"]:
            return "The scheme of a redirect URI is not allowed."
    return ""


def parsed(request: HttpRequest) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        return None  # the library answers that it must be JSON


def completed(answer: HttpResponse, request: HttpRequest | None) -> HttpResponse:
    """The library's answer about one registration, with the metadata that it does not keep."""
    document = json.loads(answer.content)
    application = Application.objects.get(client_id=document["client_id"])
    if request is not None:
        sent = parsed(request)
        Registration.objects.update_or_create(
            application=application,
            defaults={name: str(sent.get(name, ""))[:size] for name, size in REMEMBERED.items()},
        )
    document.update(extra(application))  # nosec B610  # a function of ours, no queryset's
    if "client_secret" in document:
        document["client_secret_expires_at"] = 0
    return JsonResponse(document, status=answer.status_code)


def extra(application: Application) -> dict[str, Any]:
    """Client information that the library leaves out."""
    registration = getattr(application, "registration", None)
    values = {name: getattr(registration, name, "") for name in REMEMBERED}
    return {
        "client_id_issued_at": seconds(application.created),
        **{name: value for name, value in values.items() if value},
    }


class Register(DynamicClientRegistrationView):  # type: ignore[misc]
    """RFC 7591."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if reason := refused_redirect(parsed(request)):
            return JsonResponse({"error": "invalid_redirect_uri", "error_description": reason}, status=400)
        answer = super().post(request, *args, **kwargs)
        if answer.status_code != 201:
            return answer
        if "openid" in str(parsed(request).get("scope", "")).split():  # the library signs for those only that say how
            made = Application.objects.filter(client_id=json.loads(answer.content)["client_id"])
            made.update(algorithm=Application.RS256_ALGORITHM)
        return completed(answer, request)


class ManageRegistration(DynamicClientRegistrationManagementView):  # type: ignore[misc]
    """RFC 7592."""

    def get(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = super().get(request, client_id, *args, **kwargs)
        return completed(answer, None) if answer.status_code == 200 else answer

    def put(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        if reason := refused_redirect(parsed(request)):
            return JsonResponse({"error": "invalid_redirect_uri", "error_description": reason}, status=400)
        answer = super().put(request, client_id, *args, **kwargs)
        return completed(answer, request) if answer.status_code == 200 else answer


class AuthorizeDevice(DeviceAuthorizationView):  # type: ignore[misc]
    """RFC 8628. The protocol library answers with the scope, which the view of this version cannot take."""

    def create_device_authorization_response(self, request: HttpRequest) -> Any:
        headers, answer, status = super().create_device_authorization_response(request)
        if status == 200:
            answer.pop("scope", None)
        return headers, answer, status


class Introspect(IntrospectTokenView):  # type: ignore[misc]
    """RFC 7662 with the claims that an inventory needs, for refresh tokens too; tokens stay out of addresses."""

    http_method_names = ("post",)
    caller: Registration | None = None

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        value = request.POST.get("token", "")
        if not value:
            return JsonResponse({"error": "invalid_request", "error_description": "No token was sent."}, status=400)
        if self.caller is None or not self.caller.may_introspect:
            return JsonResponse({"active": False})  # a token that is not for the caller to know about
        checksum = sha256(value.encode()).hexdigest()
        access = AccessToken.objects.select_related("user", "application").filter(token_checksum=checksum).first()
        if access is not None and access.is_valid():
            if self.caller.is_resource_server:
                self.record_use(access)
            return JsonResponse(self.claims(access, "Bearer", access.expires))
        refresh = RefreshToken.objects.select_related("user", "application").filter(
            token_checksum=checksum, revoked=None
        )
        if (token := refresh.first()) is not None:
            ends = token.created + refresh_token_expire_timedelta()
            if ends > timezone.now():
                return JsonResponse(self.claims(token, "refresh_token", ends))
        return JsonResponse({"active": False})

    def authenticate_client(self, request: HttpRequest) -> bool:
        """As the library does it, but remember who asks: it forgets."""
        core = self.get_oauthlib_core()
        asked = OauthlibRequest(*core._extract_params(request))
        is_known = core.server.request_validator.authenticate_client(asked)
        self.caller = getattr(asked.client, "registration", None) if is_known else None
        return bool(is_known)

    def unauthenticated_response(self, request: HttpRequest, oauthlib_request: Any = None) -> HttpResponse:
        """401, as the standard says, where the library says 403."""
        return JsonResponse({"error": "invalid_client"}, status=401, headers={"WWW-Authenticate": "Basic"})

    def record_use(self, token: AccessToken) -> None:
        now = timezone.now()
        TokenUse.objects.update_or_create(token=token, defaults={"last_used_at": now})
        Registration.objects.filter(application=token.application).update(last_used_at=now)

    def claims(self, token: AccessToken | RefreshToken, kind: str, ends: datetime) -> dict[str, Any]:
        client = token.application.client_id
        scope = token.scope if isinstance(token, AccessToken) else getattr(token.access_token, "scope", "")
        claims: dict[str, Any] = {
            "active": True,
            "iss": settings.ISSUER,
            # As the listing of tokens names it, so that both can be seen to speak of one token.
            "jti": f"{'access' if isinstance(token, AccessToken) else 'refresh'}-{token.pk}",
            "client_id": client,
            "sub": token.user.get_username() if token.user else client,
            "token_type": kind,
            "scope": scope,
            "iat": seconds(token.created),
            "exp": seconds(ends),
        }
        if token.user:
            claims["username"] = token.user.get_username()
        if token.resource:
            claims["aud"] = token.resource
        return claims
