"""People as a directory provisions them (SCIM 2.0): who joins, moves or leaves. Of RFC 7643 the part about users.

A user of the directory is an owner of the inventory with an account to sign in with. Who leaves stays an owner,
inactive, so that what they answered for is handed over or revoked; nobody is erased.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from access.actors import Actor
from access.models import User
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from inventory.actions.ownership import change_owner, create_owner
from inventory.models import Owner
from inventory.states import OwnerKind

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
FILTER = re.compile(r'\s*(username|externalid|id|emails\.value|emails)\s+eq\s+"((?:[^"\\]|\\.)*)"\s*', re.IGNORECASE)
ABOVE_PROVISIONING = {Role.ADMINISTRATOR, Role.OPERATOR, Role.REVIEWER}


class ScimError(Exception):
    """What a directory asked for and does not get. `status` and `kind` are those of RFC 7644."""

    status, kind = 400, "invalidValue"


class NotThere(ScimError):
    status, kind = 404, ""


class Taken(ScimError):
    status, kind = 409, "uniqueness"


class Beyond(ScimError):
    status, kind = 403, ""


class BadFilter(ScimError):
    status, kind = 400, "invalidFilter"


class BadPath(ScimError):
    status, kind = 400, "invalidPath"


@dataclass(frozen=True)
class Person:
    """What a directory says of somebody, checked and as far as it means something here."""

    user_name: str
    name: str = ""
    email: str = ""
    external_id: str = ""
    is_active: bool = True
    manager: str = ""


def people() -> QuerySet[Owner]:
    return Owner.objects.filter(kind=OwnerKind.PERSON, user__isnull=False).select_related("user", "manager")


def found(pk: UUID) -> Owner:
    owner = people().filter(pk=pk).first()
    if owner is None:
        raise NotThere("There is no such user.")
    return owner


def matching(text: str) -> QuerySet[Owner]:
    """Those that a filter names. Only equality is understood."""
    if not text:
        return people()
    read = FILTER.fullmatch(text[:1_000])
    if read is None:
        raise BadFilter('Only userName, externalId, id and emails can be asked for, each as in userName eq "mira".')
    name, value = read[1].lower(), re.sub(r"\\(.)", r"\1", read[2]).replace("\x00", "")
    if name == "id":
        try:
            return people().filter(pk=UUID(value))
        except ValueError:
            return people().none()
    if name == "externalid":
        return people().filter(external_id=value) if value else people().none()
    if name == "username":
        return people().filter(user__username__iexact=value)
    return people().filter(email__iexact=value) if value else people().none()


def as_user(owner: Owner) -> User:
    """The account of somebody among `people`, who all have one."""
    if owner.user is None:
        raise NotThere("There is no such user.")
    return owner.user


def as_person(owner: Owner) -> Person:
    user = as_user(owner)
    manager = str(owner.manager_id) if owner.manager_id else ""
    return Person(user.username, owner.name, owner.email, owner.external_id, owner.is_active, manager)


def as_resource(owner: Owner, root: str) -> dict[str, Any]:
    user = as_user(owner)
    resource: dict[str, Any] = {
        "schemas": [USER, ENTERPRISE] if owner.manager_id else [USER],
        "id": str(owner.pk),
        "userName": user.username,
        "displayName": owner.name,
        "name": {"formatted": owner.name},
        "active": owner.is_active,
        "emails": [{"value": owner.email, "primary": True}] if owner.email else [],
        "roles": [{"value": role.value} for role in sorted(user.roles)],
        "meta": {"resourceType": "User", "location": f"{root}Users/{owner.pk}"},
    }
    if owner.external_id:
        resource["externalId"] = owner.external_id
    if owner.manager is not None:
        resource[ENTERPRISE] = {"manager": {"value": str(owner.manager_id), "displayName": owner.manager.name}}
    return resource


# ── Reading what a directory sends ─────────────────────────────────────────────────────────────


def _text(value: Any, what: str, most: int = 200) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise ScimError(f"{what} must be a text of at most {most} printable characters.")
    return value.strip()


def _flag(value: Any) -> bool:
    """Some directories send words."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ScimError("active must be true or false.")
    return value


