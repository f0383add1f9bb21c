"""A client that an operation registered in the place of another: for people it is the same one.

The further registration takes over who answers for it, whether it is let in and what it may use, so that nobody decides
twice. What somebody has decided about it meanwhile stands. They belong inside the operation's action, before it locks
credentials.
"""

from datetime import datetime

from access.actors import Actor
from audit.actions import action, in_order, record
from audit.events import Event
from inventory.actions.admission import move
from inventory.discovery.listing import IDENTITY, NAME, fit
from inventory.models import Credential, Grant, McpClient
from inventory.states import Admission


def identity(issuer: str, client_id: str) -> str:
    """What listings call a client of an authorization server."""
    return fit(f"oauth:{issuer}:{client_id}", IDENTITY)


@action
def record_succession(credential: Credential, client_id: str, *, now: datetime, actor: Actor) -> McpClient | None:
    """The client of this id stands for the one whose secret the credential was. None where that one is not known."""
    keys = identity(credential.issuer, credential.external_id), identity(credential.issuer, client_id)
    known = McpClient.objects.present().registered().filter(identity_key=keys[0]).exclude(admission=Admission.REMOVED)
    if keys[0] == keys[1] or (seen := known.first()) is None:
        return None
    # A listing may have it already, in quarantine like any that registered itself.
    McpClient.objects.bulk_create([_like(seen, keys[1], client_id, now)], ignore_conflicts=True)
    held = {row.identity_key: row for row in in_order(McpClient.objects.filter(identity_key__in=keys))}
    before, after = held[keys[0]], held[keys[1]]
    after.owner_id = after.owner_id or before.owner_id
    if after.admission_changed_at is None:
        after.admission, after.admission_changed_at = before.admission, now
        after.admission_reason = f"A rotation registered it in the place of {before.client_id}."
    after.save(update_fields=["owner", "admission", "admission_changed_at", "admission_reason"])
    grants = _carried_over(before, after)
    record(
        Event.CLIENT_SUCCEEDED,
        actor=actor,
        subject=after,
        detail={
            "from": before.client_id,
            "to": after.client_id,
            "owner": str(after.owner) if after.owner is not None else None,
            "admission": after.admission,
            "grants": len(grants),
        },
    )
    for grant in grants:
        detail = {"client": after.client_id, "server": str(grant.server), "tools": grant.tools, "scopes": grant.scopes}
        record(Event.GRANT_CARRIED_OVER, actor=actor, subject=grant, detail=detail)
    return after


@action
def record_deletion(credential: Credential, client_id: str, *, now: datetime, actor: Actor, proof: str) -> int:
    """The registration of this client was deleted and is seen to be; how many clients that removed."""
    rows = McpClient.objects.filter(identity_key=identity(credential.issuer, client_id))
    removed = in_order(rows.exclude(admission=Admission.REMOVED))
    return move(removed, Admission.REMOVED, Event.CLIENT_REMOVED, actor=actor, now=now, reason=proof)


def _like(client: McpClient, identity_key: str, client_id: str, now: datetime) -> McpClient:
    """What the next listing says of it, as far as it was registered like the one before. Nobody has decided yet."""
    return McpClient(
        identity_key=identity_key,
        client_id=fit(client_id, NAME),
        connection_id=client.connection_id,
        name=client.name,
        product=client.product,
        authorization_server_id=client.authorization_server_id,
        registration=client.registration,
        redirect_uris=client.redirect_uris,
        grant_types=client.grant_types,
        software_id=client.software_id,
        application_type=client.application_type,
        scopes=client.scopes,
        admission=Admission.QUARANTINED,
        issued_at=now,
        first_seen_at=now,
        last_seen_at=now,
    )


def _carried_over(before: McpClient, after: McpClient) -> list[Grant]:
    """A copy of each grant, with its approval and its end, for a server at which the other client has none."""
    taken = Grant.objects.current().filter(client=after).values("server")
    grants = list(Grant.objects.current().filter(client=before).exclude(server__in=taken).select_related("server"))
    copied = ("server", "tools", "scopes", "resources", "tool_digests", "drafted_by", "drafted_at", "reason")
    decided = ("approved_by", "approved_at", "ends_at")
    made = [Grant(client=after, **{name: getattr(grant, name) for name in (*copied, *decided)}) for grant in grants]
    for grant in made:
        grant.save(force_insert=True)
    return made
