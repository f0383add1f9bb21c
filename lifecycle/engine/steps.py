"""Every step with its recovery beside it. A step asks its provider and its sink; the journal alone writes.

A step that leaves a mark outside says first what it is about to do (`intent`); one that only looks has no intent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import Any

from inventory.fingerprints import fingerprint, public_hint
from inventory.models import Credential, CredentialVersion
from inventory.states import CredentialStatus
from lifecycle import plans
from lifecycle.engine import rows
from lifecycle.engine.claims import LeaseLost
from lifecycle.engine.cutover import judge
from lifecycle.engine.outcomes import Again, Done, GivesUp, Outcome, Waits
from lifecycle.engine.presenting import lasting_key
from lifecycle.engine.work import Work
from lifecycle.models import Operation, StepAttempt
from lifecycle.states import AttemptOutcome, OperationKind, Proof, Step
from providers.base import Basis, Capability, Delivered, DiscoveredVersion, Issued, Liveness, Seen, Status
from providers.errors import NoRoom, Permanent, ProviderError

MOST_LOOKS = 8  # at what may need a while to be so everywhere: five minutes altogether
FIRST_LOOK_AGAIN = timedelta(seconds=2)
LONGEST_LOOK_AGAIN = timedelta(minutes=2)
LOOKS_AT_NOTHING = 2
ROOM_WITHIN = timedelta(minutes=10)  # in which a version that an earlier attempt left behind becomes visible
REFUSED_LOOKS = 5
LOOKED_BACK = timedelta(days=30)  # a rotation that a revocation takes the place of began within
SEEN_WITHIN = timedelta(minutes=2)  # what was issued is listed by then, wherever that takes time
ENDED = (Status.DESTROYED, Status.EXPIRED)

Intent = Callable[[Work], dict[str, Any]]


def nothing_to_undo(work: Work, lost: StepAttempt) -> None:
    """What this step does it may do again: a wanted state that is there already is success."""


@dataclass(frozen=True, slots=True)
class StepDefinition:
    run: Callable[[Work, StepAttempt | None], Outcome]
    recover: Callable[[Work, StepAttempt], None] = nothing_to_undo
    intent: Intent | None = None
    looks_first: bool = False  # its intent asks the provider, so it is no part of the commit before


def look_again(work: Work, said: str, *, most: int = MOST_LOOKS) -> Again | None:
    """Look again in a while, or None after as many looks as are worth it."""
    looks = work.operation.attempts
    if looks >= most:
        return None
    pause = min(FIRST_LOOK_AGAIN * 2**looks, LONGEST_LOOK_AGAIN)
    return Again(said=said, until=work.clock() + pause)


def in_words(seen: Seen) -> str:
    return f"Its provider's own record says: {seen.sentence}" if seen.basis is Basis.RECORD else seen.sentence


# ── Issue ──────────────────────────────────────────────────────────────────────────────────────
def intend_issue(work: Work) -> dict[str, Any]:
    """Which versions there are before anything is issued, so that a stray is known from them later."""
    provider = work.provider
    if not work.can(Capability.ISSUE):
        raise Permanent("This provider cannot issue a new version. Issue one by hand, then revoke this credential.")
    _ = work.sink  # Raises where the new secret would have nowhere to go.
    lasting_key()
    earlier = work.issuing()
    request_key = f"{work.operation.pk}.{(work.attempts[-1].number if work.attempts else 0) + 1}"
    if not earlier:
        known = {each.external_id for each in provider.versions(work.ref)}
        return {"known_versions": sorted(known | _our_own(work)), "request_key": request_key}
    if work.can(Capability.CALLER_CHOOSES_SECRET):
        request_key = earlier[0].intent["request_key"]  # asked again, it gives the same secret again
    else:
        destroy_strays(work)
    return {"known_versions": earlier[0].intent["known_versions"], "request_key": request_key}


def _our_own(work: Work) -> set[str]:
    """External ids that a version of ours has, or another credential of the connection: none of them is a stray."""
    versions = CredentialVersion.objects.filter(credential=work.credential).values_list("external_id", flat=True)
    return {*versions, work.credential.external_id, work.old_external_id} - {""}


def strays(work: Work) -> list[DiscoveredVersion]:
    """Versions that an attempt of this operation issued and that nobody has the secret of.

    Its mark tells, where the provider keeps one; else that it was not there before and belongs to nobody.
    """
    issuing = work.issuing()
    if not issuing or not work.can(Capability.LISTS_VERSIONS):
        return []
    return strays_of(work, work.operation, issuing, keep={work.new_external_id})


def strays_of(
    work: Work, operation: Operation, issuing: Sequence[StepAttempt], *, keep: set[str]
) -> list[DiscoveredVersion]:
    baseline = set(issuing[0].intent["known_versions"])
    listed = [each for each in work.provider.versions(work.ref) if each.status not in ENDED]
    # By its whole mark: what another worker has issued since, to whom the lease went, is no stray.
    marks = {attempt.intent["request_key"] for attempt in issuing}
    # A place with fixed names, as two alternating logins have, marks anew a version that was there before.
    unknown = [
        each
        for each in listed
        if each.external_id not in keep and (each.mark in marks if each.mark else each.external_id not in baseline)
    ]
    if not unknown:
        return []
    elsewhere = set(
        Credential.objects.filter(
            connection=operation.connection_id, external_id__in=[each.external_id for each in unknown]
        )
        .exclude(pk=operation.credential_id)
        .exclude(owner=None)  # a sync may have listed the stray itself; nobody has given that one an owner
        .values_list("external_id", flat=True)
    )
    return [each for each in unknown if each.mark or each.external_id not in elsewhere]


def destroy_strays(work: Work) -> list[str]:
    """Remove what a dead worker may have issued: its secret was only ever in that worker's memory."""
    found = strays(work)
    if found:
        work.asking.confirm()
    for each in found:
        if each.last_used_at is not None:
            raise Permanent(
                f"A version that nobody knows, {each.external_id}, appeared meanwhile and is in use. "
                "Find out whose it is; once it is known or gone, resume."
            )
        work.provider.destroy(work.ref, each.external_id)
    return [each.external_id for each in found]


