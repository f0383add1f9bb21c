"""How people and programs get in: the first administrator, one-time sign-in links, API tokens."""

from datetime import timedelta

from django.contrib.auth.models import Group

from access.actors import Actor
from access.authentication import one_time_query
from access.models import ApiToken, SavedView, User
from access.roles import Role
from audit.actions import action, record
from audit.events import Event

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
def issue_token(name: str, role: Role, *, life: timedelta | None, actor: Actor) -> str:
    """A new API token of one role; only its digest is kept, so this is the one time that its value is seen.

    Its bearer is a user of the token's own, who has no password and no role and so cannot sign in to pages.
    """
    bearer, _ = User.objects.get_or_create(
        username=f"token:{name}", defaults={"email": f"token-{name}@keyreeve.invalid", "password": "!"}
    )
    token, value = ApiToken.objects.create(user=bearer, expiry=life, name=name, role=role.value)
    record(
        Event.TOKEN_ISSUED,
        actor=actor,
        subject=bearer,
        detail={
            "name": name,
            "role": role.value,
            "prefix": token.token_key,
            "expires_at": token.expiry.isoformat() if token.expiry else None,
        },
    )
    return str(value)


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
