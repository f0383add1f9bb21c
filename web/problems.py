"""Every error of the API as one shape: problem details (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from web import budgets
from web.outages import database_is_away

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 10  # seconds, where the database is away
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"

# Words of ours where the framework's name too little or, as with a row that is not there, too much.
DETAILS = {
    401: "Sign in, or send an API token: Authorization: Token kr_…",
    403: "You hold no role that allows this.",
    404: "There is nothing here, or nothing that you may see.",
}


class _TooLarge(exceptions.APIException):
    status_code = 413


class _Away(exceptions.APIException):
    status_code = 503
    wait = RETRY_AFTER


def problem_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """The answer to `exc`. What nobody expected is logged under a reference, and the answer holds only that."""
    set_rollback()
    match exc:
        case exceptions.APIException():
            known = exc
        case Http404():
            known = exceptions.NotFound()
        case PermissionDenied():
            known = exceptions.PermissionDenied()
        case RequestDataTooBig():
            known = _TooLarge("The body is larger than this address takes. Send less at once.")
        case SuspiciousOperation():
            known = exceptions.ParseError("The request is malformed.")
        case _ if database_is_away(exc):
            known = _Away("The database does not answer. Nothing was half done; try again.")
        case _:
            return _unexpected(exc, context)
    if not isinstance(known, _Away):
        known = _counted(known, context)
    headers = {}
    if auth_header := getattr(known, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if (wait := getattr(known, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    detail = known.detail
    errors = None
    if isinstance(detail, dict):
        errors = {str(name): _sentences(said) for name, said in detail.items()}
        text = "; ".join(f"{name}: {' '.join(said)}" for name, said in errors.items())
    else:
        text = DETAILS.get(known.status_code) or " ".join(_sentences(detail))
        if isinstance(known, exceptions.AuthenticationFailed) or getattr(known, "says_why", False):
            text = str(detail)
    if isinstance(known, budgets.BudgetSpent):
        more: dict[str, Any] = {"type": QUOTA_EXCEEDED, "title": "Quota Exceeded", "violated-policies": [known.policy]}
        return problem(429, text, headers=headers, **more)
    return problem(known.status_code, text, errors=errors, headers=headers)


def _counted(known: exceptions.APIException, context: Mapping[str, Any]) -> exceptions.APIException:
    """The same refusal, or the one that too many have earned: who is turned away early has not been counted yet."""
    request = context.get("request")
    if request is not None:
        try:
            budgets.count(request)
        except budgets.BudgetSpent as spent:
            return spent
    return known


def problem(
    status: int,
    detail: str,
    *,
    errors: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """One problem. `errors` names what is wrong with which parameter or field."""
    phrase = HTTPStatus(status).phrase
    content: dict[str, Any] = {
        "type": f"urn:keyreeve:problem:{phrase.lower().replace(' ', '-')}",
        "title": phrase,
        "status": status,
        "detail": detail,
        **({"errors": errors} if errors else {}),
        **more,
    }
    return Response(
        content, status=status, headers={"Cache-Control": "no-store", **(headers or {})}, content_type=MEDIA_TYPE
    )


def _unexpected(exc: Exception, context: Mapping[str, Any]) -> Response:
    reference = uuid4().hex[:12]
    request = context.get("request")
    logger.error(
        "%s %s failed, reference %s",
        getattr(request, "method", "?"),
        getattr(request, "path", "?"),
        reference,
        exc_info=exc,
    )
    return problem(500, f"Something went wrong on our side. The log has it as {reference}.", reference=reference)


def _sentences(said: Any) -> list[str]:
    if isinstance(said, dict):
        return [f"{name}: {text}" for name, each in said.items() for text in _sentences(each)]
    if isinstance(said, list | tuple):
        return [text for each in said for text in _sentences(each)]
    return [str(said)]
