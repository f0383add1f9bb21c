"""Pages by app, and the one versioned API root."""

from allauth.account import views as account
from allauth.mfa import urls as mfa
from allauth.socialaccount import urls as socialaccount
from allauth.socialaccount.providers.openid_connect import urls as openid_connect
from allauth.usersessions import urls as usersessions
from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from access.permissions import requires
from access.rights import Right
from config import health, token_views, views
from config.metrics import Metrics
from web import views as gallery

anybody, signed_in = requires(Right.ANYBODY), requires(Right.SIGNED_IN)
# Of what allauth offers, the part of signing in; the rest looks after an account.
SIGNING_IN = {
    "mfa_authenticate", "mfa_login_webauthn", "openid_connect_login", "openid_connect_callback",
    "socialaccount_login_cancelled", "socialaccount_login_error",
}  # fmt: skip
NOT_OFFERED = {"socialaccount_signup", "socialaccount_connections"}


def guarded(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """The addresses of allauth, each with its right. Nobody signs up or ties identities of the directory by hand."""
    found: list[URLPattern | URLResolver] = []
    for each in patterns:
        if isinstance(each, URLResolver):
            found.append(URLResolver(each.pattern, guarded(each.url_patterns)))
        elif each.name in NOT_OFFERED:
            found.append(URLPattern(each.pattern, signed_in(views.not_offered), each.default_args, each.name))
        else:
            right = anybody if each.name in SIGNING_IN else signed_in
            found.append(URLPattern(each.pattern, right(each.callback), each.default_args, each.name))
    return found


urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.overview, name="overview"),
    path("search/", views.search, name="search"),
    path("views/save/", views.view_save, name="view_save"),
    path("views/<int:pk>/forget/", views.view_forget, name="view_forget"),
    path("account/tokens/", token_views.token_list, name="token_list"),
    path("account/tokens/new/", token_views.token_issue, name="token_issue"),
    path("account/tokens/<uuid:pk>/revoke/", token_views.token_revoke, name="token_revoke"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("", include("access.urls")),
    path("", include("inventory.urls")),
    path("", include("notifications.urls")),
    path("", include("lifecycle.urls")),
    path("", include("reviews.urls")),
    path("", include("audit.urls")),
    # Only what a closed installation without mail needs: no sign-up, no addresses, no reset by e-mail.
    path("account/login/", anybody(account.login), name="account_login"),
    path("account/logout/", signed_in(account.logout), name="account_logout"),
    path("account/inactive/", anybody(account.account_inactive), name="account_inactive"),
    path("account/reauthenticate/", signed_in(account.reauthenticate), name="account_reauthenticate"),
    path("account/password/change/", signed_in(account.password_change), name="account_change_password"),
    path("account/password/set/", signed_in(account.password_set), name="account_set_password"),
    path("account/second-factor/", include(guarded(mfa.urlpatterns))),
    path("account/sessions/", include(guarded(usersessions.urlpatterns))),
    path("account/", include(guarded(openid_connect.urlpatterns))),
    path("account/directory/", include(guarded(socialaccount.urlpatterns))),
    path("api/v1/", include("config.api")),
    path("scim/v2/", include("config.scim_api")),
]

if settings.DEBUG:
    urlpatterns.append(path("components/", anybody(gallery.components), name="components"))

handler400 = "config.refusals.malformed"
handler429 = "config.refusals.too_many"  # allauth asks for it
handler500 = "config.views.broken"
