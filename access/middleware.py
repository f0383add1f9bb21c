"""Puts `request.actor` on every request."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from access.actors import Actor, ActorKind
from access.models import User

NOBODY = Actor(ActorKind.USER, "", "nobody", frozenset())


def actor_of(request: HttpRequest) -> Actor:
    user = request.user
    return user.as_actor() if isinstance(user, User) and user.is_active else NOBODY


class ActorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request.actor = SimpleLazyObject(lambda: actor_of(request))  # type: ignore[attr-defined]
        return self.get_response(request)
