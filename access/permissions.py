"""Default deny: a page and each verb of the API name the right they take, and an address that names none is closed."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.exceptions import PermissionDenied
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from access.actors import Actor
from access.rights import Right, refusal

if TYPE_CHECKING:
    from rest_framework.views import APIView  # it imports this module by its settings

V = TypeVar("V", bound=Callable[..., Any])
NOBODY = "It names no right, so nobody may do this."
SAFE = frozenset({"get", "head", "options"})
REST = "*"  # of a view's writes, the right of those that are not named


def may_read(actor: Actor) -> bool:
    return actor.may(Right.READ)


def requires(right: Right) -> Callable[[V], V]:
    """Let in only who holds `right`: `access.middleware.RightsMiddleware` asks before anything of the view runs."""

    def declare(view: V) -> V:
        @wraps(view)
        def declared(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        declared.right = right  # type: ignore[attr-defined]
        return declared  # type: ignore[return-value]

    return declare


requires_reader = requires(Right.READ)  # everybody with a role; what they then see is the queryset's `visible_to`


def api_class(view: Callable[..., Any]) -> "type[APIView] | None":
    """The class behind a view of the API. Its own permission class asks, as only it knows tokens."""
    found: type[APIView] | None = getattr(view, "cls", None)
    return found


def verbs_of(view: Callable[..., Any]) -> dict[str, str]:
    """Of a view of the API: the method that answers each verb of HTTP."""
    cls = api_class(view)
    actions: Mapping[str, str] | None = getattr(view, "actions", None)
    found = dict(actions) if actions else {verb: verb for verb in ("get", "post", "put", "patch", "delete")}
    return {
        verb: method
        for verb, method in found.items()
        if verb != "head" and cls is not None and verb in cls.http_method_names and hasattr(cls, method)
    }


def rights_of(view: Callable[..., Any]) -> dict[str, Right | None]:
    """What each verb of an address takes; a page takes one right for all, called `*`. None lets nobody in."""
    cls = api_class(view)
    if cls is None:
        return {REST: getattr(view, "right", None)}
    if not cls.permission_classes:
        return dict.fromkeys(verbs_of(view), Right.ANYBODY)
    return {verb: declared(cls, verb, method) for verb, method in verbs_of(view).items()}


def declared(view: Any, verb: str, method: str) -> Right | None:
    """What `method` takes, as the class of the view says in `rights`; a read that it does not name takes `READ`."""
    rights: Mapping[str, Right] = getattr(view, "rights", {})
    return rights.get(method) or (Right.READ if verb in SAFE else rights.get(REST))


class RightMissing(exceptions.PermissionDenied):
    says_why = True


class HoldsRight(BasePermission):
    """The actor holds what the view says that this takes."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        actor: Actor = request._request.actor  # type: ignore[attr-defined]
        verb = str(request.method).lower()
        right = declared(view, verb, str(getattr(view, "action", None) or verb))
        if right is not None and actor.may(right):
            return True
        if request.successful_authenticator:
            raise RightMissing(refusal(right) if right is not None else NOBODY)
        return False


def ask_right(right: Right | None, actor: Actor) -> None:
    """Refuse `actor` what they hold no right to."""
    if right is None:
        raise PermissionDenied(NOBODY)
    if right is not Right.SIGNED_IN and not actor.may(right):
        raise PermissionDenied(refusal(right))
