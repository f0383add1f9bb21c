"""A value in its context: a literal secret, a reference to one, a placeholder for one, or no credential at all."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

from inventory.discovery import formats, values
from inventory.discovery.catalogue import Catalogue
from inventory.discovery.model import Class, Confidence, FoundCredential, Kind
from inventory.discovery.names import NameSense, Sense, sense_of, words
from inventory.discovery.vocabulary import word_set
from inventory.fingerprints import fingerprint, public_hint


class Where(Enum):
    """The sort of place a value stands in."""

    ENV = "env"
    HEADER = "header"
    FLAG = "flag"
    ARGUMENT = "argument"
    QUERY = "query"
    FIELD = "field"


@dataclass(slots=True)
class Draft:
    """A credential on its way to `FoundCredential`; the only object that holds the secret, and not for long."""

    pointer: str
    class_: Class
    kind: Kind
    name: str
    issuer: str | None = None
    secret: str = field(default="", repr=False)
    prefix: str = ""
    confidence: Confidence = Confidence.HIGH
    external_id: str | None = None
    account: str | None = None
    reference: str | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    is_identifier: bool = False
    """The public half of a pair; listed only as the pair's external id."""
    is_guess: bool = False
    """Its name says nothing: dropped unless the catalogue recognises it."""
    is_secret_hint_free: bool = False
    """Chosen by a person, so not even its last four are shown."""

    def freeze(self, key: bytes) -> FoundCredential:
        """The credential without its secret."""
        literal = self.class_ is Class.LITERAL
        hint = None
        if literal:
            hint = public_hint(self.secret, self.prefix) if not self.is_secret_hint_free else "…"
        return FoundCredential(
            pointer=self.pointer,
            class_=self.class_,
            kind=self.kind,
            name=self.name,
            issuer=self.issuer,
            fingerprint=fingerprint(self.secret, key=key) if literal else None,
            hint=hint,
            external_id=self.external_id,
            account=self.account,
            reference=self.reference,
            issued_at=self.issued_at,
            expires_at=self.expires_at,
            confidence=self.confidence,
        )


class _Recipe(NamedTuple):
    """A finding without a secret, to be made again at another place."""

    class_: Class
    kind: Kind
    issuer: str | None
    reference: str | None


_UNSEEN = _Recipe(Class.PLACEHOLDER, Kind.OTHER, None, None)
_MAX_REMEMBERED = 200
_MAX_SETTLED = 50_000

_SCHEME = re.compile(
    r"(?P<scheme>bearer|basic|token|apikey|api-key|bot|key|oauth|genie-?key|sso-key|splunk|digest|ssws|jwt)\s+(?=\S)",
    re.IGNORECASE,
)
_SCHEME_TOKEN_EQUALS = re.compile(r"token\s*=\s*\"?", re.IGNORECASE)
_URLS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{1,30}://(?:[^\s\"'<>`]|<[^\s<>]*>)+")
_PAIRS = re.compile(
    r"(?:^|[;\s,&?])(?P<name>password|pwd|user password|accesskey|accountkey|sharedaccesskey|secret|token|api[_ ]?key)"
    r"\s*="
    r"\s*(?P<value>'[^']*'|\"[^\"]*\"|[^;\s&]*)",
    re.IGNORECASE,
)
_CONNECTION_FIELDS = re.compile(
    r"(?:server|data source|host|hostaddr|endpoint|dbname|database|uid|user id|user)\s*=", re.IGNORECASE
)
_HEADER_LINE = re.compile(r"\s*(?P<name>[A-Za-z][A-Za-z0-9_-]{1,60})\s*[:=]\s*(?P<value>.+?)\s*\Z", re.DOTALL)
_DATABASE_SCHEMES = word_set(
    "postgres postgresql mysql mariadb mongodb mongodb+srv redis rediss amqp amqps mssql sqlserver oracle "
    "clickhouse cockroachdb neo4j neo4j+s bolt bolt+s snowflake cassandra couchbase couchbases postgresql+asyncpg "
    "postgresql+psycopg postgresql+psycopg2 mysql+pymysql mssql+pyodbc jdbc ldap ldaps nats kafka valkey libsql "
    "duckdb sqlite"
)
_REFERENCE_SCHEMES = (
    "op://",
    "vault:",
    "keyvault:",
    "aws-sm",
    "aws-ssm",
    "arn:",
    "gcp-sm",
    "gcpsm",
    "doppler:",
    "infisical:",
    "bws:",
    "keychain:",
    "keyring:",
    "1password:",
    "sops:",
    "ref+",
    "docker-secret:",
    "akeyless:",
    "conjur:",
    "secretsmanager:",
    "ssm:",
    "akv:",
    "secretref",
    "@microsoft.keyvault(",
)
_CAPABILITY_LABELS = word_set(
    "s u mcp sse webhook webhooks hook hooks token tokens key keys secret h c connect services trigger triggers "
    "invoke t auth session"
)
_CAPABILITY_HOSTS = (
    "zapier.com",
    "pipedream.net",
    "pipedream.com",
    "composio.dev",
    "make.com",
    "n8n.cloud",
    "klavis.ai",
    "gumloop.com",
    "viasocket.com",
    "activepieces.com",
    "pabbly.com",
    "smithery.ai",
    "mcp.run",
    "relay.app",
    "rube.app",
    "integromat.com",
    "ifttt.com",
    "glama.ai",
    "metamcp.com",
)
_NO_SECRET: list[Draft] = []
_MAX_VALUE = 64 * 1024
_MAX_INLINE_VALUES = 500


