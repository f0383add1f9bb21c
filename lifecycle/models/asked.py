"""What is asked, read from the database."""

from typing import Any
from uuid import UUID

from django.conf import settings

from inventory.states import Severity
from lifecycle.models.policies import Policy, RuleSetting
from lifecycle.rules.asked import UNSAVED, Asked, AskedPolicy, AskedRule


def asked_now() -> Asked:
    """What is asked of the estate as the rows stand."""
    return Asked.of(
        map(as_asked, Policy.objects.in_order()),
        (
            AskedRule(
                rule=setting.rule,
                is_on=setting.is_on,
                severity=None if setting.severity is None else Severity(setting.severity),
            )
            for setting in RuleSetting.objects.current()
        ),
        settings.OWN_DOMAINS,
    )


def tags_selected(**_arguments: Any) -> set[str]:
    """The tags by which some policy in force selects."""
    return {tag for tags in Policy.objects.in_force().values_list("tags", flat=True) for tag in tags}


def as_asked(policy: Policy) -> AskedPolicy:
    """The policy as an evaluation tries it. One that is not saved yet has the id UNSAVED."""
    return AskedPolicy(
        id=policy.pk if isinstance(policy.pk, UUID) else UNSAVED,
        name=policy.name,
        priority=policy.priority,
        kinds=tuple(policy.kinds),
        trust_models=tuple(policy.trust_models),
        environments=tuple(policy.environments),
        providers=tuple(policy.providers),
        owners=tuple(policy.owners),
        tags=tuple(policy.tags),
        server_roles=tuple(policy.server_roles),
        max_age=policy.max_age,
        max_idle=policy.max_idle,
        max_lifetime=policy.max_lifetime,
        overlap=policy.overlap,
        review_interval=policy.review_interval,
        requires_owner=policy.requires_owner,
        requires_expiry=policy.requires_expiry,
        requires_reference=policy.requires_reference,
        allowed_scopes=tuple(policy.allowed_scopes),
        logging=tuple(policy.logging),
        overrides=tuple(sorted((str(rule), str(said)) for rule, said in policy.overrides.items())),
    )
