"""The same evidence in OSCAL 1.2: assessment results, and a plan of action for what is open. Pure dictionaries.

Identifiers are derived (UUID version 5), so that the same evidence gives the same document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

VERSION = "1.2.3"
OURS = "urn:keyreeve:oscal"
NAMESPACE = UUID("3b5f7c9e-2f0a-5d5c-9b6d-0f2a7e1c4d88")
SEVERITIES = {1: "low", 2: "medium", 3: "high", 4: "critical"}


@dataclass(frozen=True, slots=True)
class Open:
    """What is open under one rule and one owner: a line of the plan."""

    rule: str
    name: str
    owner_id: str
    owner: str
    is_waived: bool
    number: int
    severity: int
    opened_at: datetime
    deadline: datetime
    why: str
    remediation: str
    controls: Sequence[str]

    @property
    def key(self) -> str:
        return f"{self.rule}/{self.owner_id}/{'waived' if self.is_waived else 'open'}"


def _id(kind: str, at: str, *parts: str) -> str:
    return str(uuid5(NAMESPACE, "/".join((kind, at, *parts))))


def _prop(name: str, value: object) -> dict[str, str]:
    return {"name": name, "ns": OURS, "value": str(value)}


def _line(text: str) -> str:
    """A text of one line without blanks around it, as OSCAL wants values."""
    return " ".join(text.split()) or "unknown"


def _metadata(title: str, at: str, version: str) -> dict[str, Any]:
    return {"title": title, "last-modified": at, "version": version, "oscal-version": VERSION}


def observation(measure: Mapping[str, Any], at: str) -> dict[str, Any]:
    counted = ("met", "violated", "unknown", "waived")
    props = [_prop(name, measure[name]) for name in ("id", "verdict", "threshold", *counted)]
    if measure["share"] is not None:
        props.append(_prop("share", measure["share"]))
    population = measure["met"] + measure["violated"] + measure["unknown"]
    return {
        "uuid": _id("observation", at, measure["id"]),
        "title": measure["name"],
        "description": (
            f"{measure['population']} Violated when: {measure['violated_when']} {measure['met']} of {population} were "
            f"seen to meet it; {measure['unknown']} could not be seen."
        ),
        "props": props,
        "methods": ["TEST"],
        "types": ["control-objective"],
        "relevant-evidence": [{"href": f"../{measure['list']}", "description": f"Column {measure['column']}."}],
        "collected": at,
    }


def _finding(control: Mapping[str, Any], at: str, violated: set[str]) -> dict[str, Any]:
    is_met = control["verdict"] == "met"
    reason = {"met": "pass", "violated": "fail"}.get(control["verdict"], "other")
    said = f"{control['measures_met']} of {control['measures_applicable']} measures that apply are met."
    found: dict[str, Any] = {
        "uuid": _id("finding", at, control["id"]),
        "title": f"{control['id']} {control['title']}",
        "description": f"{control['asks']} {said} {control['not_measured']}".strip(),
        "props": [_prop("verdict", control["verdict"]), _prop("exceptions", control["exceptions"])],
        "target": {
            "type": "statement-id",
            "target-id": f"{control['id']}_statement",
            "status": {"state": "satisfied" if is_met else "not-satisfied", "reason": reason},
        },
    }
    if control["measures"]:
        found["related-observations"] = [
            {"observation-uuid": _id("observation", at, each)} for each in control["measures"]
        ]
    risks = [each for each in control["measures"] if each in violated]
    if risks:
        found["related-risks"] = [{"risk-uuid": _id("risk", at, each)} for each in risks]
    return found


def assessment_results(
    controls: Sequence[Mapping[str, Any]],
    measures: Sequence[Mapping[str, Any]],
    *,
    begins_at: str,
    at: str,
    version: str,
    purpose: str,
) -> dict[str, Any]:
    """One result: an observation for each measure, a finding for each control, a risk for each measure not kept."""
    plan = _id("plan", at)
    violated = {measure["id"] for measure in measures if measure["verdict"] == "violated"}
    result: dict[str, Any] = {
        "uuid": _id("result", at),
        "title": _line(purpose),
        "description": "How an estate of machine identities answers NIST CSF 2.0. What is unknown is not satisfied.",
        "start": begins_at,
        "end": at,
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": control["id"]} for control in controls]}]
        },
        "observations": [observation(measure, at) for measure in measures],
        "findings": [_finding(control, at, violated) for control in controls],
    }
    risks = [
        {
            "uuid": _id("risk", at, measure["id"]),
            "title": measure["name"],
            "description": measure["violated_when"],
            "statement": f"{measure['violated']} violate it, {measure['waived']} of them with an accepted risk.",
            "status": "open",
            "related-observations": [{"observation-uuid": _id("observation", at, measure["id"])}],
        }
        for measure in measures
        if measure["id"] in violated
    ]
    if risks:
        result["risks"] = risks
    return {
        "assessment-results": {
            "uuid": _id("assessment-results", at),
            "metadata": _metadata("Keyreeve assessment results", at, version),
            "import-ap": {"href": f"#{plan}"},
            "results": [result],
            "back-matter": {
                "resources": [
                    {
                        "uuid": plan,
                        "title": "What is assessed, and how",
                        "description": "metrics.json of the same pack names each measure's population and threshold.",
                        "rlinks": [{"href": "../metrics.json", "media-type": "application/json"}],
                    }
                ]
            },
        }
    }


def risk(each: Open, at: str) -> dict[str, Any]:
    said = f"{each.number} subjects of {each.owner}, the oldest since {each.opened_at:%Y-%m-%d}."
    return {
        "uuid": _id("open-risk", at, each.key),
        "title": _line(f"{each.name}: {each.owner}"),
        "description": said,
        "statement": each.why,
        "props": [_prop("rule", each.rule), _prop("number", each.number), _prop("owner", _line(each.owner))],
        "status": "deviation-approved" if each.is_waived else "open",
        "characterizations": [
            {
                "origin": {"actors": [{"type": "tool", "actor-uuid": str(NAMESPACE)}]},
                "facets": [
                    {"name": "severity", "system": "http://csrc.nist.gov/ns/oscal", "value": SEVERITIES[each.severity]}
                ],
            }
        ],
        "deadline": each.deadline.isoformat(),
        "remediations": [
            {
                "uuid": _id("remediation", at, each.key),
                "lifecycle": "recommendation",
                "title": "What resolves it",
                "description": each.remediation,
            }
        ],
    }


def item(each: Open, at: str) -> dict[str, Any]:
    return {
        "uuid": _id("item", at, each.key),
        "title": _line(f"{each.name}: {each.owner}"),
        "description": each.remediation,
        "props": [
            _prop("rule", each.rule),
            _prop("number", each.number),
            *(_prop("control", control) for control in each.controls),
        ],
        "related-risks": [{"risk-uuid": _id("open-risk", at, each.key)}],
    }


def plan_head(*, at: str, version: str) -> dict[str, Any]:
    """A plan of action without its risks and items, which are many."""
    return {
        "uuid": _id("plan-of-action", at),
        "metadata": _metadata("Keyreeve plan of action and milestones", at, version),
        "system-id": {"identifier-type": "https://ietf.org/rfc/rfc4122", "id": str(NAMESPACE)},
    }
