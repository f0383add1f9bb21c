"""The one declaration of what a feed may send: its kinds of row, their fields, and what makes two rows the same thing.

The parser checks by it, the JSON Schema is made of it and so are the tables of the manual.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inventory import tags
from inventory.discovery.listing import FILE, IDENTITY, NAME, POINTER, SHORT, fit
from inventory.feeds import checks
from inventory.feeds.checks import Check, Refused
from inventory.states import CredentialKind, CredentialStatus, OwnerKind, Registration, Storage, Transport, TrustModel
from providers.addresses import LONGEST_ISSUER

Values = dict[str, Any]
REMOTE = ("http://", "https://", "ws://", "wss://")
APART = "\x1f"  # no text of a row may hold it, so two pairs of texts never look alike


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a row. `make` gives its check for a moment; `column` is where staging keeps it."""

    name: str
    column: str
    make: Callable[[datetime], Check]
    schema: Mapping[str, Any]
    about: str
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two rows the same thing, for one feed. `fields` is the declared rule of credentials, if any.

    Without a rule a credential is, in this order: its AWS key id, the fingerprint of its secret, its external id at its
    issuer, its name at its issuer. The first two are what every other connection goes by, so they meet there.
    """

    feed: str
    fields: Sequence[str] = ()

    def credential(self, given: Mapping[str, Any], prefix: str = "") -> str:
        if self.fields:
            missing = [name for name in self.fields if not given.get(prefix + name)]
            if missing:
                raise Refused("The feed's identity rule needs this field.", prefix + missing[0])
            return self._own("credential", *(str(given[prefix + name]) for name in self.fields))
        external_id, issuer = given.get(f"{prefix}external_id"), str(given.get(f"{prefix}issuer") or "")
        if external_id and given.get(f"{prefix}kind") == CredentialKind.AWS_ACCESS_KEY:
            return fit(f"aws:{external_id}", IDENTITY)
        if fingerprint := given.get(f"{prefix}fingerprint"):
            return f"fp:{fingerprint}"
        if external_id:
            return self._own("credential", issuer, str(external_id))
        if name := given.get(f"{prefix}name"):
            return self._own("credential", "", issuer, str(name))
        raise Refused("Nothing in it says which credential this is: give external_id, fingerprint or name.", "")

    def server(self, given: Mapping[str, Any], prefix: str = "") -> str:
        url = str(given.get(f"{prefix}url") or "")
        if url.lower().startswith(REMOTE):
            return fit(f"url:{url}", IDENTITY)
        if not given.get(f"{prefix}name"):
            raise Refused("Nothing in it says which server this is: give url or name.", "")
        return self._own("server", str(given[f"{prefix}name"]))

    def client(self, given: Mapping[str, Any], prefix: str = "") -> str:
        client_id, issuer = given.get(f"{prefix}client_id"), given.get(f"{prefix}authorization_server")
        if client_id and issuer:
            return fit(f"oauth:{issuer}:{client_id}", IDENTITY)
        named = client_id or given.get(f"{prefix}name")
        if not named:
            raise Refused("Nothing in it says which client this is: give client_id or name.", "")
        return self._own("client", str(named))

    def _own(self, noun: str, *parts: str) -> str:
        return fit(f"feed:{self.feed}:{noun}:{APART.join(parts)}", IDENTITY)


Key = Callable[[Identity, Values], Values]


@dataclass(frozen=True, slots=True)
class Shape:
    """One kind of row. `constants` are staged with every row; `keys` gives what says which things it names."""

    type: str
    about: str
    fields: Sequence[Field]
    keys: Key
    constants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def free(self) -> frozenset[str]:
        """The columns that take any text."""
        bound = ("enum", "pattern", "anyOf")
        is_bound = {each.column for each in self.fields if any(word in each.schema for word in bound)}
        is_bound |= {each.column for each in self.fields if each.schema.get("type") == "boolean"}
        return frozenset(each.column for each in self.fields) - is_bound | {"reference"}


def _text(name: str, column: str, longest: int, about: str, *, is_required: bool = False) -> Field:
    check = checks.text(longest)
    return Field(name, column, lambda _: check, {"type": "string", "maxLength": longest}, about, is_required)


def _clean(name: str, column: str, longest: int, about: str) -> Field:
    check = checks.clean(longest)
    return Field(name, column, lambda _: check, {"type": "string", "maxLength": longest}, about)


def _issuer(name: str, column: str, about: str) -> Field:
    schema = {"type": "string", "maxLength": LONGEST_ISSUER}
    return Field(name, column, lambda _: checks.issuer, schema, about)


def _choice(name: str, column: str, allowed: Sequence[str], about: str) -> Field:
    check = checks.choice(*allowed)
    return Field(name, column, lambda _: check, {"enum": list(allowed)}, about)


def _flag(name: str, column: str, about: str) -> Field:
    return Field(name, column, lambda _: checks.flag, {"type": "boolean"}, about)


def _past(name: str, column: str, about: str) -> Field:
    return Field(name, column, checks.moment, MOMENT, f"{about} Not in the future.")


def _any_time(name: str, column: str, about: str) -> Field:
    check = checks.moment(None)
    return Field(name, column, lambda _: check, MOMENT, about)


def _texts(name: str, column: str, about: str) -> Field:
    schema = {
        "type": ["array", "string"],
        "items": {"type": "string", "maxLength": checks.LONGEST_ENTRY},
        "maxItems": checks.MOST_ENTRIES,
    }
    return Field(name, column, lambda _: checks.texts, schema, about)


MOMENT: Mapping[str, Any] = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
FINGERPRINT: Mapping[str, Any] = {"type": "string", "pattern": "^kf1:[0-9a-f]{32}$"}
OWNER = "Who answers for it: an owner's e-mail address or external id."
ENVIRONMENT = "Name of the environment it belongs to."
HTTP_LIKE = 2_000


def _credential_names(prefix: str = "", column: str = "") -> list[Field]:
    """The fields that can say which credential is meant."""
    at = (lambda name: f"{column}{name}") if column else (lambda name: name)
    return [
        _text(f"{prefix}external_id", at("external_id"), 200, "The provider's public identifier, as in `AKIA…`."),
        Field(
            f"{prefix}fingerprint",
            at("fingerprint"),
            lambda _: checks.fingerprint,
            FINGERPRINT,
            "Keyreeve's own keyed digest of the secret, as its exports show it.",
        ),
        _text(f"{prefix}issuer", at("issuer"), SHORT, "Who issued it, as in `GitHub`."),
        _choice(f"{prefix}kind", at("kind"), CredentialKind.values, "What it is; `other` when it is not said."),
    ]


CREDENTIAL = Shape(
    "credential",
    "The slot an identity authenticates with. Never its secret.",
    [
        _text("name", "credential_name", NAME, "How people call it.", is_required=True),
        *_credential_names(),
        _text("principal", "principal", NAME, "The provider's own name of the identity: an ARN, a role, a client id."),
        _choice("trust_model", "trust_model", TrustModel.values, "Whose authority it carries; `unknown` by default."),
        _text("subject", "subject", 200, "On whose behalf it acts, where a user consented."),
        _texts("scopes", "scopes", "What it may do."),
        _choice("status", "status", CredentialStatus.values, "`unknown` when it is not said."),
        _choice("storage", "storage", Storage.values, "Where its secret is kept; `provider` when it is not said."),
        Field(
            "reference",
            "reference",
            lambda _: checks.reference,
            {"type": "string", "maxLength": IDENTITY, "pattern": "^[a-z][a-z0-9+.-]*:"},
            "The place where its secret is kept, as in `aws-sm://payments/api`.",
        ),
        _past("issued_at", "issued_at", "When the secret in use was issued."),
        _past("last_used_at", "last_used_at", "When it was last used."),
        _any_time("expires_at", "expires_at", "When the provider stops accepting it."),
        _text("owner", "owner", 254, OWNER),
        _text("environment", "environment", 50, ENVIRONMENT),
        Field(
            "tags",
            "tags",
            lambda _: checks.labels,
            {
                "type": ["array", "string"],
                "items": {"type": "string", "pattern": f"^[a-z0-9._:-]{{1,{tags.LONGEST}}}$"},
                "maxItems": tags.MOST,
            },
            "Added to what it is tagged as; lower-case letters, digits and `.` `_` `:` `-`, 60 at most.",
        ),
        Field(
            "details",
            "details",
            lambda _: checks.details,
            {
                "type": ["object", "string"],
                "maxProperties": checks.MOST_DETAILS,
                "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            },
            "What else people should know; in CSV a JSON object.",
        ),
    ],
    lambda identity, given: {"credential_key": identity.credential(given)},
    {"storage": Storage.PROVIDER.value},
)
SERVER = Shape(
    "server",
    "An MCP server.",
    [
        _text("name", "server_name", NAME, "How people call it.", is_required=True),
        _clean("url", "url", HTTP_LIKE, "Where it answers, without any credential in it."),
        _choice("transport", "transport", Transport.values, "How it is spoken to; `unknown` by default."),
        _text("launcher", "launcher", 40, "What starts a local one, as in `npx`."),
        _clean("package", "package", HTTP_LIKE, "What a local one is made of, as in `@example/files`."),
        _text("package_version", "package_version", SHORT, "Version of that package."),
        _flag("is_pinned", "is_pinned", "Whether that version is fixed."),
        _clean("command", "command", NAME, "The command of a local one."),
        _text("environment", "environment", 50, ENVIRONMENT),
    ],
    lambda identity, given: {"server_key": identity.server(given)},
)
CLIENT = Shape(
    "client",
    "A host program or registered OAuth client that reaches MCP servers.",
    [
        _text("name", "client_name", NAME, "How people call it.", is_required=True),
        _text("client_id", "client_id", NAME, "Its id at its authorization server."),
        _issuer("authorization_server", "authorization_server", "Issuer of that authorization server."),
        _text("product", "client_product", 60, "Which program it is, as in `cursor`."),
        _text("host", "host", SHORT, "The machine it runs on."),
        _choice(
            "registration", "registration", Registration.values, "How it was registered; `pre_registered` by default."
        ),
        _texts("redirect_uris", "redirect_uris", "Where authorization codes are sent."),
        _texts("grant_types", "grant_types", "Which grants of OAuth it uses."),
        _texts("scopes", "client_scopes", "What it may ask for."),
        _past("issued_at", "client_issued_at", "When it was registered."),
        _past("last_used_at", "client_last_used_at", "When it last got or used a token."),
        _text("owner", "owner", 254, OWNER),
    ],
    lambda identity, given: {"client_key": identity.client(given)},
    {"registration": Registration.PRE_REGISTERED.value},
)

_CLIENT_NAMES = [
    _text("client.name", "ref.client.name", NAME, "The client, as its own row or the inventory names it,"),
    _text("client.client_id", "ref.client.client_id", NAME, "by its id"),
    _issuer("client.authorization_server", "ref.client.authorization_server", "and its authorization server."),
]
_SERVER_NAMES = [
    _text("server.name", "ref.server.name", NAME, "The server by its name,"),
    _clean("server.url", "ref.server.url", HTTP_LIKE, "or by its address."),
]
_NAMED_CREDENTIAL = [
    _text("credential.name", "ref.credential.name", NAME, "The credential, by the fields of the feed's identity rule."),
    *_credential_names("credential.", "ref.credential."),
    _text("credential.principal", "ref.credential.principal", NAME, "As of a credential."),
    _text("credential.subject", "ref.credential.subject", 200, "As of a credential."),
    Field(
        "credential.reference",
        "ref.credential.reference",
        lambda _: checks.reference,
        {"type": "string", "maxLength": IDENTITY},
        "As of a credential.",
    ),
]
_PLACE = [
    _clean("file", "file", FILE, "Where that is written down; the feed's name when it is not said."),
    _text("pointer", "pointer", POINTER, "Where in that file."),
]


def _use_keys(identity: Identity, given: Values) -> Values:
    has_credential = any(name.startswith("credential.") for name in given)
    return {
        "client_key": identity.client(given, "client."),
        "server_key": identity.server(given, "server."),
        "credential_key": identity.credential(given, "credential.") if has_credential else None,
    }


USE = Shape(
    "use",
    "Which client reaches which server, and with which credential.",
    [
        *_CLIENT_NAMES,
        *_SERVER_NAMES,
        *_NAMED_CREDENTIAL,
        *_PLACE,
        _choice("storage", "storage", Storage.values, "How the credential is kept there; `provider` by default."),
        _flag("is_disabled", "is_disabled", "Whether the server is switched off there."),
    ],
    _use_keys,
    {"storage": Storage.PROVIDER.value, "is_reference": True},
)
EXPOSURE = Shape(
    "exposure",
    "A place where a secret stands in clear. Never the secret.",
    [
        *_NAMED_CREDENTIAL,
        *_PLACE,
        _text("host", "host", SHORT, "The machine of that file."),
        _flag("is_readable_by_others", "is_readable_by_others", "Whether others on that machine may read the file."),
    ],
    lambda identity, given: {"credential_key": identity.credential(given, "credential.")},
    {"is_reference": True, "is_exposed": True},
)
OWNER_ROW = Shape(
    "owner",
    "Somebody who answers for things. What a person entered is kept; whether they are active is taken over.",
    [
        _text("name", "owner_name", 200, "Their name.", is_required=True),
        Field("email", "owner_email", lambda _: checks.email, {"type": "string", "maxLength": 254}, "E-mail address."),
        _text("external_id", "owner_external_id", 200, "Their id in your directory."),
        _choice("kind", "owner_kind", OwnerKind.values, "`person` when it is not said."),
        _flag("is_active", "owner_is_active", "`false` for one who has left; what they owned has no owner then."),
    ],
    lambda _identity, given: _owner_key(given),
)


def _owner_key(given: Values) -> Values:
    if not given.get("email") and not given.get("external_id"):
        raise Refused("Nothing in it says who this is: give email or external_id.", "")
    return {}


SHAPES: Mapping[str, Shape] = {shape.type: shape for shape in (CREDENTIAL, SERVER, CLIENT, USE, EXPOSURE, OWNER_ROW)}
# What an identity rule may be made of.
IDENTIFYING = ("issuer", "kind", "principal", "external_id", "name", "reference", "subject", "fingerprint")


class BadSettings(Exception):
    """The settings of this feed are not understood. An operator has to put them right."""


def identity_of(feed: str, settings: Mapping[str, Any]) -> Identity:
    """The identity rule of a feed. Raises BadSettings with the sentence for who can mend it."""
    given = settings.get("identity") or []
    if not isinstance(given, list) or not all(isinstance(each, str) and each in IDENTIFYING for each in given):
        raise BadSettings(f"The feed's identity rule is a list of some of {', '.join(IDENTIFYING)}.")
    if not isinstance(settings.get("complete", False), bool):
        raise BadSettings("Whether a feed is complete is true or false.")
    return Identity(feed, tuple(dict.fromkeys(given)))


# ── For readers ────────────────────────────────────────────────────────────────────────────────────
def json_schema() -> dict[str, Any]:
    """JSON Schema of one line. A reference in a `use` or `exposure` is a nested object there."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One row of a feed",
        "oneOf": [_schema_of(shape) for shape in SHAPES.values()],
    }


