"""What somebody leaves behind: everything they answered for is handed over or revoked, and nothing is silently kept.

An owner becomes inactive in a form, by a sync or by a feed. The sweeper looks at the rows, so it matters not how.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.models import Exists, OuterRef, Q

from access.actors import Actor
from access.rights import Right
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions import ownership
from inventory.models import Credential, McpClient, McpServer, Owner
from lifecycle.actions.batches import locked, request_batch
from lifecycle.actions.requests import say_why
from lifecycle.errors import BatchNotWaiting, NobodyTakesOver, NotAnOperator, NotDecidable
from lifecycle.models import Batch, BatchItem
from lifecycle.models.reports import items_of, unfinished
from lifecycle.models.scopes import Scope
from lifecycle.states import BatchKind, BatchState, ItemState, ScopeKind, Suggestion

DECIDE_WITHIN = timedelta(days=7)
LEAVERS_AT_ONCE = 20
SERVER_PARTS = ("iam_owner", "platform_owner", "application_owner")

# Everything that one owner answers for, with what is proposed. What is somebody's own, or acts on their behalf, ends
# with them; the rest goes to its custodian, else to the leaver's manager, else to whom a person names.
_ITEMS = """
INSERT INTO lifecycle_batchitem
  (batch_id, credential_id, server_id, client_id, part, state, rank, is_late, suggestion, suggested_owner_id, said,
   decided_by)
SELECT %(batch)s, n.credential, n.server, n.client, n.part, 'to_decide', 0, false, n.suggestion,
  CASE WHEN n.suggestion = 'transfer' THEN coalesce(k.id, m.id) END, '', ''