class Judge:
    """Classifies values under one fingerprint key, one file at a time."""

    def __init__(self, key: bytes, catalogue: Catalogue | None = None) -> None:
        self.key = key
        self._catalogue = catalogue
        self._expected: list[str] | None = None
        self._settled: dict[tuple[str, str, Where], _Recipe | None] = {}

    @contextmanager
    def expecting(self, text: str, format_: str) -> Iterator[list[formats.Match]]:
        """While one file is read: its known formats, searched for once in its whole text.

        A value in which none of them occurs needs no search of its own. That holds for JSON without escapes; of any
        other text each value is searched.
        """
        matches = list(formats.find(text))
        if format_ == "json" and not any(sign in text for sign in ("\\u", "\\/", "\\x", "%", "-----BEGIN")):
            self._expected = [text[m.start : m.end] for m in matches]
        try:
            yield matches
        finally:
            self._expected = None

    def betrays(self, text: str) -> bool:
        """Whether a known format stands in a text that is to be shown."""
        if self._expected is not None:
            return any(secret in text for secret in self._expected)
        return len(text) > 24 and any(not m.format.is_identifier for m in formats.find(text))

    # -- one value ----------------------------------------------------------------------------------------------------

    def value(self, raw: object, name: str, pointer: str, where: Where, depth: int = 0) -> list[Draft]:
        """The credentials in one value; usually none or one."""
        if isinstance(raw, str):
            text = raw.strip()
        elif isinstance(raw, dict | list):
            return self._structure(raw, name, pointer, where, depth)
        elif isinstance(raw, int | float) and not isinstance(raw, bool):
            text = str(raw)
        else:
            return _NO_SECRET
        sense = sense_of(name)
        if not text:
            empty = where in (Where.ENV, Where.HEADER, Where.FIELD) and sense.sense is Sense.SAYS
            return [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)] if empty else _NO_SECRET
        if len(text) > _MAX_REMEMBERED:
            return self._text(text[:_MAX_VALUE], name, sense, pointer, where, depth)
        # The same settings stand in file after file. What was found to hold no secret may be remembered.
        key = (name, text, where)
        known = self._settled.get(key, _UNSEEN)
        if known is None:
            return _NO_SECRET
        if known is not _UNSEEN:
            return [Draft(pointer, known.class_, known.kind, name, known.issuer, reference=known.reference)]
        drafts = self._text(text, name, sense, pointer, where, depth)
        if len(self._settled) < _MAX_SETTLED:
            if not drafts:
                self._settled[key] = None
            elif len(drafts) == 1 and not drafts[0].secret and drafts[0].name == name:
                only = drafts[0]
                self._settled[key] = _Recipe(only.class_, only.kind, only.issuer, only.reference)
        return drafts

    def _text(  # noqa: PLR0917 (the value's whole context)
        self, text: str, name: str, sense: NameSense, pointer: str, where: Where, depth: int
    ) -> list[Draft]:
        # Most settings are short plain words under a name that says nothing; they are done here.
        if sense.sense <= Sense.SILENT and len(text) < 12 and "$" not in text and "{" not in text:
            return _NO_SECRET
        if text[0] in "{[" and depth < 4:
            inner = self._inline_json(text, name, pointer, depth)
            if inner is not None:
                return inner
        found, rest = values.interpolations(text)
        if found:
            return self._interpolated(text, found, rest, name, sense, pointer, where, depth)
        stripped, scheme = self._without_scheme(text) if " " in text else (text, "")
        if scheme == "basic":
            return self._basic(stripped, name, sense, pointer)
        if scheme:
            text = stripped
            if sense.sense < Sense.HINTS:
                sense = replace(sense, sense=Sense.HINTS)
        if sense.sense is Sense.VARIABLE and (values.is_noise(text) or next(formats.find(text), None) is not None):
            sense = replace(sense, sense=Sense.SAYS)  # the secret itself where its variable's name belongs
        if sense.sense is Sense.VARIABLE:
            return [self._plain_draft(Class.REFERENCE, name, pointer, sense, reference=f"env:{text[:200]}")]
        reference = self._reference(text, sense)
        if reference is not None:
            return [self._plain_draft(Class.REFERENCE, name, pointer, sense, reference=reference)]
        if "://" in text:
            drafts, is_address = self._addresses(text, name, sense, pointer, depth)
            if drafts or is_address:
                return drafts
        if "=" in text and (";" in text or " " in text) and _CONNECTION_FIELDS.search(text):
            drafts = self._pairs(text, name, pointer)
            if drafts:
                return drafts
        if "headers" in name.lower() and depth < 3:
            return self._header_list(text, pointer, depth)
        drafts = self._known(text, name, sense, pointer, where)
        if drafts:
            return drafts
        return self._unknown(text, name, sense, pointer, where, bool(scheme), depth)

    # -- parts of the decision ----------------------------------------------------------------------------------------

    @staticmethod
    def _without_scheme(text: str) -> tuple[str, str]:
        match = _SCHEME.match(text)
        if match is None:
            return text, ""
        scheme = match["scheme"].lower()
        rest = text[match.end() :].strip()
        # "token" and "key" are also plain words: "key of the realm" is prose.
        if " " in rest and scheme not in {"bearer", "basic", "digest"}:
            return text, ""
        inner = _SCHEME_TOKEN_EQUALS.match(rest)
        return (rest[inner.end() :].rstrip('"') if inner else rest), scheme

    def _interpolated(  # noqa: PLR0917 (the value's whole context)
        self,
        text: str,
        found: list[values.Reference],
        rest: str,
        name: str,
        sense: NameSense,
        pointer: str,
        where: Where,
        depth: int,
    ) -> list[Draft]:
        drafts: list[Draft] = []
        for reference in found:
            if reference.default and depth < 4:
                inner_name = name if sense.sense >= Sense.HINTS else reference.variable
                for draft in self.value(reference.default, inner_name, pointer, where, depth + 1):
                    if draft.class_ is Class.LITERAL:
                        draft.reference = reference.text
                        draft.name = name
                        drafts.append(draft)
        # The text around a reference is judged by known formats only: it is mostly a scheme word or a URL.
        drafts += [d for d in self._known(rest, name, sense, pointer, where) if d.class_ is Class.LITERAL]
        if "://" in text and not drafts:
            drafts += self._addresses(text, name, sense, pointer, depth)[0]
        if drafts:
            return drafts
        kind, issuer = sense.kind, sense.issuer
        is_secretish = sense.sense in (Sense.SAYS, Sense.HINTS)
        for reference in found:
            if reference.is_surroundings:
                continue
            named = reference.text.partition(":")[2].strip("'\" ")
            if is_secretish and values.is_noise(named):  # filled in without taking the marks away
                return [self._literal(named, name, sense, pointer, Confidence.MEDIUM)]
            inner = sense_of(reference.variable)
            if is_secretish or inner.sense in (Sense.SAYS, Sense.HINTS) or reference.text.startswith("secret:"):
                if sense.sense in (Sense.FILE, Sense.DENIES) and inner.sense is not Sense.SAYS:
                    continue
                if kind is Kind.OTHER or (kind is Kind.API_KEY and inner.kind is not Kind.OTHER):
                    kind = inner.kind if inner.kind is not Kind.OTHER else kind
                return [
                    Draft(
                        pointer,
                        Class.REFERENCE,
                        kind,
                        name,
                        issuer or inner.issuer,
                        reference=self._without_known(reference.text),
                    )
                ]
        return drafts

    @staticmethod
    def _without_known(text: str) -> str:
        return "…" if next(formats.find(text), None) is not None else text[:300]

    @staticmethod
    def _reference(text: str, sense: NameSense) -> str | None:
        lowered = text[:24].lower()
        if (
            lowered.startswith(_REFERENCE_SCHEMES)
            or (sense.sense >= Sense.HINTS and ":" in text)
            or ".vault.azure.net/" in text
        ):
            reference = values.reference_of(text)
            if reference is not None:
                return reference.text
        if sense.sense is Sense.FILE and values.is_path(text):
            return f"file:{text[:300]}"
        if sense.sense >= Sense.HINTS and values.is_path(text) and "\n" not in text:
            return f"file:{text[:300]}"
        if "/secrets/" in text and text.startswith("projects/"):
            reference = values.reference_of(text)
            return reference.text if reference else None
        return None

    def _basic(self, encoded: str, name: str, sense: NameSense, pointer: str) -> list[Draft]:
        if values.is_placeholder(encoded):
            return [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)]
        decoded = decode_base64(encoded)
        user, colon, password = (decoded or "").partition(":")
        if not colon:
            return self._known(encoded, name, sense, pointer, Where.HEADER) or [
                Draft(pointer, Class.LITERAL, Kind.OTHER, name, sense.issuer, encoded, confidence=Confidence.MEDIUM)
            ]
        secret, external = (
            (password, user) if password and password.lower() not in {"x", "x-oauth-basic"} else (user, None)
        )
        if values.is_placeholder(secret):
            return [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)]
        known = self._known(secret, name, sense, pointer, Where.HEADER, decoded=True)
        if known:
            known[0].external_id = known[0].external_id or external
            return known
        return [
            Draft(
                pointer,
                Class.LITERAL,
                Kind.OTHER,
                name,
                sense.issuer,
                secret,
                external_id=external[:200] if external else None,
                is_secret_hint_free=not values.is_random(secret),
            )
        ]

    def _known(
        self, text: str, name: str, sense: NameSense, pointer: str, where: Where, *, decoded: bool = False
    ) -> list[Draft]:
        """Credentials in the text whose format gives them away. `decoded` text does not stand in the file as it is."""
        if len(text) < 15:
            return []
        if not decoded and self._expected is not None and not any(secret in text for secret in self._expected):
            return []
        drafts: list[Draft] = []
        for match in formats.find(text, name):
            secret = text[match.start : match.end]
            row = match.format
            if row.issuer == "Private key":
                # In one-line values the line ends are written out; the same key is the same secret either way.
                secret = secret.replace("\\r", "").replace("\\n", "\n").strip()
            if formats.is_public(secret):
                continue
            if row.confidence is Confidence.MEDIUM and len(match.prefix) in (1, 2, 3) and sense.sense <= Sense.SILENT:
                # Three letters at the start of noise are no evidence where the name is none either.
                continue
            body = secret[len(match.prefix) :]
            if formats.is_vendor_sample(secret) or (len(body) < 600 and values.is_hollow(body)):
                drafts.append(Draft(pointer, Class.PLACEHOLDER, row.kind, name, row.issuer))
                continue
            draft = Draft(
                pointer,
                Class.LITERAL,
                row.kind,
                name,
                row.issuer,
                secret,
                match.prefix,
                row.confidence,
                is_identifier=row.is_identifier,
            )
            self._inspect(draft, sense, where)
            drafts.append(draft)
        return drafts

    @staticmethod
    def _inspect(draft: Draft, sense: NameSense, where: Where) -> None:
        """What the value tells offline about itself."""
        if draft.is_identifier:
            draft.external_id = draft.secret
            draft.account = formats.aws_account(draft.secret)
        elif draft.issuer == "GitHub":
            if formats.github_checksum_holds(draft.secret) is False:
                draft.confidence = Confidence.MEDIUM
        elif draft.issuer == "JWT":
            draft.issuer = sense.issuer
            if sense.kind in (Kind.OAUTH_REFRESH_TOKEN, Kind.REGISTRATION_TOKEN, Kind.OAUTH_CLIENT_SECRET):
                draft.kind = sense.kind
            elif where is not Where.HEADER and "key" in words(draft.name):
                draft.kind = Kind.API_KEY
            claims = formats.jwt_claims(draft.secret)
            if claims is None:
                return
            draft.confidence = Confidence.HIGH
            draft.issuer = draft.issuer or ("Supabase" if claims.issuer == "supabase" else claims.issuer)
            draft.issued_at, draft.expires_at = claims.issued_at, claims.expires_at
            if claims.is_sample:
                draft.class_, draft.secret = Class.PLACEHOLDER, ""

    def _unknown(  # noqa: PLR0917 (the value's whole context)
        self, text: str, name: str, sense: NameSense, pointer: str, where: Where, has_scheme: bool, depth: int
    ) -> list[Draft]:
        level = sense.sense
        if formats.is_public(text):
            return []
        if level in (Sense.SILENT, Sense.DENIES, Sense.FILE):
            encoded = self._encoded(text, name, pointer, depth)
            if encoded:
                return encoded
            if (
                self._catalogue is not None
                and level is Sense.SILENT
                and where is not Where.ARGUMENT
                and values.is_random(text)
                and not values.UUID.match(text)
            ):
                return [
                    Draft(
                        pointer,
                        Class.LITERAL,
                        sense.kind,
                        name,
                        sense.issuer,
                        text,
                        is_guess=True,
                        confidence=Confidence.MEDIUM,
                    )
                ]
            return []
        is_random = values.is_random(text)
        if formats.is_vendor_sample(text):
            return [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)]
        # Words that mark a placeholder stand apart from each other; unbroken noise has none.
        if (
            values.is_typed_noise(text)
            if is_random and text.isalnum() and not text.isalpha()
            else len(text) < 120 and values.is_placeholder(text)
        ):
            return [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)]
        if values.is_plain(text) and not (text.isdigit() and len(text) >= 8 and level is Sense.SAYS):
            return []
        if is_random:
            encoded = self._encoded(text, name, pointer, depth)
            if encoded:
                return encoded
            if values.UUID.match(text) and level is Sense.HINTS and not sense.issuer and where is not Where.QUERY:
                return []
            return [
                self._literal(text, name, sense, pointer, Confidence.HIGH if level is Sense.SAYS else Confidence.MEDIUM)
            ]
        if level is Sense.HINTS and not has_scheme:
            return []
        if " " in text and "passphrase" not in name.lower() and "mnemonic" not in name.lower():
            # Prose in a secret's place: a remark for whoever fills it in.
            return (
                [self._plain_draft(Class.PLACEHOLDER, name, pointer, sense)]
                if text.count(" ") > 1
                else [self._literal(text, name, sense, pointer, Confidence.LOW)]
            )
        if len(text) < 3 or (where in (Where.FLAG, Where.QUERY) and len(text) < 5):
            return []
        confidence = Confidence.MEDIUM if len(text) >= 8 else Confidence.LOW
        return [self._literal(text, name, sense, pointer, confidence)]

    @staticmethod
    def _literal(text: str, name: str, sense: NameSense, pointer: str, confidence: Confidence) -> Draft:
        return Draft(
            pointer,
            Class.LITERAL,
            sense.kind,
            name,
            sense.issuer,
            text,
            confidence=confidence,
            is_secret_hint_free=not values.is_random(text),
        )

    @staticmethod
    def _plain_draft(class_: Class, name: str, pointer: str, sense: NameSense, reference: str | None = None) -> Draft:
        return Draft(pointer, class_, sense.kind, name, sense.issuer, reference=reference)

    # -- values inside values -----------------------------------------------------------------------------------------

    def _structure(self, tree: object, name: str, pointer: str, where: Where, depth: int) -> list[Draft]:
        drafts: list[Draft] = []
        for count, (inner_name, leaf) in enumerate(leaves(tree, name)):
            if count >= _MAX_INLINE_VALUES:
                break
            drafts += self.value(leaf, inner_name, pointer, where, depth + 1)
        return drafts

    def _inline_json(self, text: str, name: str, pointer: str, depth: int) -> list[Draft] | None:
        if text[-1] not in "}]" or len(text) < 7:
            return None
        try:
            tree: Any = json.loads(text, strict=False)
        except (ValueError, RecursionError):
            return None
        if not isinstance(tree, dict | list):
            return None
        if (
            isinstance(tree, dict)
            and tree.get("type") == "service_account"
            and isinstance(tree.get("private_key"), str)
        ):
            return [self._service_account(tree, name, pointer)]
        return self._structure(tree, name, pointer, Where.FIELD, depth)

    @staticmethod
    def _service_account(tree: dict[str, Any], name: str, pointer: str) -> Draft:
        secret = tree["private_key"]
        if values.is_placeholder(secret) or "PRIVATE KEY" not in secret:
            return Draft(pointer, Class.PLACEHOLDER, Kind.OTHER, name, "Google")
        key_id = tree.get("private_key_id")
        return Draft(
            pointer,
            Class.LITERAL,
            Kind.OTHER,
            name,
            "Google",
            secret,
            external_id=key_id[:100] if isinstance(key_id, str) else None,
        )

    def _encoded(self, text: str, name: str, pointer: str, depth: int) -> list[Draft]:
        """Credentials in base64 of JSON: `config=` parameters, key files in one variable."""
        if depth >= 3 or not text.startswith(("ey", "ew", "LS0t")) or len(text) < 16 or "." in text:
            return []
        decoded = decode_base64(text)
        if decoded is None:
            return []
        if decoded.startswith("{"):
            kept, self._expected = self._expected, None
            try:
                return self._inline_json(decoded.strip(), name, pointer, depth + 1) or []
            finally:
                self._expected = kept
        return self._known(decoded, name, sense_of(name), pointer, Where.FIELD, decoded=True)

    def _header_list(self, text: str, pointer: str, depth: int) -> list[Draft]:
        drafts: list[Draft] = []
        for piece in re.split(r"[,\n;]", text)[:50]:
            match = _HEADER_LINE.match(piece)
            if match is not None:
                drafts += self.value(unquote(match["value"]), match["name"], pointer, Where.HEADER, depth + 1)
        return drafts

    def _pairs(self, text: str, name: str, pointer: str) -> list[Draft]:
        drafts: list[Draft] = []
        for match in _PAIRS.finditer(text):
            secret = match["value"].strip("'\"")
            if len(secret) < 3:
                continue
            is_database = match["name"].lower() in {"password", "pwd", "user password"}
            kind = Kind.DATABASE_PASSWORD if is_database else Kind.API_KEY
            if values.is_placeholder(secret):
                drafts.append(Draft(pointer, Class.PLACEHOLDER, kind, name, sense_of(name).issuer))
            else:
                drafts.append(
                    Draft(
                        pointer,
                        Class.LITERAL,
                        kind,
                        name,
                        sense_of(name).issuer,
                        secret,
                        is_secret_hint_free=not values.is_random(secret),
                    )
                )
        return drafts

    # -- addresses ----------------------------------------------------------------------------------------------------

    def _addresses(self, text: str, name: str, sense: NameSense, pointer: str, depth: int) -> tuple[list[Draft], bool]:
        """Credentials in the URLs of a text, and whether the text is nothing but an address."""
        drafts: list[Draft] = []
        for match in _URLS.finditer(text):
            drafts += self.address(match.group(), name, pointer, depth)[1]
        return drafts, values.is_url(text)

    def address(self, url: str, name: str, pointer: str, depth: int = 0) -> tuple[str, list[Draft]]:
        """A URL without its secrets, and the credentials that were in it."""
        drafts: list[Draft] = []
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        is_database = scheme in _DATABASE_SCHEMES or scheme.partition("+")[0] in _DATABASE_SCHEMES
        issuer = sense_of(name).issuer
        rest, _, _fragment = rest.partition("#") if "@" not in rest.partition("#")[2] else (rest, "", "")
        userinfo, rest = _split_userinfo(rest)
        if userinfo:
            drafts += self._userinfo(userinfo, name, pointer, issuer, is_database)
        path, question, query = rest.partition("?")
        if question:
            query = self._query(query, pointer, drafts, depth)
        if "hooks.slack.com/" in path:
            drafts += self._known(f"{scheme}://{path}", name, sense_of(name), pointer, Where.FIELD)
            path = path.partition("/")[0] + "/…"
        elif scheme in {"http", "https", "ws", "wss"} and path.count("/") > 0:
            path = self._path(path, name, pointer, drafts)
        return f"{scheme}://{path}" + (f"?{query}" if query else ""), drafts

    def _userinfo(self, userinfo: str, name: str, pointer: str, issuer: str | None, is_database: bool) -> list[Draft]:
        user, colon, password = userinfo.partition(":")
        kind = Kind.DATABASE_PASSWORD if is_database else Kind.OTHER
        secret = unquote(password) if colon and password else unquote(user)
        found, _ = values.interpolations(secret)
        if found:
            return [Draft(pointer, Class.REFERENCE, kind, name, issuer, reference=found[0].text)]
        if not colon or not password:
            # `https://TOKEN@host`: only a token stands alone; a user name does too.
            known = self._known(secret, name, sense_of(name), pointer, Where.FIELD)
            if known or not values.is_random(secret):
                return known
            # A Sentry DSN holds a public key there, by design.
            return (
                []
                if values.is_random(secret) and "dsn" in words(name)
                else [Draft(pointer, Class.LITERAL, kind, name, issuer, secret, confidence=Confidence.MEDIUM)]
            )
        if values.is_placeholder(secret):
            return [Draft(pointer, Class.PLACEHOLDER, kind, name, issuer)]
        known = self._known(secret, name, sense_of(name), pointer, Where.FIELD)
        if known:
            return known
        weak = secret == unquote(user) or secret.lower() in {"postgres", "root", "admin", "guest"}
        return [
            Draft(
                pointer,
                Class.LITERAL,
                kind,
                name,
                issuer,
                secret,
                confidence=Confidence.LOW if weak else Confidence.HIGH,
                external_id=unquote(user)[:100] or None,
                is_secret_hint_free=not values.is_random(secret),
            )
        ]

    def _query(self, query: str, pointer: str, drafts: list[Draft], depth: int) -> str:
        kept = []
        for part in query.split("&")[:200]:
            key, equals, encoded = part.partition("=")
            inner: list[Draft] = []
            if equals and encoded:
                plain = unquote_plus(encoded) if "%" in encoded or "+" in encoded else encoded
                inner = self.value(plain, unquote(key), pointer, Where.QUERY, depth + 1)
            if inner:
                drafts += inner
            if not any(d.class_ is Class.LITERAL and not d.is_guess for d in inner):
                kept.append(_without_noise(part))
        return "&".join(kept)

    def _parameters(self, segment: str, pointer: str, drafts: list[Draft]) -> str:
        """A path segment with parameters of its own: `x;token=…`."""
        kept = []
        for part in segment.split(";")[:50]:
            key, _, encoded = part.partition("=")
            inner = self.value(unquote(encoded), unquote(key), pointer, Where.QUERY, 2) if encoded else []
            drafts += inner
            is_held = any(d.class_ is Class.LITERAL and not d.is_guess for d in inner)
            kept.append(f"{key}=…" if is_held else _without_noise(part))
        return ";".join(kept)

    def _path(self, path: str, name: str, pointer: str, drafts: list[Draft]) -> str:
        segments = path.split("/")
        host = segments[0].lower().partition(":")[0]
        is_gateway = host.endswith(_CAPABILITY_HOSTS)
        for index, segment in enumerate(segments[1:], 1):
            if len(segment) < 16 or "$" in segment or "{" in segment:
                continue
            if ";" in segment:
                segments[index] = self._parameters(segment, pointer, drafts)
                continue
            secret = unquote(segment)
            known = self._known(secret, name, sense_of(name), pointer, Where.FIELD)
            if known:
                drafts += known
            else:
                follows_label = segments[index - 1].lower() in _CAPABILITY_LABELS
                if not values.is_random(secret) or values.is_placeholder(secret):
                    continue
                # A commit, a UUID or a hex id in a path is usually just an address.
                is_id = values.UUID.match(secret) is not None or re.fullmatch(r"[0-9a-f]+", secret) is not None
                if not (
                    is_gateway or (follows_label and (is_id or len(secret) >= 20)) or (not is_id and len(secret) >= 32)
                ):
                    continue
                drafts.append(
                    Draft(
                        pointer,
                        Class.LITERAL,
                        Kind.OTHER,
                        name,
                        _gateway_label(host),
                        secret,
                        confidence=Confidence.MEDIUM if is_gateway else Confidence.LOW,
                    )
                )
            segments[index] = "…"
        return "/".join(segments)

    def in_text(self, text: str, matches: Iterable[formats.Match] | None = None) -> Iterator[tuple[Draft, int]]:
        """Literals of known formats in a whole text, with their place; not the weak forms, as nothing names them."""
        silent = sense_of("")
        for match in formats.find(text) if matches is None else matches:
            row = match.format
            if row.confidence is Confidence.HIGH or row.issuer == "JWT":
                for draft in self._known(text[match.start : match.end], "", silent, "", Where.FIELD, decoded=True):
                    if draft.class_ is Class.LITERAL and not draft.is_identifier:
                        yield draft, match.start

    # -- a whole file -------------------------------------------------------------------------------------------------

    def settle(self, drafts: list[Draft]) -> list[Draft]:
        """Ask the catalogue about what the own table did not know, and drop guesses that it does not know either."""
        open_ones = [
            d
            for d in drafts
            if d.class_ is Class.LITERAL
            and (d.is_guess or d.issuer is None)
            and not d.is_secret_hint_free
            and 16 <= len(d.secret) <= 512
        ]
        if open_ones and self._catalogue is not None:
            for draft, known in zip(
                open_ones, self._catalogue.recognise([(d.name, d.secret) for d in open_ones]), strict=True
            ):
                if known is not None:
                    draft.is_guess = False
                    draft.issuer = draft.issuer or known.issuer
                    draft.kind = known.kind if draft.kind is Kind.OTHER and known.kind is not None else draft.kind
        return [d for d in drafts if not d.is_guess]


