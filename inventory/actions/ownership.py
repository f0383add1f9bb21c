"""Who answers for what, where it runs, and what a server is for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.errors import NothingChosen, OwnerInactive
from inventory.models import Credential, Environment, McpClient, McpServer, Owner
from inventory.states import OwnerKind, ServerRole

ServerOwnerRole = Literal["iam_owner", "platform_owner", "application_owner"]


def label(row: object | None) -> str | None:
    return None if row is None else str(row)


@action
def create_owner(*, kind: OwnerKind, name: str, email: str, external_id: str = "", actor: Actor) -> Owner:
    owner = Owner(kind=kind, name=name, email=email, external_id=external_id)
    owner.full_clean()
    try:
        with transaction.atomic():
            owner.save(force_insert=True)
    except IntegrityError as exc:  # somebody else was faster by a moment
        raise ValidationError({"email": "Another owner has this e-mail address."}) from exc
    record(Event.OWNER_CREATED, actor=actor, subject=owner, detail={"kind": kind})
    return owner


@action
def change_owner(owner: Owner, *, actor: Actor, now: datetime, reason: str = "", **values: Any) -> None:
    """Change an owner's own facts, `is_active` among them. Records which fields changed."""
    changed = {name: value for name, value in values.items() if getattr(owner, name) != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(owner, name, value)
    if "is_active" in changed:
        owner.inactive_since = None if owner.is_active else now
    owner.full_clean()
    owner.save(update_fields=[*changed, "inactive_since"])
    record(
        Event.OWNER_CHANGED,
        actor=actor,
        subject=owner,
        detail={"changed": {name: label(value) for name, value in changed.items()}, "reason": reason},
    )


def chosen(rows: Any, actor: Actor, *relations: str) -> list[Any]:
    """The rows of a queryset that `actor` may see, locked in one order. Raises NothingChosen when there is none."""
    visible = rows.visible_to(actor)
    found: list[Any] = in_order(visible.select_related(*relations) if relations else visible)
    if not found:
        raise NothingChosen
    return found


def _hand_over(rows: Any, field: str, owner: Owner, *, event: Event, actor: Actor, reason: str, **detail: str) -> int:
    """Make `owner` the one in `field` of `rows`; how many changed hands. One entry for each of them."""
    return give(chosen(rows, actor, field), field, owner, event=event, actor=actor, reason=reason, **detail)


def give(
    rows: Sequence[Any], field: str, owner: Owner, *, event: Event, actor: Actor, reason: str, **detail: str
) -> int:
    """Part of an action that holds these rows of one table, read with the one in `field`, and may write them."""
    if not owner.is_active:
        raise OwnerInactive(owner)
    moved = [row for row in rows if getattr(row, f"{field}_id") != owner.pk]
    if moved:
        type(moved[0])._default_manager.filter(pk__in=[row.pk for row in moved]).update(**{field: owner})
    for row in moved:
        said = {**detail, "from": label(getattr(row, field)), "to": str(owner), "reason": reason}
        record(event, actor=actor, subject=row, detail=said)
    return len(moved)


@action
def assign_owner(credentials: QuerySet[Credential], owner: Owner, *, actor: Actor, reason: str) -> int:
    """Make `owner` accountable for `credentials` from now on; how many changed hands. One entry per credential."""
    return _hand_over(credentials, "owner", owner, event=Event.CREDENTIAL_OWNER_ASSIGNED, actor=actor, reason=reason)


@action
def assign_custodian(credentials: QuerySet[Credential], owner: Owner, *, actor: Actor, reason: str) -> int:
    """Make `owner` the one who handles `credentials` day to day; how many changed hands."""
    return _hand_over(
        credentials,
        "custodian",
        owner,
        event=Event.CREDENTIAL_OWNER_ASSIGNED,
        actor=actor,
        reason=reason,
        **{"as": "custodian"},
    )


@action
def assign_environment(
    rows: QuerySet[Credential] | QuerySet[McpServer], environment: Environment | None, *, actor: Actor
) -> int:
    """Say where credentials or servers are used; how many changed."""
    event = Event.CREDENTIAL_ENVIRONMENT_ASSIGNED if rows.model is Credential else Event.SERVER_ENVIRONMENT_ASSIGNED
    moved = [
        row
        for row in chosen(rows, actor, "environment")
        if row.environment_id != (environment.pk if environment else None)
    ]
    rows.model._default_manager.filter(pk__in=[row.pk for row in moved]).update(environment=environment)
    for row in moved:
        record(event, actor=actor, subject=row, detail={"from": label(row.environment), "to": label(environment)})
    return len(moved)


@action
def assign_server_owner(
    servers: QuerySet[McpServer], role: ServerOwnerRole, owner: Owner, *, actor: Actor, reason: str
) -> int:
    """Make `owner` the IAM, platform or application owner of `servers`; how many changed."""
    return _hand_over(
        servers, role, owner, event=Event.SERVER_OWNER_ASSIGNED, actor=actor, reason=reason, **{"as": role}
    )


@action
def classify_servers(servers: QuerySet[McpServer], role: ServerRole, *, vendor: str | None = None, actor: Actor) -> int:
    """Say what servers are for, and whose they are when a third party runs them; how many changed.

    An empty `vendor` says that they are the organisation's own; None leaves what is known.
    """
    moved = [row for row in chosen(servers, actor) if row.role != role or vendor not in {None, row.vendor}]
    values = {"role": role} if vendor is None else {"role": role, "vendor": vendor}
    McpServer.objects.filter(pk__in=[row.pk for row in moved]).update(**values)
    for row in moved:
        said = {"from": row.role, "to": role} if row.role != role else {}
        if vendor not in {None, row.vendor}:
            said |= {"vendor_from": row.vendor, "vendor_to": str(vendor)}
        record(Event.SERVER_ROLE_ASSIGNED, actor=actor, subject=row, detail=said)
    return len(moved)


@action
def assign_client_owner(clients: QuerySet[McpClient], owner: Owner, *, actor: Actor, reason: str) -> int:
    """Make `owner` accountable for `clients`; how many changed."""
    return _hand_over(clients, "owner", owner, event=Event.CLIENT_OWNER_ASSIGNED, actor=actor, reason=reason)
