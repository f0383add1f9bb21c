"""Every known MCP client as data: where it keeps its servers and its tokens, per operating system.

A path begins with a folder name in angle brackets or with a relocation variable (`$NAME`), which counts only when set.
`mac:`, `linux:` and `win:` in front restrict it to one system. `*` and `**` are globs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Client:
    """One MCP client."""

    slug: str
    label: str
    places: tuple[str, ...] = ()
    """The user's own and the machine's files."""
    project: tuple[str, ...] = ()
    """Files inside a project folder."""
    shared: tuple[str, ...] = ()
    """Files among `places` and `project` that hold many other settings: worth reporting only when MCP is in them."""
    format: str = "json"


# The VS Code family keeps user data and extension storage alike; the folder's name is all that differs.
_CODE_FAMILY = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf", "Trae", "Kiro", "Antigravity", "Positron")


def _in_code_family(rest: str) -> tuple[str, ...]:
    return (
        *(f"<app>/{name}/User/globalStorage/{rest}" for name in _CODE_FAMILY),
        f"<home>/.vscode-server/data/User/globalStorage/{rest}",
        f"<home>/.cursor-server/data/User/globalStorage/{rest}",
    )


CLIENTS: tuple[Client, ...] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        (
            "mac:<app>/Claude/claude_desktop_config.json",
            "win:<roaming>/Claude/claude_desktop_config.json",
            "win:<local>/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
            "linux:<config>/Claude/claude_desktop_config.json",
            "linux:<config>/claude/claude_desktop_config.json",
        ),
    ),
    Client(
        "claude-code",
        "Claude Code",
        (
            "<home>/.claude.json",
            "$CLAUDE_CONFIG_DIR/.claude.json",
            "<home>/.claude/settings.json",
            "mac:<root>/Library/Application Support/ClaudeCode/managed-mcp.json",
            "linux:<root>/etc/claude-code/managed-mcp.json",
            "win:<programfiles>/ClaudeCode/managed-mcp.json",
            "<home>/.claude/plugins/cache/**/.mcp.json",
            "<home>/.claude/plugins/repos/**/.mcp.json",
            "<home>/.claude/plugins/cache/**/.claude-plugin/plugin.json",
            "<home>/.claude/plugins/repos/**/.claude-plugin/plugin.json",
        ),
        (".mcp.json",),
        (".claude.json", "settings.json", "plugin.json"),
    ),
    Client(
        "cursor",
        "Cursor",
        (
            "<home>/.cursor/mcp.json",
            "<home>/.cursor/plugins/cache/**/mcp.json",
            "<home>/.cursor/plugins/local/**/mcp.json",
        ),
        (".cursor/mcp.json",),
    ),
    Client(
        "vscode",
        "VS Code",
        (
            *(
                f"<app>/{name}/User/{rest}"
                for name in ("Code", "Code - Insiders", "VSCodium")
                for rest in ("mcp.json", "profiles/*/mcp.json", "settings.json")
            ),
            "<home>/.vscode-server/data/User/mcp.json",
            "<home>/.vscode-server/data/Machine/mcp.json",
            "<home>/.vscode-server-insiders/data/User/mcp.json",
        ),
        (
            ".vscode/mcp.json",
            ".vscode/settings.json",
            "*.code-workspace",
            ".devcontainer/devcontainer.json",
            ".devcontainer.json",
            ".devcontainer/*/devcontainer.json",
        ),
        ("settings.json", "*.code-workspace", "devcontainer.json", ".devcontainer.json"),
    ),
    Client("visual-studio", "Visual Studio", ("win:<home>/.mcp.json",), (".vs/mcp.json",)),
    Client(
        "copilot-cli",
        "GitHub Copilot CLI",
        (
            "<home>/.copilot/mcp-config.json",
            "$COPILOT_HOME/mcp-config.json",
            "linux:$XDG_CONFIG_HOME/copilot/mcp-config.json",
            "linux:$XDG_CONFIG_HOME/.copilot/mcp-config.json",
        ),
        (".github/mcp.json",),
    ),
    Client("copilot-agent", "GitHub Copilot coding agent", (), (".github/agents/*.md",), (".md",), format="markdown"),
    Client(
        "copilot-jetbrains",
        "GitHub Copilot for JetBrains",
        (
            "mac:<config>/github-copilot/intellij/mcp.json",
            "linux:<config>/github-copilot/intellij/mcp.json",
            "win:<local>/github-copilot/intellij/mcp.json",
        ),
    ),
    Client(
        "copilot-eclipse",
        "GitHub Copilot for Eclipse",
        (
            "mac:<config>/github-copilot/eclipse/mcp.json",
            "linux:<config>/github-copilot/eclipse/mcp.json",
            "win:<roaming>/github-copilot/eclipse/mcp.json",
        ),
    ),
    Client(
        "windsurf",
        "Windsurf",
        ("<home>/.codeium/windsurf/mcp_config.json", "<home>/.codeium/windsurf-next/mcp_config.json"),
        (".windsurf/mcp_config.json",),
    ),
    Client("windsurf-jetbrains", "Windsurf for JetBrains", ("<home>/.codeium/mcp_config.json",)),
    Client(
        "devin",
        "Devin CLI",
        (
            "mac:<config>/devin/mcp_config.json",
            "linux:<config>/devin/mcp_config.json",
            "win:<roaming>/devin/mcp_config.json",
        ),
        (".devin/mcp_config.json",),
    ),
    Client(
        "zed",
        "Zed",
        ("mac:<config>/zed/settings.json", "linux:<config>/zed/settings.json", "win:<roaming>/Zed/settings.json"),
        (".zed/settings.json",),
        ("settings.json",),
    ),
    Client(
        "codex",
        "Codex",
        (
            "<home>/.codex/config.toml",
            "$CODEX_HOME/config.toml",
            "<home>/.codex/*.config.toml",
            "$CODEX_HOME/*.config.toml",
            "linux:<root>/etc/codex/config.toml",
            "mac:<root>/etc/codex/config.toml",
            "win:<programdata>/OpenAI/Codex/config.toml",
            "<home>/.codex/plugins/**/.mcp.json",
        ),
        (".codex/config.toml",),
        ("config.toml", "*.config.toml"),
        format="toml",
    ),
    Client(
        "gemini-cli",
        "Gemini CLI",
        (
            "<home>/.gemini/settings.json",
            "linux:<root>/etc/gemini-cli/settings.json",
            "linux:<root>/etc/gemini-cli/system-defaults.json",
            "mac:<root>/Library/Application Support/GeminiCli/settings.json",
            "mac:<root>/Library/Application Support/GeminiCli/system-defaults.json",
            "win:<programdata>/gemini-cli/settings.json",
            "win:<programdata>/gemini-cli/system-defaults.json",
            "$GEMINI_CLI_SYSTEM_SETTINGS_PATH",
            "<home>/.gemini/extensions/*/gemini-extension.json",
        ),
        (".gemini/settings.json", "gemini-extension.json"),
        ("settings.json", "system-defaults.json", "gemini-extension.json"),
    ),
    Client(
        "qwen-code",
        "Qwen Code",
        ("<home>/.qwen/settings.json", "$QWEN_HOME/settings.json"),
        (".qwen/settings.json",),
        ("settings.json",),
    ),
    Client(
        "antigravity",
        "Antigravity",
        ("<home>/.gemini/antigravity/mcp_config.json", "<home>/.gemini/config/mcp_config.json"),
        (".agents/mcp_config.json",),
    ),
    Client(
        "cline",
        "Cline",
        (
            *_in_code_family("saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
            "$CLINE_MCP_SETTINGS_PATH",
            "<home>/.cline/data/settings/cline_mcp_settings.json",
            "<home>/.cline/mcp.json",
        ),
    ),
    Client(
        "roo-code",
        "Roo Code",
        _in_code_family("rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
        (".roo/mcp.json",),
    ),
    Client(
        "kilo-code",
        "Kilo Code",
        (
            *_in_code_family("kilocode.kilo-code/settings/mcp_settings.json"),
            "mac:<config>/kilo/kilo.json*",
            "linux:<config>/kilo/kilo.json*",
            "win:<home>/.config/kilo/kilo.json*",
        ),
        (".kilocode/mcp.json", "kilo.json", "kilo.jsonc", ".kilo/kilo.json", ".kilo/kilo.jsonc"),
        ("kilo.json", "kilo.jsonc"),
    ),
    Client(
        "continue",
        "Continue",
        (
            "<home>/.continue/config.yaml",
            "<home>/.continue/config.json",
            "<home>/.continue/mcpServers/*.yaml",
            "<home>/.continue/mcpServers/*.yml",
            "<home>/.continue/mcpServers/*.json",
        ),
        (
            ".continue/mcpServers/*.yaml",
            ".continue/mcpServers/*.yml",
            ".continue/mcpServers/*.json",
            ".continue/config.yaml",
            ".continue/config.json",
        ),
        ("config.yaml", "config.json"),
        format="yaml",
    ),
    Client(
        "goose",
        "Goose",
        (
            "mac:<config>/goose/config.yaml",
            "linux:<config>/goose/config.yaml",
            "win:<roaming>/Block/goose/config/config.yaml",
        ),
        ("goose/config.yaml",),
        ("config.yaml",),
        format="yaml",
    ),
    Client("junie", "JetBrains Junie", ("<home>/.junie/mcp/mcp.json",), (".junie/mcp/mcp.json",)),
    Client("lm-studio", "LM Studio", ("<home>/.lmstudio/mcp.json", "<home>/.cache/lm-studio/mcp.json")),
    Client(
        "amazon-q",
        "Amazon Q Developer",
        ("<home>/.aws/amazonq/mcp.json", "<home>/.aws/amazonq/cli-agents/*.json", "<home>/.aws/amazonq/agents/*.json"),
        (".amazonq/mcp.json", ".amazonq/cli-agents/*.json"),
        ("cli-agents/*.json", "agents/*.json"),
    ),
    Client(
        "kiro",
        "Kiro",
        ("<home>/.kiro/settings/mcp.json", "<home>/.kiro/agents/*.json", "<home>/.kiro/powers/installed/*/mcp.json"),
        (".kiro/settings/mcp.json", ".kiro/agents/*.json"),
        ("agents/*.json",),
    ),
    Client(
        "opencode",
        "opencode",
        (
            "mac:<config>/opencode/opencode.json*",
            "linux:<config>/opencode/opencode.json*",
            "win:<home>/.config/opencode/opencode.json*",
            "<home>/.opencode/opencode.json*",
            "linux:<root>/etc/opencode/opencode.json*",
            "mac:<root>/Library/Application Support/opencode/opencode.json*",
            "win:<programdata>/opencode/opencode.json*",
            "$OPENCODE_CONFIG",
            "$OPENCODE_CONFIG_DIR/opencode.json*",
            "<data>/opencode/mcp-local.json",
        ),
        ("opencode.json", "opencode.jsonc", ".opencode/opencode.json", ".opencode/opencode.jsonc"),
        ("opencode.json", "opencode.jsonc"),
    ),
    Client("agents", "Shared agents folder", ("<home>/.agents/mcp.json",), (".agents/mcp.json",)),
    Client("warp", "Warp", ("<home>/.warp/.mcp.json",), (".warp/.mcp.json",)),
    Client(
        "amp",
        "Amp",
        (
            "mac:<config>/amp/settings.json*",
            "linux:<config>/amp/settings.json*",
            "win:<roaming>/amp/settings.json*",
            "win:<home>/.config/amp/settings.json*",
            "linux:<root>/etc/ampcode/managed-settings.json",
            "mac:<root>/Library/Application Support/ampcode/managed-settings.json",
            "win:<programdata>/ampcode/managed-settings.json",
        ),
        (".amp/settings.json", ".amp/settings.jsonc"),
        ("settings.json", "settings.jsonc", "managed-settings.json"),
    ),
    Client(
        "crush",
        "Crush",
        (
            "mac:<config>/crush/crushrc",
            "linux:<config>/crush/crushrc",
            "mac:<config>/crush/crush.json",
            "linux:<config>/crush/crush.json",
            "win:<local>/crush/crush.json",
            "win:<local>/crush/crushrc",
        ),
        (".crushrc", "crushrc", ".crush.json", "crush.json"),
    ),
    Client(
        "librechat",
        "LibreChat",
        ("$CONFIG_PATH",),
        ("librechat.yaml", "librechat.yml"),
        ("librechat.yaml", "librechat.yml"),
        format="yaml",
    ),
    Client(
        "docker-mcp",
        "Docker MCP Toolkit",
        (
            "<home>/.docker/mcp/registry.yaml",
            "<home>/.docker/mcp/config.yaml",
            "<home>/.docker/mcp/tools.yaml",
            "<home>/.docker/mcp/catalogs/*.yaml",
            "<home>/.docker/mcp/catalog.json",
        ),
        (),
        ("config.yaml", "tools.yaml", "catalog.json"),
        format="yaml",
    ),
    Client("5ire", "5ire", ("<app>/5ire/mcp.json",)),
    Client("trae", "Trae", ("<app>/Trae/User/mcp.json", "<app>/Trae CN/User/mcp.json"), (".trae/mcp.json",)),
    Client(
        "toolhive",
        "ToolHive",
        (
            "<state>/toolhive/runconfigs/*.json",
            "mac:<app>/toolhive/runconfigs/*.json",
            "win:<local>/toolhive/runconfigs/*.json",
        ),
    ),
    Client(
        "claude-extensions",
        "Claude Desktop extensions",
        ("<app>/Claude/Claude Extensions/*/manifest.json", "<app>/Claude/Claude Extensions Settings/*.json"),
        (),
        ("Claude Extensions Settings/*.json",),
    ),
    Client("mcp-registry", "MCP registry document", (), ("server.json",), ("server.json",)),
    Client("factory", "Factory Droid", ("<home>/.factory/mcp.json",), (".factory/mcp.json",)),
    Client(
        "mistral-vibe",
        "Mistral Vibe",
        ("<home>/.vibe/config.toml", "$VIBE_HOME/config.toml"),
        (".vibe/config.toml",),
        ("config.toml",),
        format="toml",
    ),
    Client("kimi", "Kimi", ("<home>/.kimi/mcp.json", "$KIMI_CODE_HOME/mcp.json", "<home>/.kimi-code/mcp.json")),
    Client(
        "grok-build",
        "Grok Build",
        ("<home>/.grok/config.toml", "$GROK_HOME/config.toml"),
        (".grok/config.toml",),
        ("config.toml",),
        format="toml",
    ),
    Client(
        "hermes",
        "Hermes agent",
        ("<home>/.hermes/config.yaml", "<home>/.hermes/profiles/*/config.yaml"),
        (".hermes/config.yaml",),
        ("config.yaml",),
        format="yaml",
    ),
    Client(
        "openclaw",
        "OpenClaw",
        ("<home>/.openclaw/openclaw.json", "<home>/.clawdbot/clawdbot.json", "<home>/.clawdbot/openclaw.json"),
        (),
        ("openclaw.json", "clawdbot.json"),
    ),
    Client(
        "qoder",
        "Qoder",
        ("<home>/.qoder/mcp.json", "win:<roaming>/Qoder/SharedClientCache/mcp.json"),
        (".qoder/mcp.json",),
    ),
    Client("pi", "Pi", ("<home>/.pi/agent/mcp.json",)),
    Client("oh-my-pi", "Oh My Pi", ("<home>/.omp/agent/mcp.json",)),
    Client("jan", "Jan", ("<app>/Jan/data/mcp_config.json", "<data>/Jan/data/mcp_config.json")),
    Client("boltai", "BoltAI", ("<home>/.boltai/mcp.json",)),
    Client(
        "anythingllm",
        "AnythingLLM",
        ("<app>/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json",),
        ("anythingllm_mcp_servers.json",),
    ),
    Client("witsy", "Witsy", ("<app>/Witsy/settings.json",), (), ("settings.json",)),
    Client(
        "mcphub",
        "MCP Hub",
        (
            "mac:<config>/mcphub/servers.json",
            "linux:<config>/mcphub/servers.json",
            "mac:<config>/mcphub/global.json",
            "linux:<config>/mcphub/global.json",
            "win:<home>/.config/mcphub/servers.json",
        ),
        (".mcphub/project.json",),
    ),
    Client(
        "mcporter",
        "mcporter",
        ("<home>/.mcporter/mcporter.json", "<home>/.mcporter/mcporter.jsonc"),
        ("config/mcporter.json",),
    ),
    Client(
        "sema4ai",
        "Sema4.ai Studio",
        (
            "mac:<home>/.sema4ai/sema4ai-studio/mcp_servers.json",
            "linux:<home>/.sema4ai/sema4ai-studio/mcp_servers.json",
            "win:<local>/sema4ai/sema4ai-studio/mcp_servers.json",
        ),
    ),
    Client("zencoder", "Zencoder", ("<home>/.zencoder/mcp.json",)),
)


_LABELS = {client.slug: client.label for client in CLIENTS} | {"mcp-remote": "mcp-remote", "fastmcp": "FastMCP"}


def label_of(slug: str) -> str:
    """A client's name for people."""
    return _LABELS.get(slug, slug)


