"""Entries for sign-ins and what people sign in with, from signals: `access` may not import `audit`."""

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from django.contrib.auth import signals
from django.http import HttpRequest

from access.actors import Actor, ActorKind
from access.models import User
from access.signals import directory_refused, roles_mapped
from audit.actions import action, record
from audit.events import Event

NOBODY = Actor(ActorKind.USER, "", "nobody", frozenset())
DIRECTORY = Actor.system("directory")


@action
def note(event: Event, actor: Actor, user: User | None, **detail: Any) -> None:
    record(event, actor=actor, subject=user, detail=detail)


def signed_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    methods = request.session.get("account_authentication_methods", [])
    note(Event.USER_SIGNED_IN, user.as_actor(), user, **({"by": ways(methods)} if methods else {}))


def ways(methods: list[dict[str, Any]]) -> list[str]:
    """How somebody proved who they are: password, directory, or which kind of second factor."""
    return [str(each.get("type") or each.get("method")) for each in methods]


def signed_out(sender: Any, request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        note(Event.USER_SIGNED_OUT, user.as_actor(), user)


def refused(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    """The name that was tried is not kept: people type passwords into it."""
    note(Event.USER_SIGN_IN_REFUSED, NOBODY, None)


def refused_by_directory(sender: Any, why: str, **_: Any) -> None:
    note(Event.USER_SIGN_IN_REFUSED, DIRECTORY, None, why=why)


def password_changed(sender: Any, user: User, **_: Any) -> None:
    note(Event.USER_PASSWORD_CHANGED, user.as_actor(), user)


def factor_added(sender: Any, user: User, authenticator: Any, **_: Any) -> None:
    note(Event.USER_SECOND_FACTOR_ADDED, user.as_actor(), user, kind=str(authenticator.type))


def factor_removed(sender: Any, user: User, authenticator: Any, **_: Any) -> None:
    note(Event.USER_SECOND_FACTOR_REMOVED, user.as_actor(), user, kind=str(authenticator.type))


def codes_made(sender: Any, user: User, **_: Any) -> None:
    note(Event.USER_RECOVERY_CODES_MADE, user.as_actor(), user)


def factor_refused(sender: Any, user: User, **_: Any) -> None:
    note(Event.USER_SECOND_FACTOR_REFUSED, user.as_actor(), user)


def mapped(sender: Any, user: User, before: list[str], after: list[str], **_: Any) -> None:
    note(Event.USER_ROLES_MAPPED, DIRECTORY, user, **{"from": before, "to": after})


def connect() -> None:
    signals.user_logged_in.connect(signed_in, dispatch_uid="audit.signed_in")
    signals.user_logged_out.connect(signed_out, dispatch_uid="audit.signed_out")
    signals.user_login_failed.connect(refused, dispatch_uid="audit.refused")
    directory_refused.connect(refused_by_directory, dispatch_uid="audit.refused_by_directory")
    roles_mapped.connect(mapped, dispatch_uid="audit.roles_mapped")
    account.password_changed.connect(password_changed, dispatch_uid="audit.password_changed")
    account.password_set.connect(password_changed, dispatch_uid="audit.password_set")
    mfa.authenticator_added.connect(factor_added, dispatch_uid="audit.factor_added")
    mfa.authenticator_removed.connect(factor_removed, dispatch_uid="audit.factor_removed")
    mfa.authenticator_reset.connect(codes_made, dispatch_uid="audit.codes_made")
    mfa.authentication_failed.connect(factor_refused, dispatch_uid="audit.factor_refused")
