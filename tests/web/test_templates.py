"""What every template must keep to: icons that exist, and nothing inline that the content security policy forbids."""

import re
from pathlib import Path

import pytest
from django.conf import settings

TEMPLATES = sorted(path for folder in settings.TEMPLATES[0]["DIRS"] for path in Path(folder).rglob("*.html"))
SPRITE = (Path(settings.BASE_DIR) / "static" / "icons.svg").read_text()
DRAWN = set(re.findall(r'<symbol id="i-([\w-]+)"', SPRITE))
named = pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: "/".join(path.parts[-2:]))


@named
def test_every_icon_is_in_the_sprite(path):
    assert set(re.findall(r'{% icon "([\w-]+)"', path.read_text())) <= DRAWN


@named
def test_nothing_is_inline(path):
    text = path.read_text()
    if path.parent.name != "mail":  # a mail has no stylesheet: style attributes are what every reader of mail shows
        assert not re.search(r"<[^>]*\sstyle=", text)
    if path.name != "pack_summary.html":  # a file that an auditor opens, which no page serves
        assert not re.search(r"<style\b", text)
    assert not re.search(r'<script(?![^>]*(?:\bsrc=|type="application/json"))', text)  # data is not run
    assert not re.search(r"<[a-z][^>]*\son\w+=", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)


def test_every_state_and_verdict_has_its_drawing():
    from web.templatetags.keyreeve import STATES, VERDICTS

    assert {icon for _, icon in STATES.values()} | {icon for _, icon, _ in VERDICTS.values()} <= DRAWN
