"""What every provider and every sink promises, as tests that anybody can run against their own.

Subclass `ProviderContract` or `SinkContract` in a test module, override its fixtures, and pytest runs the promises:

    pytest.register_assert_rewrite("providers.contract")  # before the import, for assertions that explain themselves

    class TestVault(ProviderContract):
        @pytest.fixture
        def place(self): ...

What a place does not declare among its capabilities is skipped. Nothing here knows Django, and no promise is tested
by a double: what the place itself says, behind the adapter's back, decides.
"""

import pickle  # nosec B403  # to see that a secret cannot be pickled
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import uuid4

import pytest

from providers.base import (
    Basis,
    Capability,
    CredentialRef,
    Delivered,
    DiscoveredVersion,
    Issued,
    Liveness,
    Operable,
    Secret,
    SecretSink,
    Seen,
    Status,
)
from providers.errors import NoRoom, Permanent, ProviderError, Transient

USUAL = (
    Capability.ISSUE,
    Capability.SUSPEND,
    Capability.DESTROY,
    Capability.LISTS_VERSIONS,
    Capability.PRESENTS,
    Capability.LAST_USED,
    Capability.CALLER_CHOOSES_SECRET,
    Capability.REPLACES,
    Capability.NEEDS_VALUE,
)
# What a consumer's secret may hold, and quoting may get wrong.
AWKWARD = (
    "plain-0123456789",
    "with spaces and = and # in it",
    "quo\"te' and $HOME and `back`",
    "back\\slash\\n",
    "ümläut·✓",
)


class Outage(StrEnum):
    """What goes wrong at the place while a test asks it."""

    UNAVAILABLE = "unavailable"  # it answers nothing, or that it cannot
    THROTTLED = "throttled"  # it says to come back after `RETRY_AFTER`
    DENIED = "denied"  # our identity lacks the right


RETRY_AFTER = timedelta(seconds=7)


class Failing(Protocol):
    def __call__(self, outage: Outage) -> AbstractContextManager[object]: ...


def request_key() -> str:
    return str(uuid4())


def nothing_to_wait_for() -> None:
    """A place that answers what is so at once."""


# ── Providers ──────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, kw_only=True)
class ProviderPlace:
    """One credential at a place, with one version that works.

    `usable` asks the place itself, without the adapter, which versions it takes. `secret` is the standing version's,
    where it can be presented. `again` connects anew, as another process would. `settle` returns when what was asked
    for is so everywhere. `room` is how many versions fit beside the first; None where nothing limits them. `failing`
    makes the place fail within its block; `outages` says in which ways it can.
    """

    provider: Operable
    ref: CredentialRef
    external_id: str
    usable: Callable[[], set[str]]
    secret: Secret | None = None
    again: Callable[[], Operable] | None = None
    settle: Callable[[], None] = nothing_to_wait_for
    room: int | None = None
    failing: Failing | None = None
    outages: frozenset[Outage] = frozenset(Outage)
    unknown_external_id: str = "no-such-version"


@dataclass(slots=True)
class _Told:
    """Everything that was said in a test, to be looked through for secrets at its end."""

    secrets: list[Secret] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def note(self, *things: object) -> None:
        self.said.extend(f"{thing!r} {thing}" for thing in things)

    def is_clean(self) -> bool:
        return not any(secret.reveal() in text for secret in self.secrets for text in self.said)


