"""The things of one owner, of every kind that an address can name, with a word in all of their texts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db.models import Model
from django.test import Client

from access.actors import Actor
from access.models import ApiToken, SavedView, User
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from audit.models import AuditEntry
from inventory.models import (
    AuthorizationServer,
    LoggingRecord,
    MetadataSnapshot,
    Owner,
    OwnershipQuestion,
    Tenure,
)
from inventory.states import Hygiene, Registration, Severity
from lifecycle.actions.requests import request_revocation
from lifecycle.models import Batch, Finding, FindingLink
from lifecycle.states import BatchKind, BatchState, LinkKind
from reviews.actions.campaigns import create_campaign, launch
from reviews.models import ReviewItem
from tests import factories
from tests.factories import NOW
from tests.lifecycle.waived import requested
from tests.people import person


def token_browser(role: Role, scheme: str = "Token") -> Client:
    """A program with an API token of this role."""
    name = f"{scheme}-{role}"
    bearer = User.objects.create(username=f"token:{name}", email=f"token-{name}@keyreeve.invalid", password="!")
    _, value = ApiToken.objects.create(user=bearer, name=role.value, role=role.value)
    return Client(headers={"Authorization": f"{scheme} {value}"})


SYSTEM = Actor.system("tests")


@action
def an_entry(subject: Model, actor: Actor, mark: str) -> None:
    record(Event.CREDENTIAL_OWNER_ASSIGNED, actor=actor, subject=subject, detail={"to": mark})


@dataclass
class Things:
    """`rows` by what they are called in addresses; a person with the role owner answers for all of them."""

    user: User
    owner: Owner
    rows: dict[str, Model]

    def browser(self) -> Client:
        client = Client()
        client.force_login(self.user)
        return client


def things(mark: str) -> Things:
    """Owned by somebody with the role owner; `mark` stands in every text of theirs."""
    user = person(Role.OWNER)
    user.groups.set(Group.objects.filter(name=Role.OWNER))
    mine = user.as_actor()
    owner = factories.owner(name=f"{mark} owner", email=f"{mark}@halden.example", user=user)
    place = factories.connection(name=f"{mark} place", last_complete_at=NOW)
    issuer = AuthorizationServer.objects.create(
        issuer=f"https://{mark}.example", metadata={mark: mark}, first_seen_at=NOW
    )
    one = factories.server(name=f"{mark} server", connection=place, iam_owner=owner, authorization_server=issuer)
    factories.tool(one, f"{mark}_tool")
    logged = LoggingRecord.objects.create(
        server=one, trust_model="unknown", happening="refresh", is_logged=True, evidence=mark, recorded_by=mark,
        recorded_at=NOW,
    )  # fmt: skip
    MetadataSnapshot.objects.create(server=one, digest="0", document={mark: 1}, differences=[mark], first_seen_at=NOW)
    program = factories.client(
        name=f"{mark} client", connection=place, owner=owner, authorization_server=issuer, client_id=mark,
        registration=Registration.DYNAMIC, hygiene=Hygiene.DEAD, hygiene_key=mark,
    )  # fmt: skip
    held = factories.credential(
        name=f"{mark} credential", connection=place, owner=owner, scopes=[mark], reference=f"env://{mark}",
        hint=mark[:10], subject=mark, principal=mark,
    )  # fmt: skip
    used = factories.use(held, connection=place, client=program, server=one)
    shown = factories.exposure(held, host=mark)
    found = Finding.objects.create(
        credential=held, rule="no-owner", severity=Severity.CRITICAL, opened_at=NOW, refreshed_at=NOW, due_at=NOW
    )
    link = FindingLink.objects.create(
        finding=found, kind=LinkKind.TICKET, reference=mark, label=mark, added_at=NOW, added_by=mark
    )
    operation = request_revocation(held, actor=mine, now=NOW, reason=mark)
    batch = Batch.objects.create(
        kind=BatchKind.KILL_SWITCH, state=BatchState.REQUESTED, approval_reason=mark,
        scope={"kind": "server", "id": str(one.pk), "label": mark},
        reason=mark, requested_by=mark, requested_by_key=mine.key, requested_at=NOW, needs_approval=True,
    )  # fmt: skip
    view = SavedView.objects.create(user=user, path="/credentials/", label=mark, query="status=active")
    token, _ = ApiToken.objects.create(user=person(), name=mark, role=Role.OWNER, issued_by=user)
    an_entry(held, mine, mark)
    review = create_campaign(
        actor=SYSTEM, now=NOW, name=mark, reviewed=["credential"], owners=[owner.pk], due_at=NOW + timedelta(days=30)
    )
    review = launch(review, actor=SYSTEM, now=NOW)
    asked = OwnershipQuestion.objects.create(
        owner=owner, asked=owner, opened_at=NOW, asked_at=NOW, answer_by=NOW + timedelta(days=14), reason=mark
    )
    Tenure.objects.create(
        part="credential", subject_id=held.pk, owner=owner, question=asked, begun_at=NOW, gap_since=NOW, ask_at=NOW
    )
    rows: dict[str, Model] = {
        "ownership": asked,
        "campaigns": review, "reviews": review, "review-items": ReviewItem.objects.get(campaign=review),
        "connections": place, "owners": owner, "authorization-servers": issuer, "servers": one, "clients": program,
        "credentials": held, "uses": used, "exposures": shown, "findings": found, "links": link,
        "operations": operation, "batches": batch, "waivers": requested(found, reason=mark, compensating_control=mark),
        "logging-records": logged, "grants": factories.grant(program, one), "views": view, "tokens": token,
        "audit": AuditEntry.objects.filter(actor_id=mine.id).latest("seq"),
    }  # fmt: skip
    return Things(user, owner, rows)


def marked(answer: Any, mark: str, address: str) -> bool:
    """Whether an answer says more of it than the question did."""
    streamed = getattr(answer, "streaming_content", None)
    said = (b"".join(streamed) if streamed is not None else answer.content).decode()
    return mark in said.replace(address.partition("?")[2], "").replace(f'value="{mark[:5]}"', "")
