"""Texts that make a reader look at the same characters again and again cost no more than others."""

import json
import time
from pathlib import Path

import pytest

from inventory.discovery.decode import ParseError, decode
from inventory.discovery.scan import scan

BOUND = 15.0  # seconds of computing; each takes a fraction of one, and minutes where it looks again and again
DEEP = "a." * 20_000 + "a"


def server(**env: str) -> str:
    return json.dumps({"mcpServers": {"x": {"command": "npx", "env": env}}})


HOSTILE = {
    "a deep key behind a quoted part": ("config.toml", f'"=".{DEEP}=1\n'),
    "a deep key in an inline table": ("config.toml", f"x={{y=1,{DEEP}=1}}\n"),
    "tokens that begin and begin": (".mcp.json", server(TOKEN="eyJaaaaaaaaaaaa-" * 12_000)),
    "links that begin and begin": ("README.md", "mcp " + "cursor://" * 20_000),
    "a long line of a shell": ("install.sh", "claude mcp add x " + "a" * 400_000),
    "words of no word": (".mcp.json", server(SOME_NAME="-".join(["a" * 22 + "AA"] * 100) + "-9")),
    "defaults that begin and begin": (".mcp.json", server(TOKEN=("${" + "a-" * 1_100) * 90)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_text_that_begins_again_and_again_is_read_in_time(case: str, tmp_path: Path) -> None:
    name, content = HOSTILE[case]
    (tmp_path / name).write_text(content)
    begun = time.process_time()
    list(scan([tmp_path / name], key=b"k" * 32, home=tmp_path, system="Linux", environ={}, cache_dir=None))
    assert time.process_time() - begun < BOUND


@pytest.mark.parametrize(
    "line", [f"{DEEP}=1", f'"=".{DEEP}=1', f"x={{{DEEP}=1}}", f"[{DEEP}]", f"x={{y='\"',{DEEP}=1}}"]
)
def test_a_toml_key_of_too_many_parts_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ParseError) as refused:
        decode(f"b = 1\n{line}\n", "toml")
    assert refused.value.line == 2


def test_dots_inside_a_toml_string_are_no_depth() -> None:
    text = 'x = "' + "a." * 500 + "\"\ny = '" + "b." * 500 + "'\n"
    assert decode(text, "toml").tree == {"x": "a." * 500, "y": "b." * 500}