def not_seen_yet(work: Work) -> Waits | None:
    """Wait where an attempt may have issued something that its provider does not list yet."""
    if not work.can(Capability.LISTS_VERSIONS) or work.can(Capability.CALLER_CHOOSES_SECRET):
        return None
    uncertain = StepAttempt.objects.filter(
        operation__credential=work.credential, step=Step.ISSUE, begun_at__gt=work.operation.requested_at - LOOKED_BACK
    ).exclude(outcome=AttemptOutcome.DONE)
    last = max((each.ended_at or each.begun_at for each in uncertain.exclude(intent={})), default=None)
    if last is None or work.clock() >= last + SEEN_WITHIN:
        return None
    said = "An attempt to issue ended without an answer; whether it left anything behind is looked at again in a while."
    return Waits(until=last + SEEN_WITHIN, sentence=said)


def recover_issue(work: Work, lost: StepAttempt) -> None:
    """Destroy what it may have issued, and drop what it may have stored: nobody knows whether the two belong together.

    `intend_issue` looks for strays of every earlier attempt, this one included.
    """
    if not work.can(Capability.CALLER_CHOOSES_SECRET):
        work.sink.roll_back(lost.intent["request_key"])


def run_issue(work: Work, attempt: StepAttempt | None) -> Outcome:
    assert attempt is not None  # noqa: S101  it has an intent
    key = attempt.intent["request_key"]
    try:
        issued = work.provider.issue(work.ref, request_key=key)
    except NoRoom as exc:
        return _without_room(work, exc)
    work.just_issued = (issued.external_id, key)
    try:
        delivered = Delivered(secret=issued.secret, external_id=issued.external_id)
        work.sink.store(delivered, request_key=key)
        back = work.sink.read(key)
        if back is None or not compare_digest(back.secret.reveal().encode(), issued.secret.reveal().encode()):
            raise Permanent(f"What was stored at {work.sink.location} does not read back as it was stored.")
    except LeaseLost:
        raise  # the runner takes it back
    except Exception:
        take_back(work)
        raise
    result = _described(issued, key)
    new: list[CredentialVersion] = []

    def apply(now: datetime) -> Mapping[str, Any]:
        new.append(rows.add_version(work.credential, result, now))
        return {"new_version": new[0], "blast_radius": rows.blast_radius(work.credential)}

    said = f"A new version {issued.external_id} was issued and stored at {work.sink.location}, read back as issued."
    return Done(said=said, result=result, apply=apply)


