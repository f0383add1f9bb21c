"""Configuration files as a mid-sized company has them: ten clients, good habits and bad ones. Secrets are made here.

    python -m demo.estate FOLDER

writes a home folder with client configuration and three repositories. Nothing in it opens anything.
"""

import base64
import json
import random
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

AWS_ACCOUNT = "417230985611"
ALPHABET = string.ascii_letters + string.digits
BASE32 = string.ascii_uppercase + "234567"


class Forge:
    """Makes plausible secrets from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # nosec B311  # noqa: S311 - nothing here is a real secret

    def text(self, length: int, alphabet: str = ALPHABET) -> str:
        return "".join(self.random.choice(alphabet) for _ in range(length))

    def jwt(self, issued: datetime, lifetime: timedelta, scope: str) -> str:
        """An unsigned-for-anybody token with the dates that a reader can see."""

        def part(content: dict[str, Any]) -> str:
            return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

        claims = {
            "iss": "https://id.halden.example",
            "iat": int(issued.timestamp()),
            "exp": int((issued + lifetime).timestamp()),
            "scope": scope,
        }
        return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.{self.text(86)}"


def aws_key_id(forge: Forge, account: str, prefix: str = "AKIA") -> str:
    """An id as AWS makes them: the account is encoded in it."""
    number = int(account) << 7 | forge.random.getrandbits(7)
    encoded = base64.b32encode(number.to_bytes(6, "big")).decode().rstrip("=")
    return f"{prefix}{encoded}{forge.text(6, BASE32)}"


def aws_pair(seed: int = 7) -> tuple[str, str]:
    """The key that the configuration files hold, of an account that `demo.cloud` serves."""
    forge = Forge(seed + 2)
    return aws_key_id(forge, AWS_ACCOUNT), forge.text(40)


@dataclass(frozen=True, kw_only=True)
class Live:
    """What runs beside the files, so that they name what answers: addresses and tokens by name, one key, one entry."""

    urls: Mapping[str, str]
    static_key: str
    tokens: Mapping[str, str]
    exporter: str  # where the AWS key of the invoice export lies

    def bearer(self, token: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"}


def write(home: Path, *, now: datetime, seed: int = 7, live: Live | None = None) -> None:
    forge = Forge(seed)
    github = f"ghp_{forge.text(36)}"
    slack = f"xoxb-{forge.text(11, string.digits)}-{forge.text(12, string.digits)}-{forge.text(24)}"
    stripe = f"sk_live_{forge.text(42)}"
    postgres = f"postgresql://app_b:{forge.text(26)}@billing-db.halden.example/billing"
    aws_id, aws_secret = aws_pair(seed)
    maps = f"AIza{forge.text(35)}"
    linear = f"lin_api_{forge.text(40)}"
    notion = f"ntn_{forge.text(11, string.digits)}{forge.text(35)}"
    brave = f"BSA{forge.text(28)}"
    session = forge.jwt(now - timedelta(days=71), timedelta(days=30), "repo workflow")
    partner = forge.jwt(now - timedelta(days=200), timedelta(days=365), "customs.write")

    def file(path: str, content: dict[str, Any] | str, mode: int = 0o600) -> None:
        target = home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        target.chmod(mode)

    def remote(*names: str, **tokens: str) -> dict[str, Any]:
        """Entries for live servers; with a token where one is given."""
        if live is None:
            return {}
        return {
            name: {
                "type": "http",
                "url": live.urls[name],
                **({"headers": live.bearer(tokens[name])} if name in tokens else {}),
            }
            for name in (*names, *tokens)
        }

    key = live.static_key if live else ""
    token = live.tokens if live else {}
    github_server = {
        "command": "npx",
        "args": ["-y", "@modelcontextprotocol/server-github@2026.8.4"],
        "env": {"GITHUB_PERSONAL_ACCESS_TOKEN": github},
    }
    file(
        ".cursor/mcp.json",
        {
            "mcpServers": {
                "github-prod": github_server,
                "stripe-live": {
                    "command": "npx",
                    "args": ["-y", "@stripe/mcp", "--tools=all", f"--api-key={stripe}"],
                },
                "customs-api": {
                    "type": "http",
                    "url": "https://mcp.customs.example/mcp",
                    "headers": {"Authorization": f"Bearer {partner}"},
                },
                "linear": {"url": "https://mcp.linear.app/mcp"},
                **remote("notes", "payroll"),
            }
        },
        0o644,
    )
    file(
        ".config/Claude/claude_desktop_config.json",
        {
            "mcpServers": {
                "github-prod": github_server,
                "slack-bridge": {
                    "command": "docker",
                    "args": ["run", "-i", "--rm", "-e", f"SLACK_BOT_TOKEN={slack}", "mcp/slack:1.4.0"],
                },
                "files": {
                    "command": "npx",
                    "args": ["-y", "@modelcontextprotocol/server-filesystem", "/srv/shared"],
                },
                "brave-search": {
                    "command": "npx",
                    "args": ["-y", "@brave/brave-search-mcp-server"],
                    "env": {"BRAVE_API_KEY": brave},
                },
            }
        },
    )
    file(
        ".config/Code/User/mcp.json",
        """{
  // kept by the platform team
  "inputs": [{"id": "jira-token", "type": "promptString", "password": true}],
  "servers": {
    "jira-cloud": {"type": "http", "url": "https://mcp.atlassian.example/v1/mcp",
                   "headers": {"Authorization": "Bearer ${input:jira-token}"}},
    "maps-tiles": {"command": "uvx", "args": ["maps-mcp"], "env": {"GOOGLE_MAPS_API_KEY": "<maps>"}},
  },
}""".replace("<maps>", maps),
    )
    file(
        ".codex/config.toml",
        f"""model = "codex"
