"""The environments that nearly every estate has."""

from django.db import migrations

NAMES = [("prod", 3), ("staging", 2), ("dev", 1), ("personal", 0)]


def add(apps, schema_editor):
    environments = apps.get_model("inventory", "Environment").objects
    for name, criticality in NAMES:
        environments.get_or_create(name=name, defaults={"criticality": criticality})


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