def take_back(work: Work) -> None:
    """What was issued and is not written down is destroyed at once. Where that fails too, it is found as a stray later.

    Not where asking again gives the same version, nor where another attempt has issued anew under its name meanwhile.
    """
    if work.just_issued is None:
        return
    (external_id, key), work.just_issued = work.just_issued, None
    if work.can(Capability.REPLACES) or work.can(Capability.CALLER_CHOOSES_SECRET):
        return
    try:
        listed = _listed(work, external_id)
        if work.can(Capability.DESTROY) and (listed is None or listed.mark in ("", key)):
            work.provider.destroy(work.ref, external_id)
        work.sink.roll_back(key)
    except ProviderError:
        return


def _without_room(work: Work, exc: NoRoom) -> Outcome:
    earlier = work.issuing()[:-1]
    if earlier and work.clock() - earlier[-1].begun_at < ROOM_WITHIN:
        # What an earlier attempt issued takes the room, and is not listed yet.
        again = look_again(work, f"{exc} One may be what an earlier attempt left behind; it is looked for again.")
        if again is not None:
            return again
    return GivesUp(said=f"{exc} Revoke or destroy one of them, then resume.")


def _described(issued: Issued, key: str) -> dict[str, Any]:
    secret = issued.secret.reveal()
    return {
        "external_id": issued.external_id,
        "request_key": key,
        "identity": issued.identity,
        "fingerprint": fingerprint(secret, key=lasting_key()),
        "hint": issued.hint or public_hint(secret, None),
        "issued_at": issued.issued_at.isoformat() if issued.issued_at else None,
        "expires_at": issued.expires_at.isoformat() if issued.expires_at else None,
    }


def _request_key(work: Work) -> dict[str, Any]:
    return {"request_key": work.issued["request_key"], "external_id": work.new_external_id}


# ── Verify, promote, overlap ───────────────────────────────────────────────────────────────────
def run_verify_new(work: Work, attempt: StepAttempt | None) -> Outcome:
    delivered = work.sink.read(work.issued["request_key"])
    if delivered is None:
        return GivesUp(said=f"The new secret is no longer at {work.sink.location}. Roll back, then rotate again.")
    seen = work.provider.verify(work.ref, work.new_external_id, delivered.secret)
    if seen.liveness is not Liveness.ALIVE:
        return look_again(work, f"The new version is not seen to work yet: {seen.sentence}") or GivesUp(
            said=f"The new version was not seen to work: {seen.sentence} The old one is as it was. "
            "Resume to look again, or roll back."
        )
    changes: dict[str, Any] = {}
    said = f"The new version works. {in_words(seen)}"
    if work.can(Capability.REPLACES):
        changes, more = _replaced(work)
        said = f"{said} {more}"
    return Done(said=said, changes=changes)


def _replaced(work: Work) -> tuple[dict[str, Any], str]:
    """Issuing ended the old version: it is seen refused while consumers' place still holds its secret."""
    old = work.operation.old_version
    secret = work.secret_of(old)
    seen = work.provider.verify(work.ref, work.old_external_id, secret) if secret is not None else None
    if seen is None or seen.liveness is not Liveness.REFUSED:
        return {"proof": Proof.EXECUTED}, "Issuing it ended the old one, as this provider does."
    changes = {"proof": Proof.VERIFIED, "proof_reason": in_words(seen), "refused_at": work.clock()}
    return changes, f"Issuing it ended the old one: {seen.sentence}"