def _schema_of(shape: Shape) -> dict[str, Any]:
    is_default = shape is CREDENTIAL
    properties: dict[str, Any] = {"type": {"const": shape.type, **({"default": shape.type} if is_default else {})}}
    for each in shape.fields:
        outer, _, inner = each.name.rpartition(".")
        said = {"anyOf": [dict(each.schema), {"type": "null"}], "description": each.about}
        if outer:
            nested = properties.setdefault(outer, {"type": "object", "properties": {}, "additionalProperties": False})
            nested["properties"][inner] = said
        else:
            properties[each.name] = said if not each.is_required else {**each.schema, "description": each.about}
    return {
        "title": shape.type,
        "description": shape.about,
        "type": "object",
        "properties": properties,
        "required": [*([] if is_default else ["type"]), *(each.name for each in shape.fields if each.is_required)],
        "additionalProperties": False,
    }


def tables() -> str:
    """The fields of every kind of row, for the manual."""
    return "\n\n".join(_table(shape) for shape in SHAPES.values())


def _table(shape: Shape) -> str:
    rows = "\n".join(
        f"| `{each.name}`{' *' if each.is_required else ''} | {_words(each)} | {each.about} |" for each in shape.fields
    )
    return f"### `{shape.type}`\n\n{shape.about}\n\n| field | what it takes | meaning |\n|---|---|---|\n{rows}"


def _words(each: Field) -> str:
    schema = each.schema
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    if schema is MOMENT:
        return "day or instant"
    if schema is FINGERPRINT:
        return "`kf1:` and 32 digits"
    if schema["type"] == "boolean":
        return "true or false"
    if schema["type"] == ["array", "string"]:
        return f"up to {schema['maxItems']} texts"
    if schema["type"] == ["object", "string"]:
        return f"up to {schema['maxProperties']} plain members"
    return f"text, {schema['maxLength']}"


__all__ = ["SHAPES", "BadSettings", "Identity", "Shape", "identity_of", "json_schema", "tables"]
