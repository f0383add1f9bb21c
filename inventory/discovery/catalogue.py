"""The scanner library's catalogue of credential formats, asked only about values that our own table does not know.

Loading its rules costs a third of a second from its cache and several seconds without, so it happens at most once per
process and only when the first such value turns up. Nothing here leaves the machine: the library's validator and
revoker are not used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kingfisher_sdk import Rules, Scanner

from inventory.discovery.model import Kind


@dataclass(frozen=True, slots=True)
class Recognised:
    """What the catalogue says about a value."""

    issuer: str
    kind: Kind | None


# "aws" would be any forty characters after a word such as key; our own table knows AWS by its pairs.
_NOT_AN_ISSUER = frozenset(
    {"aws", "generic", "jwt", "private", "curl", "kubernetes", "nuget", "sidekiq", "credential", "polymarket"}
)
_IDENTIFIERS = re.compile(
    r"(?:-id|-host|-name|-url|-address|-domain|-username|-pub-key|-public-key|-key-id)(?:\.\d+)?$"
)
_LABELS = {
    "dd": "Datadog",
    "gcp": "Google",
    "aws": "AWS",
    "hashicorp": "HashiCorp",
    "openweather": "OpenWeather",
    "newrelic": "New Relic",
    "huggingface": "Hugging Face",
    "elevenlabs": "ElevenLabs",
    "wandb": "Weights & Biases",
    "ibm": "IBM Cloud",
    "ovh": "OVH",
    "mem0": "Mem0",
    "okta": "Okta",
    "hubspot": "HubSpot",
    "clickup": "ClickUp",
    "runpod": "RunPod",
    "pagerduty": "PagerDuty",
    "brave": "Brave Search",
    "togetherai": "Together AI",
}


class Catalogue:
    """Recognises values by the scanner library. `cache_dir` keeps its compiled rules; it must be the user's alone."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._unknown_shapes: set[tuple[str, int, bool]] = set()

    def recognise(self, named: list[tuple[str, str]]) -> list[Recognised | None]:
        """For each (field name, value) what the catalogue knows, asked in one pass."""
        answers: list[Recognised | None] = [None] * len(named)
        # What is letters and digits only is recognised by the words around it, its length and its alphabet, so one
        # answer holds for every value of that shape under that name.
        shapes = [(name, len(secret), _is_hex(secret)) if secret.isalnum() else None for name, secret in named]
        asked = [i for i, shape in enumerate(shapes) if shape is None or shape not in self._unknown_shapes]
        if not asked:
            return answers
        text = "\n".join(f'{named[i][0][:80]} = "{named[i][1]}"'.replace("\n", " ") for i in asked)
        for finding in _scanner(self._cache_dir).scan(text):
            row = finding.location["line"] - 1
            if 0 <= row < len(asked) and answers[asked[row]] is None:
                answers[asked[row]] = _recognised(finding.rule_id)
        for i in asked:
            shape = shapes[i]
            if answers[i] is None and shape is not None and len(self._unknown_shapes) < _MAX_SHAPES:
                self._unknown_shapes.add(shape)
        return answers


_MAX_SHAPES = 10_000


def _is_hex(secret: str) -> bool:
    return not set(secret) - set("0123456789abcdef")


@lru_cache(maxsize=1)
def _scanner(cache_dir: Path) -> Scanner:
    return Scanner(Rules(cache_dir=str(cache_dir)), redact=True)


@lru_cache(maxsize=1024)
def _recognised(rule_id: str) -> Recognised | None:
    rule = rule_id.rpartition("betterleaks.")[2].rpartition("veles.")[2]
    issuer = re.split(r"[-.]", rule, maxsplit=1)[0]
    if issuer in _NOT_AN_ISSUER or _IDENTIFIERS.search(rule):
        return None
    kind: Kind | None = None
    if "client-secret" in rule:
        kind = Kind.OAUTH_CLIENT_SECRET
    elif "refresh" in rule:
        kind = Kind.OAUTH_REFRESH_TOKEN
    elif "personal" in rule or rule.endswith("-pat"):
        kind = Kind.PERSONAL_ACCESS_TOKEN
    elif "password" not in rule:
        kind = Kind.API_KEY
    return Recognised(_LABELS.get(issuer, issuer.capitalize()), kind)