def run_promote(work: Work, attempt: StepAttempt | None) -> Outcome:
    key = work.issued["request_key"]
    work.sink.promote(key)
    read = work.sink.read()
    version = work.operation.new_version
    assert version is not None  # noqa: S101  issued before
    if read is None or fingerprint(read.secret.reveal(), key=lasting_key()) != version.fingerprint:
        again = look_again(work, f"Consumers do not read the new secret at {work.sink.location} yet.")
        return again or GivesUp(said=f"Consumers do not read the new secret at {work.sink.location}. Look at it there.")
    row = work.credential
    before = {
        "identity": row.identity_key,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
    }

    def apply(now: datetime) -> Mapping[str, Any]:
        rows.client_succeeded(row, version, now)
        rows.make_current(row, version, now)
        return {}

    return Done(said=f"Consumers read the new version at {work.sink.location}.", result={"before": before}, apply=apply)


def run_overlap(work: Work, attempt: StepAttempt | None) -> Outcome:
    if work.can(Capability.REPLACES):
        return Done(said="There is no overlap: issuing the new version ended the old one.")
    versions = work.provider.versions(work.ref) if work.can(Capability.LISTS_VERSIONS) else ()
    tells_use = work.can(Capability.LAST_USED)
    found = judge(work.operation, versions=versions, now=work.clock(), tells_use=tells_use, attempts=work.attempts)
    if found.is_ready:
        return Done(said=found.sentence)
    if found.is_escalated or found.look_again_at is None:
        return GivesUp(said=found.sentence)
    return Waits(until=found.look_again_at, sentence=found.sentence)


# ── The old version goes ───────────────────────────────────────────────────────────────────────
def _old(work: Work) -> dict[str, Any]:
    return {"external_id": work.old_external_id}


def _listed(work: Work, external_id: str) -> DiscoveredVersion | None:
    if not work.can(Capability.LISTS_VERSIONS):
        return None
    return next((each for each in work.provider.versions(work.ref) if each.external_id == external_id), None)


def run_suspend_old(work: Work, attempt: StepAttempt | None) -> Outcome:
    if work.can(Capability.REPLACES):
        return Done(said="There is nothing to suspend: issuing the new version ended the old one.")
    old = work.old_external_id
    if old == work.new_external_id:
        return GivesUp(said="The old version cannot be told from the new one. Look at both, then end it by hand.")
    listed = _listed(work, old)
    used_at = listed.last_used_at if listed is not None else None
    if not work.can(Capability.SUSPEND):
        said = "This provider does not suspend. The old version works until it is destroyed; its use is watched."
        return Done(said=said, changes={"known_use_at": used_at})
    work.provider.suspend(work.ref, old, work.secret_of(work.operation.old_version))

    def apply(now: datetime) -> Mapping[str, Any]:
        rows.suspended(work.credential, [old], now)
        return {"known_use_at": used_at}

    return Done(said=f"The old version {old} is suspended.", apply=apply)


def run_quiet(work: Work, attempt: StepAttempt | None) -> Outcome:
    operation, now = work.operation, work.clock()
    if work.can(Capability.REPLACES):
        return Done(said="There is no quiet period: the old version has ended already.")
    old = work.old_external_id
    listed = _listed(work, old)
    if listed is not None:
        if listed.status is Status.ACTIVE and work.can(Capability.SUSPEND):
            again = look_again(work, f"The old version {old} is listed as active.", most=REFUSED_LOOKS)
            return again or GivesUp(
                said=f"Somebody ended the suspension of the old version {old}. Find out who still needs it; "
                "resuming suspends it again, and rolling back keeps it.",
                resumes_at=Step.SUSPEND_OLD,
            )
        used, known = listed.last_used_at, operation.known_use_at
        # One that is reported late was before it was suspended; one that cannot be suspended is simply watched.
        since = max(known or operation.step_at, operation.step_at)
        if used is not None and used != known and used > since:
            return GivesUp(
                said=f"The old version {old} was used at {used:%Y-%m-%d %H:%M} UTC, after consumers had moved. "
                "Find out who still uses it; then resume to go on, or roll back.",
                changes={"known_use_at": used},
            )
    ends_at = operation.step_at + operation.quiet
    if now < ends_at:
        return Waits(until=ends_at, sentence="The old version is kept for a while, so that there is a way back.")
    return Done(said="The quiet period has passed, and nobody used the old version.")