@dataclass(frozen=True, slots=True)
class TokenStore:
    """Where a client keeps the tokens its users consented to."""

    slug: str
    places: tuple[str, ...]


TOKEN_STORES: tuple[TokenStore, ...] = (
    TokenStore(
        "mcp-remote",
        (
            "<home>/.mcp-auth/*/*_tokens.json",
            "<home>/.mcp-auth/*/*_client_info.json",
            "<home>/.mcp-auth/*_tokens.json",
            "$MCP_REMOTE_CONFIG_DIR/*/*_tokens.json",
            "$MCP_REMOTE_CONFIG_DIR/*/*_client_info.json",
        ),
    ),
    TokenStore("claude-code", ("<home>/.claude/.credentials.json", "$CLAUDE_CONFIG_DIR/.credentials.json")),
    TokenStore(
        "codex",
        (
            "<home>/.codex/.credentials.json",
            "<home>/.codex/auth.json",
            "$CODEX_HOME/.credentials.json",
            "$CODEX_HOME/auth.json",
        ),
    ),
    TokenStore("gemini-cli", ("<home>/.gemini/mcp-oauth-tokens.json", "<home>/.gemini/oauth_creds.json")),
    TokenStore("qwen-code", ("<home>/.qwen/mcp-oauth-tokens.json", "<home>/.qwen/mcp-oauth-tokens-v2.json")),
    TokenStore("opencode", ("<data>/opencode/mcp-auth.json", "<data>/opencode/auth.json")),
    TokenStore("copilot-cli", ("<home>/.copilot/mcp-oauth-config/*",)),
    TokenStore("crush", ("<data>/crush/crush.json", "win:<local>/crush/crush.json")),
    TokenStore("continue", ("<home>/.continue/index/globalContext.json",)),
    TokenStore("amp", ("<home>/.amp/oauth/*.json", "<data>/amp/secrets.json")),
    TokenStore("amazon-q", ("<home>/.aws/sso/cache/*.json",)),
    TokenStore(
        "goose",
        (
            "mac:<config>/goose/secrets.yaml",
            "linux:<config>/goose/secrets.yaml",
            "win:<roaming>/Block/goose/config/secrets.yaml",
        ),
    ),
    TokenStore("kimi", ("<home>/.kimi/credentials/mcp_auth.json",)),
    TokenStore(
        "fastmcp",
        (
            "<home>/.fastmcp/oauth-mcp-client-cache/*_tokens.json",
            "<home>/.fastmcp/oauth-mcp-client-cache/*_client_info.json",
        ),
    ),
    TokenStore("mcphub", ("<data>/mcp-hub/oauth-storage.json", "<data>/mcphub/oauth-storage.json")),
    TokenStore(
        "toolhive",
        (
            "<data>/toolhive/secrets_encrypted",
            "mac:<app>/toolhive/secrets_encrypted",
            "win:<local>/toolhive/secrets_encrypted",
        ),
    ),
)

