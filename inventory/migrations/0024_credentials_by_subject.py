from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models.functions import Lower


class Migration(migrations.Migration):
    atomic = False  # so that nobody who writes waits for the index

    dependencies = [("inventory", "0023_ownership")]

    operations = [
        AddIndexConcurrently(
            model_name="credential",
            index=models.Index(
                Lower("subject"), condition=models.Q(("subject", ""), _negated=True), name="credential_by_subject"
            ),
        ),
    ]
