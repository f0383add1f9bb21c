"""The shipped policies part static service credentials from user-consented tokens; every policy has its first version.

A shipped policy is changed only where nobody has changed it, and a counterpart for consented tokens is added only where
the policy that bound them until now is as it was shipped. Otherwise the newcomer would take away what somebody chose.
"""

from datetime import timedelta

from django.db import migrations
from django.utils import timezone

from lifecycle.rules import asking

SHIPPER = "Keyreeve"
DAY = timedelta(days=1)
SELECTORS = ("kinds", "trust_models", "environments", "providers", "owners", "tags", "server_roles")
LIMITS = ("max_age", "max_idle", "max_lifetime", "overlap", "review_interval")
LISTS = ("allowed_scopes", "logging")
FLAGS = ("requires_owner", "requires_expiry", "requires_reference")
ASKED = ("name", "description", "priority", *SELECTORS, *LIMITS, *FLAGS, *LISTS, "automation", "overrides")

# Of the first set, by name: priority, kinds, and what each asked. Everything else was empty.
FIRST = {
    "Access tokens": (1_010, ["oauth_access_token"], {"max_lifetime": DAY, "requires_expiry": True}),
    "Refresh tokens": (1_020, ["oauth_refresh_token"], {"max_age": 30 * DAY, "max_idle": 30 * DAY}),
    "Registration tokens": (1_030, ["registration_token"], {"max_age": 90 * DAY, "max_idle": 60 * DAY}),
    "AWS access keys": (1_040, ["aws_access_key"], {"max_age": 90 * DAY, "max_idle": 60 * DAY}),
    "Personal access tokens": (
        1_050,
        ["personal_access_token"],
        {"max_age": 60 * DAY, "max_idle": 60 * DAY, "requires_expiry": True},
    ),
    "Database passwords": (1_060, ["database_password"], {"max_age": 90 * DAY, "max_idle": 60 * DAY}),
    "Client secrets": (1_070, ["oauth_client_secret"], {"max_age": 180 * DAY, "max_idle": 60 * DAY}),
    "API keys": (1_080, ["api_key"], {"max_age": 180 * DAY, "max_idle": 60 * DAY}),
    "Everything else": (10_000, [], {"max_age": 180 * DAY, "max_idle": 60 * DAY}),
}

# What a server says of a secret that is presented as it is, and of a token that a person's consent renews.
STATIC = ["issuance", "validation", "revocation"]
CONSENTED = ["issuance", "validation", "refresh", "revocation"]
# A token of a person carries what that person was asked for; what no person's rights limit is narrow by itself.
AS_GRANTED = {"scope-not-granted": "high"}
NARROW = {"scope-too-broad": "high"}

# By name: what changes of the first set. The description says where each number comes from.
SECOND = {
    "Access tokens": {
        "logging": STATIC,
        "overrides": NARROW,
        "description": (
            "A bearer token that leaks is useful until it expires (RFC 9700, section 2.2), which names no number: 24 "
            "hours are our default. No person's rights limit what a service may do, so a broad scope counts more "
            "(OWASP NHI5:2025). What is to be logged is our default."
        ),
    },
    "Refresh tokens": {
        "logging": STATIC,
        "description": (
            "RFC 9700, section 4.14, wants refresh tokens replaced when used and ended when idle, and names no number: "
            "30 days are our default, and so is what is to be logged."
        ),
    },
    "Registration tokens": {
        "logging": STATIC,
        "review_interval": 180 * DAY,
        "description": (
            "Whoever holds one can change its client (RFC 7592), so it is held to the limits of a key. The limits, the "
            "review and what is to be logged are our default."
        ),
    },
    "AWS access keys": {
        "logging": STATIC,
        "overlap": 7 * DAY,
        "review_interval": 90 * DAY,
        "description": (
            "CIS AWS Foundations Benchmark: rotate access keys every 90 days or less. It disables what is unused for 45 "
            "days; 60 are our default for every key. NIST SP 800-53 IA-5 wants authenticators managed, AC-2 accounts "
            "and AC-6(7) privileges reviewed, without numbers: the review, the overlap and what is to be logged are "
            "our default."
        ),
    },
    "Personal access tokens": {
        "logging": STATIC,
        "overrides": NARROW,
        "review_interval": 90 * DAY,
        "description": (
            "They act with a person's rights without that person (OWASP NHI10:2025), so the limits, our default like "
            "the review and what is to be logged, are shorter than those of a key."
        ),
    },
    "Database passwords": {
        "logging": STATIC,
        "overlap": DAY,
        "review_interval": 180 * DAY,
        "description": (
            "OWASP NHI7:2025 warns of long-lived secrets and names no number, nor does NIST SP 800-53 IA-5. The limits, "
            "the overlap, the review and what is to be logged are our default."
        ),
    },
    "Client secrets": {
        "logging": STATIC,
        "overlap": 7 * DAY,
        "review_interval": 180 * DAY,
        "description": (
            "OWASP NHI7:2025 warns of long-lived secrets and names no number. A client secret is exchanged for tokens "
            "that live for hours, so it may be older than a key. All numbers and what is to be logged are our default."
        ),
    },
    "API keys": {
        "max_age": 90 * DAY,
        "logging": STATIC,
        "overlap": 7 * DAY,
        "overrides": NARROW,
        "review_interval": 180 * DAY,
        "description": (
            "OWASP NHI7:2025 warns of long-lived secrets and names no number. A key is presented as it is, like an "
            "access key of AWS, for which CIS says 90 days; that, the idle limit, the overlap, the review and what is "
            "to be logged are our default."
        ),
    },
    "Everything else": {
        "logging": STATIC,
        "review_interval": 180 * DAY,
        "description": "Binds what no other policy does. The limits, the review and what is to be logged are our default.",
    },
}

