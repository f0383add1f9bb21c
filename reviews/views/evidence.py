"""Evidence packs and samples for people: ask for one, watch it being built, read what it says, take it along."""

from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from access.actors import Actor
from access.permissions import requires, requires_reader
from access.rights import Right
from inventory.models import Credential
from reviews.actions.evidence import request_pack
from reviews.models import EvidencePack
from reviews.models.sampling import bundles, drawn
from reviews.pack_shapes import USUAL_PURPOSE, EvidencePackFilter
from reviews.packing.building import population_of, served
from reviews.packing.writing import as_json
from reviews.packs import (
    EVERYTHING_PRESENT,
    LARGEST_SAMPLE,
    USUAL_PERIOD,
    USUAL_SAMPLE,
    NotABuilder,
    PackMissing,
    PackNotReady,
    PackRefused,
    PackRemoved,
)
from reviews.sampling import METHOD
from reviews.tasks import ring_pack
from web.lists import Column, Empty, ListPage, View
from web.narrowing import Day
from web.pages import render_page_or_fragment
from web.paging import Ordering, capped_count

METHODS = ["GET", "HEAD", "POST"]

PACKS = ListPage(
    name="evidence",
    title="Evidence",
    noun="evidence pack",
    columns=(
        Column("purpose", "For", value=attrgetter("purpose")),
        Column("state", "State", value=lambda row: row.get_state_display()),
        Column("period", "Since", value=attrgetter("begins_at"), priority=3),
        Column("until", "As of", value=attrgetter("ends_at"), priority=4),
        Column("size", "Bytes", value=attrgetter("size"), priority=3, is_numeric=True),
        Column("sha256", "SHA-256", value=attrgetter("sha256"), priority=4),
        Column("by", "Asked by", value=attrgetter("requested_by"), priority=3),
        Column("at", "Asked", value=attrgetter("requested_at"), priority=2, is_numeric=True),
    ),
    orderings=(Ordering("asked", (), True, "first asked for first", "last asked for first"),),
    filterset=EvidencePackFilter,
    row_template="reviews/_pack_cells.html",
    template="reviews/evidence_list.html",
    views=(View("All"), View("Ready", "state=ready"), View("Being built", "is_open=true")),
    empty=Empty(
        "No pack was built yet",
        "A pack holds everything that answers the controls, in one file that anybody can verify without Keyreeve.",
        "/evidence/new/",
        "Build a pack",
    ),
)


class PopulationField(forms.CharField):
    """Filters of credentials as their list has them in its address."""

    def clean(self, value: Any) -> str:
        text: str = super().clean(value).strip().partition("?")[2] or super().clean(value).strip()
        try:
            population_of(text)
        except ValidationError as exc:
            raise ValidationError("This is no filter of credentials: " + " ".join(exc.messages)) from exc
        return text


def _population() -> PopulationField:
    return PopulationField(
        label="Population",
        required=False,
        initial=EVERYTHING_PRESENT,
        max_length=2_000,
        help_text="The address of a filtered list of credentials, or what stands behind its question mark.",
    )


class PackForm(forms.Form):
    purpose = forms.CharField(label="What it is for", max_length=200, initial=USUAL_PURPOSE)
    begins_at = forms.DateField(
        label="Since",
        widget=Day,
        help_text="Of what has happened, from this day.",
    )
    ends_at = forms.DateField(
        label="Until",
        required=False,
        widget=Day,
        help_text="As everything stood at the end of this day (UTC). Empty: as it stands now.",
    )
    sample_size = forms.IntegerField(
        label="Sample", min_value=0, max_value=LARGEST_SAMPLE, initial=USUAL_SAMPLE, help_text="Credentials; 0: none."
    )
    sample_seed = forms.CharField(
        label="Seed", required=False, max_length=100, help_text="Any text. With the same one the same are drawn again."
    )
    sample_filter = _population()


