"""Lists an authorization server: what it publishes, its clients, the tokens it tells of and those held by reference."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from django.utils import timezone

from access.actors import Actor
from inventory.actions.client_posture import judge_registered
from inventory.actions.hygiene import score_clients
from inventory.actions.issuers import record_issuers
from inventory.actions.removals import settle_removals
from inventory.discovery.listing import FILE, IDENTITY, NAME, POINTER, SHORT, Discovered, fit
from inventory.fingerprints import fingerprint, public_hint
from inventory.listings import recorded
from inventory.listings.base import Batch, Place
from inventory.listings.issuers import ROLES, Look, judged
from inventory.listings.kept_registrations import KeptRegistrations
from inventory.listings.provided import Settings
from inventory.listings.provided import row as described
from inventory.models import McpClient, McpServer
from inventory.outside import USER_AGENT, guard, references
from inventory.states import CredentialKind, CredentialStatus, Storage, TrustModel
from providers.addresses import LONGEST_ISSUER, is_issuer, split
from providers.authorization import metadata_of, observe_client_document, observe_issuer
from providers.base import DiscoveredCredential, Operable, Problem, Secret
from providers.errors import Denied, Permanent, ProviderError, Transient
from providers.fetch import Fetcher
from providers.oauth import (
    ACCESS_TOKEN,
    REFRESH_TOKEN,
    AuthorizationServer,
    HeldToken,
    Introspector,
    ListedClient,
    Presented,
    authority,
)
from providers.oauth_lifecycle import CONFIDENTIAL, LONGEST_ID, ClientSecrets, Rights, Speaker, Tokens
from providers.observations import ClientObservation, IssuerObservation
from providers.references import ReferenceKind, parse_reference

ENDPOINTS = ("revocation_endpoint", "token_endpoint", "registration_endpoint")
AUTH_METHODS = ("client_secret_basic", "client_secret_post")
MAX_TOKENS = 500
MAX_DOCUMENTS = 500  # of clients that are known by one; the others keep what was last said of them
DOCUMENTS_AT_ONCE = 16
DOCUMENT = "https://"  # what the id of a client begins with that is the address of its document
ACTOR = Actor.system("sync")
Page = TypeVar("Page")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The settings of a connection to an authorization server, read and judged before anything is asked.

    What nobody but an operation needs is in `rights` alone: as whom tokens are revoked, where clients are registered.
    """

    issuer: str
    clients_url: str = ""
    tokens_url: str = ""
    manager: Presented | None = None
    introspector: Introspector | None = None
    tokens: tuple[HeldToken, ...] = ()
    rights: Rights
    registrations: str = ""  # the folder for tokens of registrations that an operation makes

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Setup":
        """Raises `Permanent` with what is wrong in a sentence."""
        settings = Settings(given)
        issuer = _address(settings, "issuer")
        if not issuer:
            raise Permanent("Name the issuer.")
        if not is_issuer(issuer):
            raise Permanent(f"An issuer is an address in ASCII, of at most {LONGEST_ISSUER} characters.")
        if settings.text("role") not in ROLES:  # which every look at this issuer heeds, so it is no matter of this one
            raise Permanent(f"The setting role is {' or '.join(name for name in ROLES if name)}, or left out.")
        # One host for all of it: what a listing or an endpoint elsewhere would be sent is refused.
        bound_to = settings.text("bound_to") or authority(issuer)
        management, client_id, secret = (
            settings.text(name) for name in ("management_token", "client_id", "client_secret")
        )
        introspector = Introspector(
            client_id=client_id,
            secret=_presented(secret, bound_to),
            auth_method=settings.text("client_auth") or AUTH_METHODS[0],
            endpoint=_address(settings, "introspection_endpoint"),
        )
        if introspector.auth_method not in AUTH_METHODS:
            raise Permanent(f"The setting client_auth is {' or '.join(AUTH_METHODS)}.")
        if bool(client_id) is not bool(secret):
            raise Permanent("Tokens are looked up as a client: name both client_id and a reference as client_secret.")
        tokens = [
            HeldToken(reference=reference, value=_presented(reference, bound_to), kind=kind)
            for name, kind in (("tokens", ACCESS_TOKEN), ("refresh_tokens", REFRESH_TOKEN))
            for reference in settings.entries(name)
        ]
        if len(tokens) > MAX_TOKENS or not all(isinstance(token.reference, str) for token in tokens):
            raise Permanent(f"Tokens are named by at most {MAX_TOKENS} references.")
        registrar = settings.text("registration_token")
        rights = Rights(
            issuer=issuer,
            clients_url=_address(settings, "clients_url"),
            tokens_url=_address(settings, "tokens_url"),
            manager=_presented(management, bound_to) if management else None,
            introspector=introspector if client_id else None,
            revokers=_speakers(settings.entries("revoke_as"), bound_to),
            are_tokens_managed=settings.flag("manage_tokens", False),
            are_clients_managed=settings.flag("manage_clients", False),
            endpoints={name: address for name in ENDPOINTS if (address := _address(settings, name))},
            bound_to=bound_to,
            registrar=_presented(registrar, bound_to) if registrar else None,
        )
        for flag, url in (("manage_tokens", rights.tokens_url), ("manage_clients", rights.clients_url)):
            if settings.flag(flag, False) and not (url and management):
                raise Permanent(f"The setting {flag} is about a listing: name its address and a management_token.")
        found = cls(
            issuer=issuer,
            clients_url=rights.clients_url,
            tokens_url=rights.tokens_url,
            manager=rights.manager,
            introspector=rights.introspector,
            tokens=tuple(tokens),
            rights=rights,
            registrations=_folder(settings.text("registrations")),
        )
        settings.end()
        return found

    def server(self, fetcher: Fetcher) -> AuthorizationServer:
        return AuthorizationServer(
            self.issuer,
            fetcher=fetcher,
            clients_url=self.clients_url,
            tokens_url=self.tokens_url,
            manager=self.manager,
            introspector=self.introspector,
        )