class ProviderContract:
    """Every verb's promise. Override `place`."""

    @pytest.fixture
    def place(self) -> ProviderPlace:
        raise NotImplementedError("Override the fixture `place` with a credential of yours that has one version.")

    # ── Capabilities ──
    def test_capabilities_are_declared_and_fit_together(self, place: ProviderPlace) -> None:
        declared = place.provider.capabilities
        assert isinstance(declared, frozenset)
        assert declared <= set(Capability)
        assert Capability.LAST_USED not in declared or Capability.LISTS_VERSIONS in declared
        assert Capability.REPLACES not in declared or Capability.ISSUE in declared
        assert Capability.CALLER_CHOOSES_SECRET not in declared or Capability.ISSUE in declared
        assert declared & {Capability.ISSUE, Capability.SUSPEND, Capability.DESTROY}, "It can do nothing at all."

    # ── versions ──
    def test_versions_are_listed_the_same_each_time(self, place: ProviderPlace) -> None:
        first, second = (listed(place) for _ in range(2))
        assert first == second
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            assert first[place.external_id].status is Status.ACTIVE
        else:
            assert first == {}

    def test_dates_of_versions_are_in_a_zone_or_unknown(self, place: ProviderPlace) -> None:
        for version in place.provider.versions(place.ref):
            assert is_moment(version.issued_at)
            assert is_moment(version.last_used_at)

    def test_versions_of_a_credential_that_is_not_there_are_none_or_an_error_of_ours(
        self, place: ProviderPlace
    ) -> None:
        stranger = CredentialRef(
            identity="nowhere:nobody", kind=place.ref.kind, principal="nobody", external_id="nobody", details={}
        )
        try:
            assert not place.provider.versions(stranger)
        except ProviderError as exc:
            assert_sentence(str(exc))

    # ── issue ──
    def test_a_new_version_works_beside_the_one_before(self, place: ProviderPlace) -> None:
        needs(place, Capability.ISSUE)
        key = request_key()
        issued = issue(place, key)
        assert isinstance(issued, Issued)
        assert issued.secret.reveal()
        assert is_moment(issued.issued_at)
        assert is_moment(issued.expires_at)
        if Capability.REPLACES in place.provider.capabilities:
            assert place.usable() == {issued.external_id}
        else:
            assert issued.external_id != place.external_id
            assert place.usable() == {place.external_id, issued.external_id}
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            found = listed(place)[issued.external_id]
            assert found.status is Status.ACTIVE
            assert found.mark in {"", key}

    def test_issuing_again_with_one_request_key_gives_one_secret(self, place: ProviderPlace) -> None:
        needs(place, Capability.ISSUE, Capability.CALLER_CHOOSES_SECRET)
        key = request_key()
        first = place.provider.issue(place.ref, request_key=key)
        place.settle()
        second = another(place).issue(place.ref, request_key=key)
        place.settle()
        assert (first.external_id, first.secret.reveal()) == (second.external_id, second.secret.reveal())
        assert place.usable() <= {place.external_id, first.external_id}

    def test_a_version_whose_secret_died_with_its_worker_is_found_and_removed(self, place: ProviderPlace) -> None:
        needs(place, Capability.ISSUE, Capability.DESTROY, Capability.LISTS_VERSIONS)
        if {Capability.REPLACES, Capability.NEEDS_VALUE} & place.provider.capabilities:
            pytest.skip("There is no stray beside the version in use, or none that can be removed without its value.")
        before = set(listed(place))
        stray = issue(place).external_id  # nobody keeps what else came back
        provider = another(place)
        found = {version.external_id for version in provider.versions(place.ref)} - before
        assert found == {stray}
        provider.destroy(place.ref, stray)
        place.settle()
        kept = issue(place).external_id
        assert place.usable() == {place.external_id, kept}

    def test_a_place_that_is_full_says_so_and_takes_another_once_one_is_gone(self, place: ProviderPlace) -> None:
        needs(place, Capability.ISSUE, Capability.DESTROY)
        if place.room is None:
            pytest.skip("Nothing limits how many versions there are.")
        issued = [issue(place) for _ in range(place.room)]
        usable = place.usable()
        with pytest.raises(NoRoom) as full:
            place.provider.issue(place.ref, request_key=request_key())
        assert_sentence(str(full.value))
        assert place.usable() == usable
        last = issued[-1] if issued else None
        place.provider.destroy(
            place.ref, last.external_id if last else place.external_id, last.secret if last else place.secret
        )
        place.settle()
        assert issue(place).external_id in place.usable()

    def test_rotations_follow_one_another(self, place: ProviderPlace) -> None:
        needs(place, Capability.ISSUE, Capability.DESTROY)
        current, secret = place.external_id, place.secret
        for _ in range(3):
            issued = issue(place)
            if Capability.REPLACES not in place.provider.capabilities:
                place.provider.destroy(place.ref, current, secret)
                place.settle()
            current, secret = issued.external_id, issued.secret
            assert place.usable() == {current}

    # ── verify ──
    def test_a_secret_that_works_is_seen_to_work(self, place: ProviderPlace) -> None:
        needs(place, Capability.PRESENTS)
        if Capability.ISSUE in place.provider.capabilities:
            issued = issue(place)
            external_id, secret = issued.external_id, issued.secret
        elif place.secret is not None:
            external_id, secret = place.external_id, place.secret
        else:
            pytest.skip("There is no secret to present.")
        seen = place.provider.verify(place.ref, external_id, secret)
        assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.PRESENTED)
        assert_sentence(seen.sentence)

    def test_a_wrong_secret_is_never_seen_to_work(self, place: ProviderPlace) -> None:
        needs(place, Capability.PRESENTS)
        seen = place.provider.verify(place.ref, place.external_id, Secret("wrong-" + request_key()))
        assert seen.liveness is not Liveness.ALIVE
        assert_sentence(seen.sentence)

    def test_without_a_secret_the_record_speaks_or_nobody_does(self, place: ProviderPlace) -> None:
        seen = place.provider.verify(place.ref, place.external_id, None)
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            assert (seen.liveness, seen.basis) == (Liveness.ALIVE, Basis.RECORD)
        else:
            assert seen.basis is not Basis.PRESENTED
            assert (seen.basis is Basis.NOTHING) == (seen.liveness is Liveness.UNKNOWN)
        assert_sentence(seen.sentence)

    def test_a_version_that_never_was_is_not_alive(self, place: ProviderPlace) -> None:
        seen = place.provider.verify(place.ref, place.unknown_external_id, None)
        assert seen.liveness is not Liveness.ALIVE
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            assert (seen.liveness, seen.basis) == (Liveness.REFUSED, Basis.RECORD)

    # ── suspend, resume, destroy ──
    def test_a_suspended_version_is_refused_and_the_other_is_not(self, place: ProviderPlace) -> None:
        needs(place, Capability.SUSPEND)
        kept = beside(place)
        for _ in range(2):
            another(place).suspend(place.ref, place.external_id, place.secret)
            place.settle()
        assert place.usable() == kept
        assert_not_alive(place, place.external_id, place.secret)
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            assert listed(place)[place.external_id].status is Status.SUSPENDED

    def test_a_suspension_ends(self, place: ProviderPlace) -> None:
        needs(place, Capability.SUSPEND)
        if Capability.NEEDS_VALUE in place.provider.capabilities:
            pytest.skip("What is ended by showing its secret does not come back.")
        place.provider.suspend(place.ref, place.external_id, place.secret)
        place.settle()
        for _ in range(2):
            another(place).resume(place.ref, place.external_id)
            place.settle()
        assert place.usable() == {place.external_id}
        seen = place.provider.verify(place.ref, place.external_id, place.secret)
        assert seen.liveness is not Liveness.REFUSED

    def test_a_destroyed_version_is_refused_and_the_other_is_not(self, place: ProviderPlace) -> None:
        needs(place, Capability.DESTROY)
        kept = beside(place)
        for _ in range(2):
            another(place).destroy(place.ref, place.external_id, place.secret)
            place.settle()
        assert place.usable() == kept
        seen = assert_not_alive(place, place.external_id, place.secret)
        if Capability.LISTS_VERSIONS in place.provider.capabilities:
            assert seen.liveness is Liveness.REFUSED
            assert is_gone(place, place.external_id)

    def test_a_suspended_version_is_destroyed_too(self, place: ProviderPlace) -> None:
        needs(place, Capability.SUSPEND, Capability.DESTROY)
        place.provider.suspend(place.ref, place.external_id, place.secret)
        place.settle()
        place.provider.destroy(place.ref, place.external_id, place.secret)
        place.settle()
        assert place.usable() == set()
        assert_not_alive(place, place.external_id, place.secret)

    def test_what_is_gone_cannot_be_suspended_and_that_is_no_error(self, place: ProviderPlace) -> None:
        needs(place, Capability.SUSPEND, Capability.DESTROY)
        place.provider.destroy(place.ref, place.external_id, place.secret)
        place.settle()
        place.provider.suspend(place.ref, place.external_id, place.secret)
        place.settle()
        assert place.usable() == set()

    def test_what_is_gone_does_not_come_back(self, place: ProviderPlace) -> None:
        needs(place, Capability.SUSPEND, Capability.DESTROY)
        place.provider.destroy(place.ref, place.external_id, place.secret)
        place.settle()
        with pytest.raises(Permanent) as refused:
            place.provider.resume(place.ref, place.external_id)
        assert_sentence(str(refused.value))
        assert place.usable() == set()

    def test_removing_what_never_was_is_no_error_and_touches_nothing(self, place: ProviderPlace) -> None:
        needs(place, Capability.DESTROY)
        if Capability.NEEDS_VALUE in place.provider.capabilities:
            pytest.skip("What is ended by showing its secret is not named.")
        place.provider.destroy(place.ref, place.unknown_external_id)
        assert place.usable() == {place.external_id}

    def test_without_the_value_that_it_needs_nothing_is_claimed(self, place: ProviderPlace) -> None:
        needs(place, Capability.NEEDS_VALUE)
        verbs = {Capability.SUSPEND: place.provider.suspend, Capability.DESTROY: place.provider.destroy}
        for capability in sorted(verbs.keys() & place.provider.capabilities):
            with pytest.raises(Permanent) as refused:
                verbs[capability](place.ref, place.external_id, None)
            assert_sentence(str(refused.value))
        assert place.usable() == {place.external_id}

    # ── What goes wrong ──
    @pytest.mark.parametrize("outage", list(Outage))
    def test_what_goes_wrong_is_an_error_of_ours_and_no_claim(self, place: ProviderPlace, outage: Outage) -> None:
        if place.failing is None or outage not in place.outages:
            pytest.skip("The place cannot be made to fail this way.")
        secret = place.secret or Secret("wrong-" + request_key())
        provider, told, usable = another(place), _Told([secret]), place.usable()
        with place.failing(outage):
            for capability, verb in _verbs(provider, place, secret).items():
                if capability in provider.capabilities:
                    with pytest.raises(ProviderError) as error:
                        verb()
                    assert_fits(error.value, outage)
                    told.note(error.value, *_chain(error.value))
            for shown in (None, secret):
                told.note(*_verified(provider, place, shown))
        assert told.is_clean()
        assert place.usable() == usable

    def test_a_secret_shows_in_no_text_and_no_pickle(self, place: ProviderPlace) -> None:
        told = _Told([place.secret] if place.secret else [])
        told.note(place.provider, place.ref, *place.provider.versions(place.ref))
        if Capability.ISSUE in place.provider.capabilities:
            issued = issue(place)
            told.secrets.append(issued.secret)
            told.note(issued, place.provider, *place.provider.versions(place.ref))
            told.note(place.provider.verify(place.ref, issued.external_id, issued.secret))
            with pytest.raises(TypeError):
                pickle.dumps(issued)
        told.note(place.provider.verify(place.ref, place.external_id, place.secret))
        assert told.is_clean()


