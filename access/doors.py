"""Every address of the product, found from its configuration, with the right that each verb of it takes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import URLPattern, URLResolver, get_resolver

from access.permissions import REST, api_class, rights_of
from access.rights import Right

MIDDLEWARE = "access.middleware.RightsMiddleware"


@dataclass(frozen=True)
class Door:
    """`rights` by verb of HTTP; a page takes one right for all, called `*`."""

    name: str
    path: str
    is_api: bool
    rights: dict[str, Right | None]

    @property
    def right(self) -> Right | None:
        return self.rights.get(REST)


def doors() -> list[Door]:
    return list(_doors(get_resolver().url_patterns, ""))


def _doors(patterns: list[Any], prefix: str) -> Iterator[Door]:
    for pattern in patterns:
        at = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _doors(pattern.url_patterns, at)
        elif isinstance(pattern, URLPattern):
            path = "/" + re.sub(r"[\^$]|\\Z", "", at)
            is_api = api_class(pattern.callback) is not None
            yield Door(pattern.name or path, path, is_api, rights_of(pattern.callback))


def check_doors(**_: Any) -> list[checks.CheckMessage]:
    """Default deny is in place, and no address is closed to everybody because its right was forgotten."""
    found: list[checks.CheckMessage] = [
        checks.Error(f"Say what {door.path} takes ({verb}).", hint="access.permissions.requires", id="access.E001")
        for door in doors()
        for verb, right in door.rights.items()
        if right is None
    ]
    if MIDDLEWARE not in settings.MIDDLEWARE:
        found.append(checks.Error("Nobody asks for the rights of pages.", hint=MIDDLEWARE, id="access.E002"))
    return found
