"""What a page says once after something was done, in a cookie that belongs to this host alone."""

from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class _HostCookie(CookieStorage):
    cookie_name = "__Host-messages"


class HostNotices(FallbackStorage):
    storage_classes = (_HostCookie, SessionStorage)
