"""Packs asked for, built by a worker, downloaded and verified; and what becomes of a worker that dies."""

import json
import stat
import zipfile
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from audit.heads import signing_key
from audit.models import AuditEntry
from inventory.models import Credential
from reviews import verifying
from reviews.actions import evidence
from reviews.models import EvidencePack
from reviews.packing.building import build, place_of
from reviews.packs import LEASE, TRIES, NotABuilder, PackLost, PackRefused, PackState
from reviews.sampling import lot
from reviews.tasks import build_evidence_pack, remove_old_packs, sweep_evidence_packs
from tests.factories import NOW, credential
from tests.history.passing import DAY, time_passes
from tests.people import browser, owners_browser, person, text
from tests.reviews.packed import KEY, an_estate

committed = pytest.mark.django_db(transaction=True)
SYSTEM = Actor.system("test")


@pytest.fixture(autouse=True)
def kept_in(settings, tmp_path: Path) -> Path:
    settings.EVIDENCE_DIR = tmp_path / "evidence"
    settings.CHAIN_KEY = tmp_path / "chain.key"
    return settings.EVIDENCE_DIR


def asked_for(**values) -> EvidencePack:
    return evidence.request_pack(**{"purpose": "The half-year", "actor": SYSTEM, "now": timezone.now(), **values})


# ── Asking ──


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("purpose", {"purpose": " "}),
        ("begins_at", {"begins_at": NOW + timedelta(days=9_000)}),
        ("begins_at", {"begins_at": NOW - timedelta(days=9_000)}),
        ("sample_size", {"sample_size": 501, "sample_seed": "x"}),
        ("sample_seed", {"sample_size": 3}),
    ],
)
def test_what_a_pack_cannot_hold_is_refused_by_field(field: str, values: dict):
    with pytest.raises(PackRefused) as refused:
        asked_for(**values)
    assert list(refused.value.problems) == [field]


@pytest.mark.django_db
def test_an_auditor_downloads_and_builds_none():
    auditor = Actor(SYSTEM.kind, "1", "Ada", frozenset({Role.AUDITOR}))
    with pytest.raises(NotABuilder):
        asked_for(actor=auditor)


@pytest.mark.django_db
def test_asking_leaves_an_entry():
    pack = asked_for()
    entry = AuditEntry.objects.get(event="evidence_pack.requested")
    assert entry.subject_id == str(pack.pk)


# ── Building ──


@committed
def test_a_pack_is_built_kept_for_its_owner_alone_and_verified(kept_in: Path):
    an_estate(timezone.now())
    pack = asked_for(sample_size=2, sample_seed="s")
    assert build(pack.pk, clock=timezone.now, key=KEY)
    pack.refresh_from_db()
    place = place_of(pack)
    assert (pack.state, pack.sha256) == (PackState.READY, sha256(place.read_bytes()).hexdigest())
    assert pack.size == place.stat().st_size
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [each.name for each in kept_in.iterdir()] == [place.name]
    checked = verifying.Pack(place, KEY.public_key().public_bytes_raw())
    checked.check()
    assert len(checked.held) == 9
    built = AuditEntry.objects.get(event="evidence_pack.built")
    assert built.detail["sha256"] == pack.sha256
    assert pack.summary["audit"]["entries"] == built.seq - 1


@committed
def test_only_one_worker_builds_a_pack():
    pack = asked_for()
    assert evidence.claim(pack.pk, timezone.now(), actor=SYSTEM)
    assert not build(pack.pk, clock=timezone.now, key=KEY)


@committed
def test_the_sweep_rings_for_what_nobody_rang_for(settings):
    settings.CELERY_TASK_ALWAYS_EAGER = True
    pack = asked_for()
    rung = []
    original = build_evidence_pack.delay
    build_evidence_pack.delay = rung.append
    try:
        assert sweep_evidence_packs() == {"packs": 1}
    finally:
        build_evidence_pack.delay = original
    assert rung == [str(pack.pk)]


@committed
def test_a_task_builds_what_it_is_rung_for():
    pack = asked_for()
    build_evidence_pack(str(pack.pk))
    pack.refresh_from_db()
    assert pack.state == PackState.READY


@committed
def test_a_worker_whose_lease_was_taken_leaves_nothing(kept_in: Path):
    pack = asked_for()
    later, asked = timezone.now(), 0

    def clock():
        """Time passes, and after a while another worker has the pack; it commits by a connection of its own."""
        nonlocal later, asked
        later, asked = later + timedelta(seconds=1.5), asked + 1
        if asked == 6:
            beside = connection.copy()
            with beside.cursor() as cursor:
                cursor.execute("UPDATE reviews_evidencepack SET lease_token = %s", [uuid4()])
            beside.close()
        return later

    assert not build(pack.pk, clock=clock, key=KEY)
    assert list(kept_in.iterdir()) == []
    pack.refresh_from_db()
    assert pack.state == PackState.BUILDING


