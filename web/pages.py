"""One URL answers with the whole page, or with the fragment that htmx asked for."""

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers


def wants_fragment(request: HttpRequest) -> bool:
    """A boosted link and a restored history entry are htmx requests that want the page."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render_page_or_fragment(
    request: HttpRequest,
    page_template: str,
    fragment_template: str,
    context: Mapping[str, Any],
    status: int = 200,
) -> HttpResponse:
    """The fragment's root element is the swap target. Messages ride along with it, as the page's toasts do."""
    if wants_fragment(request):
        content = render_to_string(fragment_template, dict(context), request)
        if messages.get_messages(request):
            content += render_to_string("components/toasts.html", {"oob": True}, request)
    else:
        content = render_to_string(page_template, dict(context), request)
    response = HttpResponse(content, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response