def pair_up(drafts: list[Draft]) -> list[Draft]:
    """Join an AWS key id with its secret, the one credential they are; drop identifiers that stand alone."""
    ids = [d for d in drafts if d.is_identifier]
    if not ids:
        return drafts
    secrets = [
        d for d in drafts if d.kind is Kind.AWS_ACCESS_KEY and not d.is_identifier and d.class_ is not Class.PLACEHOLDER
    ]
    for draft in secrets:
        container = draft.pointer.rpartition("/")[0]
        near = next((i for i in ids if i.pointer.rpartition("/")[0] == container), ids[0])
        draft.external_id, draft.account = near.external_id, near.account
    return [d for d in drafts if not d.is_identifier]


def leaves(tree: object, name: str = "", *, limit: int = 20_000, depth: int = 40) -> Iterator[tuple[str, object]]:
    """Every scalar of a tree with the name of the field it stands under; bounded in number and depth."""
    stack: list[tuple[str, object, int]] = [(name, tree, 0)]
    while stack and limit > 0:
        limit -= 1
        label, node, level = stack.pop()
        if isinstance(node, dict):
            if level < depth:
                # `{"name": "API_KEY", "value": "…"}`: the name is a value too.
                given = node.get("name") or node.get("key")
                for key, child in reversed(list(node.items())):
                    inner = given if key == "value" and isinstance(given, str) else str(key)
                    stack.append((inner, child, level + 1))
        elif isinstance(node, list):
            if level < depth:
                stack.extend((label, child, level + 1) for child in reversed(node[:limit]))
        else:
            yield label, node


