"""Judge clients by what the inventory knows of them, and by the documents that some publish. Set-based and linear.

Part of the action that ends a look. A client's document is compared with what it was when somebody last decided about
the client, not with the look before: a change stays violated until somebody has looked at it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F

from inventory.actions.posture import latest_documents, record_checks, record_documents
from inventory.models import McpClient, McpServer, MetadataSnapshot, PostureCheck, Use
from inventory.posture.clients import ClientRecord, RecordedUse, judge_client
from inventory.posture.model import CheckResult, Target
from inventory.posture.published import differences
from inventory.states import Admission, Authentication, Registration, Transport
from providers.observations import ClientObservation, Exchange

CHUNK = 2_000
OF_ITS_DOCUMENT = frozenset(f"MCP-CL-0{number}" for number in range(1, 8))
OF_A_DOCUMENT_ALONE = OF_ITS_DOCUMENT - {"MCP-CL-06"}  # redirect addresses are in the registration, too
# A program that only a file names has no registration, so only what it holds is judged.
OF_WHAT_IT_HOLDS = frozenset({"MCP-CL-08", "MCP-CL-11", "MCP-CL-12", "MCP-CL-13"})


def judge_registered(
    issuer: str, *, documents: Mapping[str, ClientObservation], are_uses_known: bool, now: datetime
) -> dict[str, int]:
    """Judge every present client of `issuer`; how many verdicts changed. `documents` are by client id.

    With `are_uses_known`, what clients hold was looked for, so that a client without uses holds nothing.
    """
    clients = McpClient.objects.present().registered().filter(authorization_server__issuer=issuer)
    listed = clients.exclude(admission=Admission.REMOVED)
    relying = McpServer.objects.present().filter(authorization_server__issuer=issuer)
    newest = max(
        (version for (versions,) in relying.values_list("protocol_versions") for version in versions), default=""
    )
    # Where the server says it of any client, it would say so of the others.
    is_use_known = listed.filter(last_used_at__isnull=False).exists()
    is_type_known = listed.exclude(application_type="").exists()
    counts = {"verdicts_changed": 0, "client_documents_changed": 0}
    for chunk in _chunks(listed.select_related("authorization_server").order_by("pk")):
        uses = _uses([client.pk for client in chunk])
        seen = {client.pk: documents[client.client_id] for client in chunk if client.client_id in documents}
        before = _decided_about([client for client in chunk if client.pk in seen])
        results = [
            (client.pk, result)
            for client in chunk
            for result in judge_client(
                now=now,
                observation=seen.get(client.pk),
                previous=_as_observed(client, before.get(client.pk), now),
                record=ClientRecord(
                    client_id=client.client_id,
                    issuer=issuer,
                    registration=client.registration,
                    redirect_uris=tuple(client.redirect_uris),
                    application_type=client.application_type or None,
                    is_metadata_known=is_type_known,
                    registered_at=client.issued_at,
                    secret_expires_at=client.secret_expires_at,
                    last_used_at=client.last_used_at,
                    is_use_known=is_use_known,
                    uses=uses.get(client.pk, () if are_uses_known else None),
                ),
                newest_version=newest,
            )
            # What was not looked at this time stays as it was last seen; what has no document is not judged by one.
            if client.pk in seen or result.check.id not in OF_A_DOCUMENT_ALONE
            if client.pk in seen or not _is_of_document(client, result)
        ]
        counts["verdicts_changed"] += record_checks(Target.CLIENT, _new(results), now=now)
        counts["client_documents_changed"] += _keep(seen, now=now)
    return counts


def judge_configured(connection: UUID, *, now: datetime) -> dict[str, int]:
    """Judge the programs that a connection's files name by what they hold; how many verdicts changed."""
    programs = McpClient.objects.present().filter(connection=connection, registration=Registration.CONFIG_FILE)
    changed = 0
    for chunk in _chunks(programs.order_by("pk")):
        uses = _uses([client.pk for client in chunk])
        changed += record_checks(Target.CLIENT, _new(list(_judged_by_uses(chunk, uses, now=now))), now=now)
    return {"verdicts_changed": changed}


def _new(results: Sequence[tuple[UUID, CheckResult]]) -> list[tuple[UUID, CheckResult]]:
    """Those that say something else than before. To upsert what is the same would lock, and so write, every row."""
    said = {
        (client, check): rest
        for client, check, *rest in PostureCheck.objects.filter(client__in={client for client, _ in results})
        .values_list("client_id", "check_id", "verdict", "severity", "evidence", "specification")
        .iterator(CHUNK)
    }
    return [
        (client, result)
        for client, result in results
        if said.get((client, result.check.id))
        != [result.verdict.value, result.severity.value, dict(result.evidence), result.check.section[:100]]
    ]


