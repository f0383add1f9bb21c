"""What operators say of an endpoint, and what people say they want to be told."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import QueryDict

from access.actors import Actor
from inventory.connection_fields import (
    A_SECRET,
    NO_REFERENCE,
    ReferenceField,
    holds_secret,
    is_reference,
    plain_text,
    readable_places,
)
from inventory.states import Severity
from notifications.actions.endpoints import Setup
from notifications.actions.recipients import Chosen
from notifications.actions.streams import StreamSetup
from notifications.kinds import Kind, chosen_by_people, offered_to_endpoints
from notifications.models import Endpoint, EventStream, Recipient
from notifications.models.endpoints import LONGEST_URL
from notifications.states import Rhythm, SignalType, StreamKind, Timing
from providers.errors import ProviderError
from providers.guard import parse_target

SEVERE = (Severity.CRITICAL, Severity.HIGH)
REFERENCES = ("secret", "previous_secret")
FILE_NAME = r"^[a-z][a-z0-9-]*\Z"
HOURS = [(str(hour), f"{hour:02}:00") for hour in range(24)]


class ReceiverForm(forms.Form):
    """Where something is sent. What looks like a secret is taken out before anything else reads it."""

    names: tuple[str, ...] = ("name", "url")

    def __init__(self, data: QueryDict | None, *, known: dict[str, Any]) -> None:
        self.taken_out: dict[str, str] = {}
        super().__init__(self._without_secrets(data) if data is not None else None, initial=known)

    @property
    def places_note(self) -> str:
        return readable_places()

    def _without_secrets(self, data: QueryDict) -> QueryDict:
        kept = data.copy()
        for name in (*self.names, *REFERENCES):
            text = kept.get(name, "").strip()
            if name in REFERENCES:
                fault = "" if not text or is_reference(text) else NO_REFERENCE
            else:
                fault = A_SECRET if holds_secret(text) else ""
            if fault:
                kept.setlist(name, [])
                self.taken_out[name] = fault
        return kept

    def clean_url(self) -> str:
        try:
            return parse_target(self.cleaned_data["url"]).url
        except ProviderError as exc:
            raise ValidationError(str(exc)) from exc

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name, sentence in self.taken_out.items():
            if name in self.fields:
                self.errors.pop(name, None)  # "required" is not what is wrong with it
                self.add_error(name, sentence)
        if given.get("secret") and given.get("secret") == given.get("previous_secret"):
            self.add_error("previous_secret", "This is the same place as that of the secret.")
        return given


class EndpointForm(ReceiverForm):
    """An address that is told."""

    name = forms.CharField(label="Name", max_length=100, help_text="How lists call it.")
    url = plain_text(
        label="Address",
        max_length=LONGEST_URL,
        help_text="https://…, as the receiver gives it. Internal hosts must be open in KEYREEVE_ALLOW_NETWORKS.",
    )
    kinds = forms.MultipleChoiceField(
        label="It is told",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one.", "invalid_choice": "Choose among these."},
    )
    least_severity = forms.TypedChoiceField(
        label="Findings from",
        coerce=int,
        choices=[(str(level.value), level.label) for level in SEVERE],
        error_messages={"invalid_choice": "Choose one of these."},
        help_text="Findings that open at this severity or above, or are raised to it.",
    )
    secret = ReferenceField(label="Secret, by reference", help_text="Signs what is sent: 24 bytes or more, or whsec_….")
    previous_secret = ReferenceField(
        label="Previous secret, by reference",
        help_text="Only while a secret is replaced: both sign until the receiver has the new one.",
    )

    def __init__(self, data: QueryDict | None = None, *, endpoint: Endpoint | None = None) -> None:
        self.endpoint = endpoint
        super().__init__(data, known=self._known())
        self.fields["kinds"].choices = [(kind.slug, kind.for_endpoints) for kind in offered_to_endpoints()]  # type: ignore[attr-defined]
        self.fields["secret"].required = True
        self.fields["secret"].error_messages["required"] = "Say where the secret lies."

    def _known(self) -> dict[str, Any]:
        if self.endpoint is None:
            return {"kinds": [offered_to_endpoints()[0].slug], "least_severity": str(Severity.CRITICAL.value)}
        return {name: getattr(self.endpoint, name) for name in self.base_fields}

    def setup(self) -> Setup:
        """What was said, once it is valid. The secrets are bound to the host of the address."""
        return Setup(**self.cleaned_data, bound_to=parse_target(self.cleaned_data["url"]).authority)


ASKED = {
    StreamKind.OCSF_WEBHOOK: ("name", "url", "secret", "previous_secret"),
    StreamKind.OCSF_FILE: ("name", "file"),
    StreamKind.SET_PUSH: ("name", "url", "audience", "signals", "secret"),
}


class StreamForm(ReceiverForm):
    """A receiver of everything that happens. Each kind asks for what it needs."""

    names = ("name", "url", "file", "audience")

    name = forms.CharField(label="Name", max_length=100, help_text="How lists call it.")
    url = plain_text(
        label="Address",
        max_length=LONGEST_URL,
        help_text="https://…, as the receiver gives it. Internal hosts must be open in KEYREEVE_ALLOW_NETWORKS.",
    )
    file = forms.RegexField(
        FILE_NAME,
        label="File",
        max_length=80,
        error_messages={"invalid": "Lower-case letters, digits and dashes, beginning with a letter."},
    )
    audience = plain_text(
        label="Audience", max_length=500, help_text="Whom the tokens are for, as the receiver expects it in aud."
    )
    signals = forms.MultipleChoiceField(
        label="Events",
        choices=SignalType.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one.", "invalid_choice": "Choose among these."},
    )
    secret = ReferenceField(label="Secret, by reference", help_text="Signs what is sent: 24 bytes or more, or whsec_….")
    previous_secret = ReferenceField(
        label="Previous secret, by reference",
        help_text="Only while a secret is replaced: both sign until the receiver has the new one.",
    )

    def __init__(self, data: QueryDict | None = None, *, kind: StreamKind, stream: EventStream | None = None) -> None:
        self.kind, self.stream = kind, stream
        known = {name: getattr(stream, name) for name in ASKED[kind]} if stream else {"signals": SignalType.values}
        super().__init__(data, known=known)
        self.fields = {name: self.fields[name] for name in ASKED[kind]}
        if kind == StreamKind.OCSF_WEBHOOK:
            self.fields["secret"].required = True
            self.fields["secret"].error_messages["required"] = "Say where the secret lies."
        if kind == StreamKind.SET_PUSH:
            self.fields["secret"].label = "Bearer token, by reference"
            self.fields["secret"].help_text = "Where the receiver asks for one: sent as Authorization: Bearer …."
        if kind == StreamKind.OCSF_FILE:
            self.fields["file"].help_text = f"Written as {settings.STREAMS_DIR}/NAME.ndjson on the host of the worker."

    def setup(self) -> StreamSetup:
        """What was said, once it is valid. The secrets are bound to the host of the address."""
        bound_to = parse_target(self.cleaned_data["url"]).authority if "url" in self.cleaned_data else ""
        return StreamSetup(kind=self.kind, bound_to=bound_to, **self.cleaned_data)


class PreferencesForm(forms.Form):
    """What one person is told by mail, and when. Only kinds that concern them are asked for."""

    least_severity = forms.TypedChoiceField(
        label="Findings from",
        coerce=lambda value: Severity(int(value)),
        choices=[(str(level.value), level.label) for level in sorted(Severity, reverse=True) if level],
        help_text="The digest lists findings of this severity or above.",
    )
    rhythm = forms.TypedChoiceField(label="How often", coerce=Rhythm, choices=Rhythm.choices)
    hour = forms.TypedChoiceField(label="At (UTC)", coerce=int, choices=HOURS)

    def __init__(self, data: Mapping[str, Any] | None = None, *, recipient: Recipient, actor: Actor) -> None:
        self.recipient = recipient
        self.kinds = [kind for kind in chosen_by_people() if _concerns(kind, actor)]
        known = {_field(kind): recipient.wants(kind.slug).value for kind in self.kinds}
        known |= {name: str(getattr(recipient, name)) for name in ("least_severity", "rhythm", "hour")}
        super().__init__(data, initial=known)
        for kind in self.kinds:
            self.fields[_field(kind)] = forms.ChoiceField(
                label=kind.name,
                help_text=kind.help,
                choices=[(timing.value, timing.label) for timing in kind.timings],
                error_messages={"invalid_choice": "Choose one of these."},
            )

    @property
    def of_kinds(self) -> list[forms.BoundField]:
        return [self[_field(kind)] for kind in self.kinds]

    def chosen(self) -> Chosen:
        """What was said, once it is valid. What was not asked for stays as it was."""
        given = self.cleaned_data
        asked = {kind.slug: Timing(given[_field(kind)]).value for kind in self.kinds}
        return Chosen(
            choices={**self.recipient.choices, **asked},
            least_severity=given["least_severity"],
            rhythm=given["rhythm"],
            hour=given["hour"],
        )


def _field(kind: Kind) -> str:
    return f"kind_{kind.slug.replace('.', '_')}"


def _concerns(kind: Kind, actor: Actor) -> bool:
    return not kind.roles or any(actor.has(role) for role in kind.roles)
