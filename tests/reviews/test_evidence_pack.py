"""What a pack holds: the same bytes for the same inputs, figures that its own lists give, and no secret."""

import csv
import io
import json
import zipfile
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inventory.models import Credential
from lifecycle.models import Finding, RuleState
from reviews import verifying
from reviews.controls import CONTROLS, MEASURES
from reviews.packing.lists import sources
from reviews.sampling import lot
from tests.factories import NOW, credential
from tests.reviews.packed import KEY, an_estate, inputs, member, member_json, packed, sampled

pytestmark = pytest.mark.django_db


@pytest.fixture
def pack() -> bytes:
    an_estate()
    return packed()


def rows_of(pack: bytes, path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(member(pack, path).decode(), newline="")))


def test_the_same_inputs_over_the_same_estate_give_the_same_bytes(pack: bytes):
    assert sha256(packed()).digest() == sha256(pack).digest()


def test_another_estate_gives_other_bytes(pack: bytes):
    credential()
    assert packed() != pack


def test_manifest_and_verifier_lie_at_its_root(shared_pack: bytes):
    manifest = member_json(shared_pack, "manifest.json")
    assert member(shared_pack, "verify.py") == Path(verifying.__file__).read_bytes()
    listed = {entry["path"] for entry in manifest["files"]} | {"manifest.json", "manifest.sig"}
    with zipfile.ZipFile(io.BytesIO(shared_pack)) as archive:
        assert set(archive.namelist()) == listed


def test_every_list_is_there_as_csv_and_as_json(pack: bytes):
    for name in sources(NOW):
        objects = member_json(pack, f"lists/{name}.json")
        assert [str(each["id"]) for each in objects] == [row["id"] for row in rows_of(pack, f"lists/{name}.csv")]
    assert len(member_json(pack, "lists/credentials.json")) == Credential.objects.count()


def test_a_name_that_a_spreadsheet_would_run_is_text(shared_pack: bytes):
    assert '\'=1+1 "quoted"\nand broken' in {row["name"] for row in rows_of(shared_pack, "lists/credentials.csv")}


@pytest.mark.parametrize("slug", MEASURES)
def test_each_measure_can_be_counted_again_from_its_own_list(slug: str, shared_pack: bytes):
    (measure,) = [each for each in member_json(shared_pack, "metrics.json")["measures"] if each["id"] == slug]
    counted = Counter(row[measure["column"]] for row in rows_of(shared_pack, measure["list"]))
    assert [counted[each] for each in ("met", "violated", "unknown")] == [
        measure["met"], measure["violated"], measure["unknown"],
    ]  # fmt: skip


def test_a_measure_of_a_rule_says_what_the_evaluation_counted(pack: bytes):
    for measure in member_json(pack, "metrics.json")["measures"]:
        state = RuleState.objects.filter(rule=measure["rule"] or "").first()
        if state is not None:
            said = (measure["met"], measure["violated"], measure["unknown"])
            assert said == (state.met, state.violated, state.unknown), measure["id"]


def test_what_is_violated_stands_among_the_findings(shared_pack: bytes):
    found = Counter(
        each["rule"]["id"] for each in member_json(shared_pack, "lists/findings.json") if not each["resolved_at"]
    )
    for measure in member_json(shared_pack, "metrics.json")["measures"]:
        if measure["rule"]:
            assert measure["violated"] == found[measure["rule"]], measure["id"]


def test_a_waived_one_is_counted_beside_the_violated(shared_pack: bytes):
    (owned,) = [each for each in member_json(shared_pack, "metrics.json")["measures"] if each["id"] == "no-owner"]
    assert (owned["violated"], owned["waived"]) == (3, 1)


def test_every_control_is_answered(shared_pack: bytes):
    said = {each["id"]: each for each in member_json(shared_pack, "metrics.json")["controls"]}
    assert set(said) == set(CONTROLS)
    assert said["PR.AA-06"]["verdict"] == "unknown"