FROM (
  SELECT c.id AS credential, NULL::uuid AS server, NULL::uuid AS client,
    CASE WHEN c.owner_id = %(owner)s THEN 'owner' WHEN c.custodian_id = %(owner)s THEN 'custodian'
         ELSE 'subject' END AS part,
    CASE WHEN c.owner_id IS DISTINCT FROM %(owner)s AND c.custodian_id = %(owner)s AND NOT own.is_personal
         THEN 'transfer' WHEN own.is_personal THEN 'revoke' ELSE 'transfer' END AS suggestion,
    CASE WHEN c.owner_id = %(owner)s THEN c.custodian_id ELSE c.owner_id END AS next
  FROM inventory_credential c LEFT JOIN inventory_environment e ON e.id = c.environment_id
  CROSS JOIN LATERAL (SELECT c.trust_model = 'user_consented' OR c.kind = 'personal_access_token'
    OR e.name = 'personal' AS is_personal) own
  WHERE c.gone_at IS NULL AND c.status NOT IN ('destroyed', 'expired')
    AND (c.owner_id = %(owner)s OR c.custodian_id = %(owner)s
         OR c.trust_model = 'user_consented' AND lower(c.subject) = ANY (%(names)s))
  UNION ALL
  SELECT NULL, s.id, NULL, p.part, 'transfer', NULL::uuid
  FROM inventory_mcpserver s CROSS JOIN LATERAL (VALUES ('iam_owner', s.iam_owner_id),
    ('platform_owner', s.platform_owner_id), ('application_owner', s.application_owner_id)) AS p (part, holder)
  WHERE s.gone_at IS NULL AND p.holder = %(owner)s
  UNION ALL
  SELECT NULL, NULL, t.id, 'owner', 'transfer', NULL::uuid
  FROM inventory_mcpclient t WHERE t.gone_at IS NULL AND t.owner_id = %(owner)s
) n
LEFT JOIN inventory_owner k ON k.id = n.next AND k.is_active AND k.id <> %(owner)s
LEFT JOIN inventory_owner m ON m.id = %(manager)s AND m.is_active
ON CONFLICT DO NOTHING
"""


def leavers() -> list[Owner]:
    """Owners who are not active, still answer for something, and for whom nothing is open."""
    key = OuterRef("pk")
    credentials = Credential.objects.live()
    servers = McpServer.objects.present()
    held = Q(Exists(credentials.filter(owner=key))) | Q(Exists(credentials.filter(custodian=key)))
    for part in SERVER_PARTS:
        held |= Q(Exists(servers.filter(**{part: key})))
    held |= Q(Exists(McpClient.objects.present().filter(owner=key)))
    named = {
        UUID(scope.partition(":")[2])
        for scope in Batch.objects.open().filter(kind=BatchKind.LEAVER, parent=None).values_list("scope_key", flat=True)
    }
    return list(Owner.objects.filter(held, is_active=False).exclude(pk__in=named).order_by("pk")[:LEAVERS_AT_ONCE])


@action
def open_leaver(owner: Owner, *, actor: Actor, now: datetime) -> Batch | None:
    """Open what is to be decided because this owner left; None where it is open, or they are back or hold nothing."""
    scope = Scope.around(ScopeKind.OWNER, owner)
    (left,) = in_order(Owner.objects.filter(pk=owner.pk))
    if left.is_active or Batch.objects.open().filter(kind=BatchKind.LEAVER, scope_key=scope.key, parent=None).exists():
        return None
    batch = Batch.objects.create(
        kind=BatchKind.LEAVER,
        state=BatchState.DECIDING,
        scope=scope.as_json(),
        scope_key=scope.key,
        reason=f"{left.name} left" + (f" on {left.inactive_since:%-d %B %Y}." if left.inactive_since else "."),
        requested_by=actor.label[:200],
        requested_by_key=actor.key,
        requested_at=now,
        begun_at=now,
        decide_by=now + DECIDE_WITHIN,
    )
    names = [name.lower() for name in (left.email, left.external_id) if name]
    with database.cursor() as cursor:
        cursor.execute(_ITEMS, {"batch": batch.pk, "owner": left.pk, "manager": left.manager_id, "names": names})
        batch.size = cursor.rowcount
    batch.save(update_fields=["size"])
    record(Event.BATCH_REQUESTED, actor=actor, subject=batch, detail={"of": left.name, "things": batch.size})
    return batch


@action
def decide_items(
    batch: Batch,
    items: Sequence[UUID],
    *,
    what: Suggestion | None,
    to: Owner | None = None,
    actor: Actor,
    now: datetime,
    reason: str,
) -> int:
    """Hand over or revoke some of what a leaver answered for; `what` None does as each is suggested. How many.

    Raises NobodyTakesOver where nobody is named or suggested, NotDecidable for the revocation of what is no credential,
    and what handing over raises. Revocations are a batch of their own, with a second person where that is asked.
    """
    say_why(reason)
    if not actor.may(Right.DECIDE_MANY):
        raise NotAnOperator
    wanted = items_of(batch).filter(pk__in=items, state=ItemState.TO_DECIDE)
    chosen = list(wanted.select_related("suggested_owner").order_by("pk"))
    verbs = {each.pk: what or Suggestion(each.suggestion) for each in chosen}
    handed = [each for each in chosen if verbs[each.pk] is Suggestion.TRANSFER]
    ended = [each for each in chosen if verbs[each.pk] is Suggestion.REVOKE]
    if any(each.credential_id is None for each in ended):
        raise NotDecidable
    if any((to or each.suggested_owner) is None for each in handed):
        raise NobodyTakesOver
    said = _hand_over(handed, to, actor=actor, reason=reason)
    asked_in = None
    if ended:
        label = f"{len(ended)} of what {batch.scope.get('label')} answered for"
        scope = Scope(ScopeKind.CREDENTIALS, "", label, tuple(str(each.credential_id) for each in ended))
        asked_in = request_batch(
            scope, actor=actor, now=now, reason=reason, kind=BatchKind.LEAVER, is_urgent=False, parent=batch
        )
    row = locked(batch)
    if row.state != BatchState.DECIDING:
        raise BatchNotWaiting
    signed: dict[str, Any] = {"decided_by": actor.label[:200], "decided_at": now}
    still = items_of(row).filter(state=ItemState.TO_DECIDE)
    done = 0
    for taker, keys in said.items():
        done += still.filter(pk__in=keys).update(
            state=ItemState.TRANSFERRED, said=f"Handed over to {taker}: {reason}", **signed
        )
    if ended:
        done += still.filter(pk__in=[each.pk for each in ended]).update(
            state=ItemState.ASKED, asked_in=asked_in, said=reason, **signed
        )
    if done != len(chosen):  # somebody else decided some of it at this moment; nothing of this is kept
        raise BatchNotWaiting
    return done


def _hand_over(items: Sequence[BatchItem], to: Owner | None, *, actor: Actor, reason: str) -> dict[str, list[UUID]]:
    """By whom takes over, the items; each hand-over is an entry of its own. Clients, servers, credentials, in order."""
    takers: dict[UUID, Owner] = {}
    groups: dict[tuple[UUID, str, str], list[BatchItem]] = {}
    for each in items:
        taker = to or each.suggested_owner
        if taker is None:
            raise NobodyTakesOver
        takers[taker.pk] = taker
        noun = "credential" if each.credential_id else "server" if each.server_id else "client"
        groups.setdefault((taker.pk, noun, each.part), []).append(each)
    order = ("client", "server", "credential")
    said: dict[str, list[UUID]] = {}
    for (key, noun, part), group in sorted(groups.items(), key=lambda pair: (order.index(pair[0][1]), pair[0])):
        taker = takers[key]
        ids = [getattr(each, f"{noun}_id") for each in group]
        if noun == "client":
            ownership.assign_client_owner(McpClient.objects.filter(pk__in=ids), taker, actor=actor, reason=reason)
        elif noun == "server":
            rows = McpServer.objects.filter(pk__in=ids)
            ownership.assign_server_owner(rows, part, taker, actor=actor, reason=reason)  # type: ignore[arg-type]
        elif part == "custodian":
            ownership.assign_custodian(Credential.objects.filter(pk__in=ids), taker, actor=actor, reason=reason)
        else:
            ownership.assign_owner(Credential.objects.filter(pk__in=ids), taker, actor=actor, reason=reason)
        said.setdefault(taker.name, []).extend(each.pk for each in group)
    return said


@action
def look_after(batch: Batch, *, actor: Actor, now: datetime) -> None:
    """Escalate what nobody decided in time, drop what was settled elsewhere, and close it where its owner is back."""
    owner = Owner.objects.filter(pk=batch.scope["id"]).first()
    row = locked(batch, may_be_closed=True)
    if row.state != BatchState.DECIDING:
        return
    undecided = items_of(row).filter(state=ItemState.TO_DECIDE)
    if owner is None or owner.is_active:
        undecided.update(state=ItemState.CANCELLED, said="They are back.")
        return
    settled = Q(credential__gone_at__isnull=False) | Q(credential__status__in=["destroyed", "expired"])
    settled |= Q(server__gone_at__isnull=False) | Q(client__gone_at__isnull=False)
    settled |= Q(part="owner", credential__isnull=False) & ~Q(credential__owner=owner)
    settled |= Q(part="custodian") & ~Q(credential__custodian=owner)
    settled |= Q(client__isnull=False) & ~Q(client__owner=owner)
    for part in SERVER_PARTS:
        settled |= Q(part=part) & ~Q(**{f"server__{part}": owner})
    keys = list(undecided.filter(settled).values_list("pk", flat=True))
    undecided.filter(pk__in=keys).update(
        state=ItemState.SKIPPED, said="It ended or was handed over elsewhere meanwhile."
    )
    if row.escalated_at is None and row.decide_by is not None and row.decide_by <= now and unfinished(row):
        Batch.objects.filter(pk=row.pk).update(escalated_at=now)
        record(Event.BATCH_ESCALATED, actor=actor, subject=row, detail={"undecided": unfinished(row)})
