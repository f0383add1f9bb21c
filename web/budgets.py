"""How much one caller may ask of the API in a minute, and the headers that say what is left of it.

A token, a person or, where nobody is known, an address has a budget; each request costs one of it. It is counted in one
row a caller, by one statement outside any transaction, so that several web processes count together and nobody waits
longer than that statement takes. The table is unlogged: what stands there is worthless within the minute.

The headers are those of draft-ietf-httpapi-ratelimit-headers, `RateLimit-Policy` and `RateLimit`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from time import time
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ErrorDetail, Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from web.wording import thousands

WINDOW = 60  # seconds
FORGOTTEN_AFTER = 60  # windows
FORGOTTEN_AT_ONCE = 500  # rows
TOKEN, PERSON, ADDRESS = "token", "person", "address"
KINDS = {"token": TOKEN, "user": PERSON}

# A clock that is behind counts into the window that another one has begun.
COUNT = """
INSERT INTO web_budget AS b (caller, began, used) VALUES (%s, %s, 1)
ON CONFLICT (caller) DO UPDATE SET
  used = CASE WHEN excluded.began > b.began THEN 1 ELSE b.used + 1 END, began = greatest(b.began, excluded.began)
RETURNING used
"""
FORGET = """
DELETE FROM web_budget WHERE caller IN (
  SELECT caller FROM web_budget WHERE began < %s LIMIT %s FOR UPDATE SKIP LOCKED)
"""


@dataclass(frozen=True)
class Spent:
    """What one request left of a budget. `left` is below nought where it was too much."""

    policy: str
    quota: int
    left: int
    seconds: int  # until there is a whole budget again

    @property
    def is_too_much(self) -> bool:
        return self.left < 0

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW}',
            "RateLimit": f'"{self.policy}";r={max(self.left, 0)};t={self.seconds}',
        }


class BudgetSpent(Throttled):
    """This caller has asked too much within the minute."""

    says_why = True

    def __init__(self, spent: Spent) -> None:
        super().__init__()
        self.wait, self.policy = spent.seconds, spent.policy
        self.detail = ErrorDetail(
            f"{thousands(spent.quota)} requests a minute are what this {spent.policy} may send, and they are used up. "
            f"Go on in {spent.seconds} s."
        )


class Budget(BaseThrottle):
    """Asked by every view of the API once it is known who calls."""

    def allow_request(self, request: Request, view: Any) -> bool:
        count(request)
        return True


class BudgetMiddleware:
    """Tells with every answer what it left of the caller's budget."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        spent: Spent | None = getattr(request, "spent", None)
        if spent is not None:
            for name, value in spent.headers.items():
                response[name] = value
        return response


def count(request: Request) -> None:
    """Take one request off its caller's budget, once. Raises `BudgetSpent`."""
    django_request = request._request
    if hasattr(django_request, "spent"):
        return
    policy, caller = caller_of(request)
    quota: int = settings.API_BUDGETS[policy]
    spent = spend(caller, policy, quota, now=time()) if quota else None
    django_request.spent = spent  # type: ignore[attr-defined]
    if spent is not None and spent.is_too_much:
        raise BudgetSpent(spent)


def spend(caller: str, policy: str, quota: int, *, now: float) -> Spent:
    began = int(now // WINDOW)
    with connection.cursor() as cursor:
        cursor.execute(COUNT, [caller, began])
        (used,) = cursor.fetchone()
        if used == 1:
            cursor.execute(FORGET, [began - FORGOTTEN_AFTER, FORGOTTEN_AT_ONCE])
    return Spent(policy, quota, quota - used, WINDOW - int(now % WINDOW))


def caller_of(request: Request) -> tuple[str, str]:
    """The kind of budget and whose it is. A token that proves nothing names nobody."""
    actor: Any = getattr(request._request, "actor", None)
    if getattr(request, "_authenticator", None) and actor.kind in KINDS:
        return KINDS[actor.kind], actor.key
    return ADDRESS, f"{ADDRESS}:{address_of(request._request)}"


def address_of(request: HttpRequest) -> str:
    """Where a request comes from, as far as the proxies in front of us are to be believed. Of IPv6 it is the /64."""
    said = request.META.get("REMOTE_ADDR", "")
    passed = request.headers.get("X-Forwarded-For", "").split(",")
    if 0 < settings.ALLAUTH_TRUSTED_PROXY_COUNT <= len(passed):
        said = passed[-settings.ALLAUTH_TRUSTED_PROXY_COUNT].strip()
    try:
        address = ip_address(said)
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)
