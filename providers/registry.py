"""Providers and sinks by name: those that a package brings along, through entry points.

A package that is installed beside Keyreeve declares what it brings:

    [project.entry-points."keyreeve.providers"]
    vault = "keyreeve_vault:connect"

    [project.entry-points."keyreeve.sinks"]
    vault = "keyreeve_vault:sink"

Each is a callable `connect(settings, *, resolve)`. `settings` are those of the connection; `resolve` turns a reference
in them into its secret, for the host that it will be sent to. It is imported when it is used, and not before.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, cast

from providers.base import Operable, Provider, Secret, SecretSink
from providers.errors import Permanent, ProviderError

PROVIDERS = "keyreeve.providers"
SINKS = "keyreeve.sinks"

# Kept in this process's memory alone: for development and tests.
MEMORY = "memory"
SHIPPED: dict[str, dict[str, str]] = {
    PROVIDERS: {MEMORY: "providers.memory:connect"},
    SINKS: {MEMORY: "providers.memory:connect_sink"},
}
# What Keyreeve itself connects to has these names, and no package takes one over.
OURS = frozenset({"aws", "aws_secrets", "feed", "file", "mcp_config", "mcp_server", "oauth", "postgres", MEMORY})


class Resolve(Protocol):
    """Turns a reference into its secret, for the one host that it may be sent to. Raises `ProviderError`."""

    def __call__(self, reference: str, host: str) -> Secret: ...


class Connect(Protocol):
    def __call__(self, settings: Mapping[str, Any], *, resolve: Resolve) -> object: ...


def provider_names() -> list[str]:
    """The providers that packages bring, without the one that keeps nothing."""
    return sorted(_installed(PROVIDERS))


def sink_names() -> list[str]:
    return sorted(_installed(SINKS))


def connect_provider(name: str, settings: Mapping[str, Any], *, resolve: Resolve) -> Operable:
    """The provider of this name. Raises `ProviderError`."""
    return cast(Operable, _Guarded(_connect(PROVIDERS, name, settings, resolve), f"The provider {name}"))


def connect_sink(name: str, settings: Mapping[str, Any], *, resolve: Resolve) -> SecretSink:
    """The sink of this name. Raises `ProviderError`."""
    return cast(SecretSink, _Guarded(_connect(SINKS, name, settings, resolve), f"The sink {name}"))


def listing_of(connected: object) -> Provider | None:
    """What lists credentials and says who we are, where a plug-in does so."""
    has = all(callable(getattr(connected, verb, None)) for verb in ("discover", "check"))
    return cast(Provider, connected) if has else None


def _installed(group: str) -> dict[str, EntryPoint]:
    """By name. Of two packages that bring the same name the first one in the path counts, as with modules."""
    found: dict[str, EntryPoint] = {}
    for each in entry_points(group=group):
        if each.name not in OURS:
            found.setdefault(each.name, each)
    return found


def _connect(group: str, name: str, settings: Mapping[str, Any], resolve: Resolve) -> object:
    what = "provider" if group == PROVIDERS else "sink"
    known = _installed(group)
    if name in SHIPPED[group]:
        found = EntryPoint(name, SHIPPED[group][name], group)
    elif name in known:
        found = known[name]
    else:
        names = ", ".join(sorted({*known, *SHIPPED[group]}))
        raise Permanent(f"No {what} of this name is installed. Known are {names}.")
    origin = f" of the package {found.dist.name}" if found.dist else ""
    try:
        connect = cast(Connect, found.load())
    except Exception as exc:
        raise Permanent(f"The {what} {name}{origin} cannot be loaded ({type(exc).__name__}).") from exc
    with_words = _in_our_words(connect, f"The {what} {name}{origin}")
    return with_words(settings, resolve=resolve)


class _Guarded:
    """A plug-in whose errors are ours, whatever it raises: its own could hold a secret, and nobody would catch them."""

    def __init__(self, plug_in: object, name: str) -> None:
        self._plug_in = plug_in
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._plug_in, attribute)
        return _in_our_words(found, self._name) if callable(found) else found

    def __repr__(self) -> str:
        return f"<{self._name}>"


def _in_our_words(verb: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(verb)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            answer = verb(*given, **named)
        except ProviderError:
            raise
        except Exception as exc:  # noqa: BLE001 - raised again, in our words
            raise _broken(name, exc) from None
        return _one_by_one(answer, name) if isinstance(answer, Iterator) else answer

    return asked


def _one_by_one(listed: Iterator[Any], name: str) -> Iterator[Any]:
    try:
        yield from listed
    except ProviderError:
        raise
    except Exception as exc:  # noqa: BLE001 - raised again, in our words
        raise _broken(name, exc) from None


def _broken(name: str, exc: Exception) -> Permanent:
    return Permanent(f"{name} failed in a way that it does not explain ({type(exc).__name__}).")