WORKSPACE_STATE = tuple(f"<app>/{name}/User/workspaceStorage/*/workspace.json" for name in _CODE_FAMILY)
"""Each names a folder that was once opened."""

# --- repositories ----------------------------------------------------------------------------------------------------

SWEEP_NAMES = frozenset(
    {
        ".mcp.json",
        "mcp.json",
        "mcp.jsonc",
        "mcp_config.json",
        "mcp-config.json",
        "mcp_settings.json",
        "cline_mcp_settings.json",
        "claude_desktop_config.json",
        "managed-mcp.json",
        "mcp_servers.json",
        "mcp-servers.json",
        "opencode.json",
        "opencode.jsonc",
        "kilo.json",
        "kilo.jsonc",
        "crush.json",
        ".crush.json",
        "librechat.yaml",
        "librechat.yml",
        "devcontainer.json",
        ".devcontainer.json",
        "crushrc",
        ".crushrc",
        "gemini-extension.json",
        "anythingllm_mcp_servers.json",
        "mcporter.json",
        "mcp.yaml",
        "mcp.yml",
        ".claude.json",
        "server.json",
        "readme.md",
        "openclaw.json",
    }
)
SWEEP_UNDER = {
    "settings.json": frozenset({".gemini", ".qwen", ".amp", ".zed", ".vscode"}),
    "settings.jsonc": frozenset({".amp"}),
    "config.toml": frozenset({".codex", ".grok", ".vibe"}),
    "config.yaml": frozenset({"goose", ".continue", ".hermes"}),
    "config.json": frozenset({".continue"}),
    "project.json": frozenset({".mcphub"}),
    "plugin.json": frozenset({".claude-plugin"}),
}
_SWEEP_FOLDERS = (("mcpServers", (".yaml", ".yml", ".json")), ("cli-agents", (".json",)), ("agents", (".md", ".json")))
SKIPPED_FOLDERS = frozenset(
    {
        ".git",
        ".hg",
        ".svn",
        "node_modules",
        ".venv",
        "venv",
        "__pycache__",
        ".tox",
        ".nox",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        "site-packages",
        ".cache",
        ".npm",
        ".cargo",
        ".rustup",
        ".gradle",
        ".m2",
        "target",
        ".next",
        ".nuxt",
        ".terraform",
        "bower_components",
        ".Trash",
        ".pnpm-store",
        ".yarn",
        "DerivedData",
        ".hypothesis",
        "marketplaces",
    }
)
_SHARED_NAMES = frozenset(
    {
        "settings.json",
        "settings.jsonc",
        "config.toml",
        "config.yaml",
        "config.json",
        "devcontainer.json",
        ".devcontainer.json",
        ".claude.json",
        "server.json",
        "readme.md",
        "plugin.json",
        "project.json",
        "opencode.json",
        "opencode.jsonc",
        "kilo.json",
        "kilo.jsonc",
        "crush.json",
        ".crush.json",
        "librechat.yaml",
        "librechat.yml",
        "openclaw.json",
        "gemini-extension.json",
        "crushrc",
        ".crushrc",
    }
)
_TEMPLATE = re.compile(r"\.(?:example|sample|template|tmpl|tpl|dist)(?=\.|$)")


