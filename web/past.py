"""Pages that answer of a past instant: `?as_of=` on a page that says `@answers_past`, a refusal on every other."""

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from html import escape, unescape
from typing import Any
from urllib.parse import quote, urlsplit

from django.http import HttpRequest, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils import timezone

from history import past

View = Callable[..., HttpResponseBase]

NOT_HERE = "This page shows the present only: it keeps no past."
# A link of a page, but not the one that leads back to the present.
LINK = re.compile(r'(?<!data-present )\b(href|hx-get)="(/[^"#?]*)(\?[^"#]*)?(#[^"]*)?"')


def answers_past(view: View) -> View:
    """The innermost decorator of a page that only reads. Of the past it is read by somebody who may change nothing.

    The reads of the view, and of what it streams, are those of the instant; links to other pages that can do the same
    carry it on.
    """

    @wraps(view)
    def answering(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.answers_past = True  # type: ignore[attr-defined]
        asked = request.GET.get(past.PARAMETER, "")
        if not asked:
            return view(request, *args, **kwargs)
        try:
            moment = past.instant_of(asked, now=timezone.now(), is_zone_needed=False)
        except past.NoSuchPast as exc:
            return _refuse(request, str(exc))
        request.past = moment  # type: ignore[attr-defined]
        request.actor = request.actor.reading()  # type: ignore[attr-defined]
        with past.looking_at(moment):
            response = view(request, *args, **kwargs)
        if "Location" in response:
            response["Location"] = _led(*urlsplit(response["Location"])[2:4], asked)
        elif isinstance(response, StreamingHttpResponse):
            response.streaming_content = past.read_at(moment, response.streaming_content)  # type: ignore[arg-type]
        elif response.get("Content-Type", "").startswith("text/html"):
            response.content = _carried(response.content.decode(), asked)  # type: ignore[attr-defined]
        return response

    answering.answers_past = True  # type: ignore[attr-defined]
    return answering


class PastMiddleware:
    """Refuses `as_of` on a page that does not know the past: it would show the present under a past date."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponseBase | None:
        is_page = not request.path.startswith("/api/")  # which refuses what it does not know by itself
        if is_page and past.PARAMETER in request.GET and not getattr(view, "answers_past", False):
            return _refuse(request, NOT_HERE)
        return None


def is_bare(request: HttpRequest) -> bool:
    """Whether nothing is asked of the page but, at most, an instant."""
    return not set(request.GET) - {past.PARAMETER}


def _refuse(request: HttpRequest, reason: str) -> HttpResponseBase:
    return render(request, "web/no_such_past.html", {"reason": reason, "now": timezone.now()}, status=400)


def _carried(page: str, asked: str) -> str:
    """Every link of `page` that leads to a page which knows the past, led to the same instant."""

    def led(link: re.Match[str]) -> str:
        attribute, path, query, anchor = link.groups(default="")
        return f'{attribute}="{escape(_led(unescape(path), unescape(query[1:]), asked))}{anchor}"'

    return LINK.sub(led, page)


def _led(path: str, query: str, asked: str) -> str:
    if _answers(path) and past.PARAMETER not in QueryDict(query):
        query = f"{query}{'&' if query else ''}{past.PARAMETER}={quote(asked, safe=':')}"
    return f"{path}?{query}" if query else path


@lru_cache(maxsize=10_000)
def _answers(path: str) -> bool:
    try:
        return getattr(resolve(path).func, "answers_past", False)
    except Resolver404:
        return False