def run_destroy_old(work: Work, attempt: StepAttempt | None) -> Outcome:
    old = work.old_external_id
    if work.can(Capability.REPLACES):
        said = "There is nothing to destroy: issuing the new version ended the old one."
    elif not work.can(Capability.DESTROY):
        said = f"This provider does not destroy. The old version {old} stays suspended."
    elif old in ("", work.new_external_id):
        return GivesUp(said="The old version cannot be told from the new one. Look at both, then end it by hand.")
    else:
        work.provider.destroy(work.ref, old, work.secret_of(work.operation.old_version))
        said = f"The old version {old} is destroyed, its provider says."
    work.sink.settle(work.issued["request_key"])
    changes = {} if work.operation.proof == Proof.VERIFIED else {"proof": Proof.EXECUTED}
    return Done(said=said, changes=changes)


def run_verify_gone(work: Work, attempt: StepAttempt | None) -> Outcome:
    if work.operation.kind == OperationKind.REVOCATION:
        return verify_revoked(work)
    if len(work.issuing()) > 1:
        if (waits := not_seen_yet(work)) is not None:
            return waits
        destroy_strays(work)
    old = work.old_external_id
    if work.operation.proof == Proof.VERIFIED:
        proof: dict[str, Any] = {"proof": Proof.VERIFIED, "proof_reason": work.operation.proof_reason}
    elif old == work.new_external_id and work.secret_of(work.operation.old_version) is None:
        proof = _unverifiable(work, "Issuing replaced the old secret, and nobody holds it any more to show it.")
    else:
        judged = _proof(work, [see_old(work)])
        if not isinstance(judged, dict):
            return judged
        proof = judged
    is_seen = proof["proof"] == Proof.VERIFIED

    def apply(now: datetime) -> Mapping[str, Any]:
        if is_seen and old != work.new_external_id:
            rows.clients_deleted(work.credential, [old], now, proof=proof["proof_reason"])
        rows.become(work.credential, CredentialStatus.ACTIVE, now)
        if is_seen and work.operation.old_version is not None:
            CredentialVersion.objects.filter(pk=work.operation.old_version.pk).update(
                destroyed_at=now, is_current=False
            )
        return {}

    return Done(said=proof["proof_reason"], changes=proof, apply=apply)


def see_old(work: Work) -> Seen:
    return work.provider.verify(work.ref, work.old_external_id, work.secret_of(work.operation.old_version))


def _proof(work: Work, seen: Sequence[Seen]) -> dict[str, Any] | Outcome:
    """What is known of what was to end: verified, unverifiable, or not yet, or not at all."""
    alive = [each for each in seen if each.liveness is Liveness.ALIVE]
    unknown = [each for each in seen if each.liveness is Liveness.UNKNOWN]
    if alive:
        return look_again(work, f"It is still taken: {alive[0].sentence}") or GivesUp(
            said=f"It is still taken: {alive[0].sentence} Look at it at its provider, then resume."
        )
    if unknown:
        again = look_again(work, f"Nobody can tell yet: {unknown[0].sentence}", most=LOOKS_AT_NOTHING)
        return again or _unverifiable(work, f"Nobody can tell whether it is refused: {unknown[0].sentence}")
    return verified(work, seen)


def verified(work: Work, seen: Sequence[Seen]) -> dict[str, Any]:
    sentence = " ".join(dict.fromkeys(in_words(each) for each in seen)) or "There was nothing left that could be taken."
    return {
        "proof": Proof.VERIFIED,
        "proof_reason": sentence,
        "verify_by": None,
        "refused_at": work.operation.refused_at or work.clock(),
    }


def _unverifiable(work: Work, reason: str) -> dict[str, Any]:
    return {
        "proof": Proof.UNVERIFIABLE,
        "proof_reason": reason,
        "verify_by": work.clock() + plans.VERIFY_WITHIN,
    }


