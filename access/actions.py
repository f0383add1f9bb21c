"""The one write of signing in that Django's own views do not make."""

from allauth.usersessions.models import UserSession
from django.contrib.auth import login
from django.db import transaction
from django.http import HttpRequest

from access.authentication import user_of_one_time_key
from access.models import User

BACKEND = "django.contrib.auth.backends.ModelBackend"


@transaction.atomic
def sign_in_once(request: HttpRequest, user_id: str, key: str) -> User | None:
    """Sign in whom a one-time link names, and make the link worthless. None where it is already, or never was, good.

    The row is locked before the key is judged, so that of two uses at the same moment one is refused.
    """
    found = user_of_one_time_key(user_id, key)
    if found is None:
        return None
    User.objects.select_for_update(no_key=True).get(pk=found.pk)
    user = user_of_one_time_key(user_id, key)
    if user is not None:
        login(request, user, backend=BACKEND)
        UserSession.objects.purge_and_list(user)
        UserSession.objects.create_from_request(request)
    return user