def _presented(reference: str, bound_to: str) -> Presented:
    """What gives the secret for one host. Nothing is read yet."""
    return lambda host: references().resolve(reference, bound_to=bound_to, host=host)


def _speakers(entries: Sequence[Any], bound_to: str) -> dict[str, Speaker]:
    """The clients as which their own tokens are revoked, by id."""
    found = {}
    for entry in entries:
        one = Settings(entry if isinstance(entry, dict) else {"client_id": entry})
        client_id, reference, method = (one.text(name) for name in ("client_id", "client_secret", "client_auth"))
        one.end()
        if not client_id:
            raise Permanent("Each entry of revoke_as names a client_id.")
        if method not in ("", *AUTH_METHODS):
            raise Permanent(f"In revoke_as client_auth is {' or '.join(AUTH_METHODS)}.")
        found[client_id] = Speaker(
            client_id=client_id,
            secret=_presented(reference, bound_to) if reference else None,
            auth_method=method or AUTH_METHODS[0],
        )
    return found


def _folder(given: str) -> str:
    """The path of the folder that a reference names."""
    if not given:
        return ""
    reference = parse_reference(given)
    if reference.kind is not ReferenceKind.FILE or reference.key:
        raise Permanent("The setting registrations names a folder as file:/// and its whole path.")
    return reference.place


def operable(settings: Mapping[str, Any], *, label: str, kind: str = CredentialKind.OAUTH_ACCESS_TOKEN) -> Operable:
    """What tokens, or client secrets, of this server can be asked to do. Raises `Permanent` where settings are wrong.

    `label` is what people call the connection, and `kind` that of the credentials that it is about.
    """
    setup = Setup.of(settings)
    bound_to = str(settings.get("bound_to") or authority(setup.issuer))

    def fetcher() -> Fetcher:
        return Fetcher(guard(), user_agent=USER_AGENT)

    async def metadata(asking: Fetcher) -> Mapping[str, Any]:
        return await metadata_of(setup.issuer, asking)

    if kind == CredentialKind.OAUTH_CLIENT_SECRET:
        kept = KeptRegistrations(setup.issuer, folder=setup.registrations, bound_to=bound_to)
        return ClientSecrets(
            setup.rights, registrations=kept, fetcher=fetcher, metadata=metadata, clock=timezone.now, label=label
        )
    return Tokens(setup.rights, fetcher=fetcher, metadata=metadata, clock=timezone.now, label=label)


def _address(settings: Settings, name: str) -> str:
    value = settings.text(name)
    if value and split(value) is None:
        raise Permanent(f"The setting {name} is no address.")
    return value


