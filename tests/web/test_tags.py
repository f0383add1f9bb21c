from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.template import Context, Template

from web import wording
from web.pictures import Life, Part, lives, segments, spark, tally
from web.templatetags.keyreeve import STATES

NOW = datetime(2026, 11, 23, 9, 14, 22, tzinfo=UTC)


def drawn(source: str, **context: object) -> str:
    return Template("{% load keyreeve %}" + source).render(Context({"now": NOW, **context}))


def ago(**length: float) -> datetime:
    return NOW - timedelta(**length)


@pytest.mark.parametrize(
    ("level", "word", "notches"), [(4, "Critical", 4), (3, "High", 3), (2, "Medium", 2), (1, "Low", 1)]
)
@pytest.mark.parametrize("form", ["", "badge", "tally"])
def test_a_severity_is_a_tally_and_a_word_in_every_form(level, word, notches, form):
    shown = drawn("{% severity level form %}", level=level, form=form)
    assert shown.count('class="on"') == notches
    assert word in shown


def test_only_critical_is_struck_through():
    assert "<path" in drawn("{% severity 4 %}")
    assert "<path" not in drawn("{% severity 3 %}")


def test_counts_of_severities_stand_worst_first_each_with_its_word():
    shown = drawn("{% severities counts %}", counts={1: 5, 4: 2, 2: 0})
    assert shown.index("critical") < shown.index("low")
    assert "medium" not in shown


def test_no_severities_are_a_word_for_those_who_do_not_see_the_gap():
    assert "none" in drawn("{% severities counts %}", counts={})


@pytest.mark.parametrize("status", [*STATES, "never_heard_of"])
def test_a_state_is_a_shape_and_a_word(status):
    shown = drawn("{% state status %}", status=status)
    assert "#i-" in shown
    assert status.replace("_", " ").capitalize() in shown


@pytest.mark.parametrize("verdict", ["met", "violated", "unknown", "not_applicable"])
def test_verdicts_differ_in_shape_and_word(verdict):
    others = {drawn("{% verdict v %}", v=other) for other in ["met", "violated", "unknown", "not_applicable"]}
    assert len(others) == 4
    assert verdict.replace("_", " ").capitalize() in drawn("{% verdict v %}", v=verdict)


def test_what_is_no_verdict_is_unknown():
    assert "Unknown" in drawn("{% verdict v %}", v="passed")


def test_a_person_a_team_and_nobody_have_their_own_shapes():
    person, team = SimpleNamespace(name="Mira Okafor", kind="person"), SimpleNamespace(name="Payments", kind="team")
    assert '"avatar" aria-hidden="true">MO<' in drawn("{% who o %}", o=person)
    assert '"avatar team" aria-hidden="true">P<' in drawn("{% who o %}", o=team)
    assert "No owner" in drawn("{% who o %}", o=None)


def test_an_owner_who_left_is_said_to_be_inactive():
    assert "inactive" in drawn("{% who o %}", o=SimpleNamespace(name="A B", kind="person", is_active=False))


@pytest.mark.parametrize(
    "source", ["{% who o %}", "{% hint o.name %}", "{% state o.name %}", "{% since None o.name %}"]
)
def test_what_others_wrote_is_escaped(source):
    assert "<script>" not in drawn(source, o=SimpleNamespace(name="<script>alert(1)</script>", kind="person"))


@pytest.mark.parametrize(
    ("at", "words"),
    [(ago(seconds=20), "now"), (ago(minutes=4), "4 min"), (ago(hours=3), "3 h"), (ago(days=71), "71 d"),
     (NOW + timedelta(hours=5), "in 5 h")],
)  # fmt: skip
def test_a_time_is_relative_with_its_instant_behind_it(at, words):
    shown = drawn("{% since at %}", at=at)
    assert f">{words}</time>" in shown
    assert f'title="{wording.instant(at)}"' in shown


def test_no_time_is_a_word():
    assert "never" in drawn("{% since None %}")
    assert "unknown" in drawn('{% since None "unknown" %}')


@pytest.mark.parametrize(
    ("at", "words", "tone"),
    [(ago(days=41), "41 d late", "t-crit"), (NOW + timedelta(hours=21), "in 21 h", "t-high"),
     (NOW + timedelta(days=12), "in 12 d", "")],
)  # fmt: skip
def test_a_deadline_says_how_far_it_is(at, words, tone):
    shown = drawn("{% due at %}", at=at)
    assert words in shown
    assert (f'class="{tone}"' in shown) is bool(tone)


def test_a_day_names_its_year_when_it_is_another():
    assert "23 Nov<" in drawn("{% day at %}", at=NOW)
    assert "4 May 2027<" in drawn("{% day at %}", at=datetime(2027, 5, 4, tzinfo=UTC))
    assert "23 Nov 09:14<" in drawn("{% moment at %}", at=NOW)


def test_an_age_past_its_limit_is_drawn_beyond_the_tick():
    shown = drawn("{% age at 60 %}", at=ago(days=131))
    assert "c-crit" in shown
    assert "of 60 days allowed" in shown
    assert "c-crit" not in drawn("{% age at 180 %}", at=ago(days=131))


def test_an_age_near_its_limit_is_orange():
    assert "c-high" in drawn("{% age at limit %}", at=ago(days=158), limit=timedelta(days=180))


def test_an_age_known_only_from_a_sighting_is_at_least_that():
    shown = drawn("{% age None 90 seen %}", seen=ago(days=12))
    assert "at least </span>12 d" in shown
    assert "c-none" in shown


