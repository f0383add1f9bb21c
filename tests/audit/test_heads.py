"""Signed and exported heads: what an administrator of the database can do, and how it shows."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from access.actors import Actor
from audit.actions import action, record
from audit.chain import SEALED_COLUMNS
from audit.errors import ChainBroken, ChainKeyMissing, ChainKeyUnknown, NotExported
from audit.events import Event
from audit.exports import compare, export_due
from audit.heads import rotate_key, sign_head, signing_key, write_key
from audit.models import AuditEntry, ChainHead, ChainKey, Export, ExportPlace
from audit.places import Folder
from audit.signing import public, signed_head
from audit.tasks import export_chain_heads, sign_chain_head, verify_chain

pytestmark = pytest.mark.django_db
ACTOR = Actor.system("tests")
NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)


@action
def note(count: int = 1, **detail: object) -> None:
    for i in range(count):
        record(Event.OWNER_CREATED, actor=ACTOR, detail={"n": i, **detail})


class Installation:
    """A chain with its key in one folder and its heads in another."""

    def __init__(self, folder: Path) -> None:
        self.key_file = folder / "chain.key"
        self.place = Folder(folder / "heads")
        self.now = NOW

    def clock(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def sign(self) -> ChainHead | None:
        key = signing_key(self.key_file, now=self.clock(), actor=ACTOR)
        return sign_head(key, now=self.clock(), actor=ACTOR)

    def export(self) -> int:
        return export_due([self.place], clock=self.clock, actor=ACTOR)

    def rotate(self, *, is_lost: bool = False) -> str:
        row = rotate_key(self.key_file, clock=self.clock, actor=ACTOR, reason="yearly", is_lost=is_lost)
        return bytes(row.public_key).hex()

    @property
    def key(self) -> bytes:
        return public(signing_key(self.key_file, now=self.now, actor=ACTOR))

    def problem(self, *trusted: bytes) -> str | None:
        return compare(self.place, trusted=trusted or [self.key]).problem


@pytest.fixture
def here(tmp_path: Path, settings) -> Installation:
    found = Installation(tmp_path)
    settings.CHAIN_KEY, settings.CHAIN_HEADS_DIR, settings.CHAIN_HEADS_S3 = found.key_file, found.place.path, ()
    return found


@pytest.fixture
def sealed(here: Installation) -> Installation:
    """Six entries under a head that is exported; the last is the one about the key."""
    note(2, text='søster 鍵 "quoted"', nested={"a": [1, 2.5, None, True]})
    signing_key(here.key_file, now=NOW, actor=ACTOR)
    note(3)
    here.sign()
    here.export()
    return here


def as_owner(*statements: str) -> None:
    """What whoever owns the database can do: no trigger fires."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET LOCAL session_replication_role = origin")


# By way of numbers that no entry has: rows are changed in no order of theirs.
REMOVED = """
DELETE FROM audit_auditentry WHERE seq = 3;
UPDATE audit_auditentry SET seq = -seq WHERE seq > 3;
UPDATE audit_auditentry SET seq = -seq - 1 WHERE seq < 0
"""
SWAPPED = """
UPDATE audit_auditentry SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3);
UPDATE audit_auditentry SET seq = -seq WHERE seq < 0"""
ADDED = """
INSERT INTO audit_auditentry SELECT -1, at, event, actor_kind, actor_id, actor_label, subject_kind, subject_id,
  subject_label, detail, text, hash FROM audit_auditentry WHERE seq = 1"""
# Writes the texts and hashes from an entry on anew, as the trigger would have.
REWRITE = """
DO $$ DECLARE e record; said text; last bytea; BEGIN
  FOR e IN SELECT * FROM audit_auditentry ORDER BY seq LOOP
    said := json_build_object('seq', e.seq,
      'at', to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'event', e.event,
      'actor_kind', e.actor_kind, 'actor_id', e.actor_id, 'actor_label', e.actor_label,
      'subject_kind', e.subject_kind, 'subject_id', e.subject_id, 'subject_label', e.subject_label,
      'detail', e.detail)::text;
    last := sha256(coalesce(last, decode(repeat('00', 32), 'hex')) || convert_to(said, 'UTF8'));
    UPDATE audit_auditentry SET text = said, hash = last WHERE seq = e.seq;
  END LOOP;
END $$"""


