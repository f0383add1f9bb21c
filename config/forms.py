"""What people fill in on pages that no app owns alone."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict
from django.urls import Resolver404, resolve

from access.roles import Role
from config.tokens import LONGEST_NAME, MOST_DAYS

KEPT_OUT = ("cursor", "format", "csrfmiddlewaretoken")


class SavedViewForm(forms.Form):
    """A name for the query string of a list."""

    label = forms.CharField(max_length=40, error_messages={"required": "Give the view a name."})
    path = forms.CharField(max_length=100)
    query = forms.CharField(max_length=1_000, required=False)

    @staticmethod
    def is_list(path: str) -> bool:
        """Whether `path` is one of our lists, and so a place to be sent back to."""
        try:
            return str(resolve(path).url_name).endswith("_list")
        except Resolver404:
            return False

    def clean_path(self) -> str:
        path: str = self.cleaned_data["path"]
        if not self.is_list(path):
            raise forms.ValidationError("Only lists have views.")
        return path

    def clean_query(self) -> str:
        """Without the place in the list: a view begins at its first page."""
        query = QueryDict(self.cleaned_data["query"], mutable=True)
        for name in KEPT_OUT:
            query.pop(name, None)
        return query.urlencode()

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not self.errors and not given.get("query"):
            raise forms.ValidationError("Narrow or sort the list first; as it is, it needs no name.")
        return given


class TokenForm(forms.Form):
    """What an API token is for, what it may do and until when."""

    name = forms.CharField(
        max_length=LONGEST_NAME,
        help_text="What program it is for. The audit log names it so.",
    )
    role = forms.ChoiceField(help_text="The narrowest that does. It never holds more than you do.")
    days = forms.IntegerField(
        label="Days until it ends", min_value=1, max_value=MOST_DAYS, initial=90, help_text="Shorter is safer."
    )

    def __init__(self, *args: Any, roles: Sequence[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = [(role.value, role.value.capitalize()) for role in reversed(roles)]  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("Give printable characters.")
        return name