@lru_cache(maxsize=4096)
def is_swept(name: str, parent: str) -> bool:
    """Whether a folder sweep looks into a file of this name in a folder of that name."""
    bare = name.lower()
    if "." in bare and ("example" in bare or "sample" in bare or "t" in bare[-9:]):
        bare = _TEMPLATE.sub("", bare)
    if bare in SWEEP_NAMES or bare.endswith((".mcp.json", ".code-workspace")):
        return True
    if bare in SWEEP_UNDER:
        return parent in SWEEP_UNDER[bare]
    return any(parent == folder and bare.endswith(endings) for folder, endings in _SWEEP_FOLDERS)


@lru_cache(maxsize=1024)
def is_shared(name: str) -> bool:
    """Whether a file of this name holds many things besides MCP and is passed over in silence when it has none."""
    bare = _TEMPLATE.sub("", name.lower())
    return bare in _SHARED_NAMES or bare.endswith((".code-workspace", ".md"))


_Rows = tuple[tuple[tuple[str, ...], str], ...]


@lru_cache(maxsize=1)
def _suffixes() -> tuple[dict[str, dict[str, _Rows]], tuple[tuple[tuple[str, str], dict[str, _Rows]], ...]]:
    """By file name (and by pattern of one) and by the folder it lies in: the folders that tell the client."""
    table: dict[str, dict[str, list[tuple[tuple[str, ...], str]]]] = {}
    for client in CLIENTS:
        for place in (*client.places, *client.project):
            parts = [
                p.lower() for p in re.sub(r"\A(?:mac|linux|win):", "", place).split("/") if not p.startswith(("<", "$"))
            ]
            if not parts or (len(parts) == 1 and parts[0] in _TELL_NOTHING):
                continue
            needed = tuple(p for p in parts[:-1] if p != "**")
            nearest = needed[-1] if needed and "*" not in needed[-1] else ""
            table.setdefault(parts[-1], {}).setdefault(nearest, []).append((needed, client.slug))
    ordered = {
        tail: {nearest: tuple(sorted(rows, key=lambda row: -len(row[0]))) for nearest, rows in by_folder.items()}
        for tail, by_folder in table.items()
    }
    exact = {tail: rows for tail, rows in ordered.items() if "*" not in tail}
    return exact, tuple((tuple(tail.split("*", 1)), rows) for tail, rows in ordered.items() if "*" in tail)  # type: ignore[misc]


