"""Pages of access reviews, controls and evidence."""

from django.urls import URLPattern, path

from reviews.views import controls, evidence

urlpatterns: list[URLPattern] = [
    path("controls/", controls.control_list, name="control_list"),
    path("evidence/", evidence.evidence_list, name="evidence_list"),
    path("evidence/new/", evidence.evidence_new, name="evidence_new"),
    path("evidence/sample/", evidence.evidence_sample, name="evidence_sample"),
    path("evidence/sample/<uuid:pk>/", evidence.evidence_item, name="evidence_item"),
    path("evidence/<uuid:pk>/", evidence.evidence_detail, name="evidence_detail"),
    path("evidence/<uuid:pk>/download/", evidence.evidence_download, name="evidence_download"),
    path("controls/<str:pk>/", controls.control_detail, name="control_detail"),
]
