"""The checklist as a whole: ids, declarations, and the manual that shows them."""

import re

import pytest
from django.conf import settings

from docs import checklist
from inventory.posture.catalogue import CHECKS, about
from inventory.posture.model import VERSIONS, Check, Target


def test_the_manual_shows_the_checklist_as_it_is() -> None:
    manual = (settings.BASE_DIR / "docs" / "probing.md").read_text()
    assert manual == checklist.written(manual), "run python docs/checklist.py"


def test_every_check_is_in_the_manual_once() -> None:
    manual = (settings.BASE_DIR / "docs" / "probing.md").read_text()
    assert re.findall(r"^\| ([A-Z]+-[A-Z0-9-]+) \|", manual, re.MULTILINE) == [
        check.id for target in Target for check in about(target)
    ]


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.id)
def test_a_check_says_what_it_expects_and_where_that_is_written(check: Check) -> None:
    assert check.title
    assert check.level
    assert check.section
    assert not set(check.versions) - set(VERSIONS)
