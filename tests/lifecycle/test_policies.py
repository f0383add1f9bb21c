"""Policies say in words what they ask, and the shipped ones bind everything."""

from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, transaction

from inventory.states import CredentialKind
from lifecycle.models import Obligation, Policy, PolicyVersion
from lifecycle.models.policies import asked_of
from lifecycle.rules import asking
from lifecycle.rules.wording import length
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_shipped_policy_binds_every_kind_of_credential(full, kind):
    mine = factories.credential(kind=kind)
    full()
    assert Obligation.objects.get(pk=mine.pk).policy.is_shipped


def test_every_shipped_policy_says_where_its_limits_come_from():
    assert all(policy.description.endswith(".") for policy in Policy.objects.filter(is_shipped=True))


# ── In words ───────────────────────────────────────────────────────────────────────────────────
PROD, STAGING, TEAM = uuid4(), uuid4(), uuid4()
NAMES = {PROD: "prod", STAGING: "staging", TEAM: "Payments"}


@pytest.mark.parametrize(
    ("values", "binds"),
    [
        ({}, "Every credential"),
        ({"kinds": ["aws_access_key"], "environments": [PROD]}, "AWS access keys in prod"),
        ({"kinds": ["api_key", "database_password", "other"]}, "API keys, database passwords or other credentials"),
        ({"trust_models": ["static_service"]}, "Static service credentials"),
        (
            {"kinds": ["oauth_access_token"], "trust_models": ["user_consented"]},
            "User-consented access tokens",
        ),
        (
            {"kinds": ["api_key"], "trust_models": ["static_service", "unknown"]},
            "API keys of trust model static service or unknown",
        ),
        ({"environments": [PROD, STAGING], "tags": ["pci"]}, "Credentials in prod or staging, tagged pci"),
        ({"providers": ["github"], "owners": [TEAM]}, "Credentials issued by github, owned by Payments"),
        ({"owners": [uuid4()]}, "Credentials owned by one that is gone"),
        (
            {"server_roles": ["delegated_layer", "unclassified"]},
            "Credentials used on delegated authorization layers or unclassified servers",
        ),
        ({"tags": [*"abcdefgh"]}, "Credentials tagged a, b, c, d, e or 3 others"),
    ],
)
def test_a_policy_says_whom_it_binds(values, binds):
    assert asking.binds(Policy(name="one", **values), NAMES) == binds


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ({}, "nothing is asked"),
        ({"max_age": timedelta(days=90)}, "rotate within 90 days"),
        (
            {"max_age": timedelta(days=90), "max_idle": timedelta(days=60), "automation": "propose"},
            "rotate within 90 days, retire after 60 days without use; Keyreeve proposes the rotation",
        ),
        (
            {"max_age": timedelta(days=90), "automation": "automatic"},
            "rotate within 90 days; Keyreeve rotates by itself",
        ),
        ({"max_lifetime": timedelta(hours=24), "requires_expiry": True}, "live at most 24 hours, have an expiry"),
        ({"max_lifetime": timedelta(days=2, hours=12)}, "live at most 60 hours"),
        (
            {"overlap": timedelta(hours=24), "requires_owner": True, "requires_reference": True},
            "keep the old version working for 24 hours after a rotation, have an owner, be kept by reference only",
        ),
        ({"review_interval": timedelta(days=90)}, "be reviewed every 90 days"),
        ({"allowed_scopes": ["read", "repo:*"]}, "carry no scope but read and repo:*"),
        (
            {"logging": ["issuance", "validation", "revocation"]},
            "their servers log issuance, validation and revocation",
        ),
        (
            {"requires_owner": True, "overrides": {"unrotated": "high", "stale": "off"}},
            "have an owner; for them “Stale” is off and “Unrotated” counts as high",
        ),
    ],
)
def test_a_policy_says_what_it_asks(values, asks):
    assert asking.asks(Policy(name="one", **values)) == asks


