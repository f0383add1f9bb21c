"""Pages of access reviews, controls and evidence."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
