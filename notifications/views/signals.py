"""What receivers of security event tokens read before they trust any: who signs, and with which keys. Public."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from access.permissions import requires
from access.rights import Right
from notifications.models import SignalKey
from notifications.sets import configuration

KEPT_FOR = 300  # seconds: much less than a key is published before it signs


@require_safe
@requires(Right.ANYBODY)
def ssf_configuration(request: HttpRequest) -> HttpResponse:
    """`/.well-known/ssf-configuration`, as the Shared Signals Framework has it."""
    if not settings.PUBLIC_URL:
        raise Http404
    return _public(configuration(settings.PUBLIC_URL, f"{settings.PUBLIC_URL}{reverse('signal_jwks')}"))


@require_safe
@requires(Right.ANYBODY)
def signal_jwks(request: HttpRequest) -> HttpResponse:
    """The public keys with which tokens are verified (RFC 7517)."""
    return _public({"keys": [key.published() for key in SignalKey.objects.published(timezone.now())]})


def _public(document: dict[str, object]) -> HttpResponse:
    answer = JsonResponse(document)
    answer["Cache-Control"] = f"public, max-age={KEPT_FOR}"
    return answer
