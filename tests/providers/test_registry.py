"""A package of somebody else brings a provider and a sink; what it needs is the published protocol alone."""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers import registry
from providers.base import Capability, CredentialRef, Delivered, Secret
from providers.contract import ProviderContract, ProviderPlace, SinkContract, SinkPlace, request_key
from providers.errors import Permanent

SHELF = Path(__file__).parents[1] / "plug_ins" / "keyreeve_shelf"
BROKEN = """
def connect(settings, *, resolve):
    return Broken()


class Broken:
    capabilities = frozenset()

    def versions(self, ref):
        raise KeyError("secret-4711")

    def discover(self):
        yield 1
        raise ValueError("secret-4711")

    def check(self):
        return "Here."
"""


def unresolved(reference: str, host: str) -> Secret:
    raise AssertionError("Nothing is to be resolved.")


def install(site: Path, name: str, entry_points: dict[str, dict[str, str]]) -> None:
    """What an installer writes beside a package's modules."""
    about = site / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in entry_points.items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    project = tomllib.loads((SHELF / "pyproject.toml").read_text())["project"]
    install(tmp_path / "site", project["name"], project["entry-points"])
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(SHELF)
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


def brought(monkeypatch: pytest.MonkeyPatch, site: Path, source: str, **providers: str) -> None:
    """A package with one module, `brought_along`."""
    install(site, "brought-along", {registry.PROVIDERS: providers})
    (site / "brought_along.py").write_text(source)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "brought_along", raising=False)


class TestShelf(ProviderContract):
    @pytest.fixture
    def place(self, shelf: Path) -> ProviderPlace:
        def connect():
            return registry.connect_provider("shelf", {"folder": str(shelf)}, resolve=unresolved)

        ref = CredentialRef(identity="shelf:app", kind="api_key", principal="app")
        first = connect().issue(ref, request_key=request_key())

        def usable() -> set[str]:
            held = json.loads((shelf / "app.json").read_text())
            return {each for each, about in held.items() if about["status"] == "active"}

        return ProviderPlace(
            provider=connect(),
            ref=ref,
            external_id=first.external_id,
            secret=first.secret,
            usable=usable,
            again=connect,
        )


class TestShelfSink(SinkContract):
    @pytest.fixture
    def place(self, shelf: Path) -> SinkPlace:
        def connect():
            return registry.connect_sink("shelf", {"folder": str(shelf)}, resolve=unresolved)

        before, key = Delivered(secret=Secret("before-4711"), external_id="app-1"), request_key()
        connect().store("app", before, request_key=key)
        connect().promote("app", request_key=key)
        connect().settle("app", request_key=key)

        def reading() -> Delivered:
            secret, external_id = json.loads((shelf / "app.sink").read_text())["current"]
            return Delivered(secret=Secret(secret), external_id=external_id)

        return SinkPlace(
            sink=connect(), location="app", reading=reading, before=before, again=connect, keeps_external_id=True
        )


def test_what_a_package_brings_is_known_by_name_and_lists_what_it_has(shelf: Path) -> None:
    assert (registry.provider_names(), registry.sink_names()) == (["shelf"], ["shelf"])
    connected = registry.connect_provider("shelf", {"folder": str(shelf)}, resolve=unresolved)
    connected.issue(CredentialRef(identity="shelf:app", kind="api_key", principal="app"), request_key=request_key())
    listing = registry.listing_of(connected)
    assert listing is not None
    assert [found.identity for found in listing.discover()] == ["shelf:app"]  # type: ignore[union-attr]
    assert listing.check() == "There are 1 credentials on the shelf."


def test_a_name_that_nobody_brings_is_answered_with_those_that_are_known(shelf: Path) -> None:
    with pytest.raises(Permanent, match=r"No provider of this name is installed\. Known are memory, shelf\."):
        registry.connect_provider("vault", {}, resolve=unresolved)
    with pytest.raises(Permanent, match=r"No sink of this name is installed\. Known are memory, shelf\."):
        registry.connect_sink("vault", {}, resolve=unresolved)


def test_without_a_package_there_is_nothing_to_offer_and_memory_is_there_for_development() -> None:
    assert (registry.provider_names(), registry.sink_names()) == ([], [])
    connected = registry.connect_provider("memory", {"cloud": "registry"}, resolve=unresolved)
    assert Capability.ISSUE in connected.capabilities


def test_a_plug_in_that_cannot_be_loaded_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(monkeypatch, tmp_path, "import no_such_module_of_anybody", broken="brought_along:connect")
    with pytest.raises(Permanent, match=r"The provider broken of the package brought-along cannot be loaded \(Module"):
        registry.connect_provider("broken", {}, resolve=unresolved)


def test_no_package_takes_over_a_name_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought(monkeypatch, tmp_path, BROKEN, aws="brought_along:connect", memory="brought_along:connect")
    assert registry.provider_names() == []
    connected = registry.connect_provider("memory", {"cloud": "registry"}, resolve=unresolved)
    assert Capability.ISSUE in connected.capabilities


def test_an_error_that_a_plug_in_does_not_explain_becomes_ours_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brought(monkeypatch, tmp_path, BROKEN, broken="brought_along:connect")
    connected = registry.connect_provider("broken", {}, resolve=unresolved)
    listing = registry.listing_of(connected)
    assert listing is not None
    for ask in (
        lambda: connected.versions(CredentialRef(identity="", kind="api_key")),
        lambda: list(listing.discover()),
    ):
        with pytest.raises(Permanent) as error:
            ask()
        assert "The provider broken" in str(error.value)
        assert "4711" not in str(error.value)
        assert error.value.__suppress_context__
