"""How each client writes a variable in its configuration. Of clients that are not here none is known to read any."""

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_BRACED, _ENV, _TYPED = "${NAME}", "${env:NAME}", "{env:NAME}"
SPELLINGS = {
    "claude-code": _BRACED,
    "cursor": _ENV,
    "vscode": _ENV,
    "windsurf": _ENV,
    "gemini-cli": _BRACED,
    "qwen-code": _BRACED,
    "opencode": _TYPED,
    "kilo-code": _ENV,
    "roo-code": _ENV,
    "kiro": _BRACED,
    "amazon-q": _ENV,
    "continue": "${{ secrets.NAME }}",
    "librechat": _BRACED,
    "amp": _BRACED,
    "crush": _BRACED,
    "mcphub": _ENV,
}


def is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None