# ── Revocation ─────────────────────────────────────────────────────────────────────────────────
def run_snapshot(work: Work, attempt: StepAttempt | None) -> Outcome:
    if work.operation.by_hand:
        radius = rows.blast_radius(work.credential)
    else:
        radius = rows.blast_radius(work.credential) | {"versions": targets(work)}
    clients, servers = len(radius["clients"]), len(radius["servers"])
    said = f"It is known to be used by {clients} clients on {servers} servers."
    return Done(said=said, changes={"blast_radius": radius}, result={"versions": radius.get("versions", [])})


def targets(work: Work) -> list[str]:
    """Every version there is: our own, what the provider lists, what earlier operations issued, and their strays.

    What is another credential of the same connection is left alone.
    """
    own = CredentialVersion.objects.filter(credential=work.credential, destroyed_at=None)
    found = {*own.values_list("external_id", flat=True), work.credential.external_id}
    issued = StepAttempt.objects.filter(operation__credential=work.credential, step=Step.ISSUE)
    for result in issued.exclude(result={}).values_list("result", flat=True):
        found.add(result.get("external_id", ""))
    gone = set(
        CredentialVersion.objects.filter(credential=work.credential, destroyed_at__isnull=False).values_list(
            "external_id", flat=True
        )
    )
    if work.can(Capability.LISTS_VERSIONS):
        listed = [each.external_id for each in work.provider.versions(work.ref) if each.status not in ENDED]
        others = Credential.objects.live().filter(connection=work.operation.connection_id, external_id__in=listed)
        theirs = set(others.exclude(pk=work.credential.pk).values_list("external_id", flat=True))
        found |= set(listed) - theirs
        gone -= set(listed)
    return sorted(found - gone - {""}) or [""]


def _targets(work: Work) -> dict[str, Any]:
    return {"external_ids": work.operation.blast_radius.get("versions", [])}


def _version_of(work: Work, external_id: str) -> CredentialVersion | None:
    return CredentialVersion.objects.filter(credential=work.credential, external_id=external_id).order_by("-id").first()


def _by_hand(work: Work) -> Waits:
    where = work.operation.connection.name
    return Waits(until=None, sentence=f"Somebody ends it where it was issued and says so here ({where}).")


def run_suspend(work: Work, attempt: StepAttempt | None) -> Outcome:
    if work.operation.by_hand:
        return _by_hand(work)
    if not (work.can(Capability.SUSPEND) or work.can(Capability.DESTROY)):
        raise Permanent("This provider can neither suspend nor destroy. End it by hand, and say so here.")
    if not work.can(Capability.SUSPEND):
        return Done(said="This provider does not suspend; it is destroyed at once.")
    ended, untold = [], []
    for external_id in work.operation.blast_radius["versions"]:
        secret = work.secret_of(_version_of(work, external_id))
        if secret is None and work.can(Capability.NEEDS_VALUE):
            untold.append(external_id)
            continue
        work.provider.suspend(work.ref, external_id, secret)
        ended.append(external_id)
    if not ended:
        return Done(said="It is suspended only by showing its value, which is held nowhere that can be read.")

    def apply(now: datetime) -> Mapping[str, Any]:
        rows.suspended(work.credential, ended, now)
        rows.become(work.credential, CredentialStatus.SUSPENDED, now)
        return {"proof": Proof.EXECUTED}

    return Done(said=f"Suspended: {', '.join(filter(None, ended)) or work.credential.name}.", apply=apply)


def see_revoked(work: Work) -> list[Seen]:
    return [
        work.provider.verify(work.ref, each, work.secret_of(_version_of(work, each)))
        for each in work.operation.blast_radius["versions"]
    ]


def run_verify_refused(work: Work, attempt: StepAttempt | None) -> Outcome:
    if not work.can(Capability.SUSPEND) or work.operation.proof == Proof.NONE:
        return Done(said="There is nothing to see yet: it is not suspended.")
    seen = see_revoked(work)
    open_ones = [each for each in seen if each.liveness is not Liveness.REFUSED]
    if not open_ones:
        words = " ".join(dict.fromkeys(in_words(each) for each in seen))
        return Done(said=f"Suspended, it is refused. {words}", changes={"refused_at": work.clock()})
    again = look_again(work, f"It is not seen refused yet: {open_ones[0].sentence}", most=REFUSED_LOOKS)
    # A place that goes on taking what it says is suspended is the more reason to destroy it.
    return again or Done(said=f"It was not seen refused while suspended: {open_ones[0].sentence} It is destroyed next.")