[mcp_servers.slack-bridge]
command = "docker"
args = ["run", "-i", "mcp/slack:1.4.0"]
env = {{ SLACK_BOT_TOKEN = "{slack}" }}

[mcp_servers.warehouse]
url = "http://warehouse.halden.example/mcp"
bearer_token_env_var = "WAREHOUSE_TOKEN"
""",
    )
    file(
        ".gemini/settings.json",
        {
            "mcpServers": {
                **remote("search", "notes"),
                "maps-tiles": {"command": "uvx", "args": ["maps-mcp"], "env": {"GOOGLE_MAPS_API_KEY": maps}},
                "notion": {
                    "command": "npx",
                    "args": ["-y", "@notionhq/notion-mcp-server@2.0.1"],
                    "env": {"NOTION_TOKEN": notion},
                },
            }
        },
    )
    file(
        ".config/goose/config.yaml",
        """extensions:
  developer:
    type: builtin
    enabled: true
  linear:
    type: stdio
    cmd: npx
    args: ["-y", "mcp-remote@0.1.29", "https://mcp.linear.app/sse"]
    enabled: true
    envs: {LINEAR_API_KEY: <linear>}
""".replace("<linear>", linear),
    )
    file(
        ".claude.json",
        {
            "numStartups": 214,
            "mcpServers": {
                "planner": {
                    "type": "http",
                    "url": "https://mcp.halden.example/planner",
                    "headers": {"X-Session": f"Bearer {session}"},
                },
                **(remote("payroll", billing=key, operations=token["ci-runner"]) if live else {}),
            },
            "projects": {str(home / "src/freight-planner"): {"mcpServers": {}}},
        },
    )
    file(
        "src/freight-planner/.mcp.json",
        {"mcpServers": {"github-prod": {**github_server, "args": ["-y", "@modelcontextprotocol/server-github"]}}},
        0o644,
    )
    file(
        "src/freight-planner/server.json",
        {
            "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
            "name": "io.github.modelcontextprotocol/github",
            "version": "2026.8.4",
            "packages": [
                {
                    "registryType": "npm",
                    "identifier": "@modelcontextprotocol/server-github",
                    "version": "2026.8.4",
                    "transport": {"type": "stdio"},
                    "environmentVariables": [
                        {"name": "GITHUB_PERSONAL_ACCESS_TOKEN", "isRequired": True, "isSecret": True},
                        {"name": "GITHUB_APP_PRIVATE_KEY", "isRequired": True, "isSecret": True},
                        {"name": "GITHUB_HOST"},
                    ],
                }
            ],
        },
        0o644,
    )
    file(
        "src/ops-runbooks/.vscode/mcp.json",
        {
            "servers": {
                "aws-ops": {
                    "command": "uvx",
                    "args": ["awslabs.aws-api-mcp-server==1.3.5"],
                    "env": {
                        "AWS_ACCESS_KEY_ID": aws_id,
                        "AWS_SECRET_ACCESS_KEY": aws_secret,
                        "AWS_REGION": "eu-north-1",
                    },
                },
                "billing-db": {
                    "command": "npx",
                    "args": ["-y", "@modelcontextprotocol/server-postgres@0.6.2", postgres],
                },
            }
        },
        0o640,
    )
    file(
        "src/billing/.cursor/mcp.json",
        {
            "mcpServers": {
                "billing-db": {
                    "command": "npx",
                    "args": ["-y", "@modelcontextprotocol/server-postgres@0.6.2", postgres],
                },
                **(remote(billing=key, analytics=token["nightly-reports"]) if live else {}),
                "vault": {
                    "command": "vault-mcp",
                    "env": {"VAULT_TOKEN": "${env:VAULT_TOKEN}", "VAULT_ADDR": "https://vault.example"},
                },
            }
        },
    )
    file(
        "src/billing/librechat.yaml",
        "mcpServers:\n  everything:\n    command: npx\n    args: [-y, '@modelcontextprotocol/server-everything']\n",
    )
    if live is not None:
        exporter = {
            "command": "uvx",
            "args": ["halden-invoice-export==2.4.0"],
            "env": {"AWS_REGION": "eu-north-1", "AWS_SECRET_ACCESS_KEY": live.exporter},
        }
        file("src/invoice-export/.mcp.json", {"mcpServers": {"invoice-export": exporter}})
    file(".codeium/windsurf/mcp_config.json", '{"mcpServers": {"half-written": {"command": "npx", "args": [')
    file(
        ".lmstudio/mcp.json",
        {
            "mcpServers": {
                "hf": {"url": "https://huggingface.co/mcp", "headers": {"Authorization": "Bearer <YOUR_HF_TOKEN>"}},
                **remote("archive", "tickets"),
            }
        },
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Say where: python -m demo.estate FOLDER")
    write(Path(sys.argv[1]).absolute(), now=datetime.now(tz=UTC))
