import django.contrib.postgres.functions
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """The digest of a token stays out of addresses and of the audit trail, so it is no key any more."""

    dependencies = [("access", "0003_saved_views")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    """
                    ALTER TABLE access_apitoken DROP CONSTRAINT access_apitoken_pkey;
                    ALTER TABLE access_apitoken ADD COLUMN id uuid DEFAULT gen_random_uuid() PRIMARY KEY;
                    ALTER TABLE access_apitoken ADD CONSTRAINT api_token_digest_is_unique UNIQUE (digest);
                    """,
                    """
                    ALTER TABLE access_apitoken DROP CONSTRAINT api_token_digest_is_unique;
                    ALTER TABLE access_apitoken DROP COLUMN id;
                    ALTER TABLE access_apitoken ADD PRIMARY KEY (digest);
                    """,
                )
            ],
            state_operations=[
                migrations.AlterField("apitoken", "digest", models.CharField(max_length=128, unique=True)),
                migrations.AddField(
                    "apitoken",
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
            ],
        ),
    ]