def needs(place: ProviderPlace, *capabilities: Capability) -> None:
    missing = [each for each in USUAL if each in capabilities and each not in place.provider.capabilities]
    if missing:
        pytest.skip(f"It does not declare {', '.join(missing)}.")


def another(place: ProviderPlace) -> Operable:
    """The place as another process connects to it."""
    return place.again() if place.again else place.provider


def issue(place: ProviderPlace, key: str = "") -> Issued:
    issued = place.provider.issue(place.ref, request_key=key or request_key())
    place.settle()
    return issued


def beside(place: ProviderPlace) -> set[str]:
    """A second version, where there can be one, and which versions are usable without the first."""
    can_issue = Capability.ISSUE in place.provider.capabilities
    if not can_issue or Capability.REPLACES in place.provider.capabilities:
        return set()
    return {issue(place).external_id}


def listed(place: ProviderPlace) -> dict[str, DiscoveredVersion]:
    return {version.external_id: version for version in place.provider.versions(place.ref)}


def is_gone(place: ProviderPlace, external_id: str) -> bool:
    found = listed(place).get(external_id)
    return found is None or found.status is Status.DESTROYED


def is_moment(at: datetime | None) -> bool:
    return at is None or at.tzinfo is not None


def assert_sentence(text: str) -> None:
    assert text.strip(), "There is no sentence."
    assert text.rstrip()[-1] in ".!?", f"This is no sentence: {text}"


