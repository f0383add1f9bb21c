"""The ways to the outside world, as the operator's settings open them."""

from django.conf import settings

from providers.aws import Aws, permitted_endpoint
from providers.aws_secrets import SecretReader
from providers.base import Secret, SecretSink
from providers.errors import Refused
from providers.files import FileSink
from providers.folders import Folders
from providers.guard import HOW_TO_OPEN, Guard, open_addresses, parse_target
from providers.mcp_config import ConfigSink
from providers.references import References

ADDRESSES = 4  # of one name that are tried
USER_AGENT = f"Keyreeve/{settings.VERSION} (+posture probe)"


def guard() -> Guard:
    return Guard(settings.ALLOW_LOOPBACK, tuple(settings.ALLOW_NETWORKS))


def database_addresses(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a database server that may be reached; none for a socket, which has none.

    Raises `ProviderError`. A driver of databases knows nothing of the fetcher, and what it answers tells an open port
    from a closed one.
    """
    if not host.startswith("/"):
        return tuple(str(each) for each in open_addresses(guard(), host, port)[:ADDRESSES])
    if not settings.ALLOW_LOOPBACK:
        raise Refused(f"A socket leads to this machine, which is not open. {HOW_TO_OPEN}")
    return ()


def check_endpoint(url: str) -> str:
    """An endpoint to call instead of AWS, once it is known that it may be reached. Raises `ProviderError`.

    The SDK looks its name up again; over TLS what it finds must still have the certificate of that name.
    """
    if permitted_endpoint(url):
        target = parse_target(url)
        open_addresses(guard(), target.host, target.port)
    return url


def references() -> References:
    """What may be read by reference. Secrets of AWS only where the operator named a region, as this machine."""
    lent = read_as_this_machine if settings.REFERENCE_AWS_REGION else None
    return References(settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES, lent)


def delivery_folders() -> Folders:
    """Where files may be written."""
    return Folders(settings.DELIVERY_FOLDERS)


def file_sink() -> SecretSink:
    return FileSink(delivery_folders())


def mcp_config_sink() -> SecretSink:
    return ConfigSink(delivery_folders())


def read_as_this_machine(name: str) -> Secret:
    return SecretReader(Aws(None, region=settings.REFERENCE_AWS_REGION))(name)