def decode_base64(text: str) -> str | None:
    """Base64 in either alphabet, padded or not, as text; None when it is not that."""
    compact = text.strip().replace("-", "+").replace("_", "/").replace("%3D", "=").rstrip("=")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _split_userinfo(rest: str) -> tuple[str, str]:
    """User-info and remainder. A password may hold an unescaped slash, so the last @ before the query decides."""
    authority_end = min((i for i in (rest.find("/"), rest.find("?")) if i >= 0), default=len(rest))
    at = rest.rfind("@", 0, authority_end)
    if at < 0 and ":" in rest[:authority_end] and not re.match(r"[^:/]*:\d{1,5}(?:[/?]|\Z)", rest):
        question = rest.find("?")
        at = rest.rfind("@", 0, question if question >= 0 else len(rest))
    return (rest[:at], rest[at + 1 :]) if at >= 0 else ("", rest)


def _without_noise(part: str) -> str:
    """A parameter as it may be shown: what is merely noise is no finding, and no help to a reader. Ids in hex are."""
    key, equals, encoded = part.partition("=")
    if re.fullmatch(r"[0-9a-f]+", encoded or key):
        return part
    if equals:
        return f"{key}=…" if values.is_noise(encoded) else part
    return "…" if values.is_noise(key) else part


def _gateway_label(host: str) -> str | None:
    for part in host.split("."):
        label = sense_of(part).issuer
        if label is not None:
            return label
    return None
