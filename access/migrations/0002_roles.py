"""Roles are groups of the same name."""

from django.db import migrations

ROLES = ["administrator", "operator", "reviewer", "owner", "auditor", "automation"]


def add(apps, schema_editor):
    groups = apps.get_model("auth", "Group").objects
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