# Names that belong to one client wherever they lie.
_TELL_ALL = {
    "claude_desktop_config.json": "claude-desktop",
    "cline_mcp_settings.json": "cline",
    "managed-mcp.json": "claude-code",
    "anythingllm_mcp_servers.json": "anythingllm",
    "mcporter.json": "mcporter",
    ".claude.json": "claude-code",
    "openclaw.json": "openclaw",
}
_TELL_NOTHING = frozenset({"mcp.json", "settings.json", "config.yaml", "config.json", "config.toml"})


def client_of(path: str) -> str | None:
    """The client that a file belongs to, by its name and the folders it lies in; None when that says nothing."""
    parts = [p for p in re.split(r"[\\/]", path.lower()) if p]
    if not parts:
        return None
    name = _TEMPLATE.sub("", parts[-1])
    exact, patterns = _suffixes()
    best: tuple[int, str] | None = None
    candidates = [exact[name]] if name in exact else []
    candidates += [rows for (before, after), rows in patterns if name.endswith(after) and name.startswith(before)]
    folder = parts[-2] if len(parts) > 1 else ""
    for by_folder in candidates:
        for needed, slug in (*by_folder.get(folder, ()), *by_folder.get("", ())):
            if (best is None or len(needed) > best[0]) and _ends_with(parts, needed):
                best = (len(needed), slug)
    return best[1] if best else _TELL_ALL.get(name)


