from django.contrib.auth.views import LoginView
from django.urls import include, path, re_path

from demo.authorization_server import listings, views

urlpatterns = [
    # Ours stand before the library's at the same addresses, so that its own `reverse` still names them.
    path(".well-known/oauth-authorization-server", views.Metadata.as_view()),
    path(".well-known/openid-configuration", views.Discovery.as_view()),
    path("register/", views.Register.as_view()),
    path("register/<str:client_id>/", views.ManageRegistration.as_view()),
    path("device-authorization/", views.AuthorizeDevice.as_view()),
    path("introspect/", views.Introspect.as_view()),
    path("login/", LoginView.as_view(), name="login"),
    path("manage/clients", listings.clients, name="manage-clients"),
    path("manage/tokens", listings.tokens, name="manage-tokens"),
    re_path(r"^manage/clients/(.+)$", listings.manage_client),  # the id of a client may be an address
    re_path(r"^manage/tokens/([a-z0-9-]+)$", listings.manage_token),
    path("", include("oauth2_provider.urls", namespace="oauth2_provider")),
]
