"""Whether credentials are still needed, and what they are tagged as: one question a page, for one row or for many."""

from collections import Counter

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from access.actors import Actor
from access.permissions import requires
from access.rights import Right
from inventory.actions.confirmation import confirm_credentials
from inventory.actions.tags import tag_credentials
from inventory.errors import InventoryError
from inventory.forms import ConfirmForm, TagsForm
from inventory.models import Credential
from inventory.views.assignments import LOOKED_AT, METHODS, NAMED, mine, which
from inventory.views.questions import Question, ask, chosen, go, is_decided, nothing_picked, way_back
from web.wording import plural, some

TAGS_NAMED = 12


@require_http_methods(METHODS)
@requires(Right.KEEP)
def credential_confirm(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("credential_list"))
    ids, rows = chosen(request, Credential.objects.confirmable_by(actor))
    if not ids:
        return nothing_picked(request, back, "credentials")
    form = ConfirmForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        try:
            count = confirm_credentials(
                list(rows.values_list("pk", flat=True)),
                actor=actor,
                now=timezone.now(),
                reason=form.cleaned_data["reason"],
            )
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            messages.success(request, f"You confirmed that {plural(count, 'credential is,credentials are')} needed.")
            return go(request, back)
    looked_at = list(rows.order_by("name", "pk")[:LOOKED_AT])
    never = sum(row.reviewed_at is None for row in looked_at)
    facts = [("Credential" if len(ids) == 1 else "Credentials", which(looked_at, len(ids)))]
    if never:
        facts.append(("Never confirmed", "so far" if len(ids) == 1 else f"{never} of them"))
    unused = sum(row.last_used_at is None for row in looked_at)
    if unused:
        facts.append(("Last use", "unknown" if len(ids) == 1 else f"unknown of {unused} of them"))
    question = Question(
        title=f"Confirm that {plural(len(ids), 'credential is,credentials are')} still needed",
        text="Say so only where you know what it is for. The time until the next review begins anew.",
        facts=facts,
        form=form,
        submit="Confirm",
        back=back,
        ids=ids,
    )
    return ask(request, question)


@require_http_methods(METHODS)
@requires(Right.KEEP)
def credential_tag(request: HttpRequest) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    back = way_back(request, reverse("credential_list"))
    ids, rows = chosen(request, mine(actor, Credential.objects.visible_to(actor), "owner"))
    if not ids:
        return nothing_picked(request, back, "credentials")
    form = TagsForm(request.POST if is_decided(request) else None)
    if is_decided(request) and form.is_valid():
        given = form.cleaned_data
        try:
            count = tag_credentials(rows, add=given["add"], remove=given["remove"], actor=actor)
        except InventoryError as exc:
            form.add_error(None, str(exc))
        else:
            if count:
                messages.success(request, f"The tags of {plural(count, 'credential')} changed.")
            else:
                messages.info(request, "Nothing changed: the tags are so already.")
            return go(request, back)
    looked_at = list(rows.order_by("name", "pk")[:LOOKED_AT])
    counts = Counter(tag for row in looked_at for tag in row.tags)
    names = [tag if len(looked_at) == 1 else f"{tag} ({count})" for tag, count in counts.most_common(TAGS_NAMED)]
    question = Question(
        title=f"Tag {plural(len(ids), 'credential')}",
        text="Lists are narrowed by tags, and policies may select by them.",
        facts=[
            ("Credential" if len(ids) == 1 else "Credentials", which(looked_at[:NAMED], len(ids))),
            ("Tags so far", some(names, TAGS_NAMED, len(counts)) if names else "none"),
        ],
        form=form,
        submit="Change tags",
        back=back,
        ids=ids,
    )
    return ask(request, question)
