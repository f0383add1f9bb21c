from django.urls import path

from notifications.views import endpoints, notices, preferences

urlpatterns = [
    path("notifications/", notices.notice_list, name="notice_list"),
    path("notifications/again/", notices.notice_again, name="notice_again"),
    path("notifications/mail/test/", notices.mail_test, name="mail_test"),
    path("notifications/endpoints/new/", endpoints.endpoint_add, name="endpoint_add"),
    path("notifications/endpoints/<uuid:pk>/edit/", endpoints.endpoint_edit, name="endpoint_edit"),
    path("notifications/endpoints/<uuid:pk>/pause/", endpoints.endpoint_pause, name="endpoint_pause"),
    path("notifications/endpoints/<uuid:pk>/test/", endpoints.endpoint_test, name="endpoint_test"),
    path("notifications/endpoints/<uuid:pk>/remove/", endpoints.endpoint_remove, name="endpoint_remove"),
    path("account/notifications/", preferences.preferences, name="preferences"),
]
