"""Pages by app, and the one versioned API root."""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from config import health, views

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.overview, name="overview"),
    path("search/", views.search, name="search"),
    path("views/save/", views.view_save, name="view_save"),
    path("views/<int:pk>/forget/", views.view_forget, name="view_forget"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("", include("access.urls")),
    path("", include("inventory.urls")),
    path("", include("lifecycle.urls")),
    path("", include("audit.urls")),
    path("account/", include("allauth.account.urls")),
    path("api/v1/", include("config.api")),
]

if settings.DEBUG:
    urlpatterns.append(path("components/", include("web.urls")))

handler500 = "config.views.broken"
