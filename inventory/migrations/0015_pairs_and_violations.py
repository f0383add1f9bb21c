"""Different clients of a server, and servers that violate something, without reading all of their uses and checks."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inventory", "0014_differences_in_sentences")]

    operations = [
        migrations.AddIndex(
            model_name="use",
            index=models.Index(fields=["server", "client", "gone_at"], name="use_by_server_and_client"),
        ),
        migrations.RemoveIndex(model_name="use", name="use_present_by_server"),
        migrations.AlterField(
            model_name="use",
            name="server",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="inventory.mcpserver",
            ),
        ),
        migrations.AddIndex(
            model_name="posturecheck",
            index=models.Index(
                fields=["server"],
                condition=models.Q(verdict="violated", server__isnull=False),
                name="posture_violated_by_server",
            ),
        ),
    ]