def _ends_with(parts: list[str], needed: tuple[str, ...]) -> bool:
    """Whether the folders in front of the file name are these."""
    at = len(parts) - 1 - len(needed)
    return at >= 0 and all(
        have == want or ("*" in want and fnmatchcase(have, want))
        for have, want in zip(parts[at:-1], needed, strict=True)
    )


# --- this machine ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """One path or glob where a client may keep something on this machine."""

    client: str
    base: Path
    pattern: str
    """Below `base`, empty when `base` is the file itself."""
    is_token_store: bool = False

    def __str__(self) -> str:
        return str(self.base / self.pattern) if self.pattern else str(self.base)


def folders(home: Path, system: str, environ: Mapping[str, str], root: Path) -> dict[str, Path]:
    """The folders that the angle brackets stand for."""

    def moved(variable: str, usual: Path) -> Path:
        value = environ.get(variable, "")
        return Path(value) if value and Path(value).is_absolute() else usual

    roaming = moved("APPDATA", home / "AppData/Roaming")
    local = moved("LOCALAPPDATA", home / "AppData/Local")
    config = moved("XDG_CONFIG_HOME", home / ".config")
    app = {"Darwin": home / "Library/Application Support", "Windows": roaming}.get(system, config)
    return {
        "home": home,
        "root": root,
        "app": app,
        "config": config,
        "data": local if system == "Windows" else moved("XDG_DATA_HOME", home / ".local/share"),
        "state": local if system == "Windows" else moved("XDG_STATE_HOME", home / ".local/state"),
        "roaming": roaming,
        "local": local,
        "programdata": moved("ProgramData", root / "ProgramData"),
        "programfiles": moved("ProgramFiles", root / "Program Files"),
    }


