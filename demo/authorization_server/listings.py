"""Every client and the metadata of every token, for whoever takes stock. No standard has this; Keyreeve documents it.

Each row has an address of its own, which answers GET and DELETE.

Both answer pages to a bearer of the management token: `{"clients": […], "next": URL or null}`, ordered by id.
"""

from collections.abc import Callable, Sequence
from secrets import compare_digest
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from oauth2_provider.models import (
    AccessToken,
    Application,
    RefreshToken,
    refresh_token_expire_timedelta,
    revoke_access_token,
)
from oauth2_provider.views.dynamic_client_registration import _dot_grant_to_rfc_grant_types as grant_types

from demo.authorization_server.models import Registration
from demo.authorization_server.views import extra, seconds

PAGE = 100
LARGEST_PAGE = 500
REGISTRATIONS = {"manual": "pre_registered", "dcr": "dynamic", "cimd": "cimd"}
Answer = Callable[..., HttpResponse]


def for_managers(view: Answer, *, allowed: Sequence[str] = ("GET",)) -> Answer:
    def guarded(request: HttpRequest, *parts: str) -> HttpResponse:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not compare_digest(token.encode(), settings.MANAGEMENT_TOKEN.encode()):
            return JsonResponse({"error": "invalid_token"}, status=401, headers={"WWW-Authenticate": "Bearer"})
        if request.method not in allowed:
            return JsonResponse({"error": "invalid_request"}, status=405, headers={"Allow": ", ".join(allowed)})
        return view(request, *parts)

    return csrf_exempt(guarded)  # the bearer of a token is no browser that somebody else steers


def number(request: HttpRequest, name: str, default: int) -> int:
    given = request.GET.get(name, "")
    return int(given) if given.isdecimal() and len(given) < 12 else default


def page(request: HttpRequest, noun: str, rows: "QuerySet[Any]", describe: Callable[[Any], dict[str, Any]]) -> Any:
    size = min(max(number(request, "page_size", PAGE), 1), LARGEST_PAGE)
    found = list(rows.filter(pk__gt=number(request, "after", 0)).order_by("pk")[: size + 1])
    shown = found[:size]
    following = f"{settings.ISSUER}{request.path}?page_size={size}&after={shown[-1].pk}" if len(found) > size else None
    return {noun: [describe(row) for row in shown], "next": following}


@for_managers
def clients(request: HttpRequest) -> HttpResponse:
    rows = Application.objects.select_related("registration")
    return JsonResponse(page(request, "clients", rows, client))


def client(application: Application) -> dict[str, Any]:
    registration: Registration | None = getattr(application, "registration", None)
    used = registration.last_used_at if registration else None
    return {
        "client_id": application.client_id,
        "client_name": application.name,
        "redirect_uris": application.redirect_uris.split(),
        "grant_types": grant_types(application.authorization_grant_type),
        "token_endpoint_auth_method": "none" if application.client_type == "public" else "client_secret_basic",
        "registration_type": REGISTRATIONS[application.registration_source],
        "last_used_at": seconds(used),
        **({"client_secret_expires_at": 0} if application.client_type == "confidential" else {}),
        **(
            {"registration_client_uri": registration_uri(application)}
            if application.registration_source == "dcr"
            else {}
        ),
        **extra(application),  # nosec B610  # a function of ours, no queryset's
    }


def registration_uri(application: Application) -> str:
    """Where the registration is managed (RFC 7592), as its answer said it."""
    return f"{settings.ISSUER}/register/{application.client_id}/"


@for_managers
def tokens(request: HttpRequest) -> HttpResponse:
    """Access tokens and then refresh tokens; the first page of the second kind follows the last of the first."""
    if request.GET.get("kind") == "refresh":
        rows = RefreshToken.objects.select_related("user", "application", "access_token").filter(revoked=None)
        answer = page(request, "tokens", rows, refresh_token)
        if answer["next"]:
            answer["next"] += "&kind=refresh"
        return JsonResponse(answer)
    registration_scope = "oauth2_provider:registration"  # the library keeps registration tokens in the same table
    rows = AccessToken.objects.select_related("user", "application", "use", "refresh_token")
    rows = rows.exclude(scope=registration_scope)
    answer = page(request, "tokens", rows, access_token)
    answer["next"] = answer["next"] or f"{settings.ISSUER}{request.path}?kind=refresh"
    return JsonResponse(answer)


def one_client(request: HttpRequest, client_id: str) -> HttpResponse:
    found = Application.objects.select_related("registration").filter(client_id=client_id).first()
    if found is None:
        return JsonResponse({"error": "not_found"}, status=404)
    if request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    return JsonResponse(client(found))


def one_token(request: HttpRequest, token_id: str) -> HttpResponse:
    kind, _, key = token_id.partition("-")
    is_access = kind == "access"
    rows = AccessToken.objects.all() if is_access else RefreshToken.objects.filter(revoked=None)
    found = rows.filter(pk=int(key)).first() if key.isdecimal() and len(key) < 12 else None
    if found is None:
        return JsonResponse({"error": "not_found"}, status=404)
    if request.method == "DELETE":
        revoke_access_token(found) if is_access else found.revoke()
        return HttpResponse(status=204)
    return JsonResponse(access_token(found) if is_access else refresh_token(found))


manage_client = for_managers(one_client, allowed=("GET", "DELETE"))
manage_token = for_managers(one_token, allowed=("GET", "DELETE"))


def access_token(token: AccessToken) -> dict[str, Any]:
    use = getattr(token, "use", None)
    refresh = getattr(token, "refresh_token", None)
    return {
        "id": f"access-{token.pk}",
        "token_type": "access_token",
        "client_id": token.application.client_id,
        "sub": token.user.get_username() if token.user else token.application.client_id,
        "scope": token.scope,
        "aud": token.resource,
        "issued_at": seconds(token.created),
        "expires_at": seconds(token.expires),
        "last_used_at": seconds(use.last_used_at if use else None),
        **grant_of(refresh),
    }


def refresh_token(token: RefreshToken) -> dict[str, Any]:
    return {
        "id": f"refresh-{token.pk}",
        "token_type": "refresh_token",
        "client_id": token.application.client_id,
        "sub": token.user.get_username(),
        "scope": token.access_token.scope if token.access_token else "",
        "aud": token.resource,
        "issued_at": seconds(token.created),
        "expires_at": seconds(token.created + refresh_token_expire_timedelta()),
        "last_used_at": None,
        **grant_of(token),
    }


def grant_of(refresh: RefreshToken | None) -> dict[str, Any]:
    """What a refresh token and the access tokens that come of it have in common."""
    return {"grant_id": f"grant-{refresh.token_family}"} if refresh and refresh.token_family else {}
