from django.urls import path

from notifications.states import StreamKind
from notifications.views import endpoints, notices, preferences, signals, streams

urlpatterns = [
    path("notifications/", notices.notice_list, name="notice_list"),
    path("notifications/again/", notices.notice_again, name="notice_again"),
    path("notifications/mail/test/", notices.mail_test, name="mail_test"),
    path("notifications/endpoints/new/", endpoints.endpoint_add, name="endpoint_add"),
    path("notifications/endpoints/<uuid:pk>/edit/", endpoints.endpoint_edit, name="endpoint_edit"),
    path("notifications/endpoints/<uuid:pk>/pause/", endpoints.endpoint_pause, name="endpoint_pause"),
    path("notifications/endpoints/<uuid:pk>/test/", endpoints.endpoint_test, name="endpoint_test"),
    path("notifications/endpoints/<uuid:pk>/remove/", endpoints.endpoint_remove, name="endpoint_remove"),
    path(
        "notifications/streams/new/webhook/", streams.stream_add, {"kind": StreamKind.OCSF_WEBHOOK},
        name="stream_add_webhook",
    ),
    path("notifications/streams/new/file/", streams.stream_add, {"kind": StreamKind.OCSF_FILE}, name="stream_add_file"),
    path("notifications/streams/new/push/", streams.stream_add, {"kind": StreamKind.SET_PUSH}, name="stream_add_push"),
    path("notifications/streams/<uuid:pk>/edit/", streams.stream_edit, name="stream_edit"),
    path("notifications/streams/<uuid:pk>/status/", streams.stream_status, name="stream_status"),
    path("notifications/streams/<uuid:pk>/test/", streams.stream_test, name="stream_test"),
    path("notifications/streams/<uuid:pk>/remove/", streams.stream_remove, name="stream_remove"),
    path("notifications/streams/key/", streams.signal_key_begin, name="signal_key_begin"),
    path(".well-known/ssf-configuration", signals.ssf_configuration, name="ssf_configuration"),
    path("signals/jwks.json", signals.signal_jwks, name="signal_jwks"),
    path("account/notifications/", preferences.preferences, name="preferences"),
]  # fmt: skip