def test_a_policy_is_one_sentence():
    policy = Policy(
        name="one",
        kinds=["aws_access_key"],
        environments=[factories.environment("prod").pk],
        max_age=timedelta(days=90),
        max_idle=timedelta(days=60),
        automation="propose",
    )
    assert policy.sentence == (
        "AWS access keys in prod: rotate within 90 days, retire after 60 days without use; Keyreeve proposes the "
        "rotation."
    )


def test_words_of_many_policies_take_two_queries_for_names(django_assert_num_queries):
    owner = factories.owner()
    for name in ("one", "two", "three"):
        Policy.objects.create(name=name, environments=[factories.environment("prod").pk], owners=[owner.pk])
    with django_assert_num_queries(3):
        assert all(policy.binds for policy in Policy.objects.in_order().with_names())


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (timedelta(days=1), "24 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(hours=1), "60 minutes"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(0), "0 minutes"),
        (None, "0 minutes"),
        (timedelta(days=1_200), "1\u202f200 days"),
    ],
)
def test_a_length_is_said_in_its_largest_unit(time, words):
    assert length(time) == words


def test_the_database_refuses_a_limit_of_no_time():
    with pytest.raises(IntegrityError, match="policy_max_age_is_positive"), transaction.atomic():
        Policy.objects.create(name="one", max_age=timedelta(0))


def test_the_database_refuses_a_kind_nobody_knows():
    with pytest.raises(IntegrityError, match="policy_kinds_are_known"), transaction.atomic():
        Policy.objects.create(name="one", kinds=["house_key"])


# ── The shipped set ────────────────────────────────────────────────────────────────────────────
shipped = import_module("lifecycle.migrations.0012_shipped_policies_by_trust")


def first_set() -> None:
    """As an older release left it."""
    PolicyVersion.objects.all().delete()
    Policy.objects.all().delete()
    for name, (priority, kinds, asked) in shipped.FIRST.items():
        Policy.objects.create(name=name, priority=priority, kinds=kinds, is_shipped=True, **asked)


def test_consented_tokens_are_asked_otherwise_than_service_credentials(full):
    consented = factories.credential(kind=CredentialKind.OAUTH_ACCESS_TOKEN, trust_model="user_consented")
    service = factories.credential(kind=CredentialKind.OAUTH_ACCESS_TOKEN, trust_model="static_service")
    full()
    bound = {each.pk: each.policy for each in Obligation.objects.select_related("policy")}
    assert set(bound[consented.pk].logging) - set(bound[service.pk].logging) == {"refresh"}
    assert bound[consented.pk].overrides != bound[service.pk].overrides


def test_every_policy_has_the_version_it_stands_at():
    newest = PolicyVersion.objects.order_by("policy_id", "-number").distinct("policy_id")
    assert {each.policy_id: each.number for each in newest} == dict(Policy.objects.values_list("pk", "version"))
    assert PolicyVersion.objects.get(policy__name="API keys", number=1).asked["max_age"] == 180 * 86_400
    assert all(each.asked == asked_of(each.policy) and each.sentence == each.policy.sentence for each in newest)


def test_a_shipped_policy_that_somebody_changed_stays_and_gets_no_counterpart_before_it():
    first_set()
    Policy.objects.filter(name="Access tokens").update(max_lifetime=timedelta(hours=1))
    shipped.change(apps, None)
    assert Policy.objects.get(name="Access tokens").max_lifetime == timedelta(hours=1)
    assert PolicyVersion.objects.filter(policy__name="Access tokens").count() == 1
    assert Policy.objects.get(name="API keys").max_age == timedelta(days=90)
    added = Policy.objects.filter(name__startswith="User-consented").values_list("name", flat=True)
    assert list(added) == ["User-consented refresh tokens"]


def test_a_policy_of_ones_own_gets_its_first_version_and_stays_as_it_is():
    first_set()
    mine = Policy.objects.create(name="Mine", environments=[factories.environment("prod").pk], max_age=timedelta(7))
    shipped.change(apps, None)
    version = PolicyVersion.objects.get(policy=mine)
    assert (version.number, version.sentence) == (1, "Credentials in prod: rotate within 7 days.")
