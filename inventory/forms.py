"""What people type when they say who answers for what, and where it runs."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from inventory import tags
from inventory.connection_fields import NO_REFERENCE, is_reference
from inventory.models import Environment, Owner
from inventory.models.logged import LONGEST_EVIDENCE
from inventory.states import OwnerKind, ServerRole
from web.narrowing import Day

SUGGESTED = 500
SERVER_OWNERS = (
    ("iam_owner", "IAM owner"),
    ("platform_owner", "Platform owner"),
    ("application_owner", "Application owner"),
)


class Suggesting(forms.TextInput):
    """A text field that offers values without insisting on them; it works without script."""

    def __init__(self, attrs: dict[str, Any] | None = None, suggestions: Sequence[str] = ()) -> None:
        super().__init__(attrs)
        self.suggestions = suggestions

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        attributes = {**(attrs or {})}
        offered = f"{attributes.get('id', name)}_offered"
        field = super().render(name, value, {**attributes, "list": offered, "autocomplete": "off"}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ((each,) for each in self.suggestions))
        return format_html('{}<datalist id="{}">{}</datalist>', field, offered, options)


def suggested_owners() -> list[str]:
    """Names of active owners; a name that two share is told apart by the e-mail address."""
    active = Owner.objects.filter(is_active=True).order_by("name", "pk").values_list("name", "email")
    found = list(active[:SUGGESTED])
    names = [name for name, _ in found]
    return [f"{name} <{email}>" if names.count(name) > 1 and email else name for name, email in found]


class OwnerNamed(forms.CharField):
    """An owner by name, by e-mail address, by both as suggested, or by id. The action refuses inactive ones."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=400, widget=Suggesting, **options)

    def clean(self, value: Any) -> Owner | None:  # type: ignore[override]
        text = super().clean(value)
        if not text:
            return None
        found: list[Owner] = list(self._named(text).order_by("-is_active", "pk")[:2])
        if not found:
            raise ValidationError(f"Nobody is called “{text}”. Give the full name or the e-mail address.")
        if len(found) > 1 and found[1].is_active:
            raise ValidationError(f"Several owners are called “{text}”. Give the e-mail address.")
        return found[0]

    def _named(self, text: str) -> Any:
        try:
            return Owner.objects.filter(pk=UUID(text))
        except ValueError:
            pass  # no id, so a name
        address = re.fullmatch(r".*<([^<>]+@[^<>]+)>", text)
        if address or re.fullmatch(r"\S+@\S+", text):
            return Owner.objects.filter(email__iexact=address[1] if address else text)
        return Owner.objects.filter(name__iexact=text)


class OwnerForm(forms.Form):
    kind = forms.ChoiceField(choices=OwnerKind, initial=OwnerKind.PERSON, widget=forms.RadioSelect)
    name = forms.CharField(max_length=200)
    email = forms.EmailField(
        label="E-mail", required=False, help_text="Reminders go there. It tells two owners of one name apart."
    )
    external_id = forms.CharField(
        label="External id", max_length=200, required=False, help_text="Their id in your directory, if there is one."
    )

    refused = {"name": "name", "email": "email", "external_id": "external_id", "kind": "kind"}  # noqa: RUF012


class OwnerChangeForm(OwnerForm):
    """An owner as they are known, and who is in line where they do not answer."""

    deputy = OwnerNamed(
        label="Deputy", required=False, help_text="Stands in for them, and is asked next where they do not answer."
    )
    manager = OwnerNamed(label="Manager", required=False, help_text="Is asked last.")

    refused = {**OwnerForm.refused, "deputy": "deputy", "manager": "manager"}  # noqa: RUF012

    def __init__(self, data: QueryDict | None = None, *, owner: Owner) -> None:
        known = {name: getattr(owner, name) for name in ("kind", "name", "email", "external_id")}
        in_line = {name: called(getattr(owner, name)) for name in ("deputy", "manager")}
        super().__init__(data, initial={**known, **in_line})
        self.owner = owner
        for name in ("deputy", "manager"):
            self.fields[name].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        for name in ("deputy", "manager"):
            person = given.get(name)
            if person == self.owner:
                self.add_error(name, "Choose somebody else: nobody is in line for themselves.")
            elif person and not person.is_active and person != getattr(self.owner, name):
                self.add_error(name, f"{person} has left. Choose an active owner.")
        return given


def called(owner: Owner | None) -> str:
    """As `OwnerNamed` finds this owner again and no other."""
    if owner is None:
        return ""
    return f"{owner.name} <{owner.email}>" if owner.email else str(owner.pk)