def run_settle(work: Work, attempt: StepAttempt | None) -> Outcome:
    operation = work.operation
    if operation.is_urgent or not operation.quiet:
        return Done(said="It is urgent; nothing is waited for." if operation.is_urgent else "No settling time is set.")
    if not work.can(Capability.SUSPEND):
        return Done(said="It cannot be suspended, so nothing is waited for.")
    ends_at = operation.step_at + operation.quiet
    if work.clock() < ends_at:
        return Waits(until=ends_at, sentence="It is suspended, and destroyed after a while.")
    return Done(said="The settling time has passed.")


def run_destroy(work: Work, attempt: StepAttempt | None) -> Outcome:
    if not work.can(Capability.DESTROY):
        return Done(said="This provider does not destroy. It stays suspended.")
    versions = sorted({*work.operation.blast_radius["versions"], *targets(work)})
    if len(versions) > 1:
        versions = [each for each in versions if each]
    ended, untold = [], []
    for external_id in versions:
        secret = work.secret_of(_version_of(work, external_id))
        if secret is None and work.can(Capability.NEEDS_VALUE):
            untold.append(external_id)
            continue
        work.provider.destroy(work.ref, external_id, secret)
        ended.append(external_id)
    radius = work.operation.blast_radius | {"versions": versions, "untold": untold}
    if untold:
        said = "It is revoked only by showing its value, which is held nowhere that can be read."
        return Done(said=said, changes={"blast_radius": radius} | ({"proof": Proof.EXECUTED} if ended else {}))
    said = f"Destroyed, its provider says: {', '.join(filter(None, ended)) or work.credential.name}."
    return Done(said=said, changes={"proof": Proof.EXECUTED, "blast_radius": radius})


def verify_revoked(work: Work) -> Outcome:
    radius = work.operation.blast_radius
    if (waits := not_seen_yet(work)) is not None:
        return waits
    if set(targets(work)) - {*radius["versions"], ""}:
        return Done(said="A further version has come to light, and is destroyed too.", goes_on_at=Step.DESTROY)
    judged = _proof(work, see_revoked(work))
    if not isinstance(judged, dict):
        return judged
    if radius.get("untold") and judged["proof"] == Proof.UNVERIFIABLE:
        judged["proof_reason"] = (
            "Its provider revokes it only when it is shown, and it is held nowhere that can be read: nothing was done "
            "there. End it at its provider, or wait until it expires."
        )
    is_seen, is_destroyed = judged["proof"] == Proof.VERIFIED, work.can(Capability.DESTROY)

    def apply(now: datetime) -> Mapping[str, Any]:
        if is_seen and is_destroyed:
            rows.clients_deleted(work.credential, radius["versions"], now, proof=judged["proof_reason"])
            rows.destroyed(work.credential, radius["versions"], now)
            rows.become(work.credential, CredentialStatus.DESTROYED, now)
        return {}

    return Done(said=judged["proof_reason"], changes=judged, apply=apply)


# ── The way back of a rotation ─────────────────────────────────────────────────────────────────
def run_restore_old(work: Work, attempt: StepAttempt | None) -> Outcome:
    issued = work.issued
    if work.can(Capability.REPLACES) and (issued or _may_have_replaced(work)):
        return Done(
            said="There is no way back: issuing the new version ended the old one. The rotation goes on.",
            goes_on_at=Step.VERIFY_NEW if issued else Step.ISSUE,
            turns_forward=True,
        )
    old = work.old_external_id
    if work.can(Capability.SUSPEND) and old:
        version = work.operation.old_version
        if version is None or version.suspended_at is not None or _was(work, Step.SUSPEND_OLD):
            work.provider.resume(work.ref, old)
            seen = work.provider.verify(work.ref, old, None)
            if seen.liveness is Liveness.REFUSED:
                return look_again(work, f"The old version is not taken again yet: {seen.sentence}") or GivesUp(
                    said=f"The old version is not taken again: {seen.sentence} Consumers still read the new one."
                )
    for each in work.issuing():
        work.sink.roll_back(each.intent["request_key"])
    promoted = [each.result["before"] for each in work.attempts if "before" in each.result]

    def apply(now: datetime) -> Mapping[str, Any]:
        if promoted:
            rows.make_current_again(work.credential, work.operation.old_version, now)
        elif work.operation.old_version is not None:
            rows.locked(work.credential)
            CredentialVersion.objects.filter(pk=work.operation.old_version.pk).update(suspended_at=None)
        return {}

    return Done(said="Consumers read the old version, and it works.", apply=apply)