# What is new: name, priority, which policies of the first set are to be as they were, and what it asks.
ADDED = (
    (
        "User-consented access tokens",
        1_005,
        ("Access tokens",),
        {
            "kinds": ["oauth_access_token"],
            "trust_models": ["user_consented"],
            "max_lifetime": DAY,
            "requires_expiry": True,
            "logging": CONSENTED,
            "overrides": AS_GRANTED,
            "description": (
                "A bearer token that leaks is useful until it expires (RFC 9700, section 2.2); 24 hours are our default. "
                "A person consented to certain scopes, so any other one counts more (OWASP MCP02:2025), and each "
                "refresh in that person's name is to be logged. Both are our default."
            ),
        },
    ),
    (
        "User-consented refresh tokens",
        1_015,
        ("Refresh tokens",),
        {
            "kinds": ["oauth_refresh_token"],
            "trust_models": ["user_consented"],
            "max_age": 30 * DAY,
            "max_idle": 30 * DAY,
            "review_interval": 180 * DAY,
            "logging": CONSENTED,
            "overrides": AS_GRANTED,
            "description": (
                "RFC 9700, section 4.14, wants refresh tokens replaced when used and ended when idle, and names no "
                "number: 30 days are our default. It carries a person's consent, which is to be confirmed twice a year "
                "(NIST SP 800-53 AC-6(7), without a number). What is to be logged is our default."
            ),
        },
    ),
    (
        "User-consented credentials",
        1_025,
        tuple(FIRST),
        {
            "trust_models": ["user_consented"],
            "max_age": 60 * DAY,
            "max_idle": 60 * DAY,
            "requires_expiry": True,
            "review_interval": 90 * DAY,
            "logging": CONSENTED,
            "overrides": AS_GRANTED,
            "description": (
                "Whatever else a person consented to acts in that person's name (OWASP NHI10:2025), so it is held to "
                "the limits of a personal access token. They, the review and what is to be logged are our default."
            ),
        },
    ),
)


def empty():
    return {
        **dict.fromkeys(LIMITS),
        **dict.fromkeys(FLAGS, False),
        **{name: [] for name in (*SELECTORS, *LISTS)},
        "automation": "off",
        "overrides": {},
    }


def is_as_first_shipped(policy):
    if policy is None or not policy.is_shipped or policy.version != 1 or policy.retired_at is not None:
        return False
    priority, kinds, asked = FIRST[policy.name]
    shipped = {**empty(), "kinds": kinds, "priority": priority, **asked}
    return all(getattr(policy, name) == value for name, value in shipped.items())


def keep(versions, policy, names, now, reason):
    def plain(value):
        if isinstance(value, timedelta):
            return value.total_seconds()
        return [str(each) for each in value] if isinstance(value, list) else value

    versions.create(
        policy=policy,
        number=policy.version,
        asked={name: plain(getattr(policy, name)) for name in ASKED},
        sentence=asking.sentence(policy, names),
        reason=reason,
        changed_by=SHIPPER,
        changed_at=now,
        is_retirement=policy.retired_at is not None,
    )


def change(apps, schema_editor):
    policies = apps.get_model("lifecycle", "Policy").objects
    versions = apps.get_model("lifecycle", "PolicyVersion").objects
    names = {
        key: name
        for model in ("Environment", "Owner")
        for key, name in apps.get_model("inventory", model).objects.values_list("pk", "name")
    }
    now = timezone.now()
    held = {policy.name: policy for policy in policies.filter(name__in=FIRST, retired_at=None)}
    unchanged = {name for name in FIRST if is_as_first_shipped(held.get(name))}
    recorded = set(versions.values_list("policy", flat=True))
    for policy in policies.exclude(pk__in=recorded).order_by("id"):
        keep(versions, policy, names, now, "As it stood when versions began to be kept.")
    for name, values in SECOND.items():
        if name in unchanged:
            policy = held[name]
            for field, value in values.items():
                setattr(policy, field, value)
            policy.version = 2
            policy.save(update_fields=[*values, "version"])
            keep(versions, policy, names, now, "Static service credentials and user-consented tokens are asked apart.")
    for name, priority, bases, values in ADDED:
        if set(bases) <= unchanged and not policies.filter(name=name, retired_at=None).exists():
            policy = policies.create(name=name, priority=priority, is_shipped=True, **values)
            policy.refresh_from_db()
            keep(versions, policy, names, now, "Static service credentials and user-consented tokens are asked apart.")


class Migration(migrations.Migration):
    # Back: what was kept stays, and so does what is asked; an older release reads both.
    dependencies = [("lifecycle", "0011_run_ledger")]
    operations = [migrations.RunPython(change, migrations.RunPython.noop)]