class AssignOwnerForm(forms.Form):
    """An owner who exists, or, where the actor may, one who is made on the way."""

    owner = OwnerNamed(label="Owner", required=False)
    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the audit chain with your name.",
        widget=forms.TextInput,
        error_messages={"required": "Say why they answer for it."},
    )
    new_name = forms.CharField(label="Name", max_length=200, required=False)
    new_email = forms.EmailField(label="E-mail", required=False)
    new_kind = forms.ChoiceField(
        label="Kind", choices=OwnerKind, initial=OwnerKind.PERSON, required=False, widget=forms.RadioSelect
    )

    refused = {"name": "new_name", "email": "new_email", "kind": "new_kind"}  # noqa: RUF012

    def __init__(self, *args: Any, may_create: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        self.may_create = may_create
        self.fields["owner"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]
        if may_create:
            self.fields["owner"].help_text = "Name or e-mail. Somebody who is not here yet: “New owner” below."
        else:
            for name in ("new_name", "new_email", "new_kind"):
                del self.fields[name]

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [bound for bound in self if not bound.name.startswith("new_")]

    @property
    def new_fields(self) -> list[forms.BoundField]:
        return [bound for bound in self if bound.name.startswith("new_")]

    @property
    def is_new_open(self) -> bool:
        """Whether the part for a new owner is of interest: something stands in it, or nobody was found."""
        names = ("new_name", "new_email")
        return self.may_create and self.is_bound and ("owner" in self.errors or any(self.data.get(n) for n in names))

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if "owner" in self.errors:
            return given
        if given.get("owner") and given.get("new_name"):
            self.add_error("new_name", "Choose somebody above or make a new owner, not both.")
        elif not given.get("owner") and not given.get("new_name"):
            if given.get("new_email") or "new_name" in self.errors:
                self.add_error("new_name", "A new owner needs a name.")
            else:
                self.add_error("owner", "Choose who answers from now on.")
        return given


class AssignServerOwnerForm(AssignOwnerForm):
    role = forms.ChoiceField(label="Owner as", choices=SERVER_OWNERS, widget=forms.RadioSelect)
    field_order = ("role", "owner", "reason")


class EnvironmentForm(forms.Form):
    environment = forms.ModelChoiceField(
        Environment.objects.order_by("-criticality", "name"), required=False, empty_label="Not known"
    )


ROLE_WORDS = {
    ServerRole.TOOL_ENDPOINT: "Tool endpoint: it does the work itself",
    ServerRole.DELEGATED_LAYER: "Delegated authorization layer: it acts at other services for its users",
    ServerRole.MIXED: "Mixed: both",
    ServerRole.UNCLASSIFIED: "Unclassified: nobody has looked",
}


class ServerRoleForm(forms.Form):
    role = forms.ChoiceField(label="Role", choices=list(ROLE_WORDS.items()), widget=forms.RadioSelect)
    vendor = forms.CharField(
        max_length=200,
        required=False,
        help_text="Whose server it is, when a third party runs it. Empty: the organisation's own.",
    )


class ReasonForm(forms.Form):
    """Why. For decisions that need no more than that."""

    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the audit chain with your name.",
        error_messages={"required": "Say why."},
    )


class HandOverForm(ReasonForm):
    """Who else answers for it."""

    to = OwnerNamed(label="Who answers for it", help_text="Name or e-mail. They are asked.")
    reason = forms.CharField(
        max_length=500,
        help_text="Kept in the audit chain with your name.",
        error_messages={"required": "Say why they answer for it."},
    )
    field_order = ("to", "reason")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["to"].widget.suggestions = suggested_owners()  # type: ignore[attr-defined]


class ConfirmForm(ReasonForm):
    """What it is still needed for."""

    reason = forms.CharField(
        label="What is it needed for?",
        max_length=500,
        help_text="Kept in the audit chain with your name.",
        error_messages={"required": "Say what it is needed for."},
    )