@pytest.mark.parametrize("document", ["assessment-results", "poam"])
def test_oscal_keeps_to_the_official_schema(document: str, shared_pack: bytes, oscal):
    errors = [f"{error.instance_path}: {error.message}" for error in oscal.iter_errors(
        member_json(shared_pack, f"oscal/{document}.json")
    )]  # fmt: skip
    assert errors == []


def test_oscal_says_of_no_unknown_control_that_it_is_satisfied(shared_pack: bytes):
    (result,) = member_json(shared_pack, "oscal/assessment-results.json")["assessment-results"]["results"]
    verdicts = {each["id"]: each["verdict"] for each in member_json(shared_pack, "metrics.json")["controls"]}
    for finding in result["findings"]:
        control = finding["target"]["target-id"].removesuffix("_statement")
        assert (finding["target"]["status"]["state"] == "satisfied") == (verdicts[control] == "met")


def test_the_plan_of_action_names_what_is_open_and_what_was_accepted(pack: bytes):
    plan = member_json(pack, "oscal/poam.json")["plan-of-action-and-milestones"]
    props = [{prop["name"]: prop["value"] for prop in risk["props"]} for risk in plan["risks"]]
    open_ones = Finding.objects.filter(resolved_at=None).count()
    assert sum(int(each["number"]) for each in props) == open_ones
    assert "deviation-approved" in {risk["status"] for risk in plan["risks"]}
    assert len(plan["poam-items"]) == len(plan["risks"])


def test_where_nothing_is_open_there_is_no_plan(oscal):
    pack = packed(inputs())
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        assert "oscal/poam.json" not in archive.namelist()
    assert member_json(pack, "manifest.json")["has_plan"] is False
    assert oscal.is_valid(member_json(pack, "oscal/assessment-results.json"))


def test_the_sample_is_drawn_by_its_seed(pack: bytes):
    said = member_json(pack, "sample/sample.json")
    population = [str(key) for key in Credential.objects.values_list("pk", flat=True)]
    assert [each["id"] for each in said["items"]] == sorted(population, key=lambda key: lot("2026", key))[:3]


def test_another_seed_draws_others():
    for _ in range(12):
        credential()
    drawn = [
        [each["id"] for each in member_json(packed(sampled_by(seed)), "sample/sample.json")["items"]]
        for seed in ("one", "two")
    ]
    assert drawn[0] != drawn[1]


def sampled_by(seed: str):
    return inputs(sample_size=6, sample_seed=seed, sample_filter="", population=Credential.objects.all())


def test_each_item_of_the_sample_has_its_evidence(pack: bytes):
    items = [member_json(pack, each["bundle"]) for each in member_json(pack, "sample/sample.json")["items"]]
    for item in items:
        found = Finding.objects.filter(credential=item["credential"]["id"])
        assert {each["rule"] for each in item["findings"]} == set(found.values_list("rule", flat=True))
        assert item["obligation"]
    assert any(entry["event"] == "credential.owner_assigned" for item in items for entry in item["audit_entries"])


def test_the_page_in_the_pack_loads_nothing_and_says_how_to_verify_it(shared_pack: bytes):
    said = member(shared_pack, "summary.html").decode()
    assert "python verify.py" in said
    assert "PR.AA-01" in said
    assert not any(word in said for word in ("src=", "<script", "<link", "url("))


def test_the_number_of_questions_does_not_grow_with_the_estate():
    an_estate()
    given = sampled()
    with CaptureQueriesContext(connection) as few:
        packed(given)
    for _ in range(40):
        credential()
    with CaptureQueriesContext(connection) as many:
        packed(given)
    assert len(many) <= len(few)
    assert len(few) < 220


def test_the_key_of_the_pack_is_named_by_its_digest_alone(shared_pack: bytes):
    public = KEY.public_key().public_bytes_raw()
    manifest = member(shared_pack, "manifest.json")
    assert json.loads(manifest)["key_sha256"] == sha256(public).hexdigest()
    assert public.hex().encode() not in manifest
