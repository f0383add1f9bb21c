"""The policies an estate starts with. A catch-all comes last, so that every credential is bound by one."""

from datetime import timedelta

from django.db import migrations

SHIPPED = [
    # name, kinds, limits in days (age, idle) or hours (lifetime), expiry, description
    (
        "Access tokens",
        ["oauth_access_token"],
        {"max_lifetime": timedelta(hours=24), "requires_expiry": True},
        "A bearer token that leaks is useful until it expires (RFC 9700, section 2.2). The limit is our default.",
    ),
    (
        "Refresh tokens",
        ["oauth_refresh_token"],
        {"max_age": timedelta(days=30), "max_idle": timedelta(days=30)},
        "RFC 9700, section 4.14, wants refresh tokens replaced when used and ended when idle. The limits are our default.",
    ),
    (
        "Registration tokens",
        ["registration_token"],
        {"max_age": timedelta(days=90), "max_idle": timedelta(days=60)},
        "Whoever holds one can change its client (RFC 7592). The limits are our default.",
    ),
    (
        "AWS access keys",
        ["aws_access_key"],
        {"max_age": timedelta(days=90), "max_idle": timedelta(days=60)},
        "CIS AWS Foundations Benchmark: rotate access keys every 90 days or less. The idle limit is our default.",
    ),
    (
        "Personal access tokens",
        ["personal_access_token"],
        {"max_age": timedelta(days=60), "max_idle": timedelta(days=60), "requires_expiry": True},
        "They act with a person's rights (OWASP NHI10:2025), so the limits, our default, are shorter.",
    ),
    (
        "Database passwords",
        ["database_password"],
        {"max_age": timedelta(days=90), "max_idle": timedelta(days=60)},
        "OWASP NHI7:2025 warns of long-lived secrets and names no number. The limits are our default.",
    ),
    (
        "Client secrets",
        ["oauth_client_secret"],
        {"max_age": timedelta(days=180), "max_idle": timedelta(days=60)},
        "OWASP NHI7:2025 warns of long-lived secrets and names no number. The limits are our default.",
    ),
    (
        "API keys",
        ["api_key"],
        {"max_age": timedelta(days=180), "max_idle": timedelta(days=60)},
        "OWASP NHI7:2025 warns of long-lived secrets and names no number. The limits are our default.",
    ),
    (
        "Everything else",
        [],
        {"max_age": timedelta(days=180), "max_idle": timedelta(days=60)},
        "Binds what no other policy does. The limits are our default.",
    ),
]


def add(apps, schema_editor):
    policies = apps.get_model("lifecycle", "Policy").objects
    for place, (name, kinds, limits, description) in enumerate(SHIPPED, start=1):
        policies.get_or_create(
            name=name,
            defaults={
                "kinds": kinds,
                "description": description,
                # Room for policies of one's own between the shipped ones; the catch-all stays last.
                "priority": 10_000 if not kinds else 1_000 + 10 * place,
                "is_shipped": True,
                **limits,
            },
        )


class Migration(migrations.Migration):
    dependencies = [("lifecycle", "0001_initial")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
