from django.urls import path

from lifecycle.views import clients, credentials, findings, jobs, policies, scores, waivers

urlpatterns = [
    path("credentials/", credentials.credential_list, name="credential_list"),
    path("credentials/<uuid:pk>/", credentials.credential_detail, name="credential_detail"),
    path("credentials/<uuid:pk>/dates/", credentials.credential_dates, name="credential_dates"),
    path("credentials/risk-order/", scores.risk_order, name="risk_order"),
    path("servers/<uuid:pk>/", credentials.server_detail, name="server_detail"),
    path("clients/<uuid:pk>/", clients.client_detail, name="client_detail"),
    path("findings/", findings.finding_list, name="finding_list"),
    path("findings/acknowledge/", findings.finding_acknowledge, name="finding_acknowledge"),
    path("findings/assign/", findings.finding_assign, name="finding_assign"),
    path("findings/comment/", findings.finding_comment, name="finding_comment"),
    path("findings/waive/", waivers.finding_waive, name="finding_waive"),
    path("findings/about/<slug:kind>/<uuid:pk>/", findings.findings_about, name="findings_about"),
    path("findings/<uuid:pk>/", findings.finding_detail, name="finding_detail"),
    path("findings/<uuid:pk>/link/", findings.finding_link, name="finding_link"),
    path("findings/links/<uuid:pk>/remove/", findings.finding_unlink, name="finding_unlink"),
    path("waivers/", waivers.waiver_list, name="waiver_list"),
    path("waivers/approve/", waivers.waiver_approve, name="waiver_approve"),
    path("waivers/decline/", waivers.waiver_decline, name="waiver_decline"),
    path("waivers/<uuid:pk>/withdraw/", waivers.waiver_withdraw, name="waiver_withdraw"),
    path("waivers/caps/<slug:team>/", waivers.waiver_cap, name="waiver_cap"),
    path("waivers/caps/<slug:team>/remove/", waivers.waiver_cap_remove, name="waiver_cap_remove"),
    path("policies/", policies.policy_list, name="policy_list"),
    path("rules/<slug:slug>/", findings.rule_detail, name="rule_detail"),
    path("schedule/", jobs.job_list, name="job_list"),
    path("schedule/<uuid:pk>/", jobs.job_detail, name="job_detail"),
]