def check(place: Place) -> str:
    """Say in a sentence what the connection may ask there, after asking. Raises `ProviderError`."""
    setup = Setup.of(place.settings)

    async def asked() -> str:
        async with Fetcher(guard(), user_agent=USER_AGENT) as fetcher:
            observation = await observe_issuer(setup.issuer, fetcher=fetcher, now=place.started_at, gently=True)
            _must_answer(observation)
            return await setup.server(fetcher).check(observation.metadata)

    return asyncio.run(asked())


def _must_answer(observation: IssuerObservation) -> None:
    """Raise `Transient`, with why, for a server that answered nothing."""
    exchanges = list(observation.exchanges.values())
    if not any(exchange.is_answered for exchange in exchanges):
        raise Transient(f"{observation.issuer} does not answer. {exchanges[-1].error if exchanges else ''}".strip())


def look(place: Place) -> Iterator[Batch]:
    setup = Setup.of(place.settings)
    with asyncio.Runner() as runner:
        fetcher = Fetcher(guard(), user_agent=USER_AGENT)
        try:
            looking = _Look(place, setup, runner, fetcher)
            yield looking.at_metadata()
            yield from looking.at_clients()
            yield from looking.at_tokens()
            yield from looking.at_documents()
        finally:
            runner.run(fetcher.__aexit__())


