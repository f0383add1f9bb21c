"""The ways to the outside world, as the operator's settings open them."""

from collections.abc import Callable

from django.conf import settings

from providers.aws import Aws
from providers.aws_secrets import SecretReader
from providers.base import Secret
from providers.guard import Guard
from providers.references import References

USER_AGENT = f"Keyreeve/{settings.VERSION} (+posture probe)"


def guard() -> Guard:
    return Guard(settings.ALLOW_LOOPBACK, tuple(settings.ALLOW_NETWORKS))


def references(aws: Callable[[str], Secret] | None = None) -> References:
    """`aws` reads a secret of AWS Secrets Manager by its name. Without it the identity that this machine is lent does,
    where the operator named a region for that; else such references are refused.
    """
    lent = read_as_this_machine if settings.REFERENCE_AWS_REGION else None
    return References(settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES, aws or lent)


def read_as_this_machine(name: str) -> Secret:
    return SecretReader(Aws(None, region=settings.REFERENCE_AWS_REGION))(name)
