"""Doorbells of the audit chain."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from access.actors import Actor
from audit.errors import ChainBroken
from audit.exports import compare, export_due, exported_to, note_verification
from audit.heads import sign_head, signing_key
from audit.places import Place, place_at
from audit.signing import public

SIGNER = Actor.system("chain signer")


def places() -> list[Place]:
    """Where the settings say that heads go."""
    return [
        place_at(str(settings.CHAIN_HEADS_DIR)),
        *(place_at(address, key=settings.CHAIN_HEADS_S3_KEY) for address in settings.CHAIN_HEADS_S3),
    ]


@shared_task
def sign_chain_head() -> dict[str, int]:
    now = timezone.now()
    head = sign_head(signing_key(settings.CHAIN_KEY, now=now, actor=SIGNER), now=now, actor=SIGNER)
    if head is not None:
        export_chain_heads.delay()
    return {"heads": int(head is not None)}


@shared_task
def export_chain_heads() -> dict[str, int]:
    return {"documents": export_due(places(), clock=timezone.now, actor=SIGNER)}


@shared_task
def verify_chain() -> dict[str, int]:
    """Hold the chain against what is exported, by the key that lies here and not in the database."""
    trusted = public(signing_key(settings.CHAIN_KEY, now=timezone.now(), actor=SIGNER))
    entries, problems = 0, []
    for place in places():
        found = compare(place, trusted=[trusted], expected=exported_to(place))
        note_verification(found, place.address, actor=SIGNER)
        entries += found.chain.count
        if found.problem:
            problems.append(found.problem)
    if problems:
        raise ChainBroken(f"The audit chain does not hold: {problems[0]}.")
    return {"entries": entries}
