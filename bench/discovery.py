"""`discover` over many configuration files, against reading and decoding the same files bare."""

from __future__ import annotations

import json
import platform
import random
import string
import tempfile
import time
from pathlib import Path
from typing import Any

from inventory.discovery.scan import scan

BUDGET_SECONDS = 4.0
_LETTERS = string.ascii_letters + string.digits
_PACKAGES = (
    "@modelcontextprotocol/server-github",
    "@modelcontextprotocol/server-filesystem",
    "@notionhq/notion-mcp-server",
    "tavily-mcp@0.2.1",
    "@upstash/context7-mcp@latest",
    "firecrawl-mcp",
    "@playwright/mcp@0.0.41",
    "@supabase/mcp-server-supabase",
    "mcp-remote",
)
_TOOLS = (
    "mcp-server-git",
    "mcp-server-fetch",
    "mcp-server-time==2.0.1",
    "awslabs.aws-documentation-mcp-server@latest",
    "mcp-atlassian",
)
_NAMES = (
    "mcp.json",
    ".mcp.json",
    ".vscode/mcp.json",
    ".cursor/mcp.json",
    ".gemini/settings.json",
    "claude_desktop_config.json",
    "opencode.json",
)


def write_files(folder: Path, size: int, seed: int = 7) -> None:
    """`size` configuration files as people keep them; every secret in them is made here."""
    chance = random.Random(seed)
    for number in range(size):
        name = _NAMES[number % len(_NAMES)]
        path = folder / f"team{number % 40}" / f"project{number}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        servers = {f"server{i}": _server(chance) for i in range(chance.choice((1, 2, 2, 3, 3, 4, 5, 8)))}
        if name == "opencode.json":
            servers = {
                key: {
                    "type": "local",
                    "command": [s["command"], *s["args"]],
                    "environment": s.get("env", {}),
                    "enabled": True,
                }
                if "command" in s
                else {"type": "remote", **s}
                for key, s in servers.items()
            }
        wrapper = {"opencode.json": "mcp", ".vscode/mcp.json": "servers"}.get(name, "mcpServers")
        text = json.dumps({wrapper: servers}, indent=2)
        if number % 20 == 0:
            text = "// kept by hand\n" + text
        path.write_text(text)


def _token(chance: random.Random, size: int, alphabet: str = _LETTERS) -> str:
    return "".join(chance.choices(alphabet, k=size))


def _server(chance: random.Random) -> dict[str, Any]:
    kind = chance.random()
    if kind < 0.2:
        server: dict[str, Any] = {"type": "http", "url": f"https://mcp.{_token(chance, 6).lower()}.example.com/mcp"}
        if chance.random() < 0.6:
            value = chance.choice(("${input:token}", "${env:API_TOKEN}", _token(chance, 40)))
            server["headers"] = {"Authorization": f"Bearer {value}", "X-Tenant": f"tenant-{chance.randint(1, 99)}"}
        return server
    if kind < 0.35:
        args = ["run", "-i", "--rm", "-e", "GITHUB_PERSONAL_ACCESS_TOKEN", "ghcr.io/github/github-mcp-server:v0.9.1"]
        return {"command": "docker", "args": args, "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": _github(chance)}}
    if kind < 0.6:
        return {
            "command": "uvx",
            "args": [chance.choice(_TOOLS), "--repository", f"/home/dev/src/{_token(chance, 6)}"],
            "env": _env(chance),
        }
    args = ["-y", chance.choice(_PACKAGES)]
    if args[1] == "mcp-remote":
        args.append(f"https://{_token(chance, 8).lower()}.example.org/sse")
    if chance.random() < 0.2:
        args += ["--api-key", chance.choice((_token(chance, 32), "YOUR_API_KEY", "${API_KEY}"))]
    return {"command": "npx", "args": args, "env": _env(chance), "disabled": chance.random() < 0.1}


def _github(chance: random.Random) -> str:
    return chance.choice((f"ghp_{_token(chance, 36)}", "${GITHUB_TOKEN}", "<your-token>", "${input:github_token}"))


def _env(chance: random.Random) -> dict[str, str]:
    choices = {
        "OPENAI_API_KEY": f"sk-proj-{_token(chance, 48)}T3BlbkFJ{_token(chance, 48)}",
        "NOTION_TOKEN": f"ntn_{_token(chance, 11, string.digits)}{_token(chance, 35)}",
        "DATABASE_URL": f"postgresql://app:{_token(chance, 18)}@db.internal:5432/app",
        "INTERNAL_API_KEY": _token(chance, 40),
        "TAVILY_API_KEY": "tvly-YOUR_API_KEY",
        "ACME_TOKEN": _token(chance, 32, "0123456789abcdef"),
        "LOG_LEVEL": "info",
        "PROJECT_ID": _token(chance, 20).lower(),
        "MAX_TOKENS": "4096",
        "WORKSPACE": "${workspaceFolder}/data",
        "AWS_REGION": "eu-central-1",
        "SLACK_TEAM_ID": f"T{_token(chance, 10).upper()}",
        "CONFIG_PATH": "/etc/app/config.json",
        "API_BASE_URL": "https://api.example.com/v2",
    }
    return {name: choices[name] for name in chance.sample(sorted(choices), chance.choice((0, 1, 2, 2, 3, 4)))}


def run(size: int = 10_000) -> list[dict[str, Any]]:
    """Seconds for a whole scan, classification included; the limit is `open`, `read`, `json.loads` and nothing else."""
    with tempfile.TemporaryDirectory(prefix="keyreeve-bench-") as name:
        folder = Path(name)
        write_files(folder / "estate", size)
        files = [path for path in (folder / "estate").rglob("*") if path.is_file()]
        limit = _bare(files)
        arguments: dict[str, Any] = {"key": b"k" * 32, "home": folder, "system": platform.system(), "environ": {}}
        # Compiling the library's rules happens once per installation; it is no part of a scan.
        list(scan([files[0].parent], cache_dir=folder / "rules", **arguments))
        _warm(folder, arguments)
        started = time.perf_counter()
        found = list(scan([folder / "estate"], cache_dir=folder / "rules", **arguments))
        value = time.perf_counter() - started
        if len(found) != size:
            raise RuntimeError(f"{len(found)} of {size} files were found.")
    return [
        {
            "name": "discovery",
            "size": size,
            "value": round(value, 3),
            "unit": "s",
            "limit": round(limit, 3),
            "ratio": round(value / limit, 2),
            "budget": BUDGET_SECONDS,
            "ok": value <= BUDGET_SECONDS,
        }
    ]


def _bare(files: list[Path]) -> float:
    started = time.perf_counter()
    for path in files:
        text = path.read_bytes()
        try:
            json.loads(text)
        except ValueError:
            continue
    return time.perf_counter() - started


def _warm(folder: Path, arguments: dict[str, Any]) -> None:
    """One value that only the library can judge, so that its rules are compiled and cached."""
    path = folder / "warm" / "mcp.json"
    path.parent.mkdir()
    path.write_text(
        json.dumps({"mcpServers": {"x": {"command": "x", "env": {"SETTING": _token(random.Random(1), 40)}}}})
    )
    list(scan([path], cache_dir=folder / "rules", **arguments))


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