def _email(value: Any) -> str:
    if not isinstance(value, list) or len(value) > 20 or not all(isinstance(each, Mapping) for each in value):
        raise ScimError("emails must be a list of objects with a value.")
    first: Any = next((each for each in value if each.get("primary") is True), value[0] if value else {})
    return _text(first.get("value"), "emails.value", 254)


def _name(value: Any) -> str:
    if not isinstance(value, Mapping):
        raise ScimError("name must be an object.")
    formatted = _text(value.get("formatted"), "name.formatted")
    parts = (_text(value.get(part), f"name.{part}") for part in ("givenName", "familyName"))
    return formatted or " ".join(part for part in parts if part)


def _manager(value: Any) -> str:
    inner = value.get("manager", value) if isinstance(value, Mapping) else value
    return _text(inner.get("value") if isinstance(inner, Mapping) else inner, "manager")


def read(body: Any, start: Person | None = None) -> Person:
    """The whole of somebody, as creating and replacing say it. What means nothing here is passed over."""
    if not isinstance(body, Mapping):
        raise ScimError("Send one JSON object.")
    given = {str(key).lower(): value for key, value in body.items()}
    user_name = _text(given.get("username"), "userName", 150)
    if not user_name:
        raise ScimError("userName is missing.")
    name = _text(given.get("displayname"), "displayName") or _name({} if given.get("name") is None else given["name"])
    email = _email(given.get("emails") or []) or (user_name if "@" in user_name else "")
    return Person(
        user_name,
        name or user_name,
        email,
        _text(given.get("externalid"), "externalId"),
        _flag(given.get("active", True)),
        _manager(given.get(ENTERPRISE.lower()) or ""),
    )


def patched(person: Person, body: Any) -> Person:
    """The person after the operations of a patch, in their order."""
    operations = body.get("Operations", body.get("operations")) if isinstance(body, Mapping) else None
    if not isinstance(operations, list) or not 0 < len(operations) <= 100:
        raise ScimError("Send Operations, at most 100 of them.")
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise ScimError("An operation is an object.")
        verb, path = str(operation.get("op", "")).lower(), _text(operation.get("path"), "path", 300)
        if verb not in {"add", "replace", "remove"}:
            raise ScimError("An operation adds, replaces or removes.")
        if path:
            person = _changed(person, path, None if verb == "remove" else operation.get("value"), is_one=True)
        elif verb != "remove" and isinstance(operation.get("value"), Mapping):
            for name, value in operation["value"].items():
                person = _changed(person, str(name), value, is_one=False)
        else:
            raise BadPath("Say which attribute, as path.")
    return person


def _changed(person: Person, path: str, value: Any, *, is_one: bool) -> Person:
    low = path.lower().removeprefix(f"{USER}:".lower())
    if low == "active":
        return replace(person, is_active=_flag(value))
    if low == "username":
        return replace(person, user_name=_text(value, "userName", 150) or _missing("userName"))
    if low == "externalid":
        return replace(person, external_id=_text(value, "externalId"))
    if low in {"displayname", "name.formatted"}:
        return replace(person, name=_text(value, path) or person.user_name)
    if low == "name":
        return replace(person, name=_name(value) or person.user_name)
    if low == "emails" or re.fullmatch(r"emails\[.{1,60}\]\.value", low):
        return replace(
            person, email=_email(value) if low == "emails" and value else _text(value or None, "emails", 254)
        )
    if low.startswith(ENTERPRISE.lower()):
        rest = low.removeprefix(ENTERPRISE.lower()).lstrip(":")
        is_manager = rest in {"manager", "manager.value"} or (not rest and isinstance(value, Mapping))
        return replace(person, manager=_manager(value or "")) if is_manager else person
    if is_one and not re.fullmatch(r"[a-z][a-z0-9.:_$\[\]\" -]*", low):
        raise BadPath("This is no attribute.")
    return person  # an attribute that means nothing here


def _missing(name: str) -> str:
    raise ScimError(f"{name} is missing.")


# ── Joining, moving, leaving ───────────────────────────────────────────────────────────────────