# ── What is found ──────────────────────────────────────────────────────────────────────────────


def test_a_chain_that_nobody_touched_agrees_with_its_heads(sealed: Installation) -> None:
    assert sealed.problem() is None


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        ("UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2", "actor_label differs"),
        ("UPDATE audit_auditentry SET text = replace(text, 'tests', 'guest') WHERE seq = 2", "does not follow"),
        ("UPDATE audit_auditentry SET hash = sha256(hash) WHERE seq = 6", "entry 6 does not follow"),
        ("DELETE FROM audit_auditentry WHERE seq = 3", "entry 3 is missing"),
        ("DELETE FROM audit_auditentry WHERE seq >= 5", "entry 6 was signed as a head and is gone"),
        ("TRUNCATE audit_auditentry", "was signed as a head and is gone"),
        (
            SWAPPED,
            "entry 2 does not follow",
        ),
        ("UPDATE audit_auditentry SET seq = seq + 100", "entry 1 is missing"),
        (ADDED, "twice"),
    ],
)  # fmt: skip
def test_what_the_owner_of_the_database_changes_is_found(sealed: Installation, tampering: str, words: str) -> None:
    as_owner(tampering)
    assert words in str(sealed.problem())


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2",
        "UPDATE audit_auditentry SET detail = '{}' WHERE seq = 1",
        "UPDATE audit_auditentry SET at = at - interval '1 day'",
        REMOVED,
        SWAPPED,
    ],
    ids=["label", "detail", "time", "removed", "reordered"],
)
def test_a_chain_written_anew_holds_by_itself_and_not_against_the_heads(sealed: Installation, tampering: str) -> None:
    as_owner(tampering, REWRITE)
    alone = compare(Folder(sealed.place.path / "none"))
    assert alone.problem is None
    assert "entry 6 is" in str(sealed.problem())


@settings(max_examples=120)
@given(st.data())
def test_whichever_byte_of_whichever_column_changes_is_found(tmp_path_factory, data) -> None:
    """Once as it is, and once with every text and hash behind it written anew."""
    with transaction.atomic():
        here = Installation(tmp_path_factory.mktemp("chain"))
        note(2, text='a text with a few words, ø and \\ and "', nested={"a": [1, 2.5, None, True]})
        signing_key(here.key_file, now=NOW, actor=ACTOR)
        here.sign()
        here.export()
        seq = data.draw(st.integers(1, 3), "entry")
        column = data.draw(st.sampled_from([*SEALED_COLUMNS, "text", "hash"]), "column")
        entry = AuditEntry.objects.filter(seq=seq).extra(select={"said": f"{column}::text"}).get()
        said = entry.said  # type: ignore[attr-defined]
        at = data.draw(st.integers(0, 10_000), "byte") % max(len(said), 1)
        other = data.draw(st.characters(codec="utf-8", exclude_characters="\x00"), "becomes")
        changed = said[:at] + other + said[at + 1 :]
        is_rewritten = data.draw(st.booleans(), "written anew")
        kind = {"at": "timestamptz", "detail": "jsonb", "hash": "bytea"}.get(column, "text")
        with connection.cursor() as cursor:
            try:
                with transaction.atomic():
                    cursor.execute("SET LOCAL session_replication_role = replica")
                    cursor.execute(
                        f"UPDATE audit_auditentry SET {column} = %s::{kind} WHERE seq = %s"
                        f" AND {column}::text IS DISTINCT FROM (%s::{kind})::text",
                        [changed, seq, changed],
                    )
                    took = cursor.rowcount == 1
                    if is_rewritten and column not in {"text", "hash"}:
                        cursor.execute(REWRITE)
            except DatabaseError:  # the column takes no such value
                took = False
        assert (here.problem() is not None) == took
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: {**said, "seq": said["seq"] + 1}, "signature that does not hold"),
        (lambda said: {**said, "hash": "00" * 32}, "signature that does not hold"),
        (lambda said: {**said, "signed_at": "2020-01-01T00:00:00+00:00"}, "signature that does not hold"),
        (lambda said: {**said, "public_key": "11" * 32}, "signature that does not hold"),
        (lambda _: {"seq": 1}, "not a chain head"),
        (lambda said: [said], "not a chain head"),
    ],
)
def test_a_head_that_was_changed_where_it_is_exported_is_found(sealed: Installation, change, words: str) -> None:
    (path,) = (path for path in sealed.place.path.glob("*.json") if not path.name.endswith(".key.json"))
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    assert words in str(sealed.problem())


