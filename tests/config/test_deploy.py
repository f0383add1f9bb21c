"""The files of a deployment name commands, queues and settings that there are, and they serve every queue."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from config.celery import BEATS
from config.management.commands.up import parts

DEPLOY = settings.BASE_DIR / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
OUTSIDE = {"KEYREEVE_AT_ONCE"}  # of the unit itself


def queues() -> set[str]:
    """Every queue that one machine serves, and every one that a task is routed to."""
    commands = [part.command for part in parts(8000) if "-Q" in part.command]
    served = {queue for command in commands for queue in command[command.index("-Q") + 1].split(",")}
    assert {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()} <= served
    return served


def known_settings() -> set[str]:
    said = "".join((settings.BASE_DIR / "config" / f"{name}.py").read_text() for name in ("settings", "env"))
    return set(re.findall(r'"((?:KEYREEVE_|DATABASE_)[A-Z_]+)"', said))


def test_the_compose_file_serves_every_queue_with_parts_that_there_are() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    commands = {name: part.get("command", []) for name, part in compose["services"].items()}
    served = {
        queue
        for command in commands.values()
        if "-Q" in command
        for queue in command[command.index("-Q") + 1].split(",")
    }
    assert served == queues()
    managed = [command[2] for command in commands.values() if "manage.py" in command]
    assert managed
    assert set(managed) <= set(get_commands())
    for part in compose["services"].values():
        assert set(part.get("secrets", [])) <= set(compose["secrets"])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_something_of_ours(unit: Path) -> None:
    parsed = ConfigParser(interpolation=None, strict=False)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit.read_text())
    start = parsed["Service"]["ExecStart"]
    assert re.search(r"granian .* config\.wsgi:application$|celery -q -A config (worker|beat) ", start)
    assert parsed["Service"]["EnvironmentFile"]
    said = unit.read_text() if "worker@" in unit.name else ""
    assert not said or set(re.findall(r"\w+", said.splitlines()[0].partition(":")[2])) == queues()


def test_every_setting_that_is_named_is_read() -> None:
    known = known_settings()
    for path in (DEPLOY / "compose.yaml", DEPLOY / "Containerfile", DEPLOY / "systemd" / "keyreeve.env.example"):
        named = set(re.findall(r"\b((?:KEYREEVE_|DATABASE_)[A-Z_]+?)(?:_FILE)?[:=]", path.read_text()))
        assert named, path
        assert named - OUTSIDE <= known, path


def test_the_manual_of_a_deployment_names_files_and_commands_that_there_are() -> None:
    manual = (settings.BASE_DIR / "docs" / "deployment.md").read_text()
    for name in re.findall(r"`(deploy/[\w./@-]+)`", manual):
        assert (settings.BASE_DIR / name).exists(), name
    assert set(re.findall(r"manage\.py (\w+)", manual)) <= set(get_commands())
    assert all(task for _, task, _ in BEATS)
