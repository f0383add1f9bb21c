"""What is answered where a page or the API cannot be: what happened, that nothing was changed, and what to do next.

A view that refuses with a bare status gets its page here, too. The API answers with a problem, SCIM with its own error.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from sys import exc_info

from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string

from config.scim_api import MEDIA_TYPE as SCIM_TYPE
from config.scim_api import error as scim_error
from web.outages import database_is_away
from web.problems import MEDIA_TYPE, RETRY_AFTER, problem

LONGEST_ADDRESS = 32_768  # bytes
TOO_LARGE = (RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent)


@dataclass(frozen=True)
class Refusal:
    title: str
    words: str
    actions: Sequence[tuple[str, str]]  # each a label and where it leads; the first is the one to take


OVERVIEW = ("Go to the overview", "/")
AGAIN = ("Try again", "")
REFUSALS = {
    400: Refusal(
        "This request makes no sense here",
        "The address was cut off, a form was changed on its way, or Keyreeve was asked under a host name that "
        "it does not know. Nothing was changed. Go back, load the page again and repeat what you did. Whoever "
        "runs Keyreeve names its hosts in KEYREEVE_HOSTS.",
        [OVERVIEW],
    ),
    405: Refusal(
        "This address is for a button, not for a visit",
        "It takes what a form sends, and does nothing when it is opened or loaded again. Nothing was changed. "
        "Use the button on the page it belongs to.",
        [OVERVIEW],
    ),
    413: Refusal(
        "That was more than one form may send",
        "Nothing was changed. Go back and send less at once: choose fewer rows, or filter the list and act on "
        "what is left of it. Whole files of rows are taken by the intake of the API.",
        [OVERVIEW],
    ),
    414: Refusal(
        "This address is too long",
        "It names more rows or filters than an address holds. Nothing was changed. Go back and choose fewer, "
        "or filter the list instead.",
        [OVERVIEW],
    ),
    429: Refusal(
        "Too many tries",
        "Somebody tried this too often in a short time, perhaps you. Nothing was changed. Wait a quarter of "
        "an hour. If it was not you, tell an administrator: the audit log has every try to sign in.",
        [AGAIN, OVERVIEW],
    ),
    503: Refusal(
        "The database does not answer",
        "Keyreeve is there, its database is not. Nothing was half done: a change is recorded in the audit "
        "log, or it did not happen. Wait a few seconds and try again. If it lasts, tell whoever runs "
        "Keyreeve; /readyz says what is missing.",
        [AGAIN],
    ),
}


def refuse(request: HttpRequest, status: int) -> HttpResponse:
    """The whole answer; asks neither the database nor who is asking."""
    refusal = REFUSALS[status]
    if request.path.startswith("/scim/"):
        answer: HttpResponse = JsonResponse(
            scim_error(status, f"{refusal.title}.").data, status=status, content_type=SCIM_TYPE
        )
    elif request.path.startswith("/api/"):
        document = problem(status, f"{refusal.title}. {refusal.words}").data
        answer = JsonResponse(document, status=status, content_type=MEDIA_TYPE)
    else:
        page = render_to_string("refusal.html", {"refusal": refusal, "status": status})
        answer = HttpResponse(page, status=status)
    answer["Cache-Control"] = "no-store"
    if status == 503:
        answer["Retry-After"] = str(RETRY_AFTER)
    return answer


class RefusalMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if len(request.get_full_path()) > LONGEST_ADDRESS:
            return refuse(request, 414)
        response = self.get_response(request)
        if response.status_code not in REFUSALS or response.streaming or response.content:
            return response
        page = refuse(request, response.status_code)
        page.cookies = response.cookies
        for name, value in response.items():
            if name not in {"Content-Type", "Content-Length"}:
                page[name] = value
        return page


def malformed(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return refuse(request, 413 if isinstance(exception, TOO_LARGE) else 400)


def too_many(request: HttpRequest) -> HttpResponse:
    return refuse(request, 429)


def without_database(request: HttpRequest) -> HttpResponse | None:
    """The answer where the error that is being handled says that the database is away."""
    return refuse(request, 503) if database_is_away(exc_info()[1]) else None
