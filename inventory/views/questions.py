"""A form before something is done: a page of its own, or a dialog where htmx asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from web.pages import render_page_or_fragment, wants_fragment

DECIDED = "decided"  # a bulk form posts only ids; the question itself posts this too
REFUSED = 422


@dataclass(frozen=True)
class Question:
    title: str
    form: forms.Form
    submit: str
    back: str
    text: str = ""
    facts: Sequence[tuple[str, str]] = ()
    ids: Sequence[str] = ()
    hidden: Sequence[tuple[str, str]] = ()
    template: str = "inventory/_fields.html"
    tone: str = "primary"  # of the button: `danger solid` where what it does cannot be undone
    leave: str = "Cancel"  # the way out; another word where the question is about cancelling


def ask(request: HttpRequest, question: Question) -> HttpResponse:
    """Show the question; with status 422 when what was typed was refused."""
    question.form.auto_id = "asked_%s"  # the page below a dialog may have a filter of the same name
    return render_page_or_fragment(
        request,
        "inventory/question.html",
        "inventory/_question_dialog.html",
        {"question": question, "form": question.form},
        status=REFUSED if question.form.errors else 200,
    )


def is_decided(request: HttpRequest) -> bool:
    return request.method == "POST" and DECIDED in request.POST


def go(request: HttpRequest, url: str) -> HttpResponse:
    """Leave the question. Its messages are shown on the page that follows."""
    return HttpResponseClientRedirect(url) if wants_fragment(request) else redirect(url)


def way_back(request: HttpRequest, otherwise: str) -> str:
    """Where the question was asked from: what it carries along, else the page with the link or the list."""
    given = request.POST.get("next") or request.GET.get("next", "")
    if not given:
        said = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
        try:
            came_from = urlsplit(said)
        except ValueError:  # what a header says need not be an address
            return otherwise
        if came_from.netloc == request.get_host() and came_from.path != request.path:
            given = f"{came_from.path}?{came_from.query}" if came_from.query else came_from.path
    return given if given and url_has_allowed_host_and_scheme(given, allowed_hosts=None) else otherwise


def chosen(request: HttpRequest, visible: QuerySet[Any]) -> tuple[list[str], QuerySet[Any]]:
    """The rows whose ids were given. 404 when one of them is nothing, or nothing that the actor may change."""
    given = request.POST.getlist("id") or request.GET.getlist("id")
    try:
        ids = [str(each) for each in dict.fromkeys(UUID(text) for text in given)]
    except ValueError as exc:
        raise Http404 from exc
    rows = visible.filter(pk__in=ids)
    if ids and rows.count() != len(ids):
        raise Http404
    return ids, rows


def nothing_picked(request: HttpRequest, back: str, nouns: str) -> HttpResponse:
    messages.warning(request, f"No {nouns} were picked.")
    return go(request, back)


def refuse(form: forms.Form, error: ValidationError, fields: dict[str, str]) -> None:
    """Put what an action refused to the fields that it was typed into; the rest above the form."""
    for name, errors in error.message_dict.items():
        form.add_error(fields.get(name), errors)