def test_a_head_under_the_name_of_another_entry_is_found(sealed: Installation) -> None:
    path = sealed.place.path / "000000000006.json"
    path.rename(path.with_name("000000000004.json"))
    assert "another name" in str(sealed.problem())


def test_a_head_by_another_key_is_found_by_who_holds_the_right_one(sealed: Installation) -> None:
    stranger = write_key(sealed.key_file.with_name("other"))
    as_owner("UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2", REWRITE)
    for path in sealed.place.path.iterdir():
        path.unlink()
    last = AuditEntry.objects.get(seq=6)
    forged = signed_head(6, bytes(last.hash), NOW, stranger)
    sealed.place.put(forged.name, forged.document())
    assert compare(sealed.place).problem is None  # it agrees with itself
    assert "signed by another key" in str(sealed.problem())


# ── The key and its successors ─────────────────────────────────────────────────────────────────


def test_the_first_key_is_made_once_and_readable_by_its_owner_alone(here: Installation) -> None:
    first, again = here.key, here.key
    assert first == again
    assert here.key_file.stat().st_mode & 0o777 == 0o600
    assert AuditEntry.objects.get().event == Event.CHAIN_KEY_BEGUN


def test_a_key_that_the_one_before_vouches_for_is_believed_by_who_holds_the_first(sealed: Installation) -> None:
    first = sealed.key
    for _ in range(3):
        sealed.rotate()
        note()
        sealed.sign()
    sealed.export()
    found = compare(sealed.place, trusted=[first])
    assert found.problem is None
    assert found.documents.by_given_keys == len(found.documents.heads) == ChainHead.objects.count()
    assert len(found.documents.keys) == 4
    assert AuditEntry.objects.filter(event=Event.CHAIN_KEY_ROTATED).count() == 3


def test_who_holds_a_later_key_is_told_which_heads_it_does_not_speak_for(sealed: Installation) -> None:
    sealed.rotate()
    note()
    sealed.sign()
    sealed.export()
    found = compare(sealed.place, trusted=[sealed.key])
    assert found.problem is None
    assert (found.documents.by_given_keys, found.documents.by_earlier_keys) == (1, len(found.documents.heads) - 1)


def test_a_key_that_had_been_replaced_signs_nothing_any_more(sealed: Installation) -> None:
    first = signing_key(sealed.key_file, now=NOW, actor=ACTOR)
    sealed.rotate()
    note()
    sealed.export()
    last = AuditEntry.objects.first()
    assert last is not None
    stolen = signed_head(last.seq, bytes(last.hash), NOW, first)
    sealed.place.put(stolen.name, stolen.document())
    assert "had been replaced" in str(sealed.problem(public(first)))


def test_a_lost_key_is_followed_by_one_that_nobody_vouches_for(sealed: Installation) -> None:
    first = sealed.key
    sealed.key_file.unlink()
    with pytest.raises(ChainKeyMissing, match="Put it back, or begin another one"):
        sealed.sign()
    sealed.rotate(is_lost=True)
    note()
    sealed.sign()
    sealed.export()
    assert "signed by another key" in str(sealed.problem(first))
    assert sealed.problem(first, sealed.key) is None
    assert AuditEntry.objects.filter(event=Event.CHAIN_KEY_LOST).exists()


def test_the_key_of_another_host_does_not_sign(sealed: Installation) -> None:
    sealed.key_file.unlink()
    write_key(sealed.key_file)
    with pytest.raises(ChainKeyUnknown, match="Give every host the same file"):
        sealed.sign()


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_rotation_that_died_in_the_middle_is_finished_or_forgotten(sealed: Installation, is_committed: bool) -> None:
    before = sealed.key
    with transaction.atomic():
        sealed.rotate()
        transaction.set_rollback(not is_committed)
    after = sealed.key_file.read_text()
    # As if the process had ended before the file took its place.
    sealed.key_file.with_name("chain.key.next").write_text(after)
    sealed.key_file.write_text("ab" * 32)
    if is_committed:
        assert sealed.key not in {before, None}
        assert sealed.key_file.read_text() == after
    else:
        with pytest.raises(ChainKeyUnknown):
            sealed.sign()
    assert not sealed.key_file.with_name("chain.key.next").exists()


