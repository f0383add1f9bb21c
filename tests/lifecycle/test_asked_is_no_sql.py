"""No value of a policy becomes part of a statement: what is asked shapes it by presence alone, and values are bound."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection as database
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.states import Severity
from lifecycle.actions.judging import _violations, judged
from lifecycle.rules import RULES, Subject
from lifecycle.rules.asked import Asked, AskedPolicy
from lifecycle.rules.facts import facts
from tests import factories
from tests.examples import examples
from tests.factories import NOW

NASTY = ("'", "'; DROP TABLE lifecycle_finding; --", "\\", "\\'", "%", "%(now)s", "%s", "{use}", "}}", "{0}", "$$",
         '"', "NULL", "ARRAY[]", "*", "é\u202e", "\U0001f511", "a,b", "{a,b}", "\n")  # fmt: skip
TEXTS = st.sampled_from(NASTY) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
OF_TEXTS = ("kinds", "trust_models", "providers", "tags", "server_roles", "allowed_scopes", "logging")
ID = UUID(int=7)
LENGTHS = st.none() | st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=3_650))


@st.composite
def hostile(draw: Any) -> AskedPolicy:
    """A policy as nobody could save it: every check of the actions left out."""
    lists = {name: tuple(draw(st.lists(TEXTS, max_size=3))) for name in OF_TEXTS}
    limits = {name: draw(LENGTHS) for name in ("max_age", "max_idle", "max_lifetime", "overlap", "review_interval")}
    words = st.sampled_from(["off", "low", "critical"]) | TEXTS
    overrides = draw(st.dictionaries(st.sampled_from(sorted(RULES)) | TEXTS, words, max_size=3))
    return AskedPolicy(id=ID, name=draw(TEXTS), overrides=tuple(sorted(overrides.items())), **lists, **limits)


def harmless(policy: AskedPolicy) -> AskedPolicy:
    """The same with every text in place of which it says nothing."""
    lists = {name: ("x",) if getattr(policy, name) else () for name in OF_TEXTS}
    said = {rule: policy.override(rule) for rule, _ in policy.overrides if rule in RULES}
    overrides = tuple(sorted((rule, word) for rule, word in said.items() if word))
    return replace(policy, name="x", overrides=overrides, **lists, **{
        each.name: None for each in fields(policy) if isinstance(getattr(policy, each.name), timedelta)
    })  # fmt: skip


def statements(policy: AskedPolicy, severity: Severity | None) -> list[str]:
    asked = Asked.of([policy]).with_setting("unrotated", severity=severity)
    gathered = [facts(subject, asked, within_scope=True) for subject in Subject]
    return [*gathered, *(_violations(rule, asked, is_graded=True) for rule in RULES.values())]


@settings(max_examples=examples(20), deadline=None)
@given(policy=hostile(), severity=st.none() | st.sampled_from([each for each in Severity if each]))
def test_a_statement_is_the_same_whatever_the_texts_of_a_policy_are(policy, severity):
    assert statements(policy, severity) == statements(harmless(policy), severity)


@pytest.mark.django_db
def test_hostile_texts_are_compared_and_nothing_more():
    made = factories.credential(issuer="'; DROP TABLE lifecycle_finding; --", scopes=["%(now)s"])
    policy = AskedPolicy(id=ID, name="'", providers=NASTY, allowed_scopes=NASTY)
    other = AskedPolicy(id=UUID(int=8), name="%s", **{name: NASTY for name in OF_TEXTS if name != "logging"})
    asked = Asked.of([other, policy])
    with database.cursor() as cursor, judged(cursor, Subject.CREDENTIAL, asked, NOW, ids=[made.pk]) as found:
        assert found.execute("SELECT policy_id, disallowed_scopes FROM subject_facts") == [(ID, None)]
