"""Puts on every request who is asking, and lets nobody past the right that a page takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from access.actors import Actor, ActorKind
from access.models import SavedView, User
from access.permissions import api_class, ask_right, rights_of
from access.rights import Right

MOST_VIEWS = 20
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
        ask_right(right, request.actor)  # type: ignore[attr-defined]
        return None
