"""Where literal secrets were seen."""

from operator import attrgetter
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from access.permissions import requires, requires_reader
from access.rights import Right
from access.roles import Role
from inventory.discovery.keys import fingerprint_key
from inventory.errors import InventoryError
from inventory.filters import ExposureFilter
from inventory.forms import ReplaceForm
from inventory.models import Exposure
from inventory.replacing import preview, replace
from inventory.tasks import ring
from inventory.views.presence import PresentUnlessAsked, seen_at, suited
from providers.errors import ProviderError
from web.lists import Column, Empty, ListPage, View
from web.paging import Ordering
from web.past import answers_past


class ExposuresOnPage(PresentUnlessAsked, ExposureFilter):
    pass


EXPOSURES = ListPage(
    name="exposures",
    title="Exposures",
    noun="exposure",
    columns=(
        Column("file", "Where", value=attrgetter("file"), sort="file"),
        Column("hint", "Hint", value=attrgetter("credential.hint"), priority=2),
        Column("credential", "Credential", value=attrgetter("credential.name"), priority=2),
        Column("host", "Host", value=attrgetter("host"), priority=3),
        Column("readable", "Readable by others", value=attrgetter("is_readable_by_others"), priority=4),
        Column("seen_for", "Seen for", value=attrgetter("first_seen_at"), sort="seen", is_numeric=True),
        Column("now", "Now", value=lambda exposure: "gone" if exposure.gone_at else "present", priority=2),
    ),
    orderings=(
        Ordering("seen", (), descending=True, ascending_words="longest exposed first", descending_words="newest first"),
        Ordering("file", ("file",), ascending_words="by path", descending_words="by path, backwards"),
    ),
    filterset=ExposuresOnPage,
    row_template="inventory/_exposure_row.html",
    template="inventory/exposure_list.html",
    row_css=lambda exposure: "ended" if exposure.gone_at else "",
    views=(
        View("Present", is_counted=False),
        View("Readable by others", "is_readable_by_others=true"),
        View("Gone", "gone=true"),
    ),
    empty=Empty(
        "No literal secret was seen",
        "Configuration that was read holds references or nothing. What no connection looks at stays unknown.",
        "/connections/",
        "See what is looked at",
    ),
    csv=(
        ("id", attrgetter("pk")),
        ("host", attrgetter("host")),
        ("file", attrgetter("file")),
        ("pointer", attrgetter("pointer")),
        ("credential_id", attrgetter("credential_id")),
        ("credential", attrgetter("credential.name")),
        ("hint", attrgetter("credential.hint")),
        ("is_readable_by_others", attrgetter("is_readable_by_others")),
        ("first_seen_at", attrgetter("first_seen_at")),
        ("last_seen_at", seen_at),
        ("gone_at", attrgetter("gone_at")),
    ),
)


@require_safe
@requires_reader
@answers_past
def exposure_list(request: HttpRequest) -> HttpResponseBase:
    actor = request.actor  # type: ignore[attr-defined]
    visible = Exposure.objects.visible_to(actor).select_related("credential", "connection")
    return suited(EXPOSURES, actor, Role.AUDITOR).respond(request, visible)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Right.DELIVER)
def exposure_replace(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what would change, and change it once somebody has seen it."""
    actor = request.actor  # type: ignore[attr-defined]
    visible = Exposure.objects.visible_to(actor).present().select_related("credential", "connection")
    exposure = get_object_or_404(visible, pk=pk)
    given = request.POST if request.method == "POST" else request.GET
    form = ReplaceForm(given if "reference" in given else None)
    change, problem = None, ""
    if form.is_bound and form.is_valid():
        reference, deliver_to = form.cleaned_data["reference"], form.cleaned_data["deliver_to"]
        key, _ = fingerprint_key(settings.KEYREEVE_HOME, settings.FINGERPRINT_KEY)
        try:
            if request.method == "POST":
                replace(
                    exposure,
                    reference=reference,
                    key=key,
                    actor=actor,
                    now=timezone.now(),
                    digest=form.cleaned_data["digest"],
                    deliver_to=deliver_to,
                )
                ring(exposure.connection_id, exposure.connection.kind)
                messages.success(request, "The reference stands in the file. A sync looks at it now.")
                return redirect("credential_detail", exposure.credential_id)
            change = preview(exposure, reference=reference, key=key)
        except (InventoryError, ProviderError) as exc:
            problem = str(exc)
    context = {
        "exposure": exposure,
        "form": form,
        "change": change,
        "problem": problem,
        "folders": settings.DELIVERY_FOLDERS,
    }
    status = 422 if problem or (form.is_bound and not form.is_valid()) else 200
    return render(request, "inventory/exposure_replace.html", context, status=status)
