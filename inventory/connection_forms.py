"""What people type to make or change a connection: one form per kind. None of them takes a secret, or keeps one.

A reference names the place where a secret lies. What was pasted in its stead, and whatever looks like a secret in any
other field, is taken out before the form reads it: it is neither checked nor stored nor shown again.
"""

import re
import socket
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from inventory.connection_fields import (
    A_SECRET,
    NO_REFERENCE,
    LinesField,
    ReferenceField,
    ReferencesField,
    bound_to,
    checked_reference,
    choice,
    holds_secret,
    is_reference,
    plain_text,
    readable_places,
)
from inventory.connection_kinds import KINDS, Kind
from inventory.feeds.shapes import IDENTIFYING
from inventory.models import Connection, Environment, McpClient
from inventory.states import ConnectionKind
from providers import postgres, postgres_logins
from providers.addresses import is_issuer
from providers.aws import Role, permitted_endpoint
from providers.errors import ProviderError
from providers.guard import parse_target
from providers.oauth import authority
from providers.references import ReferenceKind, is_bound, parse_reference
from providers.regions import known_region
from providers.registry import provider_names

ONLY_WHEN_ASKED = "0"
AUTH_METHODS = ("client_secret_basic", "client_secret_post")
SPEAKER = ("client_id", "client_secret", "client_auth")  # a line of `revoke_as`, word by word
OPTION = re.compile(r"[a-z][a-z0-9_]{0,59}")
EVERY = {
    "900": "Every 15 minutes",
    "3600": "Every hour",
    "21600": "Every 6 hours",
    "86400": "Every day",
    "604800": "Every week",
    ONLY_WHEN_ASKED: "Only when asked",
}


