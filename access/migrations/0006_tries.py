from django.db import migrations


class Migration(migrations.Migration):
    """Where tries to sign in are counted, for every process alike. What stands there is over within the hour."""

    dependencies = [("access", "0005_tokens_revoked")]

    operations = [
        migrations.RunSQL(
            """
            CREATE UNLOGGED TABLE access_tries (
                cache_key varchar(255) PRIMARY KEY, value text NOT NULL, expires timestamptz NOT NULL
            );
            CREATE INDEX access_tries_expires ON access_tries (expires);
            """,
            "DROP TABLE access_tries",
        )
    ]
