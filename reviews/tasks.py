"""Doorbells of reviews, controls and evidence."""

from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from inventory.actions import asking
from inventory.actions.asking import measure_ownership
from inventory.actions.terms import terms
from lifecycle.tasks import ring, tell
from reviews import running
from reviews.actions import recurring, triggers
from reviews.actions.closing import close_what_is_gone
from reviews.actions.controls import measure_controls as measure
from reviews.actions.ownership_notices import tell_of_ownership
from reviews.actions.reminding import remind
from reviews.models import EvidencePack
from reviews.packing.building import build, remove_old

PACKS_AT_ONCE = 10


@shared_task
def measure_controls() -> dict[str, int]:
    now = timezone.now()
    if settings.OWNERSHIP_IS_ASKED:
        measure_ownership(now=now)
    return {"measures": measure(now)}


@shared_task
def sweep_ownership() -> dict[str, int]:
    """Who is to be asked whether they answer for what, whom nobody answered for, and who is to be told."""
    if not settings.OWNERSHIP_IS_ASKED:
        return {}
    now = timezone.now()
    done = asking.sweep(now=now, terms=terms())
    return {**done, "told": tell_of_ownership(now=now)}


@shared_task
def sweep_campaigns() -> dict[str, int]:
    """What is due in campaigns: parts to pass on, what nobody answered, what was decided and what came of it."""
    done = running.carry_on(clock=timezone.now, ring=ring)
    return {**done, "reminded": remind(now=timezone.now())}


@shared_task
def begin_campaigns() -> dict[str, int]:
    """What begins by itself: campaigns that come back, and those about what lapsed or occurred."""
    now = timezone.now()
    lapsed = recurring.ask_again(now=now)
    gone = close_what_is_gone(now=now)
    gathered = triggers.gather(now=now)
    drafted = recurring.draft_due(now=now) + gathered["drafted"]
    begun = recurring.launch_drafts(now=now)
    return {"lapsed": lapsed, "gone": gone, "occurred": gathered["occurred"], "drafted": drafted, "begun": begun}


@shared_task(acks_late=True, ignore_result=True)
def begin_decided() -> None:
    running.begin_decided(clock=timezone.now, ring=ring)


def ring_decided() -> None:
    """Ring for what was submitted once it is committed. Without a broker the sweep finds it."""
    transaction.on_commit(lambda: tell(begin_decided.delay))


# ── Evidence ─────────────────────────────────────────────────────────────────────────────────
@shared_task(acks_late=True, ignore_result=True)
def build_evidence_pack(pack_id: str) -> None:
    build(UUID(pack_id), clock=timezone.now)


@shared_task
def sweep_evidence_packs() -> dict[str, int]:
    """Packs that nobody rang for, and those whose worker died."""
    due = list(EvidencePack.objects.due(timezone.now()).order_by("pk")[:PACKS_AT_ONCE])
    for pack in due:
        build_evidence_pack.delay(str(pack.pk))
    return {"packs": len(due)}


@shared_task
def remove_old_packs() -> dict[str, int]:
    """Files of packs that were kept long enough."""
    return {"packs": remove_old(timezone.now() - settings.EVIDENCE_KEPT_FOR, clock=timezone.now)}


def ring_pack(pack: EvidencePack) -> None:
    """Ring for a pack once it is committed. Without a broker the sweep finds it."""
    key = str(pack.pk)
    transaction.on_commit(lambda: tell(lambda: build_evidence_pack.delay(key)))
