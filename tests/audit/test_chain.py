"""The audit chain: what the database refuses, what verification finds."""

import json
import threading
from contextlib import suppress

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from access.actors import Actor
from audit.actions import NotInAnAction, action, record
from audit.chain import GENESIS, Link, digest, verify
from audit.events import Event
from audit.models import AppendOnly, AuditEntry

ACTOR = Actor.system("tests")


@action
def note(count: int = 1, **detail: object) -> None:
    for i in range(count):
        record(Event.OWNER_CREATED, actor=ACTOR, detail={"n": i, **detail})


def raw(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db
def test_entries_are_numbered_without_gaps_and_linked() -> None:
    note(3)
    note()
    assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4]
    assert verify(AuditEntry.objects.links()).broken is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_auditentry SET actor_label = 'somebody else'",
        "DELETE FROM audit_auditentry",
        "TRUNCATE audit_auditentry",
    ],
)
def test_the_database_refuses_to_change_an_entry(statement: str) -> None:
    note()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        raw(statement)
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db
def test_the_orm_refuses_to_change_an_entry() -> None:
    note()
    entry = AuditEntry.objects.get()
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(event="x"),
    ):
        with pytest.raises(AppendOnly):
            change()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE audit_auditentry SET actor_label = 'x' WHERE seq = 2", "actor_label differs"),
        ("UPDATE audit_auditentry SET detail = '{\"n\": 9}' WHERE seq = 2", "detail differs"),
        ("UPDATE audit_auditentry SET detail = '{\"n\": 1.0}' WHERE seq = 2", "detail differs"),
        ("UPDATE audit_auditentry SET detail = '{\"n\": true}' WHERE seq = 2", "detail differs"),
        ("UPDATE audit_auditentry SET at = 'infinity' WHERE seq = 2", "at differs"),
        ("UPDATE audit_auditentry SET subject_id = '0' WHERE seq = 2", "subject_id differs"),
        ("UPDATE audit_auditentry SET at = at + interval '1 second' WHERE seq = 2", "at differs"),
        ("UPDATE audit_auditentry SET text = replace(text, 'tests', 'other') WHERE seq = 2", "does not follow"),
        ("DELETE FROM audit_auditentry WHERE seq = 2", "entry 2 is missing"),
    ],
)
def test_verification_names_the_first_entry_that_was_tampered_with(statement: str, words: str) -> None:
    note(3)
    raw("SET LOCAL session_replication_role = replica")  # what an administrator of the database can do
    raw(statement)
    result = verify(AuditEntry.objects.links())
    assert result.broken is not None
    assert words in result.broken.reason
    assert result.count == 1


@pytest.mark.django_db
def test_an_action_that_fails_leaves_neither_write_nor_entry() -> None:
    @action
    def fails() -> None:
        record(Event.OWNER_CREATED, actor=ACTOR)
        raise RuntimeError("after the entry")

    with pytest.raises(RuntimeError):
        fails()
    assert AuditEntry.objects.count() == 0


@pytest.mark.django_db
def test_an_inner_action_joins_the_outer_one() -> None:
    @action
    def outer() -> None:
        note()
        record(Event.OWNER_CHANGED, actor=ACTOR)
        assert AuditEntry.objects.count() == 0  # inserted last, so that the chain's lock comes after every row lock

    outer()
    assert AuditEntry.objects.count() == 2


@pytest.mark.django_db
def test_recording_outside_an_action_is_an_error() -> None:
    with pytest.raises(NotInAnAction):
        record(Event.OWNER_CREATED, actor=ACTOR)


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_make_one_chain() -> None:
    def write() -> None:
        for _ in range(10):
            note(2)
        connection.close()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    result = verify(AuditEntry.objects.links())
    assert (result.count, result.broken) == (80, None)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [49, 50, 3_000])
def test_few_entries_and_many_are_written_alike(count: int) -> None:
    note(count, text="tab\t, \\N and a line\nbreak")
    result = verify(AuditEntry.objects.links())
    assert (result.count, result.broken) == (count, None)
    assert AuditEntry.objects.get(seq=count).detail == {"n": count - 1, "text": "tab\t, \\N and a line\nbreak"}


