"""Doorbells of the audit chain."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from access.actors import Actor
from audit.heads import export_head, sign_head, signing_key


@shared_task
def sign_chain_head() -> dict[str, int]:
    key = signing_key(settings.KEYREEVE_HOME / "chain.key")
    head = sign_head(key, now=timezone.now(), actor=Actor.system("chain signer"))
    if head is not None:
        export_head(head, settings.CHAIN_HEADS_DIR)
    return {"heads": int(head is not None)}