def places(home: Path, system: str, environ: Mapping[str, str], root: Path = Path("/")) -> Iterator[Place]:
    """Every place of every client on a machine of this system, token stores included."""
    known = folders(home, system, environ, root)
    for client in CLIENTS:
        for place in client.places:
            yield from _resolved(client.slug, place, known, system, environ, is_token_store=False)
    for store in TOKEN_STORES:
        for place in store.places:
            yield from _resolved(store.slug, place, known, system, environ, is_token_store=True)


def workspace_states(home: Path, system: str, environ: Mapping[str, str], root: Path = Path("/")) -> Iterator[Place]:
    """The files in which the VS Code family remembers opened folders."""
    known = folders(home, system, environ, root)
    for place in WORKSPACE_STATE:
        yield from _resolved("vscode", place, known, system, environ, is_token_store=False)


_SYSTEMS = {"mac": "Darwin", "linux": "Linux", "win": "Windows"}


def _resolved(
    slug: str, place: str, known: dict[str, Path], system: str, environ: Mapping[str, str], *, is_token_store: bool
) -> Iterator[Place]:
    only, colon, path = place.partition(":")
    if colon and only in _SYSTEMS:
        if _SYSTEMS[only] != system:
            return
    else:
        path = place
    head, _, rest = path.partition("/")
    if head.startswith("$"):
        value = environ.get(head[1:], "")
        if not value or not Path(value).is_absolute():
            return
        base = Path(value)
    else:
        base = known[head.strip("<>")]
    fixed = []
    parts = rest.split("/") if rest else []
    while parts and "*" not in parts[0]:
        fixed.append(parts.pop(0))
    yield Place(slug, base.joinpath(*fixed), "/".join(parts), is_token_store)
