"""Mounted in development only."""

from django.urls import path

from web import views

urlpatterns = [path("", views.components, name="components")]