@pytest.mark.django_db
def test_after_a_worker_has_died_another_begins_again_but_not_for_ever():
    pack, now = asked_for(), timezone.now()
    for _ in range(TRIES):
        assert evidence.claim(pack.pk, now, actor=SYSTEM)
        assert not EvidencePack.objects.due(now).exists()
        now += LEASE
    assert evidence.claim(pack.pk, now, actor=SYSTEM) is None
    pack.refresh_from_db()
    assert (pack.state, pack.lease_token) == (PackState.FAILED, None)
    assert "none of them came to its end" in pack.error


@pytest.mark.django_db
def test_what_a_lost_worker_built_is_no_pack():
    pack = asked_for()
    evidence.claim(pack.pk, timezone.now(), actor=SYSTEM)
    with pytest.raises(PackLost):
        evidence.finish(pack.pk, uuid4(), {"size": 1, "sha256": "0" * 64}, actor=SYSTEM, now=timezone.now())


@committed
def test_where_nothing_can_be_written_its_page_says_so(kept_in: Path):
    pack = asked_for()
    kept_in.mkdir()
    place_of(pack).mkdir()
    (place_of(pack) / "x").touch()
    assert not build(pack.pk, clock=timezone.now, key=KEY)
    pack.refresh_from_db()
    assert pack.state == PackState.FAILED
    assert pack.error.startswith("Its file could not be written")


# ── Over REST ──


@committed
def test_over_rest_a_pack_is_asked_for_watched_and_downloaded():
    operator = browser(Role.OPERATOR)
    made = operator.post("/api/v1/evidence-packs/", {}, "application/json")
    assert made.status_code == 201
    said = made.json()
    assert (said["state"], said["download"]) == ("requested", None)
    assert operator.get(f"/api/v1/evidence-packs/{said['id']}/download/").status_code == 409
    build_evidence_pack(said["id"])
    ready = browser(Role.AUDITOR).get(f"/api/v1/evidence-packs/{said['id']}/").json()
    assert ready["state"] == "ready"
    answer = browser(Role.AUDITOR).get(ready["download"])
    content = b"".join(answer.streaming_content)
    assert answer.headers["Content-Type"] == "application/zip"
    assert sha256(content).hexdigest() == ready["sha256"]
    assert ready["summary"]["controls"]


@pytest.mark.django_db
def test_the_same_key_asks_for_one_pack():
    operator = browser(Role.OPERATOR)
    answers = [
        operator.post(
            "/api/v1/evidence-packs/", {"purpose": "Q2"}, "application/json", headers={"Idempotency-Key": "k"}
        ).json()
        for _ in range(2)
    ]
    assert answers[0]["id"] == answers[1]["id"]
    assert EvidencePack.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("begins_at", {"begins_at": "2001-01-01T00:00:00Z"}),
        ("sample_filter", {"sample_filter": "kin=api_key"}),
        ("sample_filter", {"sample_filter": "kind=no-such-kind"}),
        ("sample_seed", {"sample_size": 3}),
        ("sample_size", {"sample_size": 501}),
    ],
)
def test_a_body_that_cannot_be_is_refused_by_field(field: str, body: dict):
    answer = browser(Role.OPERATOR).post("/api/v1/evidence-packs/", body, "application/json")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


@pytest.mark.django_db
def test_an_owner_sees_no_pack():
    asked_for()
    mine, _ = owners_browser()
    assert mine.get("/api/v1/evidence-packs/").json()["results"] == []
    pack = EvidencePack.objects.get()
    for path in (f"/evidence/{pack.pk}/", f"/evidence/{pack.pk}/download/", f"/api/v1/evidence-packs/{pack.pk}/"):
        assert mine.get(path).status_code == 404


# ── Samples ──


@pytest.mark.django_db
def test_a_sample_is_drawn_the_same_by_whoever_has_the_seed():
    keys = [str(credential().pk) for _ in range(8)]
    credential(kind="other")
    said = browser(Role.AUDITOR).get("/api/v1/evidence-sample/?size=3&seed=2026-q2&kind=api_key").json()
    assert said["population"] == 8
    drawn = [each["credential"]["id"] for each in said["results"]]
    assert drawn == sorted(keys, key=lambda key: lot("2026-q2", key))[:3]
    assert said["results"][0]["lot"] == lot("2026-q2", drawn[0])
    assert {"versions", "findings", "operations", "audit_entries"} <= set(said["results"][0]["evidence"])