def assert_not_alive(place: ProviderPlace, external_id: str, secret: Secret | None) -> Seen:
    """Refused where anybody can tell: by presenting what there is, and by the record where one is kept."""
    seen = place.provider.verify(place.ref, external_id, secret)
    assert seen.liveness is not Liveness.ALIVE
    assert_sentence(seen.sentence)
    if secret is not None and Capability.PRESENTS in place.provider.capabilities:
        assert seen.liveness is Liveness.REFUSED
    if Capability.LISTS_VERSIONS in place.provider.capabilities:
        by_record = place.provider.verify(place.ref, external_id, None)
        assert (by_record.liveness, by_record.basis) == (Liveness.REFUSED, Basis.RECORD)
    return seen


def assert_fits(error: ProviderError, outage: Outage) -> None:
    assert_sentence(str(error))
    match outage:
        case Outage.DENIED:
            assert isinstance(error, Permanent)
        case Outage.UNAVAILABLE:
            assert isinstance(error, Transient)
        case Outage.THROTTLED:
            assert isinstance(error, Transient)
            assert error.retry_after == RETRY_AFTER


def _verbs(provider: Operable, place: ProviderPlace, secret: Secret) -> dict[Capability, Callable[[], object]]:
    return {
        Capability.LISTS_VERSIONS: lambda: provider.versions(place.ref),
        Capability.ISSUE: lambda: provider.issue(place.ref, request_key=request_key()),
        Capability.SUSPEND: lambda: provider.suspend(place.ref, place.external_id, secret),
        Capability.DESTROY: lambda: provider.destroy(place.ref, place.external_id, secret),
    }


