"""How people get in: the first administrator, one-time sign-in links. `tokens` has those of programs."""

from datetime import timedelta

from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.utils import timezone

from access.actors import Actor
from access.authentication import one_time_query
from access.models import SavedView, User
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from config import tokens

FIRST_ADMINISTRATOR = "administrator"


@action
def ensure_administrator(*, actor: Actor) -> User:
    """The administrator who has been there longest; made without a password where there is none."""
    found = User.objects.filter(groups__name=Role.ADMINISTRATOR, is_active=True).order_by("pk").first()
    if found is not None:
        return found
    user = User(username=FIRST_ADMINISTRATOR, email=f"{FIRST_ADMINISTRATOR}@keyreeve.invalid")
    user.set_unusable_password()
    user.save()
    user.groups.add(Group.objects.get(name=Role.ADMINISTRATOR))
    record(Event.USER_CREATED, actor=actor, subject=user, detail={"roles": [Role.ADMINISTRATOR.value]})
    return user


@action
def issue_sign_in_link(user: User, *, base: str, actor: Actor) -> str:
    """A link that signs `user` in once. Whoever holds it is that user, so it goes to nobody else."""
    record(Event.USER_SIGN_IN_LINK_ISSUED, actor=actor, subject=user)
    return f"{base}/sign-in/?{one_time_query(user)}"


@action
def end_sessions(user: User, *, actor: Actor) -> int:
    """Sign somebody out wherever they are; how many sessions there were."""
    sessions = UserSession.objects.purge_and_list(user)
    for session in sessions:
        session.end()
    record(Event.USER_SIGNED_OUT, actor=actor, subject=user, detail={"sessions": len(sessions)})
    return len(sessions)


def issue_token(name: str, role: Role, *, life: timedelta | None, actor: Actor) -> str:
    """A token that a part of Keyreeve itself asks for, as its value alone."""
    _, value = tokens.issue(name, role, life=life, actor=actor, now=timezone.now())
    return value


@action
def save_view(user: User, *, path: str, label: str, query: str, actor: Actor) -> SavedView:
    """Keep a query string of a list under a name; the same name again replaces it."""
    view, _ = SavedView.objects.update_or_create(user=user, path=path, label=label, defaults={"query": query})
    record(Event.USER_VIEW_SAVED, actor=actor, subject=user, detail={"path": path, "label": label, "query": query})
    return view


@action
def forget_view(view: SavedView, *, actor: Actor) -> None:
    """Remove a saved view; the list itself stays as it is."""
    detail = {"path": view.path, "label": view.label}
    view.delete()
    record(Event.USER_VIEW_FORGOTTEN, actor=actor, subject=view.user, detail=detail)
