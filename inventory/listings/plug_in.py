"""Places that a plug-in speaks to: a package of somebody else, installed beside Keyreeve."""

from collections.abc import Iterator, Mapping
from typing import Any

from inventory.listings.base import Batch, Place
from inventory.listings.provided import batches
from inventory.outside import references
from providers import registry
from providers.base import Operable, Provider, Secret, SecretSink
from providers.errors import Permanent

PROVIDER, BOUND_TO = "provider", "bound_to"


def look(place: Place) -> Iterator[Batch]:
    return batches(_listing(place.settings).discover(), place.clock)


def check(place: Place) -> str:
    return _listing(place.settings).check()


def operable(given: Mapping[str, Any], *, label: str = "") -> Operable:
    """What rotates and revokes the credentials of that place. Raises `ProviderError`."""
    return registry.connect_provider(_name(given), _own(given), resolve=_resolver(given))


def sink(name: str, given: Mapping[str, Any]) -> SecretSink:
    """The sink of this name, with the settings of the connection by whose rights it writes."""
    return registry.connect_sink(name, _own(given), resolve=_resolver(given))


def _listing(given: Mapping[str, Any]) -> Provider:
    connected = operable(given)
    found = registry.listing_of(connected)
    if found is None:
        raise Permanent(f"The plug-in {_name(given)} lists nothing. Send what it has through a feed instead.")
    return found


def _name(given: Mapping[str, Any]) -> str:
    name = given.get(PROVIDER)
    if not isinstance(name, str) or not name:
        raise Permanent("The setting provider is the name of a plug-in that is installed.")
    return name


def _own(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is the plug-in's to read."""
    return {key: value for key, value in given.items() if key not in {PROVIDER, BOUND_TO}}


def _resolver(given: Mapping[str, Any]) -> registry.Resolve:
    bound_to = given.get(BOUND_TO)

    def resolve(reference: str, host: str) -> Secret:
        if not isinstance(bound_to, str) or not bound_to:
            raise Permanent("Say in bound_to to which host the secrets of this connection may be sent.")
        return references().resolve(reference, bound_to=bound_to, host=host)

    return resolve