def _verified(provider: Operable, place: ProviderPlace, secret: Secret | None) -> list[object]:
    """A look while the place fails: an error of ours, or that nobody can tell. Never that it is refused."""
    try:
        seen = provider.verify(place.ref, place.external_id, secret)
    except ProviderError as exc:
        return [exc, *_chain(exc)]
    assert seen.liveness is not Liveness.REFUSED, "It was not seen refused: the place was not asked."
    return [seen]


def _chain(exc: BaseException) -> list[BaseException]:
    """What an error report would show beside the error."""
    found: list[BaseException] = []
    following = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return found


# ── Sinks ──────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, kw_only=True)
class SinkPlace:
    """A location that consumers read.

    `reading` reads it as a consumer does, without the sink; before the test it answers `before`. `keeps_external_id`
    says that a location has a place for the public id too, and `missing` names a location that is not there, where a
    sink does not make one.
    """

    sink: SecretSink
    location: str
    reading: Callable[[], Delivered | None]
    before: Delivered | None
    again: Callable[[], SecretSink] | None = None
    keeps_external_id: bool = False
    missing: str = ""
    failing: Failing | None = None
    outages: frozenset[Outage] = frozenset(Outage)

    def another(self) -> SecretSink:
        return self.again() if self.again else self.sink

    def read(self, key: str = "") -> Delivered | None:
        return self.another().read(self.location, request_key=key)

    def store(self, delivered: Delivered, key: str) -> None:
        self.another().store(self.location, delivered, request_key=key)

    def promote(self, key: str) -> None:
        self.another().promote(self.location, request_key=key)

    def roll_back(self, key: str) -> None:
        self.another().roll_back(self.location, request_key=key)

    def settle(self, key: str) -> None:
        self.another().settle(self.location, request_key=key)

    def assert_read(self, wanted: Delivered | None, *, key: str = "") -> None:
        """What consumers read, by themselves and as the sink says."""
        if key:
            assert same(self.read(key), wanted, self), "What is stored under the key is something else."
        else:
            assert same(self.reading(), wanted, self), "Consumers read something else."
            assert same(self.read(), wanted, self), "The sink says that consumers read something else."


