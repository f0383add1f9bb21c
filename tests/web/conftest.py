from collections.abc import Callable

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from django_htmx.middleware import HtmxDetails


@pytest.fixture
def asked(rf: RequestFactory) -> Callable[..., HttpRequest]:
    """A GET as a view sees it; `htmx=True` asks for the fragment."""

    def make(address: str = "/things/", *, htmx: bool = False, boosted: bool = False) -> HttpRequest:
        headers = {"HX-Request": "true"} if htmx or boosted else {}
        if boosted:
            headers["HX-Boosted"] = "true"
        request = rf.get(address, headers=headers)
        request.htmx = HtmxDetails(request)  # type: ignore[attr-defined]
        return request

    return make
