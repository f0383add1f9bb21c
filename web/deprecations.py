"""What of the API will go: one table, from which answers, the OpenAPI document and its readers are told.

An answer that comes by something deprecated carries `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and links to where it
is described and to what takes its place. What is promised of the time in between stands in docs/api.md.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import http_date

NOTICE = timedelta(days=180)
ROOT = "/api/v1/"


@dataclass(frozen=True)
class Deprecation:
    """A noun, or one parameter of it. `successor` is the address below the root, or the parameter, that replaces it."""

    noun: str
    since: date
    sunset: date
    parameter: str = ""
    successor: str = ""

    def __post_init__(self) -> None:
        if self.sunset - self.since < NOTICE:
            raise ValueError(f"{self.noun} would go within {NOTICE.days} days of being deprecated.")

    @property
    def words(self) -> str:
        instead = f" Use `{self.successor}`." if self.successor else ""
        return f"Deprecated since {self.since}; goes on {self.sunset}.{instead}"

    def links(self, root: str) -> Iterator[str]:
        yield f'<{root}schema/>; rel="deprecation"; type="application/json"'
        if self.successor and not self.parameter:
            yield f'<{root}{self.successor}>; rel="successor-version"'


# Nothing is, so far.
DEPRECATIONS: list[Deprecation] = []


def of_noun(noun: str, deprecations: Sequence[Deprecation] | None = None) -> list[Deprecation]:
    return [each for each in (DEPRECATIONS if deprecations is None else deprecations) if each.noun == noun]


def touched(request: HttpRequest) -> list[Deprecation]:
    """Those that `request` comes by. An export comes by its noun."""
    if not DEPRECATIONS or not request.path.startswith(ROOT):
        return []
    first, _, rest = request.path.removeprefix(ROOT).partition("/")
    noun = rest.partition(".")[0] if first == "export" else first
    return [each for each in of_noun(noun) if not each.parameter or each.parameter in request.GET]


class DeprecationMiddleware:
    """Says with an answer what of the question will go, the soonest first."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if found := sorted(touched(request), key=lambda each: each.sunset):
            soonest, root = found[0], request.build_absolute_uri(ROOT)
            response["Deprecation"] = f"@{int(_begins(min(each.since for each in found)).timestamp())}"
            response["Sunset"] = http_date(_begins(soonest.sunset).timestamp())
            response["Link"] = ", ".join(dict.fromkeys(link for each in found for link in each.links(root)))
        return response


def _begins(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