class ConnectionForm(forms.Form):
    """What every kind has: a name, where its findings belong, how often it is looked at."""

    kind: ClassVar[ConnectionKind]
    groups: ClassVar[Sequence[tuple[str, Sequence[str]]]]
    named_after: ClassVar[str] = ""

    name = forms.CharField(max_length=200, required=False)
    environment = forms.ModelChoiceField(
        Environment.objects.order_by("-criticality", "name"),
        required=False,
        empty_label="Not known",
        help_text="What it lists belongs there, where nobody said otherwise.",
    )
    interval = choice(EVERY, label="How often", initial="3600")

    def __init__(self, data: QueryDict | None = None, *, connection: Connection | None = None) -> None:
        self.connection = connection
        self.taken_out: dict[str, str] = {}
        super().__init__(self._without_secrets(data) if data is not None else None, initial=self._known())
        self.fields["name"].help_text = f"How lists call it. {self.named_after}, when left empty."
        self._offer_interval()

    @property
    def about(self) -> Kind:
        return KINDS[self.kind]

    @property
    def reference_fields(self) -> list[str]:
        """The fields that hold references."""
        return [name for name, field in self.base_fields.items() if isinstance(field, ReferenceField | ReferencesField)]

    @property
    def grouped(self) -> list[tuple[str, list[forms.BoundField]]]:
        groups = [*self.groups, ("Name and schedule", ("name", "environment", "interval"))]
        return [(legend, [self[name] for name in names if name in self.fields]) for legend, names in groups]

    @property
    def places_note(self) -> str:
        return readable_places() if self.reference_fields else ""

    def _without_secrets(self, data: QueryDict) -> QueryDict:
        """A copy of what was sent in which no secret stands any more; `taken_out` says where one did."""
        kept = data.copy()
        for name, field in self.base_fields.items():
            text = "\n".join(kept.getlist(name))
            if text.strip() and (sentence := self.fault(name, field, text)):
                kept.setlist(name, [])
                self.taken_out[name] = sentence
        return kept

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        """Why a text must not stay in this field; empty when it may."""
        match field:
            case ReferencesField():
                lines = [line for line in text.splitlines() if line.strip()]
                return "" if all(is_reference(line) for line in lines) else NO_REFERENCE
            case ReferenceField() if not field.may_be_plain or "://" in text:
                return "" if is_reference(text) else NO_REFERENCE
        return A_SECRET if holds_secret(text) else ""

    def _known(self) -> dict[str, Any]:
        if self.connection is None:
            return {}
        length = self.connection.interval
        return {
            **self.connection.settings,
            "name": self.connection.name,
            "environment": self.connection.environment_id,
            "interval": str(int(length.total_seconds())) if length else ONLY_WHEN_ASKED,
        }

    def _offer_interval(self) -> None:
        """An interval from the command line may be none that is offered here; editing something else keeps it."""
        chosen = self.initial.get("interval")
        if chosen and chosen not in EVERY:
            offered = {**EVERY, chosen: f"Every {int(chosen) // 60} minutes, as it is"}
            self.fields["interval"].choices = list(offered.items())  # type: ignore[attr-defined]

    def clean_interval(self) -> timedelta | None:
        return timedelta(seconds=int(self.cleaned_data["interval"])) or None

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name, sentence in self.taken_out.items():
            self.errors.pop(name, None)  # "required" is not what is wrong with it
            self.add_error(name, sentence)
        if not self.errors:
            self._bind(given)
        given["name"] = (given.get("name") or self.suggested_name(given))[:200]
        others = Connection.objects.exclude(pk=self.connection.pk) if self.connection else Connection.objects
        if given["name"] and "name" not in self.errors and others.filter(name=given["name"]).exists():
            self.add_error("name", f"There is a connection called “{given['name']}” already.")
        return given

    def _bind(self, given: dict[str, Any]) -> None:
        """Say to which host the secrets may be sent: one that this connection talks to, and no other."""
        if "bound_to" not in self.fields:
            return
        if not any("://" in str(given.get(name) or "") for name in self.reference_fields):
            given["bound_to"] = ""
            return
        hosts = self.hosts(given)
        named = ", ".join(hosts[:5]) + (" and others" if len(hosts) > 5 else "")
        bound = given.get("bound_to") or (hosts[0] if len(hosts) == 1 else "")
        if not bound:
            self.add_error("bound_to", f"Say which of these hosts gets the secret: {named}.")
        elif not any(is_bound(host, bound) for host in hosts):
            self.add_error("bound_to", f"It can only be a host that this connection talks to: {named}.")
        given["bound_to"] = bound

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def hosts(self, given: Mapping[str, Any]) -> list[str]:
        """The hosts that this connection talks to."""
        return []

    def own(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of this kind; what is empty is left out."""
        return {name: given[name] for name in self.own_names() if given.get(name) not in (None, "", [])}

    def own_names(self) -> list[str]:
        return [name for _, names in self.groups for name in names if name in self.fields]

    def settings(self) -> dict[str, Any]:
        """What the connection is to hold: what was typed, and whatever it held that this form does not ask for."""
        held = self.connection.settings if self.connection else {}
        asked = set(self.own_names())
        return {**{name: value for name, value in held.items() if name not in asked}, **self.own(self.cleaned_data)}


# ── MCP client configuration ───────────────────────────────────────────────────────────────────────
class McpConfigForm(ConnectionForm):
    kind = ConnectionKind.MCP_CONFIG
    groups = (("Where to look", ("paths", "host")),)
    named_after = "The first path"

    paths = LinesField(
        label="Paths",
        rows=3,
        help_text="A folder, a checked-out repository or one file, one a line. They are only read.",
    )
    host = plain_text(
        label="Host label", max_length=200, help_text="Which machine these files belong to; exposures name it."
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["host"].initial = socket.gethostname()
        if self.connection and self.connection.settings.get("this_machine"):
            del self.fields["paths"]

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        if name == "paths":
            text = "\n".join(line for line in text.splitlines() if not _exists(line.strip()))
        return super().fault(name, field, text)

    def clean_paths(self) -> list[str]:
        found = []
        for text in self.cleaned_data["paths"]:
            if "\x00" in text or not Path(text).is_absolute():
                raise ValidationError("Give the whole path, from / on.")
            if not _exists(text):
                raise ValidationError(
                    "There is nothing at this path that Keyreeve may read. It must exist on this host."
                )
            found.append(str(Path(text)))
        known = Connection.objects.filter(kind=self.kind)
        if self.connection:
            known = known.exclude(pk=self.connection.pk)
        for path in found[:100]:
            if other := known.filter(settings__paths__contains=[path]).first():
                raise ValidationError(f"“{other}” reads this path already.")
        return list(dict.fromkeys(found))

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        return str((given.get("paths") or [""])[0])


def _exists(text: str) -> bool:
    try:
        return bool(text) and "\x00" not in text and Path(text).is_absolute() and Path(text).exists()
    except OSError:  # too long, or a part of it may not be entered
        return False


# ── MCP servers ────────────────────────────────────────────────────────────────────────────────────
def sound_url(url: str) -> str:
    """An address as it was typed, once it can be read in one way only. Raises ValidationError that repeats nothing."""
    try:
        if url:
            parse_target(url)
    except ProviderError as exc:
        raise ValidationError(str(exc)) from exc
    return url


class McpServerForm(ConnectionForm):
    kind = ConnectionKind.MCP_SERVER
    groups = (("Which servers", ("urls", "known")), ("How they are asked", ("tokens", "minimum_version")))
    named_after = "The first server"

    urls = LinesField(label="Addresses", required=False, help_text="One a line, as https://mcp.example/mcp.")
    known = forms.BooleanField(
        label="Every server that the inventory knows by its address",
        required=False,
        initial=True,
        help_text="Those that configuration files name, as they come and go.",
    )
    tokens = LinesField(
        label="Tokens",
        rows=3,
        required=False,
        help_text="For servers that list their tools only to who has a credential, one a line: the address, a space, "
        "and the reference. The token goes to the host of that address and to no other.",
    )
    minimum_version = plain_text(
        label="Oldest specification allowed",
        max_length=10,
        required=False,
        help_text="Such as 2025-06-18. Empty: the checklist's own.",
    )

    @property
    def reference_fields(self) -> list[str]:
        return ["tokens"]

    def _known(self) -> dict[str, Any]:
        known = super()._known()
        if self.connection:
            known["known"] = known.get("known", False)
            entries = known.get("tokens", [])
            known["tokens"] = [" ".join(str(part) for part in entry.values()) for entry in entries]
        return known

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        if name != "tokens":
            return super().fault(name, field, text)
        for line in text.splitlines():
            url, _, rest = line.strip().partition(" ")
            reference, *host = rest.split() or [""]
            if line.strip() and (holds_secret(" ".join((url, *host))) or not is_reference(reference)):
                return NO_REFERENCE
        return ""

    def clean_urls(self) -> list[str]:
        return [sound_url(url) for url in self.cleaned_data["urls"]]

    def clean_tokens(self) -> list[dict[str, str]]:
        found = []
        for number, line in enumerate(self.cleaned_data["tokens"], 1):
            url, reference, *host = line.split()
            address = urlsplit(sound_url(url)).netloc
            bound = host[0] if host else address
            if len(host) > 1 or not is_bound(address, bound):
                raise ValidationError(f"Line {number}: a token can only be sent to the host of its address, {address}.")
            found.append({"url": url, "reference": checked_reference(reference), "bound_to": bound})
        return found

    def clean_minimum_version(self) -> str:
        text: str = self.cleaned_data["minimum_version"]
        if text and not re.fullmatch(r"20\d\d-\d\d-\d\d", text):
            raise ValidationError("A version of the specification is a date, such as 2025-06-18.")
        return text

    def clean(self) -> dict[str, Any]:
        given = super().clean()
        if not given.get("urls") and not given.get("known") and "urls" not in self.errors:
            self.add_error("urls", "Name an address, or let it look at those that the inventory knows.")
        return given

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        urls = given.get("urls") or []
        return (urlsplit(urls[0]).netloc if urls else "") or "Known MCP servers"


# ── Authorization servers ──────────────────────────────────────────────────────────────────────────
class OauthForm(ConnectionForm):
    kind = ConnectionKind.OAUTH
    groups = (
        ("Which server", ("issuer", "role")),
        ("Its clients and tokens", ("clients_url", "tokens_url", "management_token")),
        (
            "Looking tokens up",
            ("client_id", "client_secret", "client_auth", "introspection_endpoint", "tokens", "refresh_tokens"),
        ),
        (
            "What operations may do",
            (
                "revoke_as",
                "manage_tokens",
                "manage_clients",
                "registrations",
                "registration_token",
                "revocation_endpoint",
                "token_endpoint",
                "registration_endpoint",
            ),
        ),
        ("Where secrets go", ("bound_to",)),
    )
    named_after = "The issuer's host"

    issuer = plain_text(
        max_length=2_000,
        help_text="As servers advertise it, to the last slash. Alone it is enough: metadata needs no secret.",
    )
    role = choice(
        {
            "": "As the servers behind it show",
            "identity_provider": "An identity provider of the organisation",
            "delegated_layer": "A layer that issues tokens of its own after somebody signed in elsewhere",
        },
        required=False,
    )
    clients_url = plain_text(
        label="Listing of clients", max_length=2_000, required=False, help_text="An address that answers as documented."
    )
    tokens_url = plain_text(
        label="Listing of tokens", max_length=2_000, required=False, help_text="It gives ids and dates, never a token."
    )
    management_token = ReferenceField(label="Token for these listings", help_text="A reference to the bearer token.")
    client_id = plain_text(
        label="Client id", max_length=300, required=False, help_text="As whom tokens are looked up (RFC 7662)."
    )
    client_secret = ReferenceField(label="Client secret", help_text="A reference.")
    client_auth = choice(
        {"": "In the header (client_secret_basic)", "client_secret_post": "In the form (client_secret_post)"},
        label="How it is presented",
        required=False,
    )
    introspection_endpoint = plain_text(
        label="Introspection endpoint",
        max_length=2_000,
        required=False,
        help_text="Only where it is not on the issuer's own host.",
    )
    tokens = ReferencesField(
        label="Access tokens you hold", rows=3, required=False, help_text="References, one a line, to be looked up."
    )
    refresh_tokens = ReferencesField(label="Refresh tokens you hold", rows=3, required=False, help_text="Likewise.")
    revoke_as = LinesField(
        label="Revoke tokens as",
        rows=3,
        required=False,
        help_text="The clients that tokens were issued to, one a line: the id, a space, and the reference to its "
        "secret; client_secret_post behind it where it is not sent in the header. A public client is its id alone.",
    )
    manage_tokens = forms.BooleanField(
        label="Tokens are deleted at addresses of their own",
        required=False,
        help_text="The listing's address and the token's id, with the token for these listings.",
    )
    manage_clients = forms.BooleanField(
        label="Clients are deleted at addresses of their own",
        required=False,
        help_text="The listing's address and the client's id, likewise.",
    )
    registrations = ReferenceField(
        label="Folder for registrations",
        help_text="As file:///folder. A rotation registers a further client; the token of its registration is kept "
        "there, in a file that only Keyreeve's user reads.",
    )
    registration_token = ReferenceField(
        label="Initial access token", help_text="A reference, where registering a client takes one."
    )
    revocation_endpoint = plain_text(
        label="Revocation endpoint",
        max_length=2_000,
        required=False,
        help_text="This and the next two only where they are not on the issuer's own host.",
    )
    token_endpoint = plain_text(label="Token endpoint", max_length=2_000, required=False)
    registration_endpoint = plain_text(label="Registration endpoint", max_length=2_000, required=False)
    bound_to = bound_to("the host of the addresses, where it is one")

    @property
    def reference_fields(self) -> list[str]:
        return [*super().reference_fields, "revoke_as"]

    def _known(self) -> dict[str, Any]:
        known = super()._known()
        if known.get("client_auth") == "client_secret_basic":
            known["client_auth"] = ""
        if "revoke_as" in known:
            known["revoke_as"] = [
                each if isinstance(each, str) else " ".join(str(part) for part in map(each.get, SPEAKER) if part)
                for each in known["revoke_as"]
            ]
        return known

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        if name != "revoke_as":
            return super().fault(name, field, text)
        for line in filter(None, map(str.strip, text.splitlines())):
            client_id, _, rest = line.partition(" ")
            reference, *method = rest.split() or [""]
            # A server may make ids that look like secrets; one by which a client is known is none.
            if holds_secret(client_id) and not McpClient.objects.filter(client_id=client_id).exists():
                return A_SECRET
            if (reference and not is_reference(reference)) or holds_secret(" ".join(method)):
                return NO_REFERENCE
        return ""

    def clean_revoke_as(self) -> list[Any]:
        found: dict[str, Any] = {}
        for number, line in enumerate(self.cleaned_data["revoke_as"], 1):
            client_id, *rest = line.split()
            reference, method, *more = [*rest, "", ""][: max(2, len(rest))]
            if more or method not in ("", *AUTH_METHODS):
                raise ValidationError(
                    f"Line {number}: after the client's id stands a reference, and then client_secret_post or nothing."
                )
            if client_id in found:
                raise ValidationError(f"Line {number}: this client is named above.")
            values = (client_id, checked_reference(reference) if reference else "", method)
            found[client_id] = {key: value for key, value in zip(SPEAKER, values, strict=True) if value}
        return [each if len(each) > 1 else client_id for client_id, each in found.items()]

    def clean_registrations(self) -> str:
        text: str = self.cleaned_data["registrations"]
        if text:
            reference = parse_reference(text)
            if reference.kind is not ReferenceKind.FILE or reference.key:
                raise ValidationError("Name a folder as file:/// and its whole path.")
        return text

    def clean_revocation_endpoint(self) -> str:
        return sound_url(self.cleaned_data["revocation_endpoint"])

    def clean_token_endpoint(self) -> str:
        return sound_url(self.cleaned_data["token_endpoint"])

    def clean_registration_endpoint(self) -> str:
        return sound_url(self.cleaned_data["registration_endpoint"])

    def clean_issuer(self) -> str:
        issuer = sound_url(self.cleaned_data["issuer"])
        if not is_issuer(issuer):
            raise ValidationError("An issuer is an address in ASCII: a host with other letters is written as xn--….")
        return issuer

    def clean_clients_url(self) -> str:
        return sound_url(self.cleaned_data["clients_url"])

    def clean_tokens_url(self) -> str:
        return sound_url(self.cleaned_data["tokens_url"])

    def clean_introspection_endpoint(self) -> str:
        return sound_url(self.cleaned_data["introspection_endpoint"])

    def clean(self) -> dict[str, Any]:
        given = super().clean()
        if "client_secret" not in self.errors and bool(given.get("client_id")) is not bool(given.get("client_secret")):
            missing = "client_secret" if given.get("client_id") else "client_id"
            self.add_error(missing, "Tokens are looked up as a client: it takes its id and a reference to its secret.")
        has_listing = given.get("clients_url") or given.get("tokens_url")
        if given.get("management_token") and not has_listing:
            self.add_error("clients_url", "The token is for a listing. Name the listing of clients or of tokens.")
        if (given.get("tokens") or given.get("refresh_tokens")) and not given.get("client_id"):
            self.add_error("client_id", "Tokens are looked up as a client. Name it.")
        for flag, url in (("manage_tokens", "tokens_url"), ("manage_clients", "clients_url")):
            needed = [name for name in (url, "management_token") if not given.get(name) and name not in self.errors]
            if given.get(flag) and needed:
                self.add_error(needed[0], "Rows are deleted beneath their listing: it takes its address and its token.")
        return given

    def own(self, given: Mapping[str, Any]) -> dict[str, Any]:
        flags = ("manage_tokens", "manage_clients")
        return {name: value for name, value in super().own(given).items() if value or name not in flags}

    def hosts(self, given: Mapping[str, Any]) -> list[str]:
        endpoints = ("introspection_endpoint", "revocation_endpoint", "token_endpoint", "registration_endpoint")
        named = (given.get(name) for name in ("issuer", "clients_url", "tokens_url", *endpoints))
        return list(dict.fromkeys(authority(url) for url in named if url))

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        return urlsplit(given.get("issuer") or "").netloc


# ── AWS ────────────────────────────────────────────────────────────────────────────────────────────
AWS = "amazonaws.com"


class AwsForm(ConnectionForm):
    kind = ConnectionKind.AWS
    groups = (
        ("As whom", ("use_machine_identity", "access_key_id", "secret_access_key", "session_token", "bound_to")),
        ("Which accounts", ("roles", "own_account", "secrets", "regions", "endpoint")),
    )
    named_after = "AWS and the account"

    use_machine_identity = forms.BooleanField(
        label="Use the identity that AWS lends this machine",
        required=False,
        help_text="An instance profile, a task role or a profile of the operator. Then no key is needed.",
    )
    access_key_id = ReferenceField(
        label="Access key id", may_be_plain=True, help_text="The public half, as AKIA…; or a reference to it."
    )
    secret_access_key = ReferenceField(label="Secret access key", help_text="A reference; the key is never typed here.")
    session_token = ReferenceField(label="Session token", help_text="A reference, for a temporary key only.")
    bound_to = bound_to("amazonaws.com, or the endpoint below")
    roles = LinesField(
        label="Roles to assume",
        required=False,
        help_text="One a line, for other accounts: the role's ARN and, after a space, its external id if it has one.",
    )
    own_account = forms.BooleanField(label="List the identity's own account", required=False, initial=True)
    secrets = forms.BooleanField(
        label="List Secrets Manager",
        required=False,
        initial=True,
        help_text="Names, ages and rotation only. No secret is read.",
    )
    regions = plain_text(
        label="Regions",
        max_length=1_000,
        required=False,
        help_text="Where Secrets Manager is listed, such as eu-central-1 us-east-1.",
    )
    endpoint = plain_text(
        label="Endpoint", max_length=500, required=False, help_text="Only for an AWS of your own, such as a test stand."
    )

    def _known(self) -> dict[str, Any]:
        known = super()._known()
        if "roles" in known:
            known["roles"] = [
                each if isinstance(each, str) else f"{each.get('arn', '')} {each.get('external_id', '')}".strip()
                for each in known["roles"]
            ]
        if self.connection:
            known["own_account"] = known.get("own_account", not known.get("roles"))
            known["regions"] = " ".join(known.get("regions", []))
        return known

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        if name == "roles":
            # An external id is random and no secret, but only where it follows a role.
            text = "\n".join(_role_of(line) for line in text.splitlines())
        return super().fault(name, field, text)

    def clean_roles(self) -> list[Any]:
        found: list[Any] = []
        for number, line in enumerate(self.cleaned_data["roles"], 1):
            arn, *rest = line.split()
            try:
                if len(rest) > 1:
                    raise ValidationError(f"Line {number}: after the ARN stands one external id or nothing.")
                Role(arn=arn, external_id=rest[0] if rest else "")
            except ProviderError as exc:
                raise ValidationError(f"Line {number}: {exc}") from exc
            found.append({"arn": arn, "external_id": rest[0]} if rest else arn)
        return found

    def clean_regions(self) -> list[str]:
        try:
            return [known_region(each) for each in re.split(r"[\s,]+", self.cleaned_data["regions"]) if each]
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc

    def clean_endpoint(self) -> str:
        try:
            return permitted_endpoint(self.cleaned_data["endpoint"])
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc

    def clean(self) -> dict[str, Any]:
        given = super().clean()
        has_key = bool(given.get("access_key_id") or given.get("secret_access_key"))
        if given.get("use_machine_identity"):
            if has_key or given.get("session_token"):
                self.add_error("use_machine_identity", "Either this machine's identity or a key, not both.")
        elif not self.taken_out:
            for name in ("access_key_id", "secret_access_key"):
                if not given.get(name) and name not in self.errors:
                    self.add_error(name, "A key has both halves. Or use the identity of this machine.")
        if not given.get("roles") and not given.get("own_account") and "roles" not in self.errors:
            self.add_error("roles", "Name a role, or let the identity's own account be listed.")
        return given

    def own(self, given: Mapping[str, Any]) -> dict[str, Any]:
        kept = super().own(given)
        if not kept["use_machine_identity"]:
            del kept["use_machine_identity"]
        return kept

    def hosts(self, given: Mapping[str, Any]) -> list[str]:
        return [urlsplit(given["endpoint"]).netloc] if given.get("endpoint") else [AWS]

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        roles = given.get("roles") or []
        arn = roles[0] if roles and isinstance(roles[0], str) else roles[0]["arn"] if roles else ""
        place = urlsplit(given.get("endpoint") or "").hostname or "AWS"
        account = Role(arn=arn).account if arn else given.get("access_key_id", "")
        return f"{place} {account if '://' not in account else ''}".strip()


def _role_of(line: str) -> str:
    """What of a line must not look like a secret: all of it, except an external id behind a role."""
    arn, _, rest = line.strip().partition(" ")
    try:
        Role(arn=arn)
    except ProviderError:
        return line
    return arn if " " not in rest.strip() else line


# ── PostgreSQL ─────────────────────────────────────────────────────────────────────────────────────
class PostgresForm(ConnectionForm):
    kind = ConnectionKind.POSTGRES
    groups = (
        ("Which cluster", ("host", "port", "database", "sslmode", "sslrootcert")),
        ("As whom", ("user", "password", "bound_to")),
        ("Who rotates and revokes", ("operator", "operator_password", "pair")),
        ("What you record", ("password_date",)),
    )
    named_after = "The host"

    host = plain_text(
        max_length=253, help_text="A name, an address, or the folder of a socket. Any database of the cluster will do."
    )
    port = forms.IntegerField(min_value=1, max_value=65_535, initial=5432)
    database = plain_text(max_length=63, initial="postgres")
    sslmode = choice(
        {
            "": "Certificate checked; unencrypted only on this machine",
            "verify-full": "Certificate and host name checked",
            "verify-ca": "Certificate checked, host name not",
            "require": "Encrypted, certificate not checked",
            "prefer": "Encrypted where the server can",
            "disable": "Not encrypted",
        },
        label="Encryption",
        required=False,
    )
    sslrootcert = plain_text(
        label="Certificate authority",
        max_length=1_000,
        required=False,
        help_text="A file on this machine, for a certificate of your own. Empty: those the system trusts.",
    )
    user = plain_text(
        max_length=63,
        help_text="Any login role may look. With pg_read_all_stats it also sees when others were last in a session.",
    )
    password = ReferenceField(label="Password", help_text="A reference. Empty where none is asked for, as on a socket.")
    bound_to = bound_to("the host above")
    operator = plain_text(
        max_length=63,
        required=False,
        help_text="A role with CREATEROLE and ADMIN on the logins it may change. Empty: the role that looks, which "
        "then needs these rights itself, or nothing is rotated.",
    )
    operator_password = ReferenceField(label="Password of the operator", help_text="A reference.")
    pair = plain_text(
        label="Ends of two alternating logins",
        max_length=41,
        required=False,
        help_text="orders_a and orders_b take turns: while one is used, the other is given a new password. "
        "Empty: _a,_b.",
    )
    password_date = plain_text(
        label="Word before a date",
        max_length=40,
        required=False,
        help_text="PostgreSQL keeps no date of a password. Where your roles' comments say rotated=2026-06-01, give "
        "rotated.",
    )

    def clean_sslrootcert(self) -> str:
        text: str = self.cleaned_data["sslrootcert"]
        if text and not _exists(text):
            raise ValidationError("There is no such file on this machine that Keyreeve may read.")
        return text

    def clean_host(self) -> str:
        host: str = self.cleaned_data["host"]
        try:
            postgres.Target(host=host, user="any")
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc
        return host

    def clean_pair(self) -> str:
        pair: str = self.cleaned_data["pair"]
        one, _, other = (pair or "_a,_b").partition(",")
        try:
            postgres_logins.Logins(postgres.Target(host="any", user="any"), suffixes=(one.strip(), other.strip()))
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc
        return pair

    def clean_password_date(self) -> str:
        word: str = self.cleaned_data["password_date"]
        try:
            postgres.Roles(postgres.Target(host="any", user="any"), date_key=word)
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc
        return word

    def hosts(self, given: Mapping[str, Any]) -> list[str]:
        host = str(given["host"])
        return ["localhost" if host.startswith("/") else host]

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        return str(given.get("host", ""))


# ── Feeds ──────────────────────────────────────────────────────────────────────────────────────────
class FeedForm(ConnectionForm):
    kind = ConnectionKind.FEED
    groups = (("What its rows say", ("identity", "complete")),)

    identity = forms.MultipleChoiceField(
        label="A credential is the same when these are",
        required=False,
        choices=[(name, name.replace("_", " ")) for name in IDENTIFYING],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "Choose some of these.", "invalid_list": "Choose some of these."},
        help_text="None: its AWS key id, the fingerprint of its secret, its external id or its name at its issuer, in "
        "this order. With a choice, rows meet only those of this feed.",
    )
    complete = forms.BooleanField(
        label="A delivery names everything there is",
        required=False,
        help_text="Then what it does not name is gone. Otherwise nothing is ever taken for gone.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["name"].required = True
        self.fields["name"].help_text = "Whoever sends names it."
        interval = self.fields["interval"]
        interval.label = "Something should arrive"
        words = {value: words[:1].lower() + words[1:] for value, words in interval.choices}  # type: ignore[attr-defined]
        interval.choices = list({**words, ONLY_WHEN_ASKED: "whenever it comes"}.items())  # type: ignore[attr-defined]
        interval.initial = "86400"
        interval.help_text = "When nothing did in that time, the feed is a finding."

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        return ""


# ── Plug-ins ───────────────────────────────────────────────────────────────────────────────────────
class PlugInForm(ConnectionForm):
    kind = ConnectionKind.PLUG_IN
    groups = (("Which place", ("provider", "options", "bound_to")),)
    named_after = "The plug-in"

    provider = choice({}, label="Plug-in")
    options = LinesField(
        label="Its settings",
        required=False,
        help_text="One a line, as name = value. A secret is a reference: api_token = env://VAULT_TOKEN.",
    )
    bound_to = bound_to("The host that the plug-in talks to")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = dict.fromkeys([*provider_names(), *([str(held)] if (held := self.initial.get("provider")) else [])])
        self.fields["provider"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]

    def _known(self) -> dict[str, Any]:
        known = super()._known()
        held = self.connection.settings if self.connection else {}
        return {**known, "options": [f"{key} = {value}" for key, value in held.items() if key not in self._shared]}

    _shared = frozenset({"provider", "bound_to"})

    def fault(self, name: str, field: forms.Field, text: str) -> str:
        if name != "options":
            return super().fault(name, field, text)
        rest = "\n".join(line for line in text.splitlines() if not is_reference(line.partition("=")[2].strip()))
        return A_SECRET if holds_secret(rest) else ""

    def clean_options(self) -> list[str]:
        lines: list[str] = self.cleaned_data["options"]
        for line in lines:
            name, separator, value = (part.strip() for part in line.partition("="))
            if not separator or not OPTION.fullmatch(name) or name in self._shared:
                raise forms.ValidationError("Each line is name = value, the name in small letters and underscores.")
            if "://" in value and value.partition("://")[0] in set(ReferenceKind):
                checked_reference(value)
        return lines

    def _bind(self, given: dict[str, Any]) -> None:
        """Nobody but the plug-in knows to which host it sends a secret, so people say which may be."""
        has_reference = any(is_reference(line.partition("=")[2].strip()) for line in given.get("options") or ())
        if has_reference and not given.get("bound_to"):
            self.add_error("bound_to", "Say to which host the secrets may be sent.")

    def own(self, given: Mapping[str, Any]) -> dict[str, Any]:
        pairs = (line.partition("=") for line in given.get("options") or ())
        options = {name.strip(): value.strip() for name, _, value in pairs}
        return {**options, **{name: given[name] for name in sorted(self._shared) if given.get(name)}}

    def settings(self) -> dict[str, Any]:
        """All of it is in the form, so what a line no longer says is gone."""
        return self.own(self.cleaned_data)

    def suggested_name(self, given: Mapping[str, Any]) -> str:
        return str(given.get("provider") or "")


FORMS: dict[str, type[ConnectionForm]] = {
    form.kind.value: form
    for form in (McpConfigForm, McpServerForm, OauthForm, AwsForm, PostgresForm, FeedForm, PlugInForm)
}


def offered() -> list[str]:
    """The kinds that can be added: a plug-in only where one is installed."""
    return [kind for kind in FORMS if kind != ConnectionKind.PLUG_IN or provider_names()]