@pytest.mark.django_db
@pytest.mark.parametrize("query", ["size=0", "size=501", "size=x", "kin=api_key", "kind=x"])
def test_a_sample_that_cannot_be_drawn_is_refused(query: str):
    assert browser(Role.AUDITOR).get(f"/api/v1/evidence-sample/?{query}").status_code == 400


@pytest.mark.django_db
def test_an_owner_draws_from_what_is_theirs():
    mine, me = owners_browser()
    credential()
    held = credential(owner=me)
    said = mine.get("/api/v1/evidence-sample/").json()
    assert [each["credential"]["id"] for each in said["results"]] == [str(held.pk)]
    assert held.name in text(mine.get("/evidence/sample/?size=5&seed=x&population="))
    foreign = Credential.objects.exclude(pk=held.pk).get()
    assert mine.get(f"/evidence/sample/{foreign.pk}/").status_code == 404


@pytest.mark.django_db
def test_a_sample_asks_the_same_number_of_questions_whatever_its_size(django_assert_max_num_queries):
    for _ in range(20):
        credential()
    reader = browser(Role.AUDITOR)
    with django_assert_max_num_queries(22):
        reader.get("/api/v1/evidence-sample/?size=20&seed=x")


@pytest.mark.django_db
def test_the_page_draws_takes_an_address_as_population_and_shows_an_item():
    held = credential(name="deploy key")
    credential(kind="other", name="other key")
    reader = browser(Role.AUDITOR)
    said = text(reader.get("/evidence/sample/", {"size": 5, "seed": "x", "population": "/credentials/?kind=api_key"}))
    assert "deploy key" in said
    assert "other key" not in said
    assert "Versions" in text(reader.get(f"/evidence/sample/{held.pk}/"))
    wrong = reader.get("/evidence/sample/", {"size": 5, "seed": "x", "population": "kin=x"})
    assert wrong.status_code == 422


# ── Pages ──


@committed
def test_its_page_shows_progress_and_then_what_it_says():
    operator = browser(Role.OPERATOR)
    answer = operator.post(
        "/evidence/new/",
        {"purpose": "Q2", "begins_at": f"{timezone.now() - timedelta(days=30):%Y-%m-%d}", "sample_size": 0},
    )
    pack = EvidencePack.objects.get()
    assert answer.headers["Location"] == f"/evidence/{pack.pk}/"
    waiting = text(operator.get(f"/evidence/{pack.pk}/"))
    assert 'hx-trigger="every 2s"' in waiting
    assert "<progress" in waiting
    build_evidence_pack(str(pack.pk))
    said = text(operator.get(f"/evidence/{pack.pk}/"))
    pack.refresh_from_db()
    assert pack.sha256 in said
    assert "PR.AA-01" in said
    assert "hx-trigger" not in said.split('id="pack-progress"')[1].split(">")[0]
    assert b"".join(operator.get(f"/evidence/{pack.pk}/download/").streaming_content).startswith(b"PK")
    assert "Q2" in text(operator.get("/evidence/"))


@pytest.mark.django_db
def test_a_form_that_is_wrong_says_so_and_keeps_what_was_typed():
    answer = browser(Role.OPERATOR).post(
        "/evidence/new/", {"purpose": "Kept", "begins_at": "1999-01-01", "sample_size": 3}
    )
    assert answer.status_code == 422
    assert "Kept" in text(answer)


@pytest.mark.django_db
def test_an_auditor_is_offered_no_pack_to_build():
    assert "/evidence/new/" not in text(browser(Role.AUDITOR).get("/evidence/")).split("No pack was built yet")[0]
    assert person(Role.AUDITOR)


@pytest.mark.django_db
def test_of_a_pack_whose_file_is_gone_the_page_says_so():
    pack = asked_for()
    EvidencePack.objects.filter(pk=pack.pk).update(state=PackState.READY, built_at=NOW, size=1, sha256="0" * 64)
    answer = browser(Role.AUDITOR).get(f"/evidence/{pack.pk}/download/", follow=True)
    assert "not where it was kept" in text(answer)


# ── On the command line ──


def said_by(*arguments: str) -> dict:
    out = StringIO()
    call_command("evidence", *arguments, "--format", "json", stdout=out)
    return json.loads(out.getvalue())


