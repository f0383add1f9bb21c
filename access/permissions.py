"""Default deny: a page names the role it requires, the API's permission classes do the same."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from access.actors import Actor
from access.roles import Role

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module by its settings

View = Callable[..., HttpResponseBase]


def may_read(actor: Actor) -> bool:
    return actor.sees_everything or actor.has(Role.OWNER)


def _guarded(view: View, allowed: Callable[[Actor], bool]) -> View:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if not allowed(request.actor):  # type: ignore[attr-defined]
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return guarded


def requires(*roles: Role) -> Callable[[View], View]:
    """Only actors who hold one of `roles`, or one that implies it; anonymous requests are sent to sign in."""
    return lambda view: _guarded(view, lambda actor: any(actor.has(role) for role in roles))


def requires_reader(view: View) -> View:
    """Everybody with a role; what they then see is the queryset's `visible_to`."""
    return _guarded(view, may_read)


class MayRead(BasePermission):
    """Reads for every role; writes are allowed by the view that offers them."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        return request.method in {"GET", "HEAD", "OPTIONS"} and may_read(actor)


class MayOperate(BasePermission):
    """Reads for every role; writes for those who operate credentials. What each may do to which, its action says."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        if request.method in {"GET", "HEAD", "OPTIONS"}:
            return may_read(actor)
        return any(actor.has(role) for role in (Role.OPERATOR, Role.AUTOMATION, Role.OWNER))
