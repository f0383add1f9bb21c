"""What of a server must not change unnoticed: a snapshot that can be stored, its digest, and what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from inventory.posture.wording import some
from providers.observations import Exchange, IssuerObservation, ServerObservation
from providers.questions import Question

MOST = 5  # names in a sentence
_METADATA = (Question.METADATA_NAMED, Question.METADATA_AT_PATH, Question.METADATA_AT_ROOT)


def resource_metadata(observation: ServerObservation) -> tuple[Exchange, Mapping[str, Any]] | None:
    """The protected resource metadata that a client would use, and the exchange that found it."""
    for question in _METADATA:
        exchange = observation.exchanges.get(question)
        if exchange is not None and exchange.status == 200 and isinstance(exchange.document, Mapping):
            return exchange, exchange.document
    return None


def texts(value: object) -> list[str]:
    """The texts of a list in somebody else's document; whatever is no list of texts is none."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def snapshot(observation: ServerObservation, issuers: Iterable[IssuerObservation] = ()) -> dict[str, Any]:
    """Authorization servers, their key sets, scopes and tools, as JSON. What was not seen is None, never empty.

    Sorted, so that a server that lists the same in another order has not changed.
    """
    found = resource_metadata(observation)
    tools = observation.tools if not observation.tools_error else None
    return {
        "authorization_servers": None if found is None else sorted(texts(found[1].get("authorization_servers"))),
        "scopes": None if found is None else sorted(texts(found[1].get("scopes_supported"))),
        "jwks_uris": {
            seen.issuer: str(seen.metadata.get("jwks_uri", "")) for seen in issuers if seen.metadata is not None
        },
        "tools": None if tools is None else {tool.name: tool.schema_digest for tool in tools},
    }


def digest(taken: Mapping[str, Any]) -> str:
    """A digest of a snapshot: equal when nothing that it holds has changed."""
    text = json.dumps(taken, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """What changed, a sentence each. What one of the two did not see is not compared."""
    said = []
    for part, name in (("authorization_servers", "authorization servers"), ("scopes", "scopes")):
        before, after = previous.get(part), current.get(part)
        if before is not None and after is not None and set(before) != set(after):
            said.append(f"Its {name} changed{_gained_and_lost(before, after)}.")
    before_keys, after_keys = previous.get("jwks_uris") or {}, current.get("jwks_uris") or {}
    said += [
        f"The key set of {issuer} moved from {before_keys[issuer] or 'nowhere'} to {uri or 'nowhere'}."
        for issuer, uri in sorted(after_keys.items())
        if issuer in before_keys and before_keys[issuer] != uri
    ]
    before_tools, after_tools = previous.get("tools"), current.get("tools")
    if before_tools is not None and after_tools is not None:
        changed = sorted(
            name for name, found in after_tools.items() if name in before_tools and before_tools[name] != found
        )
        if set(before_tools) != set(after_tools):
            said.append(f"Its list of tools changed{_gained_and_lost(before_tools, after_tools)}.")
        if changed:
            said.append(f"The definition of {_some(changed)} changed.")
    return said


def unseen(previous: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """The parts that the last snapshot holds and this one could not see."""
    names = {"authorization_servers": "authorization servers", "scopes": "scopes", "tools": "tools"}
    parts = [name for part, name in names.items() if previous.get(part) is not None and current.get(part) is None]
    lost = set(previous.get("jwks_uris") or {}) - set(current.get("jwks_uris") or {})
    still_named = lost & set(current.get("authorization_servers") or ())
    return parts + (["key sets"] if still_named else [])


def _gained_and_lost(before: Iterable[str], after: Iterable[str]) -> str:
    gained, lost = sorted(set(after) - set(before)), sorted(set(before) - set(after))
    parts = [f"{verb} {_some(names)}" for verb, names in (("gained", gained), ("lost", lost)) if names]
    return f": {', '.join(parts)}" if parts else ""


def _some(names: list[str]) -> str:
    return some(names, MOST, lambda name: name[:200])