@pytest.mark.django_db
def test_where_the_last_entry_is_said_to_be_is_only_a_hint() -> None:
    note(3)
    for hint in ("1", "2", "77", "0"):
        with transaction.atomic(), suppress(IntegrityError), transaction.atomic():
            raw(
                "INSERT INTO audit_auditentry (event, actor_kind, actor_id, actor_label, subject_kind, subject_id,"
                f" subject_label, detail) SELECT 'x.y', set_config('keyreeve.last_entry', '{hint}', true), '', '', '',"
                " '', '', '{}' FROM generate_series(1, 2)"
            )
    note()
    result = verify(AuditEntry.objects.links())
    assert result.broken is None
    assert result.count >= 4


@pytest.mark.django_db
def test_numbers_of_any_length_are_sealed_as_they_are() -> None:
    note()
    raw(
        "INSERT INTO audit_auditentry (event, actor_kind, actor_id, actor_label, subject_kind, subject_id,"
        """ subject_label, detail) VALUES ('x.y', '', '', '', '', '', '', '{"n": 0.12345678901234567890, "m": 1e99}')"""
    )
    assert verify(AuditEntry.objects.links()).broken is None
    raw("SET LOCAL session_replication_role = replica")
    raw("""UPDATE audit_auditentry SET detail = '{"n": 0.12345678901234567891, "m": 1e99}' WHERE seq = 2""")
    assert "detail differs" in str(verify(AuditEntry.objects.links()).broken)


@pytest.mark.django_db
def test_detail_survives_with_unicode_and_nesting() -> None:
    note(text='søster 鍵 \u0001 "quoted" \\', nested={"a": [1, 2.5, None, True]})
    assert verify(AuditEntry.objects.links()).broken is None


def test_a_text_that_is_no_object_breaks_the_chain() -> None:
    link = Link(1, "[]", digest(GENESIS, "[]"), {})
    assert verify([link]).broken is not None


@given(st.lists(st.text(max_size=40), min_size=1, max_size=12), st.data())
def test_any_change_of_any_text_breaks_the_chain(texts: list[str], data: st.DataObject) -> None:
    links = linked(texts)
    assert verify(links).broken is None
    at = data.draw(st.integers(0, len(links) - 1))
    changed = links[at].text + " "
    links[at] = Link(links[at].seq, changed, links[at].hash, links[at].columns)
    result = verify(links)
    assert result.broken is not None
    assert result.broken.seq == at + 1


def linked(texts: list[str]) -> list[Link]:
    """A chain of entries that say these, numbered and sealed as the database would."""
    links, previous = [], GENESIS
    for seq, text in enumerate(texts, start=1):
        sealed = json.dumps({"seq": seq, "said": text})
        previous = digest(previous, sealed)
        links.append(Link(seq, sealed, previous, {"said": text}))
    return links


@given(st.lists(st.text(max_size=10), min_size=2, max_size=12, unique=True), st.data())
def test_whatever_is_cut_taken_out_or_swapped_is_missed_also_when_all_is_sealed_anew(
    texts: list[str], data: st.DataObject
) -> None:
    whole = linked(texts)
    signed = {whole[-1].seq: whole[-1].hash}
    assert verify(whole, signed=signed).broken is None
    first, last = sorted(data.draw(st.sets(st.integers(0, len(texts) - 1), min_size=2, max_size=2)))
    order = {
        "cut": list(range(last)),
        "taken out": [*range(first), *range(last, len(texts))],
        "swapped": [{first: last, last: first}.get(at, at) for at in range(len(texts))],
    }[data.draw(st.sampled_from(["cut", "taken out", "swapped"]))]
    assert verify([whole[at] for at in order], signed=signed).broken is not None
    assert verify(linked([texts[at] for at in order]), signed=signed).broken is not None


@given(st.lists(st.text(max_size=10), min_size=1, max_size=6), st.data())
def test_any_changed_byte_of_a_sealed_text_or_of_its_hash_is_found(texts: list[str], data: st.DataObject) -> None:
    links = linked(texts)
    at = data.draw(st.integers(0, len(links) - 1))
    link = links[at]
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(link.text) - 1))
        other = data.draw(st.characters(codec="utf-8").filter(lambda char: char != link.text[place]))
        links[at] = link._replace(text=f"{link.text[:place]}{other}{link.text[place + 1 :]}")
    else:
        place, flipped = data.draw(st.integers(0, 31)), data.draw(st.integers(1, 255))
        links[at] = link._replace(
            hash=bytes(byte ^ flipped if i == place else byte for i, byte in enumerate(link.hash))
        )
    broken = verify(links).broken
    assert broken is not None
    assert broken.seq == at + 1