def test_heads_and_keys_are_never_changed_in_the_database(sealed: Installation) -> None:
    for statement in (
        "UPDATE audit_chainhead SET hash = ''",
        "DELETE FROM audit_chainhead",
        "DELETE FROM audit_chainkey",
    ):
        with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)


def test_nothing_is_signed_when_nothing_happened_since(here: Installation) -> None:
    assert here.sign() is not None
    assert here.sign() is None
    note()
    assert here.sign() is not None


# ── The way out ────────────────────────────────────────────────────────────────────────────────


def test_everything_that_was_signed_is_brought_to_a_place_that_comes_later(sealed: Installation, tmp_path) -> None:
    note()
    sealed.sign()
    second = Folder(tmp_path / "second")
    assert export_due([sealed.place, second], clock=sealed.clock, actor=ACTOR) == 1 + 3
    assert compare(second, trusted=[sealed.key]).problem is None
    assert export_due([sealed.place, second], clock=sealed.clock, actor=ACTOR) == 0


def test_a_place_that_refuses_is_said_to_and_tried_again(sealed: Installation) -> None:
    note()
    sealed.sign()
    sealed.place.path.rename(sealed.place.path.with_name("away"))
    sealed.place.path.write_text("a file where the folder was")
    for _ in range(2):
        with pytest.raises(NotExported, match="cannot be written to"):
            sealed.export()
    place = ExportPlace.objects.get()
    assert place.failing_since is not None
    assert AuditEntry.objects.filter(event=Event.CHAIN_EXPORT_FAILED).count() == 1
    sealed.place.path.unlink()
    sealed.place.path.with_name("away").rename(sealed.place.path)
    assert sealed.export() == 1
    place.refresh_from_db()
    assert (place.failing_since, place.error) == (None, "")
    assert AuditEntry.objects.filter(event=Event.CHAIN_EXPORT_RECOVERED).count() == 1


def test_one_place_that_refuses_keeps_no_other_waiting(sealed: Installation, tmp_path) -> None:
    note()
    sealed.sign()
    broken = tmp_path / "file"
    broken.write_text("no folder")
    with pytest.raises(NotExported):
        export_due([Folder(broken), sealed.place], clock=sealed.clock, actor=ACTOR)
    assert sealed.problem() is None
    assert Export.objects.filter(head=ChainHead.objects.first()).count() == 1


def test_a_document_is_never_written_over(sealed: Installation) -> None:
    name = "000000000006.json"
    before = (sealed.place.path / name).read_bytes()
    Export.objects.all().delete()
    assert sealed.export() == 2  # the same again is fine
    (sealed.place.path / name).write_bytes(b"something else")
    Export.objects.all().delete()
    with pytest.raises(NotExported, match="there with another content"):
        sealed.export()
    assert (sealed.place.path / name).read_bytes() == b"something else" != before


def test_a_place_that_is_configured_no_more_is_retired(sealed: Installation, tmp_path) -> None:
    export_due([Folder(tmp_path / "second")], clock=sealed.clock, actor=ACTOR)
    assert list(ExportPlace.objects.filter(retired_at=None).values_list("address", flat=True)) == [
        str(tmp_path / "second")
    ]


# ── By itself ──────────────────────────────────────────────────────────────────────────────────


def test_the_timetable_signs_exports_and_verifies(here: Installation) -> None:
    note(3)
    key = signing_key(here.key_file, now=NOW, actor=ACTOR)
    sign_head(key, now=NOW, actor=ACTOR)
    assert export_chain_heads() == {"documents": 2}
    assert verify_chain() == {"entries": 5}
    entry = AuditEntry.objects.get(event=Event.CHAIN_VERIFIED)
    assert (entry.detail["entries"], entry.detail["heads"]) == (5, 1)


