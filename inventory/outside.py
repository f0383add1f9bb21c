"""The ways to the outside world, as the operator's settings open them."""

from collections.abc import Callable

from django.conf import settings

from providers.base import Secret
from providers.guard import Guard
from providers.references import References

USER_AGENT = f"Keyreeve/{settings.VERSION} (+posture probe)"


def guard() -> Guard:
    return Guard(settings.ALLOW_LOOPBACK, tuple(settings.ALLOW_NETWORKS))


def references(aws: Callable[[str], Secret] | None = None) -> References:
    """`aws` reads a secret of AWS Secrets Manager by its name; without it such references are refused."""
    return References(settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES, aws)
