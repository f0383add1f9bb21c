"""Pages of access reviews, controls and evidence."""

from django.urls import URLPattern, path

from reviews.views import controls

urlpatterns: list[URLPattern] = [
    path("controls/", controls.control_list, name="control_list"),
    path("controls/<str:pk>/", controls.control_detail, name="control_detail"),
]
