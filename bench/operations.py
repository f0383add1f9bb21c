"""Operations: whole rotations against the provider in memory, by one worker and by four."""

import multiprocessing
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection, connections
from django.utils import timezone

from access.actors import Actor
from bench.measure import Row
from bench.scratch import scratch_database
from inventory.fingerprints import fingerprint
from inventory.models import Connection, Credential, CredentialVersion
from inventory.states import ConnectionKind, CredentialKind, CredentialStatus, Storage, TrustModel
from lifecycle.actions.requests import request_rotation
from lifecycle.engine.runner import advance
from lifecycle.models import Delivery, Operation, ProviderLoad
from lifecycle.states import OperationState
from providers import memory
from providers.base import Delivered, Secret

ACTOR = Actor.system("benchmark")
CLOUDS = 8
SHARE = 0.2
SECONDS = 2.0
WORKERS = (1, 4)


def run(size: int = 200) -> list[Row]:
    with scratch_database():
        if settings.FINGERPRINT_KEY is None:
            settings.FINGERPRINT_KEY = b"only for this benchmark"
        needed = _commits_of_one()
        return [_measured(size, workers, needed) for workers in WORKERS]


def _measured(size: int, workers: int, needed: int) -> Row:
    bare = _together(workers, [_Bare(number) for number in range(workers)])
    keys = asked_for(size)
    shares = [keys[number::workers] for number in range(workers)]
    done = _together(workers, [_Rotations(share) for share in shares])
    ended = Operation.objects.filter(pk__in=keys, state=OperationState.COMPLETED).count()
    limit = bare / needed
    return Row(
        name=f"rotations by {workers} worker{'s' if workers > 1 else ''} ({needed} commits each)",
        size=size,
        value=round(done, 1),
        unit="rotations/s",
        limit=round(limit, 1),
        ratio=round(done / limit, 2),
        budget=f"ratio at least {SHARE}",
        ok=done / limit >= SHARE and ended == size,
    )


def asked_for(size: int) -> list[UUID]:
    """Rotations that wait for nothing, of credentials in several clouds."""
    places = []
    stamp = time.monotonic_ns()
    for number in range(CLOUDS):
        name = f"bench-{stamp}-{number}"
        place = Connection.objects.create(
            kind=ConnectionKind.PLUG_IN, name=name, settings={"provider": "memory", "cloud": name}
        )
        ProviderLoad.objects.create(connection=place, at_once=max(WORKERS))
        places.append(place)
    return [_one(places[number % CLOUDS], f"{stamp}-{number}") for number in range(size)]


def _one(place: Connection, name: str) -> UUID:
    now = timezone.now()
    cloud = memory.cloud(place.name)
    held = cloud.add(name)
    digest = fingerprint(held.secret, key=settings.FINGERPRINT_KEY)
    credential = Credential.objects.create(
        identity_key=f"bench:{name}",
        connection=place,
        name=name,
        principal=name,
        kind=CredentialKind.API_KEY,
        trust_model=TrustModel.STATIC_SERVICE,
        storage=Storage.PROVIDER,
        status=CredentialStatus.ACTIVE,
        external_id=held.external_id,
        fingerprint=digest,
        issued_at=now,
        first_seen_at=now,
    )
    CredentialVersion.objects.create(
        credential=credential, external_id=held.external_id, fingerprint=digest, issued_at=now, first_seen_at=now
    )
    cloud.place(name).current = Delivered(secret=Secret(held.secret), external_id=held.external_id)
    Delivery.objects.create(
        credential=credential, sink="memory", location=name, connection=place, set_by="benchmark", set_at=now
    )
    operation = request_rotation(credential, actor=ACTOR, now=now, reason="A benchmark")
    Operation.objects.filter(pk=operation.pk).update(overlap=timedelta(0), quiet=timedelta(0))
    return operation.pk


def _commits_of_one() -> int:
    """How often one rotation commits; what it reads is in no transaction."""
    (key,) = asked_for(1)
    counted = 0
    commit = connection._commit

    def counting() -> None:
        nonlocal counted
        counted += 1
        commit()

    connection._commit = counting  # type: ignore[method-assign]
    try:
        advance(key, clock=timezone.now)
    finally:
        del connection._commit
    return counted


class _Bare:
    """One row, changed and committed as fast as one connection does it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE TABLE IF NOT EXISTS bare_{self.number} (n bigint)")
            cursor.execute(f"TRUNCATE bare_{self.number}")
            cursor.execute(f"INSERT INTO bare_{self.number} VALUES (0)")
            done, until = 0, time.perf_counter() + SECONDS
            while time.perf_counter() < until:
                cursor.execute(f"UPDATE bare_{self.number} SET n = n + 1")
                done += 1
        return done


class _Rotations:
    def __init__(self, keys: list[UUID]) -> None:
        self.keys = keys

    def __call__(self) -> int:
        return sum(advance(key, clock=timezone.now) for key in self.keys)


def _together(workers: int, work: list[Callable[[], int]]) -> float:
    """What processes of their own do in a second, together."""
    connections.close_all()
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        told = manager.list()
        processes = [context.Process(target=_timed, args=(each, told)) for each in work]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        begun = min(begun for begun, _, _ in told)
        ended = max(ended for _, ended, _ in told)
        return float(sum(done for _, _, done in told) / (ended - begun))


def _timed(work: Callable[[], int], told: "list[tuple[float, float, int]]") -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    begun = time.perf_counter()
    done = work()
    told.append((begun, time.perf_counter(), done))
    connections.close_all()