@committed
def test_the_command_builds_lists_and_verifies(tmp_path: Path):
    key = signing_key(tmp_path / "chain.key", now=timezone.now(), actor=SYSTEM)
    an_estate(timezone.now(), key)
    built = said_by("build", "--purpose", "Q2", "--sample", "2", "--seed", "s")
    assert [each["id"] for each in said_by("list")] == [built["id"]]
    checked = said_by("verify", built["file"], "--public-key", key.public_key().public_bytes_raw().hex())
    assert checked["holds"]
    place = Path(built["file"])
    broken = bytearray(place.read_bytes())
    broken[100] ^= 1
    place.write_bytes(broken)
    with pytest.raises(SystemExit) as ended:
        call_command("evidence", "verify", str(place), stdout=StringIO())
    assert ended.value.code == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "--since", "soon"),
        ("build", "--population", "kin=x"),
        ("build", "--sample", "3"),
        ("verify", "x", "--public-key", "y"),
    ],
)
def test_a_wrong_call_ends_with_2(arguments: tuple[str, ...]):
    with pytest.raises(CommandError) as ended:
        call_command("evidence", *arguments)
    assert ended.value.returncode == 2


# ── As of a past instant ──


@committed
def test_a_pack_of_the_past_shows_the_estate_as_it_stood():
    held = credential(name="before")
    then = timezone.now()
    Credential.objects.filter(pk=held.pk).update(name="after")
    came = credential(name="came later")
    pack = asked_for(ends_at=then, begins_at=then - DAY, sample_size=5, sample_seed="s", sample_filter="")
    assert build(pack.pk, clock=timezone.now, key=KEY)
    pack.refresh_from_db()
    assert pack.taken_at == then
    with zipfile.ZipFile(place_of(pack)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert [each["name"] for each in json.loads(archive.read("lists/credentials.json"))] == ["before"]
        assert str(came.pk) not in archive.read("measures/credentials.csv").decode()
        assert [each["name"] for each in json.loads(archive.read("sample/sample.json"))["items"]] == ["before"]
    assert "operations" in manifest["as_it_stands"]
    assert "credentials" not in manifest["as_it_stands"]
    checked = verifying.Pack(place_of(pack))
    checked.check()
    assert any("keep no past" in each for each in checked.unchecked)


@committed
def test_a_pack_of_the_past_is_the_same_whatever_happened_since():
    credential(name="before")
    then = timezone.now()
    digests = []
    for _ in range(2):
        pack = asked_for(ends_at=then, begins_at=then - DAY)
        assert build(pack.pk, clock=timezone.now, key=KEY)
        pack.refresh_from_db()
        digests.append(pack.sha256)
        credential()
    assert digests[0] == digests[1]


@pytest.mark.django_db
@pytest.mark.parametrize("days", [-9, 9])
def test_a_pack_as_of_an_instant_of_which_nothing_is_known_is_refused(days: int):
    with pytest.raises(PackRefused) as refused:
        asked_for(ends_at=timezone.now() + days * DAY)
    assert list(refused.value.problems) == ["ends_at"]


@pytest.mark.django_db
def test_the_form_takes_a_day_and_means_its_end():
    time_passes()
    yesterday = (timezone.now() - DAY).date()
    form = {"purpose": "Q2", "begins_at": f"{yesterday - DAY}", "ends_at": f"{yesterday}", "sample_size": 0}
    browser(Role.OPERATOR).post("/evidence/new/", form)
    ends_at = EvidencePack.objects.get().ends_at
    assert (ends_at.date(), ends_at.hour, ends_at.minute) == (timezone.now().date(), 0, 0)


# ── Old files ──


def a_ready_one(age: timedelta) -> EvidencePack:
    pack = asked_for()
    assert build(pack.pk, clock=timezone.now, key=KEY)
    EvidencePack.objects.filter(pk=pack.pk).update(built_at=timezone.now() - age)
    pack.refresh_from_db()
    return pack


@committed
def test_the_file_of_an_old_pack_is_removed_and_its_digest_stays(settings):
    settings.EVIDENCE_KEPT_FOR = 30 * DAY
    old, young = a_ready_one(31 * DAY), a_ready_one(29 * DAY)
    assert remove_old_packs() == {"packs": 1}
    assert (place_of(old).exists(), place_of(young).exists()) == (False, True)
    reader = browser(Role.AUDITOR)
    said = text(reader.get(f"/evidence/{old.pk}/"))
    assert "Its file was removed" in said
    assert old.sha256 in said
    assert reader.get(f"/api/v1/evidence-packs/{old.pk}/download/").status_code == 410
    assert "being old" in text(reader.get(f"/evidence/{old.pk}/download/", follow=True))
    entry = AuditEntry.objects.get(event="evidence_pack.removed")
    assert entry.detail["sha256"] == old.sha256
    assert remove_old_packs() == {"packs": 0}


@committed
def test_a_file_that_somebody_else_removed_does_not_keep_the_others(settings):
    settings.EVIDENCE_KEPT_FOR = DAY
    gone, other = a_ready_one(2 * DAY), a_ready_one(2 * DAY)
    place_of(gone).unlink()
    assert remove_old_packs() == {"packs": 2}
    assert not place_of(other).exists()
