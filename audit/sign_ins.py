"""Entries for sign-ins, from Django's signals: `access` may not import `audit`."""

from typing import Any

from django.contrib.auth import signals
from django.http import HttpRequest

from access.actors import Actor, ActorKind
from access.models import User
from audit.actions import action, record
from audit.events import Event


@action
def note(event: Event, actor: Actor, user: User | None) -> None:
    record(event, actor=actor, subject=user)


def signed_in(sender: Any, request: HttpRequest, user: User, **_: Any) -> None:
    note(Event.USER_SIGNED_IN, user.as_actor(), user)


def signed_out(sender: Any, request: HttpRequest, user: User | None, **_: Any) -> None:
    if user is not None:
        note(Event.USER_SIGNED_OUT, user.as_actor(), user)


def refused(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    """The name that was tried is not kept: people type passwords into it."""
    note(Event.USER_SIGN_IN_REFUSED, Actor(ActorKind.USER, "", "nobody", frozenset()), None)


def connect() -> None:
    signals.user_logged_in.connect(signed_in, dispatch_uid="audit.signed_in")
    signals.user_logged_out.connect(signed_out, dispatch_uid="audit.signed_out")
    signals.user_login_failed.connect(refused, dispatch_uid="audit.refused")
