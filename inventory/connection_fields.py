"""The fields of which forms of connections are made, and what is never to stand in one: a secret.

A reference names the place where a secret lies. What looks like a secret in any field is found here.
"""

import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from inventory.discovery import formats, values
from inventory.outside import references
from providers.errors import ProviderError
from providers.references import parse_reference

MOST_LINES, LONGEST_LINES = 1_000, 100_000

NO_REFERENCE = (
    "This is no reference, so it was taken out and is kept nowhere. Give the place where the secret lies: env://NAME, "
    "file:///folder/file or aws-sm://name."
)
A_SECRET = (
    "This looks like a secret, so it was taken out and is kept nowhere. Secrets stay where they are; a reference names "
    "the place."
)
_SIGNED_IN = re.compile(r"://[^/\s@]*@")
_NAMED = re.compile(r"(?:password|passwd|pwd|secret|token|api[_-]?key)\s*[=:]\s*\S", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}")
_SWITCHES = re.compile(r"(?<=[0-9])[A-Za-z]|(?<=[A-Za-z])[0-9]")
_PARTS = re.compile(r"[\s/:?&=#@,;'\"<>()|\\]+")


def holds_secret(text: str) -> bool:
    """Whether a secret seems to stand in a text that is no place for one: a known format, a sign-in, mere noise."""
    return bool(_NAMED.search(text)) or _looks_like_one(text)


def _looks_like_one(text: str) -> bool:
    if _SIGNED_IN.search(text):
        return True
    if any(not match.format.is_identifier for match in formats.find(text)):
        return True
    whole = {word for word in text.split() if "://" not in word}  # Base64 holds signs that part an address
    return any(_is_noise(part) for part in {*whole, *_PARTS.split(text)})


def _is_noise(part: str) -> bool:
    """Whether a word looks made by a generator. Host names of clouds do too, and are none."""
    if len(part) < 20 or _HOST.fullmatch(part) or values.UUID.match(part):
        return False
    is_mixed = part != part.lower() and part != part.upper() and len(_SWITCHES.findall(part)) >= 3
    return values.is_noise(part) or (is_mixed and values.is_random(part))


def is_reference(text: str) -> bool:
    """Whether a text names a place, and is no secret behind the beginning of a reference."""
    try:
        parse_reference(text)
    except ProviderError:
        return False
    return not _looks_like_one(text)


class LinesField(forms.CharField):
    """Several values, one a line."""

    def __init__(self, *, rows: int = 4, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "spellcheck": "false", "autocapitalize": "none"})
        super().__init__(max_length=LONGEST_LINES, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(str(each) for each in value) if isinstance(value, list | tuple) else value

    def clean(self, value: Any) -> list[str]:  # type: ignore[override]
        text = super().clean(value)
        found = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
        if len(found) > MOST_LINES:
            raise ValidationError(f"That is more than {MOST_LINES} lines.")
        return found


class ReferencesField(LinesField):
    """References, one a line."""

    def clean(self, value: Any) -> list[str]:
        return [checked_reference(text) for text in super().clean(value)]


class ReferenceField(forms.CharField):
    """A reference: where a secret lies. `may_be_plain` where a value that is no secret can stand there too."""

    def __init__(self, *, may_be_plain: bool = False, **options: Any) -> None:
        attributes = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
        if not may_be_plain:
            attributes["placeholder"] = "env://NAME or file:///folder/file"
        widget = forms.TextInput(attrs=attributes)
        super().__init__(max_length=2_000, required=False, widget=widget, **options)
        self.may_be_plain = may_be_plain

    def clean(self, value: Any) -> str:  # type: ignore[override]
        text: str = super().clean(value)
        return text if not text or (self.may_be_plain and "://" not in text) else checked_reference(text)


def checked_reference(text: str) -> str:
    """A reference in its one spelling, once it is known that it may be read here. Nothing is read yet."""
    try:
        return str(references().check(text))
    except ProviderError as exc:
        raise ValidationError(f"{exc} {readable_places()}") from exc


def readable_places() -> str:
    """Where a reference may lead here, for people; and which setting opens more."""
    folders = [str(folder) for folder in settings.REFERENCE_FOLDERS]
    names = list(settings.REFERENCE_VARIABLES)
    region = settings.REFERENCE_AWS_REGION
    if not folders and not names and not region:
        return (
            "Nothing may be read by reference here yet: the operator lists folders in KEYREEVE_REFERENCE_FOLDERS, "
            "variables in KEYREEVE_REFERENCE_VARIABLES or a region in KEYREEVE_REFERENCE_AWS_REGION, and starts "
            "Keyreeve again."
        )
    parts = []
    if folders:
        parts.append(f"files under {', '.join(folders[:5])}{' and more' if len(folders) > 5 else ''}")
    if names:
        parts.append(f"the variables {', '.join(names[:10])}{' and more' if len(names) > 10 else ''}")
    if region:
        parts.append(f"AWS Secrets Manager in {region}, as this machine")
    return f"Readable here: {'; '.join(parts)}."


def plain_text(**options: Any) -> forms.CharField:
    """A text of a machine: no spelling is mended in it."""
    attributes = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}
    return forms.CharField(widget=forms.TextInput(attrs=attributes), **options)


def choice(choices: Mapping[str, str], **options: Any) -> forms.ChoiceField:
    """A choice whose refusal does not repeat what was sent."""
    return forms.ChoiceField(
        choices=list(choices.items()), error_messages={"invalid_choice": "Choose one of these."}, **options
    )


def bound_to(otherwise: str) -> forms.CharField:
    return plain_text(
        label="May be sent to",
        max_length=300,
        required=False,
        help_text=f"The one host that gets the secret. Empty: {otherwise}. An address that is changed later does not "
        "carry it elsewhere.",
    )