def test_an_unknown_age_is_drawn_open():
    shown = drawn("{% age None 90 %}")
    assert "unknown" in shown
    assert "c-none" in shown


def test_numbers_are_grouped_and_worded():
    assert drawn("{{ 12345|thousands }}") == "12\u202f345"
    assert drawn('{{ 1|plural:"entry,entries" }}, {{ 2|plural:"entry,entries" }}') == "1 entry, 2 entries"


def test_a_picture_says_in_words_what_it_shows():
    assert 'aria-label="61 open"' in drawn('{% spark points "61 open" %}', points=[1, 5, 61])
    assert 'aria-label="2 of 4"' in drawn('{% parts_bar parts "2 of 4" %}', parts=[("ok", 2), ("none", 2)])


def test_a_sparkline_never_draws_over_a_day_that_nobody_recorded():
    lines = spark([1, 2, None, None, 5, None])
    assert [len(line) for line in lines] == [2, 1]
    assert spark([None, None]) == []
    assert drawn('{% spark points "none" %}', points=[1, None, 3]).count("M") == 4


def test_no_part_of_a_whole_shrinks_to_nothing():
    drawn_parts = segments([Part("ok", 100_000), Part("crit", 1)])
    assert all(segment.width > 2 for segment in drawn_parts)
    assert drawn_parts[-1].x + drawn_parts[-1].width == pytest.approx(400, abs=0.2)


def test_a_day_is_tallied_up_to_two_rows():
    assert len(list(tally({"rotation": 11, "review": 30}))) == 16


def test_a_heat_table_leaves_empty_cells_empty():
    rows = [
        {
            "severity": 4,
            "cells": [{"count": 3, "url": "/f", "is_late": True}, {"count": 0, "url": "", "is_late": False}],
        }
    ]
    shown = drawn('{% heat rows columns "Findings" %}', rows=rows, columns=["1 d", "7 d"])
    assert 'class="h3 late"' in shown
    assert "past due" in shown
    assert "<td></td>" in shown


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/home/mira/.config/Claude/claude_desktop_config.json", "…/.config/Claude/claude_desktop_config.json"),
        ("~/.cursor/mcp.json", "~/.cursor/mcp.json"),
        (".mcp.json", ".mcp.json"),
        ("C:\\Users\\mira\\AppData\\Code\\mcp.json", "…\\AppData\\Code\\mcp.json"),
    ],
)
def test_a_long_path_keeps_its_end(path, shown):
    assert drawn("{{ path|short_path }}", path=path) == shown


def test_a_name_breaks_after_its_dots_and_underscores():
    assert drawn("{{ name|breakable }}", name="a.b_<c>") == "a.<wbr>b_<wbr>&lt;c&gt;<wbr>"


def life(start: datetime, *, is_current: bool = True, is_start_known: bool = True, end: datetime | None = None) -> Life:
    return Life("Current" if is_current else "Earlier", "ghp_…9f2c", start, end, is_start_known, is_current)


def test_a_version_past_its_limit_is_drawn_beyond_it():
    picture = lives([life(ago(days=131))], timedelta(days=60), NOW)
    assert picture is not None
    (bar,) = picture.bars
    assert bar.days_over == 71
    assert bar.limit_x is not None
    assert bar.beyond is not None
    assert bar.x < bar.limit_x < picture.now_x
    assert bar.beyond[0] + bar.beyond[1] == pytest.approx(picture.now_x, abs=0.2)


def test_a_version_within_its_limit_has_nothing_beyond():
    picture = lives([life(ago(days=50))], timedelta(days=60), NOW)
    assert picture is not None
    assert picture.bars[0].beyond is None
    assert picture.bars[0].limit_x > picture.now_x


def test_a_limit_far_off_is_only_said():
    shown = drawn("{% version_lives lives limit now %}", lives=[life(ago(days=10))], limit=timedelta(days=180))
    assert "s-limit" not in shown
    assert "180 d limit" in shown


def test_only_the_current_version_has_a_limit():
    earlier = life(ago(days=200), is_current=False, end=ago(days=90))
    picture = lives([life(ago(days=100)), earlier], timedelta(days=60), NOW)
    assert picture is not None
    assert picture.bars[1].limit_x is None
    assert picture.bars[1].days_over == 0


def test_a_version_of_unknown_age_is_drawn_open():
    shown = drawn("{% version_lives lives None now %}", lives=[life(ago(days=9), is_start_known=False)])
    assert "c-none" in shown
    assert "seen since" in shown


def test_versions_that_no_policy_limits_are_drawn_without_a_limit():
    """A template gives nothing as an empty text, as on the page of a credential that nothing was asked of yet."""
    shown = drawn("{% version_lives lives obligation.policy.max_age now %}", lives=[life(ago(days=9))], obligation=None)
    assert "1 version" in shown
    assert "limit" not in shown


def test_versions_without_a_history_are_not_drawn():
    assert lives([life(ago(hours=3))], None, NOW) is None
    assert lives([], None, NOW) is None


@pytest.mark.parametrize("days", [3, 40, 400, 4_000])
def test_versions_have_few_months_on_their_axis(days):
    picture = lives([life(ago(days=days))], None, NOW)
    assert picture is not None
    assert len(picture.ticks) <= 14
    assert all(170 <= x <= 990 for x, _ in picture.ticks)
