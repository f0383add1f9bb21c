"""How bad what was found is, for a build that should fail on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inventory.discovery.model import Class, Confidence, FoundCredential, FoundFile

LEVELS = ("low", "medium", "high", "critical")

_CRITICAL_PREFIXES = ("sk_live", "rk_live", "sk-admin", "sk-ant-admin")


def severity_of(credential: FoundCredential) -> str | None:
    """A literal is high; one that was only guessed at is medium or low. References and placeholders are fine."""
    if credential.class_ is not Class.LITERAL:
        return None
    if credential.hint and credential.hint.startswith(_CRITICAL_PREFIXES):
        return "critical"
    return {Confidence.HIGH: "high", Confidence.MEDIUM: "high", Confidence.LOW: "medium"}[credential.confidence]


def findings(files: Iterable[FoundFile]) -> Iterator[tuple[str, str]]:
    """(severity, what) of everything worth failing a build for. Token stores are where tokens belong."""
    for file in files:
        if file.error is not None:
            yield "low", f"{file.path}: {file.error}"
        if file.format == "token-store":
            if file.mode is not None and file.mode & 0o077:
                yield "medium", f"{file.path}: others can read these tokens"
            continue
        for credential in file.credentials:
            if (level := severity_of(credential)) is not None:
                yield level, f"{file.path}: {credential.pointer}"
        for server in file.servers:
            for credential in server.credentials:
                if (level := severity_of(credential)) is not None:
                    yield level, f"{file.path}: {server.name} {credential.pointer}"
            if server.pinned is False and not server.disabled:
                yield "low", f"{file.path}: {server.name} runs whatever version is newest"
