"""What the threat model and the checklist point at is there."""

import re
from pathlib import Path

import pytest
from django.conf import settings

DOCS: Path = settings.BASE_DIR / "docs"


@pytest.mark.parametrize("name", ["threat-model.md", "asvs.md"])
def test_every_place_in_the_code_that_is_named_exists(name: str) -> None:
    said = (DOCS / name).read_text()
    named = set(re.findall(r"`([\w.]+(?:/[\w.-]+)+)`", said)) - {"application/json"}
    assert len(named) > 20
    assert [each for each in sorted(named) if not (settings.BASE_DIR / each).exists()] == []


def numbers(chapter: int) -> list[tuple[int, int]]:
    """The items of a chapter that the checklist answers, ranges spelled out."""
    said = (DOCS / "asvs.md").read_text()
    found = []
    for cell in re.findall(rf"^\| ({chapter}\.[\d.,– ]+?) \|", said, re.MULTILINE):
        for part in cell.split(", "):
            first, _, last = part.partition("–")
            section, begin = map(int, first.split(".")[1:])
            found += [(section, item) for item in range(begin, int(last.split(".")[2] if last else begin) + 1)]
    return found


@pytest.mark.parametrize(
    ("chapter", "count"),
    [
        (1, 27), (2, 11), (3, 19), (4, 10), (5, 9), (6, 33), (7, 18), (8, 7), (9, 7), (10, 29),
        (11, 14), (12, 9), (13, 13), (14, 9), (15, 13), (16, 16),
    ],
)  # fmt: skip
def test_each_item_of_a_chapter_is_answered_once(chapter: int, count: int) -> None:
    found = numbers(chapter)
    assert len(found) == len(set(found))
    assert len(found) == count
