"""Pages of access reviews, controls and evidence."""

from django.urls import URLPattern, path

from reviews.views import campaigns, controls, evidence, reviewing

urlpatterns: list[URLPattern] = [
    path("controls/", controls.control_list, name="control_list"),
    path("evidence/", evidence.evidence_list, name="evidence_list"),
    path("evidence/new/", evidence.evidence_new, name="evidence_new"),
    path("evidence/sample/", evidence.evidence_sample, name="evidence_sample"),
    path("evidence/sample/<uuid:pk>/", evidence.evidence_item, name="evidence_item"),
    path("evidence/<uuid:pk>/", evidence.evidence_detail, name="evidence_detail"),
    path("evidence/<uuid:pk>/download/", evidence.evidence_download, name="evidence_download"),
    path("controls/<str:pk>/", controls.control_detail, name="control_detail"),
    path("campaigns/", campaigns.campaign_list, name="campaign_list"),
    path("campaigns/by-itself/<slug:occasion>/", campaigns.campaign_trigger, name="campaign_trigger"),
    path("campaigns/new/", campaigns.campaign_new, name="campaign_new"),
    path("campaigns/<uuid:pk>/", campaigns.campaign_detail, name="campaign_detail"),
    path("campaigns/<uuid:pk>/change/", campaigns.campaign_change, name="campaign_change"),
    path("campaigns/<uuid:pk>/launch/", campaigns.campaign_launch, name="campaign_launch"),
    path("campaigns/<uuid:pk>/accept-stale/", campaigns.campaign_accept_stale, name="campaign_accept_stale"),
    path("campaigns/<uuid:pk>/due/", campaigns.campaign_due, name="campaign_due"),
    path("campaigns/<uuid:pk>/remind/", campaigns.campaign_remind, name="campaign_remind"),
    path("campaigns/<uuid:pk>/cancel/", campaigns.campaign_cancel, name="campaign_cancel"),
    path("campaigns/<uuid:pk>/attest/", campaigns.campaign_attest, name="campaign_attest"),
    path("campaigns/<uuid:pk>/sign/", campaigns.campaign_sign, name="campaign_sign"),
    path("reviews/", reviewing.review_queue, name="review_queue"),
    path("reviews/decide/", reviewing.review_decide, name="review_decide"),
    path("reviews/undo/", reviewing.review_undo, name="review_undo"),
    path("reviews/hand-on/", reviewing.review_hand_on, name="review_hand_on"),
    path("reviews/<uuid:pk>/", reviewing.review_sitting, name="review_sitting"),
    path("reviews/<uuid:pk>/submit/", reviewing.review_submit, name="review_submit"),
    path("reviews/items/<uuid:pk>/", reviewing.review_item, name="review_item"),
    path("reviews/items/<uuid:pk>/look-again/", reviewing.review_look_again, name="review_look_again"),
]
