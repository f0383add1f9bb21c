from django.db import migrations


class Migration(migrations.Migration):
    """What each caller of the API has used of its budget, counted by every web process alike."""

    dependencies = [("web", "0001_kept_answers")]

    operations = [
        migrations.RunSQL(
            """
            CREATE UNLOGGED TABLE web_budget (
                caller varchar(200) PRIMARY KEY, began bigint NOT NULL, used integer NOT NULL
            ) WITH (fillfactor = 50);
            """,
            "DROP TABLE web_budget",
        )
    ]
