"""How a request proves who is asking: a session for pages, an API token for programs, a one-time link at first."""

from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any, ClassVar
from urllib.parse import urlencode

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpRequest
from django.utils import timezone
from knox.auth import TokenAuthentication
from knox.crypto import hash_token
from knox.settings import CONSTANTS
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from access.models import ApiToken, User
from access.second_factor import lacks_second_factor

USE_IS_NOTED_EVERY = timedelta(minutes=1)


class ClosedAccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts are made by administrators; nobody signs up."""

    error_messages: ClassVar = {
        **DefaultAccountAdapter.error_messages,
        "too_many_login_attempts": "Too many tries for this account or from this address. Wait "
        "15 minutes, or ask an administrator for a one-time link.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class ApiTokenAuthentication(TokenAuthentication):  # type: ignore[misc]  # knox has no types
    """`Authorization: Token kr_…`; the actor is the token, not the person who made it."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        if not request.headers.get("Authorization", "").isprintable():
            raise AuthenticationFailed("This is no API token.")
        try:
            found: tuple[User, ApiToken] | None = super().authenticate(request)
        except UnicodeDecodeError as exc:
            raise AuthenticationFailed("This is no API token.") from exc
        if found is not None:
            request._request.actor = found[1].as_actor()  # type: ignore[attr-defined]
        return found

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiToken]:
        """Knox would remove what has expired; here it stays, so that its end can be read."""
        return bearer_of(token.decode("utf-8"), now=timezone.now())


def bearer_of(value: str, *, now: datetime) -> tuple[User, ApiToken]:
    """Whom the value of a token speaks for. Raises AuthenticationFailed, which does not say what was wrong with it."""
    begins = value[: CONSTANTS.TOKEN_KEY_LENGTH]
    for token in ApiToken.objects.live(now).filter(token_key=begins).select_related("user", "issued_by"):
        if compare_digest(hash_token(value), token.digest) and token.is_backed:
            if token.last_used_at is None or token.last_used_at <= now - USE_IS_NOTED_EVERY:
                ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
            return token.user, token
    raise AuthenticationFailed("This token is none of ours, has ended, or its issuer no longer holds its role.")


class TokenOfSessionMissing(PermissionDenied):
    says_why = True
    default_detail = "Send the session's CSRF token in X-CSRFToken, or use an API token: Authorization: Token kr_…"


class SecondFactorMissing(PermissionDenied):
    says_why = True
    default_detail = "Your role needs a second factor. Add one at /account/second-factor/."


class PageSessionAuthentication(SessionAuthentication):
    """A signed-in person may read the API in the browser; writes need the CSRF token as on pages."""

    def authenticate_header(self, request: Request) -> str:
        return "Token"

    def authenticate(self, request: Request) -> Any:
        found = super().authenticate(request)
        if found is not None and lacks_second_factor(request._request, request._request.actor):  # type: ignore[attr-defined]
            raise SecondFactorMissing
        return found

    def enforce_csrf(self, request: Request) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as exc:
            raise TokenOfSessionMissing from exc


def one_time_query(user: User) -> str:
    """The query string of a sign-in link for `user`: valid for PASSWORD_RESET_TIMEOUT and dead after its first use."""
    return urlencode({"user": user.pk, "key": default_token_generator.make_token(user)})


def user_of_one_time_key(user_id: str, key: str) -> User | None:
    if not user_id.isdecimal() or len(user_id) > 18:
        return None
    user = User.objects.filter(pk=int(user_id), is_active=True).first()
    return user if user is not None and default_token_generator.check_token(user, key) else None
