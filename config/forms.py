"""What people fill in on pages that no app owns alone."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.urls import Resolver404, resolve

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