def same(one: Delivered | None, other: Delivered | None, place: SinkPlace) -> bool:
    if one is None or other is None:
        return one is other
    is_one_id = not place.keeps_external_id or one.external_id == other.external_id
    return one.secret.reveal() == other.secret.reveal() and is_one_id


def made_up(text: str = "") -> Delivered:
    return Delivered(secret=Secret(text or f"secret-{uuid4().hex}"), external_id=f"id-{uuid4().hex[:12]}")


class SinkContract:
    """Every verb's promise. Override `place`."""

    @pytest.fixture
    def place(self) -> SinkPlace:
        raise NotImplementedError("Override the fixture `place` with a location of yours that consumers read.")

    def test_a_check_says_where_secrets_would_go_and_changes_nothing(self, place: SinkPlace) -> None:
        assert_sentence(place.sink.check(place.location))
        place.assert_read(place.before)

    def test_what_is_stored_is_seen_by_no_consumer(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        place.store(new, key)
        place.assert_read(place.before)
        place.assert_read(new, key=key)

    def test_storing_again_is_the_same_as_once(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        for _ in range(3):
            place.store(new, key)
        place.assert_read(place.before)
        place.assert_read(new, key=key)
        place.promote(key)
        place.store(new, key)
        place.assert_read(new)

    def test_another_secret_under_one_key_is_refused_or_replaces_the_first_and_is_never_lost(
        self, place: SinkPlace
    ) -> None:
        key, first, second = request_key(), made_up(), made_up()
        place.store(first, key)
        try:
            place.store(second, key)
        except Permanent as exc:
            assert_sentence(str(exc))
            place.assert_read(first, key=key)
        else:
            place.assert_read(second, key=key)
        place.assert_read(place.before)

    def test_what_is_promoted_is_read_by_consumers_however_often(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        place.store(new, key)
        for _ in range(3):
            place.promote(key)
            place.assert_read(new)
            place.assert_read(new, key=key)

    def test_a_worker_that_died_before_promoting_is_followed_by_another(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        place.sink.store(place.location, new, request_key=key)
        other = place.another()
        kept = other.read(place.location, request_key=key)
        assert same(kept, new, place)
        other.promote(place.location, request_key=key)
        place.assert_read(new)

    def test_nothing_is_promoted_that_was_not_stored(self, place: SinkPlace) -> None:
        with pytest.raises(Permanent) as refused:
            place.promote(request_key())
        assert_sentence(str(refused.value))
        place.assert_read(place.before)

    def test_under_a_key_that_was_never_used_there_is_nothing(self, place: SinkPlace) -> None:
        place.assert_read(None, key=request_key())
        place.store(made_up(), request_key())
        place.assert_read(None, key=request_key())

    def test_the_way_back_leads_to_what_consumers_read_before(self, place: SinkPlace) -> None:
        key = request_key()
        place.store(made_up(), key)
        place.promote(key)
        for _ in range(3):
            place.roll_back(key)
            place.assert_read(place.before)
            place.assert_read(None, key=key)

    def test_what_was_never_promoted_is_dropped(self, place: SinkPlace) -> None:
        key = request_key()
        place.store(made_up(), key)
        for _ in range(2):
            place.roll_back(key)
            place.assert_read(place.before)
            place.assert_read(None, key=key)

    def test_dropping_what_was_never_stored_is_no_error(self, place: SinkPlace) -> None:
        place.roll_back(request_key())
        place.assert_read(place.before)

    def test_settled_there_is_no_way_back(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        place.store(new, key)
        place.promote(key)
        for _ in range(3):
            place.settle(key)
            place.assert_read(new)
        try:
            place.roll_back(key)
        except Permanent as exc:
            assert_sentence(str(exc))
        place.assert_read(new)

    def test_rotations_follow_one_another(self, place: SinkPlace) -> None:
        for _ in range(3):
            key, new = request_key(), made_up()
            place.store(new, key)
            place.promote(key)
            place.settle(key)
            place.assert_read(new)

    def test_the_way_back_of_a_second_rotation_leads_to_the_first(self, place: SinkPlace) -> None:
        first, second = made_up(), made_up()
        for new, key in ((first, earlier := request_key()), (second, later := request_key())):
            place.store(new, key)
            place.promote(key)
            if key == earlier:
                place.settle(key)
        place.roll_back(later)
        place.assert_read(first)

    def test_what_an_abandoned_rotation_left_pending_never_comes_up(self, place: SinkPlace) -> None:
        abandoned, key, new = request_key(), request_key(), made_up()
        place.store(made_up(), abandoned)
        place.store(new, key)
        place.promote(key)
        place.assert_read(new)
        place.roll_back(abandoned)
        place.assert_read(new)
        place.settle(key)
        place.assert_read(new)

    @pytest.mark.parametrize("text", AWKWARD)
    def test_every_character_of_a_secret_arrives(self, place: SinkPlace, text: str) -> None:
        key, new = request_key(), made_up(text)
        place.store(new, key)
        place.assert_read(new, key=key)
        place.promote(key)
        place.assert_read(new)
        place.roll_back(key)
        place.assert_read(place.before)

    def test_a_location_that_is_not_there_is_an_error_of_ours(self, place: SinkPlace) -> None:
        if not place.missing:
            pytest.skip("The sink makes a location that is not there.")
        key = request_key()
        for verb in (
            lambda: place.sink.check(place.missing),
            lambda: place.sink.store(place.missing, made_up(), request_key=key),
            lambda: place.sink.promote(place.missing, request_key=key),
        ):
            with pytest.raises(Permanent) as refused:
                verb()
            assert_sentence(str(refused.value))

    @pytest.mark.parametrize("outage", list(Outage))
    def test_what_goes_wrong_is_an_error_of_ours_and_changes_nothing(self, place: SinkPlace, outage: Outage) -> None:
        if place.failing is None or outage not in place.outages:
            pytest.skip("The place cannot be made to fail this way.")
        key, new, other = request_key(), made_up(), made_up()
        told = _Told([new.secret, other.secret, *([place.before.secret] if place.before else [])])
        place.store(new, key)
        sink = place.another()
        with place.failing(outage):
            for verb in (
                lambda: sink.check(place.location),
                lambda: sink.store(place.location, other, request_key=request_key()),
                lambda: sink.promote(place.location, request_key=key),
                lambda: sink.read(place.location, request_key=key),
                lambda: sink.roll_back(place.location, request_key=key),
            ):
                with pytest.raises(ProviderError) as error:
                    verb()
                assert_fits(error.value, outage)
                told.note(error.value, *_chain(error.value))
        assert told.is_clean()
        place.assert_read(place.before)
        place.assert_read(new, key=key)
        place.promote(key)
        place.assert_read(new)

    def test_a_secret_shows_in_no_text_and_no_pickle(self, place: SinkPlace) -> None:
        key, new = request_key(), made_up()
        told = _Told([new.secret, *([place.before.secret] if place.before else [])])
        told.note(place.sink, place.sink.check(place.location))
        place.sink.store(place.location, new, request_key=key)
        told.note(place.sink, place.sink.read(place.location, request_key=key), place.sink.read(place.location))
        place.sink.promote(place.location, request_key=key)
        told.note(place.sink, place.sink.check(place.location))
        with pytest.raises(TypeError):
            pickle.dumps(new)
        assert told.is_clean()
