"""Made-up requests to every address, by everybody: the same for the same seed, each of them on an untouched estate.

What is asked is put together from what the product says of itself: its addresses, the parameters and fields of the
OpenAPI document, the names and links of the pages that came back, the ids of what there is, and texts that have broken
programs before.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

from django.test import Client

from access.doors import Door, doors
from config.api import document

NASTY = (
    "", " ", "0", "-1", "1e309", "NaN", "9" * 40, "9223372036854775808", "true", "null", "None", "[]", "{}", "%", "%%",
    "%00", "\x00", "\ud7ff", "\ufeff", "\u202e", "🗝️" * 20, "é", "ß", "İ", "１２", "٣", "'", '"', "\\", "`", "';--",
    "' OR 1=1 --", "$1", "%s", "{0}", "{{7*7}}", "{% debug %}", "${7*7}", "<script>alert(1)</script>", '"><b>',
    "../../etc/passwd", "..%2f", "//example.org", "http://169.254.169.254/", "file:///etc/passwd", "a" * 5_000,
    "\r\nX-Injected: 1", "\n", "\t", "2026-13-45", "0001-01-01", "9999-12-31T23:59:59Z", "2026-06-30T00:00:00Z", "-P1D",
    "infinity", "now()", "a,b,,c", ",", "kr_", "id", "-id", "*", "WyJpZCIsIj4iLFsieCJdXQ", "WyJpZCIsIj4iLFtudWxsXV0",
    "& !", "a & b | (", ":*", "a:b:c",
)  # fmt: skip
VERBS = ("GET",) * 14 + ("POST",) * 8 + ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "REPORT")
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Accept", ("*/*", "text/html", "application/json", "text/csv", "image/png;q=x", "", "a/b;" + "c" * 500)),
    ("HX-Request", ("true",)),
    ("HX-Boosted", ("true",)),
    ("HX-Target", ("list-credentials", "<b>")),
    ("HX-Current-URL", ("http://testserver/credentials/", "http://[", "%00")),
    ("If-None-Match", ('W/"x"', "*", "x")),
    ("Range", ("bytes=0-1", "x")),
    ("Idempotency-Key", ("one", "\x7f", "k" * 300)),
    ("X-Forwarded-For", ("a, b", "10.0.0.1")),
    ("X-Request-ID", ("x" * 65, "short")),
    ("Referer", ("http://testserver/", "x")),
    ("Accept-Language", ("de", "x" * 100)),
    ("Authorization", ("Token", "Token kr_x", "Bearer kr_x", "Basic Og==", "Token \x7f")),
    ("Cookie", ("sessionid=x", "sessionid=; csrftoken=y")),
)
NAMES = re.compile(r'\bname="([^"]{1,60})"')
LINKS = re.compile(r'\b(?:href|action|hx-get|hx-post)="(/[^"#]{1,400})"')
MOST_LEARNED = 3_000


@dataclass
class Caller:
    """Somebody with a browser, and what no answer to them may hold."""

    name: str
    client: Client
    forbidden: dict[str, str] = field(default_factory=dict)  # what it is, by the text


@dataclass(frozen=True)
class Fault:
    seed: int
    number: int
    caller: str
    request: str
    what: str


class Fuzzer:
    """Requests number by number. Whoever runs them says after each what came back, so that later ones go deeper."""

    def __init__(self, seed: int, ids: list[str]) -> None:
        self.seed, self.ids = seed, ids
        self.doors = [door for door in doors() if "*" not in door.path]
        self.names, self.values = _spoken(json.loads(document()))
        self.links: list[str] = []

    def request(self, number: int) -> tuple[Random, dict[str, Any]]:
        rng = Random(f"{self.seed}/{number}")
        query = [(rng.choice(self.names), self.value(rng)) for _ in range(rng.choice((0, 0, 1, 1, 2, 4)))]
        is_followed = self.links and rng.random() < 0.3
        path = rng.choice(self.links) if is_followed else self.path(rng, rng.choice(self.doors))
        if query:
            path += ("&" if "?" in path else "?") + urlencode(query, errors="replace")
        chosen = rng.sample(HEADERS, rng.choice((0, 0, 1, 1, 2, 3)))
        headers = {name: rng.choice(values) for name, values in chosen}
        verb = rng.choice(VERBS)
        made: dict[str, Any] = {"method": verb, "path": path, "headers": headers}
        if verb not in {"GET", "HEAD", "OPTIONS"}:
            made["data"], made["content_type"] = self.body(rng, is_api=path.startswith(("/api/", "/scim/")))
        return rng, made

    def learn(self, text: str) -> None:
        for found, kept in ((NAMES.findall(text), self.names), (LINKS.findall(text), self.links)):
            known = set(kept)
            new = [each for each in map(unescape, dict.fromkeys(found)) if each not in known]
            kept.extend(new[: MOST_LEARNED - len(kept)])

    def path(self, rng: Random, door: Door) -> str:
        def filled(part: re.Match[str]) -> str:
            return rng.choice(self.ids) if rng.random() < 0.85 else quote(rng.choice(NASTY)[:200] or "x", safe="")

        return re.sub(r"<[^>]+>", filled, door.path)

    def value(self, rng: Random) -> str:
        return rng.choice(rng.choice((self.ids, self.values, NASTY)))

    def body(self, rng: Random, *, is_api: bool) -> tuple[bytes, str]:
        fields = {rng.choice(self.names): self.value(rng) for _ in range(rng.randrange(8))}
        match rng.randrange(10):
            case 0:
                return rng.randbytes(rng.randrange(200)), rng.choice(("application/json", "text/plain", "x", ""))
            case 1:
                return rng.choice((b"[]", b"null", b'"x"', b"{", b"1e999", b"[" * 5_000)), "application/json"
            case 2:
                boundary = '--x\r\nContent-Disposition: form-data; name="file"; filename="a\\""\r\n\r\nx\r\n--x--'
                return boundary.encode(), "multipart/form-data; boundary=x"
        if is_api:
            given = {name: self.json(rng) for name in fields}
            return json.dumps(given).encode(), "application/json"
        return urlencode(fields, errors="replace").encode(), "application/x-www-form-urlencoded"

    def json(self, rng: Random) -> Any:
        match rng.randrange(8):
            case 0:
                return rng.choice((None, True, -1, 10**30, 1.5, float("inf")))
            case 1:
                return [self.value(rng) for _ in range(rng.randrange(4))]
            case 2:
                return {rng.choice(self.names): self.value(rng)}
        return self.value(rng)


def faults_of(answer: Any, caller: Caller, asked: dict[str, Any]) -> tuple[list[str], str]:
    """What is wrong with an answer, and its text."""
    streamed = getattr(answer, "streaming_content", None)
    content = b"".join(streamed) if streamed is not None else answer.content
    text = content.decode("utf-8", "replace")
    found = [f"status {answer.status_code}"] if answer.status_code >= 500 else []
    if "\n" in "".join(answer.headers.values()):
        found.append("a header of two lines")
    said = f"{text}\n{answer.headers}"
    question = repr(asked)
    found += [what for secret, what in caller.forbidden.items() if secret in said and secret not in question]
    if "<script>alert(1)" in text and "html" in answer.headers.get("Content-Type", ""):
        found.append("a script of ours came back as one")
    return found, text


def _spoken(schema: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of parameters and fields, and values that are understood, as the document has them."""
    names: dict[str, None] = {}
    values: dict[str, None] = {}
    for each in _dictionaries(schema):
        if isinstance(each.get("in"), str) and isinstance(each.get("name"), str):
            names[each["name"]] = None
        if isinstance(each.get("properties"), dict):
            names.update(dict.fromkeys(each["properties"]))
        if isinstance(each.get("enum"), list):
            values.update(dict.fromkeys(map(str, each["enum"])))
    return list(names), list(values)


def _dictionaries(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for each in part.values():
            yield from _dictionaries(each)
    elif isinstance(part, list):
        for each in part:
            yield from _dictionaries(each)
