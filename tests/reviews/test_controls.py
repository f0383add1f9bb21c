"""The catalogue of controls, and what a count of a measure says: pure."""

from datetime import timedelta

import pytest

from inventory.states import Severity, Verdict
from lifecycle.rules import RULES
from lifecycle.rules.controls import TITLES
from reviews.controls import CONTROLS, FRESH_FOR, MEASURES, Tally, crosswalk, standing
from reviews.measured import ROWS
from tests.factories import NOW

OWNER = MEASURES["no-owner"]  # at least 98 of a hundred
WITHDRAWN = {"ID.AM-06", "PR.DS-05", "DE.CM-04", "DE.CM-05", "DE.CM-07", "DE.CM-08", "DE.AE-01", "DE.AE-05"}


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        (Tally(98, 2, 0), Verdict.MET),
        (Tally(97, 3, 0), Verdict.VIOLATED),
        (Tally(97, 0, 3), Verdict.UNKNOWN),
        (Tally(0, 0, 100), Verdict.UNKNOWN),
        (Tally(90, 3, 7), Verdict.VIOLATED),
        (Tally(0, 0, 0), Verdict.NOT_APPLICABLE),
        (None, Verdict.UNKNOWN),
    ],
)
def test_a_measure_is_met_only_with_the_unknown_counted_against_it(tally: Tally | None, verdict: Verdict):
    assert OWNER.verdict(tally) is verdict


def test_what_was_counted_too_long_ago_says_nothing_any_more():
    then = Tally(100, 0, 0, counted_at=NOW)
    assert OWNER.verdict(then, now=NOW + FRESH_FOR) is Verdict.MET
    assert OWNER.verdict(then, now=NOW + FRESH_FOR + timedelta(seconds=1)) is Verdict.UNKNOWN


def test_of_nobody_there_is_no_share():
    assert Tally(0, 0, 0).share is None


def test_a_control_is_as_its_worst_measure():
    control = CONTROLS["PR.AA-02"]
    fine = {measure.slug: Tally(10, 0, 0) for measure in control.measures}
    assert standing(control, fine).verdict is Verdict.MET
    unclear = {**fine, "reused-across-clients": Tally(5, 0, 5)}
    assert standing(control, unclear).verdict is Verdict.UNKNOWN
    assert standing(control, {**unclear, "consented-without-subject": Tally(0, 9, 0)}).verdict is Verdict.VIOLATED


def test_a_control_of_which_one_measure_was_never_counted_is_unknown():
    control = CONTROLS["PR.AA-02"]
    one, *_ = control.measures
    assert standing(control, {one.slug: Tally(10, 0, 0)}).verdict is Verdict.UNKNOWN


def test_a_control_that_nothing_measures_is_unknown_and_says_what_is_not_seen():
    control = CONTROLS["PR.AA-06"]
    assert standing(control, {}).verdict is Verdict.UNKNOWN
    assert control.gap


def test_a_control_whose_measures_have_nobody_to_ask_is_not_applicable():
    control = CONTROLS["PR.AA-02"]
    nobody = {measure.slug: Tally(0, 0, 0) for measure in control.measures}
    assert standing(control, nobody).verdict is Verdict.NOT_APPLICABLE


def test_every_rule_measures_a_control_that_it_names():
    measured = {measure.rule for control in CONTROLS.values() for measure in control.measures if measure.rule}
    assert measured == set(RULES)


def test_every_control_of_the_csf_that_a_rule_names_is_there():
    named = {each for rule in RULES.values() for each in rule.controls if "-" in each}
    assert named <= set(CONTROLS)


def test_every_measure_without_a_rule_has_rows():
    assert {measure.slug for measure in MEASURES.values() if not measure.rule} == set(ROWS)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=str)
def test_a_measure_says_of_whom_when_and_how_much(measure):
    assert measure.population.endswith(".")
    assert measure.violated.endswith(".")
    assert measure.unknown.endswith(".")
    assert 0.5 < measure.threshold <= 1


def test_nothing_critical_may_be_left():
    assert all(MEASURES[rule.slug].threshold == 1 for rule in RULES.values() if rule.severity is Severity.CRITICAL)


def test_no_withdrawn_subcategory_is_used():
    assert not WITHDRAWN & set(CONTROLS)


def test_credentials_of_csf_1_1_went_into_two_controls():
    assert crosswalk()["PR.AC-1"] == ("PR.AA-01", "PR.AA-05")
    assert crosswalk()["PR.AC-6"] == ("PR.AA-02",)


def test_what_owasp_calls_it_stands_in_the_order_of_its_lists():
    owasp = CONTROLS["PR.AA-01"].owasp
    assert set(owasp) <= set(TITLES)
    assert owasp.index("NHI2:2025") < owasp.index("NHI10:2025")