@action
def join(person: Person, *, actor: Actor, now: datetime) -> Owner:
    """Somebody new, or somebody whom the inventory knew without an account, or who is back."""
    if people().filter(user__username__iexact=person.user_name).exists():
        raise Taken("There is a user with this userName.")
    owner = _known(person)
    if owner is not None and owner.user_id is not None:
        raise Taken("There is a user with this e-mail address or externalId.")
    if owner is None:
        try:
            owner = create_owner(
                kind=OwnerKind.PERSON, name=person.name, email=person.email, external_id=person.external_id, actor=actor
            )
        except ValidationError as exc:
            raise ScimError(" ".join(exc.messages)) from exc
    user = _account(person, actor=actor)
    Owner.objects.filter(pk=owner.pk).update(user=user)
    return move(found(owner.pk), person, actor=actor, now=now)


def _known(person: Person) -> Owner | None:
    same = Q(email__iexact=person.email) if person.email else Q(pk=None)
    if person.external_id:
        same |= Q(external_id=person.external_id)
    return Owner.objects.filter(same, kind=OwnerKind.PERSON).order_by("pk").first()


def _account(person: Person, *, actor: Actor) -> User:
    """An account that nobody can sign in to before a directory or a one-time link says who they are."""
    email = person.email or f"{person.user_name}@keyreeve.invalid"
    user = User.objects.filter(Q(username__iexact=person.user_name) | Q(email__iexact=email)).order_by("pk").first()
    if user is not None:
        if Owner.objects.filter(user=user).exists() or user.username.startswith("token:"):
            raise Taken("There is an account with this userName or e-mail address.")
        return user
    user = User(username=person.user_name, email=email)
    user.set_unusable_password()
    _checked(user)
    user.save(force_insert=True)
    record(Event.USER_CREATED, actor=actor, subject=user, detail={"roles": [], "by": "directory"})
    return user


def _checked(user: User) -> None:
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as exc:
        kind = Taken if any("already exists" in text for text in exc.messages) else ScimError
        raise kind(" ".join(exc.messages)) from exc


@action
def move(owner: Owner, person: Person, *, actor: Actor, now: datetime) -> Owner:
    """Make everything so that the directory says of somebody; who is no longer active has left."""
    user = User.objects.select_for_update(no_key=True).get(pk=as_user(owner).pk)
    manager = _manager_of(owner, person)
    try:
        change_owner(
            owner, actor=actor, now=now, reason="The directory says so.", name=person.name, email=person.email,
            external_id=person.external_id, is_active=person.is_active, manager=manager,
        )  # fmt: skip
    except ValidationError as exc:
        raise Taken(" ".join(exc.messages)) from exc
    wanted = {
        "username": person.user_name,
        "email": person.email or f"{person.user_name}@keyreeve.invalid",
        "is_active": person.is_active,
    }
    changed = {name: value for name, value in wanted.items() if getattr(user, name) != value}
    if changed.keys() - {"is_active"} and user.roles & ABOVE_PROVISIONING and not actor.has(Role.ADMINISTRATOR):
        raise Beyond("The name and address of somebody with this role are an administrator's to change.")
    if changed:
        for name, value in changed.items():
            setattr(user, name, value)
        _checked(user)
        user.save(update_fields=list(changed))
        record(Event.USER_CHANGED, actor=actor, subject=user, detail={"changed": changed})
    return found(owner.pk)


def _manager_of(owner: Owner, person: Person) -> Owner | None:
    """By the id here or in the directory. Whom nobody knows yet is nobody's manager until the next time."""
    if not person.manager:
        return None
    named = Q(external_id=person.manager)
    if re.fullmatch(r"[0-9a-f-]{36}", person.manager):
        named |= Q(pk=UUID(person.manager))
    return Owner.objects.filter(named).exclude(pk=owner.pk).first()


@action
def leave(owner: Owner, *, actor: Actor, now: datetime) -> None:
    """Somebody is no longer in the directory: the account is closed, and what they answered for waits for decisions."""
    gone = replace(as_person(owner), is_active=False)
    move(owner, gone, actor=actor, now=now)
    Owner.objects.filter(pk=owner.pk).update(user=None)
