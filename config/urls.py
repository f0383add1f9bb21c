"""Pages by app, and the one versioned API root."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("account/", include("allauth.account.urls")),
]

if settings.DEBUG:
    urlpatterns += []