class TagsField(forms.CharField):
    """Tags in one line, parted by spaces or commas."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=2_000, required=False, **options)

    def clean(self, value: Any) -> list[str]:  # type: ignore[override]
        found = sorted(set(re.split(r"[\s,;]+", super().clean(value).lower())) - {""})
        if not all(map(tags.is_tag, found)):
            raise ValidationError(tags.RULE)
        if len(found) > tags.MOST:
            raise ValidationError(f"A credential has at most {tags.MOST} tags.")
        return found


class TagsForm(forms.Form):
    """Which tags to give and which to take away."""

    add = TagsField(label="Add", help_text="Parted by spaces, as in team:payments pci.")
    remove = TagsField(label="Take away", help_text="What a feed or a provider says comes back with its next listing.")

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if self.errors:
            return given
        if not given["add"] and not given["remove"]:
            self.add_error("add", "Give a tag to add or to take away.")
        elif both := sorted(set(given["add"]) & set(given["remove"])):
            self.add_error("remove", f"Add {both[0]} or take it away, not both.")
        return given


class LoggingForm(forms.Form):
    """Whether something is logged, and where that can be seen. That a yes needs evidence the action says."""

    ANSWERS: ClassVar = {"yes": True, "no": False, "unknown": None}

    is_logged = forms.ChoiceField(
        label="Is it logged?",
        choices=[("yes", "Yes"), ("no", "No"), ("unknown", "Nobody knows")],
        widget=forms.RadioSelect,
        error_messages={"required": "Say whether it is logged."},
    )
    evidence = forms.CharField(
        label="Where it can be seen",
        max_length=LONGEST_EVIDENCE,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="A link, a query or an entry; needed for a yes.",
    )

    def clean_is_logged(self) -> bool | None:
        return self.ANSWERS[self.cleaned_data["is_logged"]]


class ApproveGrantsForm(ReasonForm):
    """Until when, and why. The action says what is too late."""

    ends_on = forms.DateField(label="Until", widget=Day)
    as_seen = forms.CharField(widget=forms.HiddenInput, max_length=64, required=False)
    field_order = ("ends_on", "reason", "as_seen")


class ApproveToolsForm(ReasonForm):
    as_seen = forms.CharField(widget=forms.HiddenInput, max_length=64, required=False)


class ChangeGrantForm(ReasonForm):
    """Which of the tools that are listed, and scopes and resources in words of their own, one a line."""

    tools = forms.MultipleChoiceField(required=False, widget=forms.CheckboxSelectMultiple)
    scopes = forms.CharField(
        required=False, max_length=8_000, widget=forms.Textarea(attrs={"rows": 3}), help_text="One a line."
    )
    resources = forms.CharField(
        required=False,
        max_length=8_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Addresses that tokens may be meant for, one a line.",
    )
    field_order = ("tools", "scopes", "resources", "reason")

    def __init__(self, *args: Any, tools: Sequence[tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["tools"].choices = list(tools)  # type: ignore[attr-defined]
        if not tools:
            del self.fields["tools"]

    def _lines(self, name: str, longest: int) -> list[str]:
        found = list(dict.fromkeys(line.strip() for line in self.cleaned_data[name].splitlines() if line.strip()))
        if any(len(line) > longest for line in found):
            raise ValidationError(f"One of them is longer than {longest} characters.")
        return found

    def clean_scopes(self) -> list[str]:
        found = [scope for line in self._lines("scopes", 8_000) for scope in line.split()]
        if any(len(scope) > 200 for scope in found):
            raise ValidationError("One of them is longer than 200 characters.")
        return found

    def clean_resources(self) -> list[str]:
        return self._lines("resources", 2_000)


class RemovalForm(ReasonForm):
    """How long a client's owner has to object, and how long it lies suspended."""

    notice_days = forms.IntegerField(
        label="Days until it is suspended", min_value=0, max_value=90, help_text="The owner is told today."
    )
    quiet_days = forms.IntegerField(
        label="Days after that until it is deleted",
        min_value=0,
        max_value=90,
        help_text="Whoever misses it has this long to say so.",
    )
    is_despite_use = forms.BooleanField(
        label="Also if it is used meanwhile",
        required=False,
        help_text="For a client that nobody should trust. Without this, a use stops the removal.",
    )
    field_order = ("notice_days", "quiet_days", "is_despite_use", "reason")

    def __init__(self, *args: Any, may_ignore_use: bool, **options: Any) -> None:
        super().__init__(*args, **options)
        if not may_ignore_use:
            del self.fields["is_despite_use"]


class RegistrationReferenceForm(ReasonForm):
    """Where a client's registration is managed and where its registration access token is kept."""

    uri = forms.CharField(
        label="Address of its registration",
        max_length=2_000,
        required=False,
        help_text="The registration_client_uri of the answer to its registration (RFC 7592), at the issuer's host.",
    )
    reference = forms.CharField(
        label="Reference to its registration token",
        max_length=2_000,
        required=False,
        help_text="env://NAME, file:///folder/file or aws-sm://name, never the token. Empty: nobody keeps it.",
    )
    field_order = ("uri", "reference", "reason")

    def __init__(self, data: QueryDict | None = None, **options: Any) -> None:
        text = str(data.get("reference", "")).strip() if data is not None else ""
        self.is_taken_out = bool(text) and not is_reference(text)
        if data is not None and self.is_taken_out:  # somebody pasted the token itself; no page is to show it again
            data = data.copy()
            data["reference"] = ""
        super().__init__(data, **options)

    def clean_reference(self) -> str:
        if self.is_taken_out:
            raise ValidationError(NO_REFERENCE)
        return str(self.cleaned_data["reference"])


class ReplaceForm(forms.Form):
    """Which reference stands in a literal's place, and where the secret goes, if anywhere."""

    reference = forms.CharField(
        max_length=300,
        help_text="The name of a variable, such as GITHUB_TOKEN, is written as this client reads it; or a whole "
        "reference.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    deliver_to = forms.CharField(
        label="Put the secret into",
        max_length=600,
        required=False,
        help_text="A place in a file, such as file:///run/app/.env#GITHUB_TOKEN. Empty: it is there already.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    digest = forms.CharField(max_length=64, required=False, widget=forms.HiddenInput)
