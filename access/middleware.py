"""Puts on every request who is asking, and lets nobody past the right that a page takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from access.actors import Actor, ActorKind
from access.models import SavedView, User
from access.permissions import api_class, ask_right, rights_of
from access.rights import Right
from access.second_factor import lacks_second_factor

MOST_VIEWS = 20
BEGAN_AT, SEEN_AT = "began_at", "seen_at"
NOTED_EVERY = 60  # seconds; the session is written no more often
NOBODY = Actor(ActorKind.USER, "", "nobody", frozenset())


def actor_of(request: HttpRequest) -> Actor:
    user = request.user
    return user.as_actor() if isinstance(user, User) and user.is_active else NOBODY


def views_of(request: HttpRequest) -> list[SavedView]:
    """The person's saved views of the list that is asked for."""
    user = request.user
    return list(user.saved_views.filter(path=request.path)[:MOST_VIEWS]) if isinstance(user, User) else []


class ActorMiddleware:
    """Sets `request.actor` and `request.saved_views`; neither costs a query unless it is looked at."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        request.saved_views = SimpleLazyObject(lambda: views_of(request))  # type: ignore[attr-defined]
        response = self.get_response(request)
        if getattr(request.user, "is_authenticated", False) and not response.has_header("Cache-Control"):
            response["Cache-Control"] = "private, no-store"  # what a person saw stays in no shared or lasting cache
        return response


class RightsMiddleware:
    """Asks for the right of a page before anything of it runs. The unknown are sent to sign in; the API asks itself."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        if api_class(view) is not None:
            return None
        (right,) = rights_of(view).values()
        if right is Right.ANYBODY:
            return None
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        actor: Actor = request.actor  # type: ignore[attr-defined]
        ask_right(right, actor)
        if right is not Right.SIGNED_IN and lacks_second_factor(request, actor):
            messages.warning(request, "Your role needs a second factor. Add one, and go on.")
            return redirect("mfa_index")
        return None


class IdleMiddleware:
    """Ends a session in which nothing was asked for too long, and one that is too old however much it is used.

    The cookie's age does not say how old a session is: each time one is written it begins anew.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated:
            now = int(timezone.now().timestamp())
            seen, began = request.session.get(SEEN_AT), request.session.get(BEGAN_AT, now)
            is_idle = seen is not None and now - seen > settings.SESSION_IDLE_SECONDS
            if is_idle or now - began > settings.SESSION_COOKIE_AGE:
                logout(request)
            elif seen is None or now - seen > NOTED_EVERY:
                request.session.update({SEEN_AT: now, BEGAN_AT: began})
        return self.get_response(request)


def begin(sender: Any, request: HttpRequest, **_: Any) -> None:
    """A session that begins was seen just now."""
    now = int(timezone.now().timestamp())
    request.session.update({SEEN_AT: now, BEGAN_AT: now})
