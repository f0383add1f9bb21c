"""Pages that belong to no app: the gallery of components, for whoever builds pages."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from web.pictures import Part


class PolicyExample(forms.Form):
    name = forms.CharField(label="Policy name", initial="Static keys, production")
    age = forms.IntegerField(label="Maximum age", max_value=365, help_text="In days; at most 365.")
    environment = forms.ChoiceField(label="Environment", choices=[("prod", "prod"), ("staging", "staging")])
    due = forms.ChoiceField(
        label="When it is due",
        choices=[("propose", "Propose a rotation"), ("automatic", "Rotate by itself")],
        widget=forms.RadioSelect,
    )
    owner = forms.BooleanField(label="Needs an owner", required=False)


@require_safe
def components(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    refused = PolicyExample({"name": "", "age": "900", "environment": "prod", "due": "propose", "owner": "on"})
    return render(request, "web/components.html", {"now": now, "form": refused, **_examples(now)})


def _examples(now: Any) -> dict[str, Any]:
    mira = SimpleNamespace(name="Mira Okafor", kind="person", is_active=True)
    payments = SimpleNamespace(name="Payments", kind="team", is_active=True)
    stefan = SimpleNamespace(name="Stefan Brandt", kind="person", is_active=False)

    def ago(**length: float) -> Any:
        return now - timedelta(**length)

    def row(name: str, hint: str, kind: str, owner: Any, **more: Any) -> dict[str, Any]:
        start: dict[str, Any] = {
            "limit": 90,
            "issued": None,
            "first_seen": None,
            "used": None,
            "counts": {},
            "word": "",
            "css": "",
        }
        return {"name": name, "hint": hint, "kind": kind, "owner": owner, **start, **more}

    rows = [
        row("github-prod / deploy token", "ghp_…9f2c", "Personal access token", mira, issued=ago(days=131), limit=60,
            used=ago(minutes=4), counts={4: 1, 3: 2}, status="active", css="cursor", is_picked=True),
        row("billing-db / app login", "app_b@billing", "Database password", payments, issued=ago(days=97),
            used=ago(seconds=9), counts={4: 1}, status="stalled"),
        row("aws-ops / runbook key", "AKIA…7QXD", "AWS access key", None, issued=ago(days=164), used=ago(days=6),
            counts={3: 3}, status="active", is_picked=True),
        row("snowflake-ro / loader", "ldr_…0aa7", "Client secret", payments, issued=ago(hours=2),
            used=ago(minutes=3), status="overlap", css="fresh"),
        row("pagerduty / events key", "pd_…77f0", "API key", stefan, issued=ago(days=12), limit=180,
            used=ago(hours=5), counts={1: 1}, status="rotating", word="Rotating 3/8"),
        row("notion-sync / integration", "ntn_…f5e2", "API key", mira, first_seen=ago(days=12), counts={1: 1},
            status="unknown"),
        row("old-wiki / service login", "svc_wiki", "Database password", payments, status="suspended"),
        row("github-prod / old deploy token", "ghp_…d07a", "Personal access token", mira, issued=ago(days=200),
            limit=None, status="destroyed", css="ended"),
    ]  # fmt: skip
    counts = [(3, 1, 0, 1), (2, 1, 0, 1), (0, 0, 0, 0), (5, 0, 0, 1), (1, 2, 0, 4), (0, 0, 0, 0), (0, 1, 0, 0)]
    days = [
        {
            "on": (now + timedelta(days=i)).date(),
            "url": "#",
            "counts": dict(zip(("rotation", "expiry", "waiver", "review"), counts[i % 7], strict=True)),
        }
        for i in range(14)
    ]
    cells = [[3, 0, 1, 0, 0], [3, 6, 5, 2, 1], [2, 5, 9, 6, 3], [1, 2, 5, 4, 3]]
    heat = [
        {
            "severity": 4 - i,
            "cells": [{"count": count, "url": "#", "is_late": j > i + 1} for j, count in enumerate(line)],
        }
        for i, line in enumerate(cells)
    ]
    return {
        "rows": rows,
        "owners": [mira, payments, stefan, None],
        "levels": [4, 3, 2, 1, "info"],
        "counts": {4: 1, 3: 2, 2: 4},
        "statuses": ["active", "overlap", "rotating", "stalled", "suspended", "destroyed", "expired", "unknown"],
        "admissions": ["admitted", "quarantined", "removed"],
        "verdicts": ["met", "violated", "unknown", "not_applicable"],
        "times": [ago(seconds=5), ago(minutes=4), ago(hours=3), ago(days=71)],
        "dues": [now + timedelta(hours=21), now + timedelta(days=12), ago(days=41)],
        "ages": [(ago(days=22), 90, None), (ago(days=158), 180, None), (ago(days=131), 60, None),
                 (None, 90, ago(days=12)), (None, 90, None)],
        "points": [41, 44, 42, 46, 49, 47, 45, 48, 52, 50, 50, 61],
        "parts": [Part("ok", 82, "Kept"), Part("woad", 21, "Rotated"), Part("crit", 8, "Revoked"),
                  Part("high", 5, "Reassigned"), Part("none", 114, "Undecided")],
        "heat_rows": heat,
        "heat_columns": ["1 d", "7 d", "30 d", "90 d", "over"],
        "days": days,
        "today": now.date(),
        "swatches": [("woad", "Woad", "act, select, focus"), ("crit", "Critical", "violated, stalled"),
                     ("high", "High", "due soon"), ("med", "Medium", "this quarter"),
                     ("low", "Low", "when you are there"), ("ok", "In order", "met, verified"),
                     ("ink", "Ink", "everything else"), ("faint", "Rule", "not applicable")],
    }  # fmt: skip
