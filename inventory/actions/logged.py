"""What somebody saw, or did not see, in the logs of a server."""

from datetime import datetime

from access.actors import Actor
from audit.actions import action, record
from audit.events import Event
from inventory.errors import EvidenceMissing, SecretInEvidence
from inventory.feeds.checks import holds_known_secret
from inventory.models import LoggingRecord, McpServer
from inventory.states import Logged, TrustModel


@action
def record_logging(
    server: McpServer,
    *,
    trust_model: TrustModel,
    happening: Logged,
    is_logged: bool | None,
    evidence: str,
    actor: Actor,
    now: datetime,
) -> bool:
    """Keep whether `server` logs `happening` for credentials of `trust_model`; None when it is unknown again.

    Whether anything changed. Raises EvidenceMissing for a yes without evidence, SecretInEvidence when a secret of a
    known format stands in it.
    """
    if is_logged and not evidence:
        raise EvidenceMissing
    if holds_known_secret(evidence):
        raise SecretInEvidence
    McpServer.objects.select_for_update(no_key=True).get(
        pk=server.pk
    )  # two answers at once would both find no record yet
    kept = LoggingRecord.objects.filter(server=server, trust_model=trust_model, happening=happening)
    known = kept.first()
    before = known.is_logged if known else None
    if before == is_logged and (known is None or known.evidence == evidence):
        return False
    if is_logged is None:
        kept.delete()
    else:
        said = {"is_logged": is_logged, "evidence": evidence, "recorded_by": actor.label[:200], "recorded_at": now}
        kept.update_or_create(
            defaults=said,
            create_defaults={**said, "server": server, "trust_model": trust_model, "happening": happening},
        )
    record(
        Event.SERVER_LOGGING_RECORDED,
        actor=actor,
        subject=server,
        detail={
            "of": f"{happening.label} ({trust_model.label})",
            "from": _words(before),
            "to": _words(is_logged),
            "evidence": evidence,
        },
    )
    return True


def _words(is_logged: bool | None) -> str:
    return {True: "logged", False: "not logged", None: "unknown"}[is_logged]
