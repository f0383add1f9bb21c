"""The page behind a one-time sign-in link."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from access.actions import sign_in_once
from access.authentication import user_of_one_time_key
from access.permissions import requires
from access.rights import Right

LONGEST_KEY = 200


@never_cache
@sensitive_post_parameters("key")
@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.ANYBODY)
def one_time(request: HttpRequest) -> HttpResponse:
    """Opening the link only shows a button: programs that look at links must not use them up."""
    given = request.POST if request.method == "POST" else request.GET
    user_id, key = given.get("user", ""), given.get("key", "")[:LONGEST_KEY]
    if request.method == "POST":
        user = sign_in_once(request, user_id, key)
        if user is not None:
            return redirect(settings.LOGIN_REDIRECT_URL)
    elif (user := user_of_one_time_key(user_id, key)) is not None:
        return origin_only(render(request, "account/one_time.html", {"person": user, "user_id": user_id, "key": key}))
    return origin_only(render(request, "account/one_time_gone.html", status=410))


def origin_only(response: HttpResponse) -> HttpResponse:
    """The address holds the key, so not even our own pages are told of it. The button's POST still needs its origin."""
    response["Referrer-Policy"] = "strict-origin"
    return response