def test_signing_by_itself_makes_the_first_key(here: Installation) -> None:
    note()
    assert sign_chain_head() == {"heads": 1}
    assert ChainKey.objects.count() == ChainHead.objects.count() == 1


def test_a_chain_that_was_found_broken_is_said_to_be_in_the_chain_and_in_the_ledger(sealed: Installation) -> None:
    as_owner("UPDATE audit_auditentry SET actor_label = 'nobody' WHERE seq = 2")
    with pytest.raises(ChainBroken, match="entry 2: actor_label differs"):
        verify_chain()
    assert AuditEntry.objects.get(event=Event.CHAIN_FOUND_BROKEN).detail["problem"].startswith("entry 2")


def test_exported_heads_that_are_no_longer_there_are_missed(sealed: Installation) -> None:
    (sealed.place.path / "000000000006.json").unlink()
    with pytest.raises(ChainBroken, match="is no longer there"):
        verify_chain()


# ── On the command line ────────────────────────────────────────────────────────────────────────


def test_the_command_says_that_the_chain_holds(sealed: Installation, capsys) -> None:
    note()
    call_command("verify_audit", format="json", public_key=[sealed.key.hex()])
    said = json.loads(capsys.readouterr().out)
    assert (said["holds"], said["entries"], said["heads"], said["last_head"]) == (True, 8, 1, 6)
    assert said["uncovered"] == 2
    call_command("verify_audit", heads=str(sealed.place.path), public_key=[sealed.key.hex()])
    out = capsys.readouterr().out
    assert "signed by the given key" in out
    assert "No head covers the 2 entries behind it yet" in out


def test_the_command_says_when_there_was_no_head_to_compare_with(here: Installation, capsys) -> None:
    note()
    call_command("verify_audit")
    assert "No exported head was there" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [{"heads": "nowhere"}, {"public_key": ["00" * 32]}], ids=["heads", "key"])
def test_heads_that_are_asked_for_and_not_there_are_no_proof(here: Installation, capsys, tmp_path, asked) -> None:
    note()
    if "heads" in asked:
        asked = {"heads": str(tmp_path / "nowhere")}
    with pytest.raises(SystemExit) as exit_:
        call_command("verify_audit", **asked)
    assert exit_.value.code == 1
    assert "no exported head" in capsys.readouterr().err


def test_heads_of_an_unknown_key_are_said_to_prove_less(sealed: Installation, capsys) -> None:
    call_command("verify_audit")
    assert "Whose key signed them is not checked" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [{"public_key": ["zz"]}, {"heads": "ftp://x"}, {"heads": "s3://"}])
def test_what_cannot_be_asked_is_refused(here: Installation, asked) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("verify_audit", **asked)
    assert refused.value.returncode == 2


def test_the_command_exits_with_1_when_the_chain_is_broken(sealed: Installation, capsys) -> None:
    as_owner("UPDATE audit_auditentry SET event = 'x' WHERE seq = 1")
    with pytest.raises(SystemExit) as exit_:
        call_command("verify_audit")
    assert exit_.value.code == 1
    assert "entry 1: event differs" in capsys.readouterr().err


def test_the_key_is_printed_published_and_rotated(sealed: Installation, client, capsys) -> None:
    before = sealed.key.hex()
    call_command("chain_key")
    assert re.search(rf"Public key +{before}", capsys.readouterr().out)
    call_command("chain_key", rotate=True, reason="yearly")
    assert "the key before it vouches for it" in capsys.readouterr().out
    call_command("chain_key", format="pem")
    assert capsys.readouterr().out.startswith("-----BEGIN PUBLIC KEY-----")
    answer = client.get("/.well-known/keyreeve-chain-keys.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    said = answer.json()
    assert said["current"] == sealed.key.hex() != before
    assert [key["public_key"] for key in said["keys"]] == [before, sealed.key.hex()]
    assert said["keys"][0]["until"] == said["keys"][1]["after"]
    assert sealed.problem(bytes.fromhex(before)) is None


def test_a_key_is_not_replaced_without_a_reason(here: Installation) -> None:
    with pytest.raises(CommandError, match="Say why"):
        call_command("chain_key", rotate=True)
