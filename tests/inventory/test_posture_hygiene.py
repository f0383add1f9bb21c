"""Which of the clients that look alike are live, duplicates or dead."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inventory.posture.hygiene import LONGEST_KEY, Reason, RegisteredClient, hygiene, hygiene_key
from inventory.states import Hygiene

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ISSUER = "https://as.example"
LOOPBACK = ["http://127.0.0.1:33418/callback"]


def ago(days: float | None) -> datetime | None:
    return None if days is None else NOW - timedelta(days=days)


def client(key: str, registered: float | None = 200, used: float | None = None, **more) -> RegisteredClient:
    return RegisteredClient(key=key, registered_at=ago(registered), last_used_at=ago(used), is_use_known=True, **more)


def scores(*group: RegisteredClient) -> dict[str, tuple[Reason]]:
    return {found.key: (found.hygiene, found.reason) for found in hygiene(group, now=NOW)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Claude Code", LOOPBACK), ("  claude   CODE ", ["http://127.0.0.1:50123/other"])),
        (("Cursor", LOOPBACK), ("Cursor", ["http://localhost/callback"])),
        (("Cursor", LOOPBACK), ("Cursor", ["http://[::1]:9/callback", *LOOPBACK])),
        (("Ｃursor", []), ("cursor", [])),
        (("a", ["https://x.example/1", "cursor://one"]), ("a", ["cursor://two", "https://x.example/2"])),
    ],
)
def test_clients_look_alike_whatever_port_was_drawn(one, other):
    assert hygiene_key(*one, ISSUER) == hygiene_key(*other, ISSUER)


@pytest.mark.parametrize(
    "other",
    [
        ("Cursor", LOOPBACK, "https://other.example"),
        ("Cursor 2", LOOPBACK, ISSUER),
        ("Cursor", ["https://cursor.example/callback"], ISSUER),
        ("Cursor", ["cursor://callback"], ISSUER),
    ],
)
def test_another_issuer_name_or_host_is_another_group(other):
    assert hygiene_key("Cursor", LOOPBACK, ISSUER) != hygiene_key(*other)


@given(st.text(), st.lists(st.text() | st.sampled_from(["http://[", "http://a:b", "::", "//"])), st.text())
def test_any_client_has_a_key(name, addresses, issuer):
    key = hygiene_key(name, addresses, issuer)
    assert len(key) <= LONGEST_KEY
    assert key.isascii()
    assert key.isprintable()


def test_long_groups_are_still_told_apart():
    one, other = (["https://" + "a" * 200 + f"{number}.example/"] for number in (1, 2))
    assert hygiene_key("x" * 200, one, ISSUER) != hygiene_key("x" * 200, other, ISSUER)


def test_two_machines_that_are_both_used_are_both_live():
    assert {each for each, _ in scores(client("a", used=1), client("b", used=2)).values()} == {Hygiene.LIVE}


def test_an_unused_one_beside_a_live_one_is_a_duplicate_of_it():
    group = (client("old", registered=100, used=60), client("live", registered=50, used=1))
    assert scores(*group)["old"] == (Hygiene.DUPLICATE, Reason.SUPERSEDED)
    assert hygiene(group, now=NOW)[0].detail["by"] == "live"


@pytest.mark.parametrize(
    ("lone", "score"),
    [
        (client("a", used=1), (Hygiene.LIVE, Reason.USED_LATELY)),
        (client("a", used=60), (Hygiene.UNKNOWN, Reason.USED_SOME_TIME_AGO)),
        (client("a", used=100), (Hygiene.DEAD, Reason.UNUSED)),
        (client("a", registered=100), (Hygiene.DEAD, Reason.NEVER_USED)),
        (client("a", registered=2), (Hygiene.UNKNOWN, Reason.NEW)),
        (client("a", used=2, secret_expires_at=ago(1)), (Hygiene.DEAD, Reason.SECRET_EXPIRED)),
        (client("a", used=1, secret_expires_at=ago(2)), (Hygiene.LIVE, Reason.USED_LATELY)),
        (RegisteredClient(key="a", registered_at=ago(500)), (Hygiene.UNKNOWN, Reason.USE_NOT_KNOWN)),
        (RegisteredClient(key="a"), (Hygiene.UNKNOWN, Reason.USE_NOT_KNOWN)),
    ],
)
def test_a_client_alone_is_scored_by_its_own_times(lone, score):
    assert scores(lone)["a"] == score


def test_where_use_cannot_be_seen_a_later_twin_proves_nothing():
    blind = [RegisteredClient(key=key, registered_at=ago(days)) for key, days in (("old", 300), ("new", 100))]
    assert scores(*blind)["old"] == (Hygiene.UNKNOWN, Reason.LOOKS_ALIKE)


def test_the_thresholds_are_the_callers():
    (found,) = hygiene([client("a", used=5)], now=NOW, live_within=timedelta(days=1), dead_after=timedelta(days=2))
    assert found.hygiene is Hygiene.DEAD


TIMES = st.none() | st.integers(min_value=-400, max_value=400)


@given(st.lists(st.tuples(TIMES, TIMES, TIMES, st.booleans()), max_size=30))
def test_every_client_is_scored_once_and_nothing_used_lately_is_given_up(rows):
    group = [
        RegisteredClient(
            key=str(number),
            registered_at=ago(registered),
            last_used_at=ago(used),
            secret_expires_at=ago(expires),
            is_use_known=is_known,
        )
        for number, (registered, used, expires, is_known) in enumerate(rows)
    ]
    found = hygiene(group, now=NOW)
    assert [one.key for one in found] == [one.key for one in group]
    for one, (_, used, expires, _) in zip(found, rows, strict=True):
        is_expired = expires is not None and expires >= 0 and (used is None or used >= expires)
        if used is not None and used <= 30 and not is_expired:
            assert one.hygiene is Hygiene.LIVE
        if one.hygiene is Hygiene.DUPLICATE:
            assert one.detail["by"] != one.key
