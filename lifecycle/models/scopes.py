"""What lies behind a server, a client, an owner, a person, a connection or a leaked value: the reads of a kill switch.

Every figure is of one list of keys, read once; no statement runs for a single row.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Self
from uuid import UUID

from django.db import connection as database
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Lower

from access.actors import Actor
from inventory.models import Connection, Credential, CredentialVersion, Exposure, McpClient, McpServer, Owner, Use
from inventory.models.base import AnyOf
from inventory.states import ConnectionKind, Registration, TrustModel
from lifecycle.models.operations import Delivery, Operation, ProviderLoad
from lifecycle.models.windows import OperatingLimits
from lifecycle.states import OPERABLE, OperationKind, Proof, ScopeKind
from web.paging import rows_together

# More is not one decision any more; whoever asks narrows the scope.
MOST = 50_000
NAMED = 12  # of owners, clients and servers in a preview; the rest are counted
PATHS = 20
PRODUCTION = 3
# On whose behalf, by which client, at which server, under whose tokens a credential is used; and how a path calls it.
PATH = {
    "credential__subject": "subject",
    "client__name": "client",
    "credential__name": "credential",
    "server__name": "server",
    "server__authorization_server__issuer": "authorization_server",
}
HISTORY = timedelta(days=180)
ROWS = {
    ScopeKind.SERVER: McpServer,
    ScopeKind.CLIENT: McpClient,
    ScopeKind.OWNER: Owner,
    ScopeKind.PERSON: Owner,
    ScopeKind.CONNECTION: Connection,
}
# From the request until the value was seen refused, where no revocation of the kind has been seen at the connection.
# Each is a guess of ours from the steps that its plan takes and from what the provider says about how soon it acts.
ASSUMED: dict[str, tuple[int, str]] = {
    ConnectionKind.AWS: (60, "no revocation there yet; IAM may take a minute until every region refuses a key"),
    ConnectionKind.OAUTH: (10, "no revocation there yet; one call ends a token and introspection answers at once"),
    ConnectionKind.POSTGRES: (10, "no revocation there yet; a login is refused from the next connection on"),
    ConnectionKind.PLUG_IN: (60, "no revocation there yet, and the plug-in does not say how soon it acts"),
}
PROVED = {
    ConnectionKind.AWS: "by its record of the key, or by a refused call where the secret can be presented",
    ConnectionKind.OAUTH: "by introspection, where the value can be presented",
    ConnectionKind.POSTGRES: "by its record of the role, or by a refused login where the password can be presented",
    ConnectionKind.PLUG_IN: "as the plug-in can",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """Behind what to look. `id` is a row's key or a fingerprint; `ids` are chosen credentials."""

    kind: ScopeKind
    id: str = ""
    label: str = ""
    ids: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The scope in one word. Chosen credentials are no scope that comes back."""
        return "" if self.kind is ScopeKind.CREDENTIALS else f"{self.kind}:{self.id}"[:200]

    def as_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {"kind": self.kind.value, "id": self.id, "label": self.label}
        return said | {"ids": list(self.ids)} if self.ids else said

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        ids = tuple(stored.get("ids", ()))
        return cls(ScopeKind(stored["kind"]), stored.get("id", ""), stored.get("label", ""), ids)

    @classmethod
    def around(cls, kind: ScopeKind, row: Any) -> Self:
        label = f"what {row} reaches" if kind is ScopeKind.PERSON else str(row)
        return cls(kind, str(row.pk), label[:200])

    @classmethod
    def called(cls, person: str) -> Self:
        """Around a person whom nobody recorded as an owner, by what their tokens call them."""
        return cls(ScopeKind.PERSON, person[:200], f"what {person} reaches"[:200])


def direct(scope: Scope) -> Q:
    """Which credentials the scope itself names."""
    match scope.kind:
        case ScopeKind.SERVER:
            return Q(pk__in=_used(server=scope.id))
        case ScopeKind.CLIENT:
            own = McpClient.objects.filter(pk=scope.id).exclude(registration=Registration.CONFIG_FILE)
            registered = own.exclude(client_id="").values("connection", "client_id").first()
            is_own = Q(pk__in=_used(client=scope.id))
            if registered is not None:
                is_own |= Q(connection=registered["connection"], principal=registered["client_id"])
            return is_own
        case ScopeKind.OWNER:
            return Q(owner=scope.id) | Q(custodian=scope.id) | Q(pk__in=consented_by(scope.id).values("pk"))
        case ScopeKind.PERSON:
            return Q(pk__in=_reached_by(scope.id))
        case ScopeKind.CONNECTION:
            return Q(connection=scope.id)
        case ScopeKind.FINGERPRINT:
            return Q(fingerprint=scope.id)
        case ScopeKind.CREDENTIALS:
            return Q(AnyOf("pk", [UUID(each) for each in scope.ids]))


def _used(**of: Any) -> QuerySet[Use, Any]:
    return Use.objects.present().filter(credential__isnull=False, **of).order_by().values("credential")


def consented_by(owner: str) -> QuerySet[Credential]:
    """Credentials that act for this owner, whoever answers for them."""
    return _named_for(_names_of(owner)).filter(trust_model=TrustModel.USER_CONSENTED)


def _names_of(owner: str | UUID) -> set[str]:
    """What tokens call an owner."""
    pairs = Owner.objects.filter(pk=owner).values_list("email", "external_id")
    return {name.lower() for pair in pairs for name in pair if name}


def _named_for(names: set[str]) -> QuerySet[Credential]:
    named = Credential.objects.live().exclude(subject="").alias(named=Lower("subject"))  # as the index has it
    return named.filter(named__in=names)


def _reached_by(person: str) -> QuerySet[Any, Any]:
    """What a person reaches by: what acts for them, and what clients in their name use or are registered with.

    Whom nobody recorded as an owner is named by what their tokens call them.
    """
    try:
        owner = UUID(person)
    except ValueError:
        return _named_for({person.lower()}).order_by().values("pk")
    theirs = McpClient.objects.present().filter(owner=owner)
    registered = theirs.registered().exclude(client_id="")
    own = registered.filter(connection=OuterRef("connection"), client_id=OuterRef("principal"))
    registrations = Credential.objects.exclude(principal="").filter(Exists(own))
    by_name = _named_for(_names_of(owner)).order_by().values("pk")
    return by_name.union(_used(client__in=theirs.order_by().values("pk")), registrations.order_by().values("pk"))


def behind(scope: Scope, actor: Actor) -> list[UUID]:
    """The keys of what a scope reaches, in order: what it names, and what else holds the same secret.

    One secret that the inventory knows twice ends at once in both, so both are told. Of more than MOST there is one
    too many, which is how a caller sees it.
    """
    seen = Credential.objects.visible_to(actor).live()
    found = dict(seen.filter(direct(scope)).order_by().values_list("pk", "fingerprint")[: MOST + 1])
    keys = list(found)
    if len(keys) <= MOST and any(found.values()):
        shared = Credential.objects.filter(pk__in=keys).exclude(fingerprint="").order_by().values("fingerprint")
        again = seen.exclude(fingerprint="").filter(fingerprint__in=shared)
        keys = list({*keys, *again.order_by().values_list("pk", flat=True)[: MOST + 1]})
    return sorted(keys)


def older_versions_of(fingerprint: str) -> list[Credential]:
    """Credentials of which a leaked value is a version that another one has replaced."""
    older = CredentialVersion.objects.filter(fingerprint=fingerprint, is_current=False).values("credential")
    return list(Credential.objects.filter(pk__in=older).exclude(fingerprint=fingerprint)[:NAMED])


# ── The preview ────────────────────────────────────────────────────────────────────────────────


def preview(keys: Sequence[UUID], *, now: datetime) -> dict[str, Any]:
    """What would end, who loses it, and how soon it would be known, as JSON. Reads only."""
    chosen = Credential.objects.filter(AnyOf("pk", keys)).order_by()
    uses = Use.objects.present().filter(AnyOf("credential_id", keys)).order_by()
    open_ones = Operation.objects.open().filter(AnyOf("credential_id", keys)).order_by()
    still_in_files = Exposure.objects.present().filter(AnyOf("credential_id", keys)).order_by()
    found = rows_together(
        counted=_counted(
            chosen,
            in_production=Count("pk", filter=is_in_production()),
            presentable=Count("pk", filter=is_presentable()),
            without_owner=Count("pk", filter=Q(owner=None)),
            owners=Count("owner", distinct=True),
        ),
        reached=_counted(uses, clients=Count("client", distinct=True), servers=Count("server", distinct=True)),
        still_in_files=_counted(still_in_files, places=Count("pk")),
        environments=chosen.values("environment__name").annotate(number=Count("pk")).order_by("-number"),
        owners=_first(chosen, "owner"),
        clients=_first(uses, "client"),
        servers=_first(uses, "server"),
        paths=paths(uses),
        open_operations=open_ones.values("kind", "state").annotate(number=Count("pk")).order_by("kind", "state"),
        places=_places(chosen),
    )
    hops = predicted(found["places"], now=now)
    by_hand = sum(hop["credentials"] for hop in hops if not hop["can_be_asked"])
    kinds: Counter[str] = Counter()
    for hop in hops:
        kinds[hop["kind"]] += hop["credentials"]
    # Of nothing at all there is no row.
    nothing: dict[str, Any] = Counter()
    counted = next(iter(found["counted"]), nothing)
    reached = next(iter(found["reached"]), nothing)
    open_in = next(iter(found["still_in_files"]), nothing)
    return {
        "credentials": len(keys),
        "in_production": counted["in_production"],
        "kinds": [{"name": name, "number": number} for name, number in kinds.most_common()],
        "environments": [{"name": row["environment__name"], "number": row["number"]} for row in found["environments"]],
        "owners": {"number": counted["owners"], "first": _named(found["owners"])},
        "without_owner": counted["without_owner"],
        "clients": {"number": reached["clients"], "first": _named(found["clients"])},
        "servers": {"number": reached["servers"], "first": _named(found["servers"])},
        "paths": [{name: path[column] or "" for column, name in PATH.items()} for path in found["paths"]],
        "open_operations": found["open_operations"],
        "can_be_asked": len(keys) - by_hand,
        "by_hand": by_hand,
        "presentable": counted["presentable"],
        "still_in_files": open_in["places"],
        "hops": hops,
    }


def _counted(rows: QuerySet[Any], **counts: Count) -> QuerySet[Any, Any]:
    """One row of counts, as part of a statement."""
    counted: QuerySet[Any, Any] = rows.annotate(every=Value(1)).values("every").annotate(**counts)
    return counted


def is_in_production() -> Q:
    """Whether a credential serves production: by its own environment, or by where it is used."""
    reached = Use.objects.present().filter(credential=OuterRef("pk"))
    reached = reached.filter(
        Q(environment__criticality=PRODUCTION) | Q(environment=None, server__environment__criticality=PRODUCTION)
    )
    return Q(environment__criticality=PRODUCTION) | Q(Exists(reached))


def is_presentable() -> Q:
    """Whether there is somewhere to take the value from, to see it refused: a reference or a place of delivery."""
    return ~Q(reference="") | Q(Exists(Delivery.objects.filter(credential=OuterRef("pk"))))


def _first(rows: QuerySet[Any], field: str) -> QuerySet[Any, Any]:
    """The first of them by how much they hold."""
    held = rows.filter(**{f"{field}__isnull": False})
    named = held.values(held=F(field), called=F(f"{field}__name"))
    top: QuerySet[Any, Any] = named.annotate(number=Count("pk")).order_by("-number", "called")[:NAMED]
    return top


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"id": row["held"], "name": row["called"], "number": row["number"]} for row in rows]


def paths(uses: QuerySet[Use]) -> QuerySet[Use, Any]:
    """How the first of them are reached."""
    first: QuerySet[Use, Any] = uses.order_by("client__name", "credential__name", "server__name").values(*PATH)[:PATHS]
    return first


def _places(chosen: QuerySet[Credential]) -> QuerySet[Credential, Any]:
    """Each connection and kind of credential, how many there are, and how much is done there at once."""
    held = chosen.values("connection", "kind", place=F("connection__name"), place_kind=F("connection__kind"))
    load = ProviderLoad.objects.filter(connection=OuterRef("connection")).values("at_once")[:1]
    found: QuerySet[Credential, Any] = held.annotate(number=Count("pk"), load=Subquery(load)).order_by("place", "kind")
    return found


def predicted(rows: Sequence[Mapping[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """For each connection and kind of credential: how soon the first and the last of them would be seen refused."""
    seen = _medians([row["connection"] for row in rows], since=now - HISTORY)
    waiting: dict[str, int] = {}
    hops = []
    for row in rows:
        can_be_asked = row["place_kind"] in OPERABLE
        seconds, basis = _expected(row, seen)
        before = waiting.get(row["connection"], 0)
        at_once = row["load"] or ProviderLoad._meta.get_field("at_once").default
        waiting[row["connection"]] = before + row["number"]
        last = None if seconds is None else seconds * ceil((before + row["number"]) / at_once)
        hops.append(
            {
                "connection": row["connection"],
                "name": row["place"],
                "kind": row["kind"],
                "credentials": row["number"],
                "can_be_asked": can_be_asked,
                "first_refused_in": seconds,
                "last_refused_in": last,
                "at_once": at_once if can_be_asked else None,
                "basis": basis,
                "proof": PROVED.get(row["place_kind"], "by whoever does it, in words") if can_be_asked else "",
            }
        )
    return hops


def _expected(row: Mapping[str, Any], seen: Mapping[tuple[str, str], tuple[float, int]]) -> tuple[int | None, str]:
    known = seen.get((row["connection"], row["kind"]))
    if known is not None:
        return max(1, round(known[0])), f"median of {known[1]} revocations there in the last {HISTORY.days} days"
    if row["place_kind"] in ASSUMED:
        seconds, why = ASSUMED[row["place_kind"]]
        return seconds, f"assumed: {why}"
    return None, "by hand: nobody can be asked, so it takes as long as a person takes"


def _medians(places: Sequence[str], *, since: datetime) -> dict[tuple[str, str], tuple[float, int]]:
    with database.cursor() as cursor:
        cursor.execute(
            """
            SELECT o.connection_id, c.kind,
              percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM o.refused_at - o.requested_at)), count(*)
            FROM lifecycle_operation o JOIN inventory_credential c ON c.id = o.credential_id
            WHERE o.connection_id = ANY (%(places)s::uuid[]) AND o.kind = %(kind)s AND o.refused_at IS NOT NULL
              AND o.requested_at > %(since)s AND o.is_urgent AND NOT o.by_hand AND o.proof = %(proof)s
            GROUP BY o.connection_id, c.kind""",
            {
                "places": list(places),
                "kind": OperationKind.REVOCATION.value,
                "since": since,
                "proof": Proof.VERIFIED.value,
            },
        )
        return {(str(place), kind): (float(seconds), number) for place, kind, seconds, number in cursor.fetchall()}


def limits() -> OperatingLimits:
    """How much may happen without a second person; the defaults until somebody sets them."""
    return OperatingLimits.objects.first() or OperatingLimits()