def _may_have_replaced(work: Work) -> bool:
    """Whether an attempt that nobody knows the end of ended the old version: unless that is seen to work, it did."""
    if not work.issuing():
        return False
    secret = work.secret_of(work.operation.old_version)
    return work.provider.verify(work.ref, work.old_external_id, secret).liveness is not Liveness.ALIVE


def _was(work: Work, step: Step) -> bool:
    return any(each.step == step for each in work.attempts)


def run_destroy_new(work: Work, attempt: StepAttempt | None) -> Outcome:
    new = work.new_external_id
    if new and work.can(Capability.DESTROY):
        work.provider.destroy(work.ref, new, None)
    gone = destroy_strays(work)
    named = ", ".join(filter(None, [new, *gone]))
    return Done(said=f"Destroyed: {named}." if named else "Nothing had been issued.")


def run_verify_back(work: Work, attempt: StepAttempt | None) -> Outcome:
    if (waits := not_seen_yet(work)) is not None:
        return waits
    destroy_strays(work)
    new = work.operation.new_version
    said = "Nothing of the new version is left."
    if new is not None:
        seen = work.provider.verify(work.ref, new.external_id, None)
        if seen.liveness is Liveness.ALIVE:
            return look_again(work, f"The new version is still taken: {seen.sentence}") or GivesUp(
                said=f"The new version is still taken: {seen.sentence} Destroy it at its provider, then resume."
            )
        said = in_words(seen)

    def apply(now: datetime) -> Mapping[str, Any]:
        if new is not None:
            rows.clients_deleted(work.credential, [new.external_id], now, proof=said)
            rows.destroyed(work.credential, [new.external_id], now)
        rows.become(work.credential, CredentialStatus.ACTIVE, now)
        return {}

    return Done(said=f"Rolled back. {said}", apply=apply)


def _nothing(work: Work) -> dict[str, Any]:
    return {}


STEPS: Mapping[Step, StepDefinition] = {
    Step.ISSUE: StepDefinition(run_issue, recover_issue, intend_issue, looks_first=True),
    Step.VERIFY_NEW: StepDefinition(run_verify_new),
    Step.PROMOTE: StepDefinition(run_promote, intent=_request_key),
    Step.OVERLAP: StepDefinition(run_overlap),
    Step.SUSPEND_OLD: StepDefinition(run_suspend_old, intent=_old),
    Step.QUIET: StepDefinition(run_quiet),
    Step.DESTROY_OLD: StepDefinition(run_destroy_old, intent=_old),
    Step.VERIFY_GONE: StepDefinition(run_verify_gone),
    Step.SNAPSHOT: StepDefinition(run_snapshot),
    Step.SUSPEND: StepDefinition(run_suspend, intent=_targets),
    Step.VERIFY_REFUSED: StepDefinition(run_verify_refused),
    Step.SETTLE: StepDefinition(run_settle),
    Step.DESTROY: StepDefinition(run_destroy, intent=_targets),
    Step.RESTORE_OLD: StepDefinition(run_restore_old, intent=_nothing),
    Step.DESTROY_NEW: StepDefinition(run_destroy_new, intent=_nothing),
    Step.VERIFY_BACK: StepDefinition(run_verify_back),
}
INTENDED: Mapping[Step, Intent] = {
    step: each.intent for step, each in STEPS.items() if each.intent is not None and not each.looks_first
}
