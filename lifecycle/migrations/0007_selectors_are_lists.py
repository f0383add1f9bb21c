"""A policy that fitted one trust model and one environment fits a list of each."""

from django.db import migrations


def fill(apps, schema_editor):
    policies = apps.get_model("lifecycle", "Policy").objects
    for policy in policies.exclude(trust_model="", environment=None):
        policy.trust_models = [policy.trust_model] if policy.trust_model else []
        policy.environments = [policy.environment_id] if policy.environment_id else []
        policy.save(update_fields=["trust_models", "environments"])


def back(apps, schema_editor):
    """A list of several has no place in one field; its first is kept, so the policy binds no more than before."""
    policies = apps.get_model("lifecycle", "Policy").objects
    for policy in policies.all():
        policy.trust_model = next(iter(policy.trust_models), "")
        policy.environment_id = next(iter(policy.environments), None)
        policy.save(update_fields=["trust_model", "environment"])


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0006_policies_with_versions")]
    operations = [migrations.RunPython(fill, back)]