class SampleForm(forms.Form):
    size = forms.IntegerField(label="How many", min_value=1, max_value=LARGEST_SAMPLE, initial=USUAL_SAMPLE)
    seed = forms.CharField(label="Seed", max_length=100, help_text="Any text. With the same one the same are drawn.")
    population = _population()


@require_safe
@requires_reader
def evidence_list(request: HttpRequest) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    context = {"may_build": actor.may(Right.BUILD_EVIDENCE)}
    return PACKS.respond(request, EvidencePack.objects.visible_to(actor).defer("summary"), context=context)


@require_http_methods(METHODS)
@requires(Right.BUILD_EVIDENCE)
def evidence_new(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    now = timezone.now()
    since = (now - USUAL_PERIOD).date()
    initial = {"begins_at": since, "sample_seed": f"{now:%Y-%m-%d}"}
    form = PackForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        begins, last = _midnight(given.pop("begins_at")), given.pop("ends_at")
        ends = _midnight(last) + timedelta(days=1) if last and last != now.astimezone(UTC).date() else None
        try:
            pack = request_pack(actor=actor, now=now, begins_at=begins, ends_at=ends, **given)
        except PackRefused as exc:
            for name, said in exc.problems.items():
                form.add_error(name, said)
        except NotABuilder as exc:
            form.add_error(None, str(exc))
        else:
            ring_pack(pack)
            messages.success(request, "It is being built. This page may be closed; it goes on.")
            return redirect("evidence_detail", pk=pack.pk)
    return render(request, "reviews/evidence_new.html", {"form": form}, status=422 if form.errors else 200)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@require_GET
@requires_reader
def evidence_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page of a pack. While it is built its head asks again, so a reload loses nothing."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    pack = get_object_or_404(EvidencePack.objects.visible_to(actor), pk=pk)
    context = {
        "pack": pack,
        "summary": pack.summary,
        "may_build": actor.may(Right.BUILD_EVIDENCE),
        "kept_until": pack.built_at and pack.built_at + settings.EVIDENCE_KEPT_FOR,
    }
    return render_page_or_fragment(
        request, "reviews/evidence_detail.html", "reviews/_pack_progress.html", {**context, "now": timezone.now()}
    )


@require_GET
@requires_reader
def evidence_download(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    pack = get_object_or_404(EvidencePack.objects.visible_to(actor), pk=pk)
    try:
        return served(pack)
    except (PackNotReady, PackMissing, PackRemoved) as exc:
        messages.warning(request, str(exc))
        return redirect("evidence_detail", pk=pk)


@require_GET
@requires_reader
def evidence_sample(request: HttpRequest) -> HttpResponse:
    """Draw a sample and look at it. Nothing is kept: the same seed draws the same again."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = SampleForm(request.GET or None, initial={"seed": f"{timezone.now():%Y-%m-%d}"})
    context: dict[str, Any] = {"form": form, "method": METHOD, "largest": LARGEST_SAMPLE}
    if request.GET and form.is_valid():
        given = form.cleaned_data
        population = population_of(given["population"]) & Credential.objects.visible_to(actor)
        context |= {
            "sample": drawn(population, size=given["size"], seed=given["seed"]),
            "count": capped_count(population),
            "given": given,
            "api_query": "&".join(
                filter(None, [given["population"], urlencode({"size": given["size"], "seed": given["seed"]})])
            ),
        }
    status = 422 if request.GET and form.errors else 200
    return render(request, "reviews/evidence_sample.html", context, status=status)


@require_GET
@requires_reader
def evidence_item(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Everything that is known of one credential, as a bundle has it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = Credential.objects.visible_to(actor).select_related("owner", "custodian", "environment", "connection")
    credential = rows.filter(pk=pk).first()
    if credential is None:
        raise Http404
    found = bundles([credential])[credential.pk]
    parts = [
        {"name": name.replace("_", " ").capitalize(), "key": name, "number": len(held), "text": as_json(held)}
        for name, held in found.items()
    ]
    return render(
        request, "reviews/evidence_item.html", {"credential": credential, "parts": parts, "now": timezone.now()}
    )
