"""The audit chain: what the database refuses, what verification finds."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from access.actors import Actor
from audit.actions import NotInAnAction, action, record
from audit.chain import GENESIS, Link, digest, verify
from audit.events import Event
from audit.heads import export_head, first_broken_head, sign_head, signing_key
from audit.models import AppendOnly, AuditEntry, ChainHead

ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@action
def note(count: int = 1, **detail: object) -> None:
    for i in range(count):
        record(Event.OWNER_CREATED, actor=ACTOR, detail={"n": i, **detail})


def signed(folder: Path) -> ChainHead:
    head = sign_head(signing_key(folder / "chain.key"), now=NOW, actor=ACTOR)
    assert head is not None
    return head


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
def test_detail_survives_with_unicode_and_nesting() -> None:
    note(text='søster 鍵 \u0001 "quoted" \\', nested={"a": [1, 2.5, None, True]})
    assert verify(AuditEntry.objects.links()).broken is None


@pytest.mark.django_db
def test_a_signed_head_shows_that_the_tail_was_cut(tmp_path) -> None:
    note(3)
    key = signing_key(tmp_path / "chain.key")
    head = sign_head(key, now=NOW, actor=ACTOR)
    assert head is not None
    export_head(head, tmp_path / "heads")
    assert first_broken_head(tmp_path / "heads") is None
    raw("SET LOCAL session_replication_role = replica")
    raw("DELETE FROM audit_auditentry WHERE seq >= 3")
    assert verify(AuditEntry.objects.links()).broken is None  # the chain alone cannot tell
    assert "entry 3 was signed as a head and is gone" in str(first_broken_head(tmp_path / "heads"))


@pytest.mark.django_db
def test_a_head_signed_by_another_key_is_refused(tmp_path) -> None:
    note()
    head = sign_head(signing_key(tmp_path / "chain.key"), now=NOW, actor=ACTOR)
    assert head is not None
    export_head(head, tmp_path / "heads")
    other = signing_key(tmp_path / "other.key").public_key().public_bytes_raw()
    assert "another key" in str(first_broken_head(tmp_path / "heads", trusted_key=other))


@pytest.mark.django_db
def test_nothing_is_signed_when_nothing_happened_since(tmp_path) -> None:
    key = signing_key(tmp_path / "chain.key")
    assert sign_head(key, now=NOW, actor=ACTOR) is None
    note()
    assert sign_head(key, now=NOW, actor=ACTOR) is not None
    assert sign_head(key, now=NOW, actor=ACTOR) is None


def test_the_signing_key_is_readable_by_its_owner_alone(tmp_path) -> None:
    signing_key(tmp_path / "chain.key")
    assert (tmp_path / "chain.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_the_command_says_that_the_chain_holds(capsys, tmp_path) -> None:
    note(2)
    export_head(signed(tmp_path), tmp_path / "heads")
    call_command("verify_audit", format="json", heads=tmp_path / "heads")
    said = json.loads(capsys.readouterr().out)
    assert said["holds"] is True
    assert (said["entries"], said["heads"]) == (3, 1)


@pytest.mark.django_db
def test_the_command_says_when_there_was_no_head_to_compare_with(capsys, tmp_path, settings) -> None:
    settings.CHAIN_HEADS_DIR = tmp_path / "none"
    note()
    call_command("verify_audit")
    assert "No exported head was there" in capsys.readouterr().out


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [{"heads": True}, {"public_key": "00" * 32}], ids=["heads", "key"])
def test_heads_that_are_asked_for_and_not_there_are_no_proof(capsys, tmp_path, settings, asked) -> None:
    settings.CHAIN_HEADS_DIR = tmp_path
    note()
    with pytest.raises(SystemExit) as exit_:
        call_command("verify_audit", **({"heads": tmp_path} if "heads" in asked else asked))
    assert exit_.value.code == 1
    assert "no exported head" in capsys.readouterr().err


@pytest.mark.django_db
def test_heads_of_an_unknown_key_are_said_to_prove_less(capsys, tmp_path) -> None:
    note()
    head = signed(tmp_path)
    export_head(head, tmp_path / "heads")
    call_command("verify_audit", heads=tmp_path / "heads")
    assert "Whose key signed them is not checked" in capsys.readouterr().out
    call_command("verify_audit", heads=tmp_path / "heads", public_key=bytes(head.public_key).hex())
    assert "signed by the given key" in capsys.readouterr().out


def test_a_text_that_is_no_object_breaks_the_chain() -> None:
    link = Link(1, "[]", digest(GENESIS, "[]"), {})
    assert verify([link]).broken is not None


@pytest.mark.django_db
def test_the_command_exits_with_1_when_the_chain_is_broken(capsys, tmp_path) -> None:
    note(2)
    raw("SET LOCAL session_replication_role = replica")
    raw("UPDATE audit_auditentry SET event = 'x' WHERE seq = 1")
    with pytest.raises(SystemExit) as exit_:
        call_command("verify_audit", heads=tmp_path)
    assert exit_.value.code == 1
    assert "entry 1: event differs" in capsys.readouterr().err


@given(st.lists(st.text(max_size=40), min_size=1, max_size=12), st.data())
def test_any_change_of_any_text_breaks_the_chain(texts: list[str], data: st.DataObject) -> None:
    links, previous = [], GENESIS
    for seq, text in enumerate(texts, start=1):
        sealed = json.dumps({"seq": seq, "said": text})
        previous = digest(previous, sealed)
        links.append(Link(seq, sealed, previous, {"said": text}))
    assert verify(links).broken is None
    at = data.draw(st.integers(0, len(links) - 1))
    changed = links[at].text + " "
    links[at] = Link(links[at].seq, changed, links[at].hash, links[at].columns)
    result = verify(links)
    assert result.broken is not None
    assert result.broken.seq == at + 1