def _is_of_document(client: McpClient, result: CheckResult) -> bool:
    return client.client_id.startswith("https://") and result.check.id in OF_ITS_DOCUMENT


def _judged_by_uses(
    clients: Iterable[McpClient], uses: Mapping[UUID, tuple[RecordedUse, ...]], *, now: datetime
) -> Iterator[tuple[UUID, CheckResult]]:
    for client in clients:
        record = ClientRecord(client_id=client.name, registration=client.registration, uses=uses.get(client.pk, ()))
        for result in judge_client(now=now, record=record):
            if result.check.id in OF_WHAT_IT_HOLDS:
                yield client.pk, result


def _chunks(clients: Any) -> Iterator[list[McpClient]]:
    """Clients in the order of their keys, so many at a time that memory stays bounded."""
    last: UUID | None = None
    while chunk := list(clients.filter(pk__gt=last)[:CHUNK] if last else clients[:CHUNK]):
        yield chunk
        last = chunk[-1].pk


def _uses(clients: Sequence[UUID]) -> dict[UUID, tuple[RecordedUse, ...]]:
    """By client, every present use of the credentials that it has, also those by other clients."""
    present = Use.objects.present().filter(credential__isnull=False)
    own = list(present.filter(client__in=clients).values_list("client_id", "credential_id").distinct())
    held: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for client, credential in own:
        if credential is not None:
            held[client].append(credential)
    columns = {
        "kind": F("credential__kind"),
        "trust": F("credential__trust_model"),
        "fingerprint": F("credential__fingerprint"),
        "issuer": F("credential__issuer"),
    }
    found: defaultdict[UUID, list[RecordedUse]] = defaultdict(list)
    rows: Any = (
        present.filter(credential__in={credential for _, credential in own})
        .order_by("server", "credential", "held_as")
        .values(
            "credential", "server", "server__name", "server__url", "server__transport", "server__authentication",
            "server__authorization_server", "held_as", **columns,
        )
        .distinct()
    )  # fmt: skip
    for row in rows.iterator(CHUNK):
        found[row["credential"]].append(
            RecordedUse(
                server=row["server__url"] or row["server__name"],
                transport=row["server__transport"],
                held_as=row["held_as"],
                kind=row["kind"],
                trust_model=row["trust"],
                fingerprint=row["fingerprint"],
                issuer=row["issuer"],
                offers_oauth=_offers_oauth(row),
            )
        )
    return {
        client: tuple(use for credential in sorted(credentials) for use in found[credential])
        for client, credentials in held.items()
    }


def _offers_oauth(row: Mapping[str, Any]) -> bool | None:
    if row["server__transport"] == Transport.STDIO:
        return False
    if row["server__authorization_server"] is not None or row["server__authentication"] == Authentication.OAUTH:
        return True
    return False if row["server__authentication"] else None


# ── Documents ──────────────────────────────────────────────────────────────────────────────────


def _decided_about(clients: Sequence[McpClient]) -> dict[UUID, dict[str, Any]]:
    """The document of each client as it was when somebody last decided about it; else the first that was seen."""
    since = {client.pk: client.admission_changed_at for client in clients}
    found: dict[UUID, dict[str, Any]] = {}
    kept = MetadataSnapshot.objects.filter(client__in=list(since)).order_by("client", "id")
    for client, document, seen_at in kept.values_list("client_id", "document", "first_seen_at"):
        if client is None:
            continue
        decided_at = since[client]
        if client not in found or (decided_at is not None and seen_at <= decided_at):
            found[client] = document
    return found


def _as_observed(client: McpClient, document: dict[str, Any] | None, now: datetime) -> ClientObservation | None:
    if document is None:
        return None
    exchange = Exchange(method="GET", url=client.client_id, status=200, document=document)
    return ClientObservation(client_id=client.client_id, observed_at=now, exchange=exchange)


def _keep(seen: Mapping[UUID, ClientObservation], *, now: datetime) -> int:
    """Keep the documents that could be read and say something new."""
    published: dict[UUID, Mapping[str, Any]] = {}
    for client, observation in seen.items():
        exchange = observation.exchange
        if exchange is not None and exchange.status == 200 and not exchange.error:
            document = exchange.document
            if isinstance(document, dict):
                published[client] = document
    before = latest_documents(Target.CLIENT, published)
    said = {client: differences(before[client], document) for client, document in published.items() if client in before}
    return record_documents(Target.CLIENT, published, differences=said, now=now)