class _Look:
    """One look at one authorization server, part by part. A part that fails leaves the others as true as ever."""

    def __init__(self, place: Place, setup: Setup, runner: asyncio.Runner, fetcher: Fetcher) -> None:
        self.place = place
        self.setup = setup
        self.runner = runner
        self.fetcher = fetcher
        self.server = setup.server(fetcher)
        self.metadata: Mapping[str, Any] = {}
        self.clients: dict[str, str] = {}  # names by id
        self.documents: dict[str, ClientObservation] = {}  # by client id, what is looked for
        self.held: dict[str, DiscoveredCredential] = {}  # by the id that the server gives them

    # ── What it publishes ──────────────────────────────────────────────────────────────────────

    def at_metadata(self) -> Batch:
        """Its metadata, judged. Raises when it does not answer at all."""
        setup = self.setup
        is_keeper = setup.issuer in recorded.keepers()
        observation: IssuerObservation = self.runner.run(
            observe_issuer(setup.issuer, fetcher=self.fetcher, now=self.place.started_at, gently=is_keeper)
        )
        seen = judged([Look(observation=observation, is_keeper=is_keeper)])
        reason = ""
        if observation.metadata is None:
            _must_answer(observation)
            last = list(observation.exchanges.values())[-1]
            reason = last.error or "It publishes no metadata where clients look for it."
        self.metadata = observation.metadata or {}
        return Batch(
            done=1,
            problems=[_problem(setup.issuer, reason)] if reason else [],
            unread=[fit(setup.issuer, FILE)] if reason else [],
            further=[lambda: record_issuers(seen, now=self.place.started_at)],
        )

    # ── Clients ────────────────────────────────────────────────────────────────────────────────

    def at_clients(self) -> Iterator[Batch]:
        if not self.setup.clients_url:
            return
        yield from self._pages(self.server.clients, self._client_batch, self.setup.clients_url)

    def _client_batch(self, page: Sequence[ListedClient | Problem]) -> Batch:
        found = [row for row in page if isinstance(row, ListedClient)]
        self.clients.update((client.client_id, client.name) for client in found)
        return self._batch([self._client(client) for client in found], page)

    def _client(self, client: ListedClient) -> Discovered:
        # One that nobody says how it came is waited for like one that registered itself: somebody decides about it.
        is_document = client.client_id.startswith(DOCUMENT)
        return replace(
            Discovered(
                client_key=self._client_key(client.client_id),
                client_name=fit(client.name or f"Unnamed client {client.client_id}", NAME),
                client_id=fit(client.client_id, NAME),
                authorization_server=self.setup.issuer,
                registration=client.registration or ("cimd" if is_document else "dynamic"),
                redirect_uris=tuple(fit(uri, 2_000) for uri in client.redirect_uris),
                grant_types=tuple(fit(each, 80) for each in client.grant_types),
                software_id=fit(client.software_id, 200),
                application_type=fit(client.application_type, 20),
                client_scopes=tuple(fit(scope, 200) for scope in client.scopes),
                client_issued_at=client.issued_at,
                client_last_used_at=client.last_used_at,
                secret_expires_at=client.secret_expires_at,
                registration_uri=fit(client.registration_uri, 2_000),
            ),
            **self._secret(client),
        )

    def _secret(self, client: ListedClient) -> dict[str, Any]:
        """The secret of a confidential client, which its server alone lists: its date is that of the registration."""
        if client.auth_method not in CONFIDENTIAL or len(client.client_id) > LONGEST_ID:
            return {}
        details = {"auth_method": client.auth_method, "registration_uri": client.registration_uri}
        return {
            "credential_key": fit(f"oauth:{self.setup.issuer}:client:{client.client_id}:secret", IDENTITY),
            "credential_name": fit(f"{client.name or client.client_id} / client secret", NAME),
            "kind": CredentialKind.OAUTH_CLIENT_SECRET.value,
            "issuer": fit(self.setup.issuer, SHORT),
            "principal": client.client_id,
            "trust_model": TrustModel.STATIC_SERVICE.value,
            "scopes": tuple(fit(scope, 200) for scope in client.scopes),
            "storage": Storage.PROVIDER.value,
            "status": CredentialStatus.ACTIVE.value,
            "external_id": client.client_id,
            "details": json.dumps({name: value for name, value in details.items() if value}, sort_keys=True),
            "issued_at": client.issued_at,
            "last_used_at": client.last_used_at,
            "expires_at": client.secret_expires_at,
            "file": fit(self.setup.clients_url, FILE),
        }

    def _client_key(self, client_id: str) -> str:
        return fit(f"oauth:{self.setup.issuer}:{client_id}", IDENTITY)

    # ── Tokens ─────────────────────────────────────────────────────────────────────────────────

    def at_tokens(self) -> Iterator[Batch]:
        kept: list[DiscoveredCredential] = []
        problems: list[Mapping[str, Any]] = []
        stopped = ""
        for token in self.setup.tokens:
            if stopped:
                problems.append(_problem(token.reference, stopped))
                continue
            try:
                found = self.runner.run(
                    self.server.introspect(token, metadata=self.metadata, mark=self._mark(), now=self.place.started_at)
                )
            except (Denied, Transient) as exc:
                # It is not this token that is refused, so the next one would only meet the same.
                stopped = "It was not asked about, after an answer that stands for all."
                problems.append(_problem(token.reference, str(exc)))
                continue
            except ProviderError as exc:
                problems.append(_problem(token.reference, str(exc)))
                continue
            if found.external_id:
                self.held[found.external_id] = found
            else:
                kept.append(found)
            yield Batch(done=1)  # many that answer slowly must not outlast the claim
        if self.setup.tokens_url:
            yield from self._pages(
                lambda: self.server.tokens(now=self.place.started_at), self._token_batch, self.setup.tokens_url
            )
        kept.extend(self.held.values())
        if self.setup.tokens:
            yield Batch(rows=self._token_rows(kept), problems=problems, is_cut_short=bool(problems))

    def _mark(self) -> Callable[[Secret], tuple[str, str]]:
        key = self.place.fingerprint_key()
        return lambda secret: (fingerprint(secret.reveal(), key=key), public_hint(secret.reveal(), None))

    def _token_batch(self, page: Sequence[DiscoveredCredential | Problem]) -> Batch:
        listed = []
        for row in page:
            if not isinstance(row, DiscoveredCredential):
                continue
            if held := self.held.get(row.external_id):
                # The same token, known by its value too; only the listing says when it was last used.
                self.held[row.external_id] = replace(held, last_used_at=row.last_used_at)
            else:
                listed.append(row)
        return self._batch(self._token_rows(listed), page)

    def _token_rows(self, tokens: Sequence[DiscoveredCredential]) -> list[Discovered]:
        servers = _servers({audience for token in tokens for audience in token.details.get("audiences", [])})
        names = self._names({token.principal for token in tokens if token.principal})
        return [row for token in tokens for row in self._token(token, servers, names)]

    def _names(self, client_ids: set[str]) -> Mapping[str, str]:
        """What people call these clients: as listed now, or as an earlier look listed them."""
        keys = {self._client_key(client_id): client_id for client_id in client_ids - self.clients.keys()}
        known = McpClient.objects.filter(identity_key__in=keys).values_list("identity_key", "name")
        return {**self.clients, **{keys[key]: name for key, name in known}}

    def _token(
        self, token: DiscoveredCredential, servers: Mapping[str, McpServer], names: Mapping[str, str]
    ) -> Iterator[Discovered]:
        """The token, once for each server that it is for. Who holds it is known only of a client that was listed."""
        row = replace(
            described(token),
            credential_name=fit(_named(token, names.get(token.principal, "")), NAME),
            file=fit(token.reference or self.setup.tokens_url, FILE),
            pointer=fit(token.external_id, POINTER),
        )
        audiences = token.details.get("audiences", [])
        reached = {servers[audience].pk: servers[audience] for audience in audiences if audience in servers}
        if token.principal not in self.clients or not reached:
            yield row
            return
        for server in reached.values():
            yield replace(
                row,
                client_key=self._client_key(token.principal),
                server_key=server.identity_key,
                server_name=server.name,
                transport=server.transport,
                url=server.url,
            )

    # ── What its clients publish, and what all of it says about them ───────────────────────────

    def at_documents(self) -> Iterator[Batch]:
        """The documents of clients that are known by one, and the writes that follow from the whole look."""
        if not self.setup.clients_url:
            return
        known = McpClient.objects.present().filter(authorization_server__issuer=self.setup.issuer)
        by_document = known.filter(client_id__startswith=DOCUMENT).values_list("client_id", flat=True)
        listed = {client for client in self.clients if client.startswith(DOCUMENT)}
        asked = sorted(listed | set(by_document[:MAX_DOCUMENTS]))[:MAX_DOCUMENTS]
        self.documents = self.runner.run(self._observed(asked))
        yield Batch(further=[self._judge, self._score, self._settle])

    async def _observed(self, clients: Sequence[str]) -> dict[str, ClientObservation]:
        room = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

        async def one(client: str) -> ClientObservation:
            async with room:
                return await observe_client_document(client, fetcher=self.fetcher, now=self.place.started_at)

        return dict(zip(clients, await asyncio.gather(*(one(client) for client in clients)), strict=True))

    def _judge(self) -> Mapping[str, int]:
        return judge_registered(
            self.setup.issuer,
            documents=self.documents,
            are_uses_known=bool(self.setup.tokens_url),
            now=self.place.started_at,
        )

    def _score(self) -> Mapping[str, int]:
        return score_clients(self.setup.issuer, now=self.place.started_at)

    def _settle(self) -> Mapping[str, int]:
        return settle_removals(self.setup.issuer, looked_at=self.place.started_at, actor=ACTOR, now=self.place.clock())

    # ── Page by page ───────────────────────────────────────────────────────────────────────────

    def _pages(
        self, pages: Callable[[], AsyncIterator[Page]], batch: Callable[[Page], Batch], place: str
    ) -> Iterator[Batch]:
        """Each page as a batch. A listing that ends early is a problem of its own, and takes nothing for gone."""
        asked = pages()

        async def following() -> Page | None:
            return await anext(asked, None)

        try:
            while (page := self.runner.run(following())) is not None:
                yield batch(page)
        except ProviderError as exc:
            yield Batch(problems=[_problem(place, str(exc))], is_cut_short=True)

    def _batch(self, rows: Sequence[Discovered], page: Sequence[Any]) -> Batch:
        problems = [_problem(row.place, row.reason) for row in page if isinstance(row, Problem)]
        return Batch(rows=rows, done=len(page), problems=problems, is_cut_short=bool(problems))


def _named(token: DiscoveredCredential, client: str) -> str:
    return f"{client}{token.name.removeprefix(token.principal)}" if client and token.principal else token.name


def _servers(audiences: set[str]) -> dict[str, McpServer]:
    """The known MCP servers that these audiences name. One slash at the end makes no other server of it."""
    spellings = {spelling: audience for audience in audiences for spelling in _spellings(audience)}
    keys = {fit(f"url:{spelling}", IDENTITY): audience for spelling, audience in spellings.items()}
    # An audience that is no known server may be any interface of the company, so none is made up from it.
    known = McpServer.objects.present().filter(identity_key__in=keys).order_by("pk")
    return {keys[server.identity_key]: server for server in known}


def _spellings(audience: str) -> tuple[str, ...]:
    return (audience, audience.removesuffix("/")) if audience.endswith("/") else (audience, f"{audience}/")


def _problem(place: str, reason: str) -> dict[str, Any]:
    return {"file": fit(place, FILE), "reason": reason}
