"""Exports: credentials as NDJSON through HTTP, against a statement written by hand that makes the same objects."""

import resource
from collections.abc import Iterator
from datetime import timedelta

from django.db import connection, transaction
from django.test import Client

from access.actors import Actor
from access.roles import Role
from bench.lists import HOST, fill
from bench.measure import Row, timed
from bench.scratch import scratch_database
from config.actions import issue_token
from web.csvfiles import CHUNK

SHARE = 0.5
MOST_MEMORY = 64  # MiB that an export may add, whatever its size

BY_HAND = """
SELECT row_to_json(x)::text FROM (
  SELECT c.id, {root} || 'credentials/' || c.id || '/' AS url, c.name AS display, c.name, c.kind, c.issuer,
    c.trust_model, c.subject, {owner} AS owner, {custodian} AS custodian, {environment} AS environment,
    {connection} AS connection,
    c.storage, c.reference, c.scopes, c.status, c.external_id, c.fingerprint, c.hint, c.issued_at, c.known_since,
    c.last_used_at, c.expires_at, (ARRAY['none', 'low', 'medium', 'high', 'critical'])[c.risk + 1] AS risk,
    c.open_findings, c.first_seen_at, c.last_seen_at, c.gone_at
  FROM inventory_credential c JOIN inventory_connection connection ON connection.id = c.connection_id
  LEFT JOIN inventory_owner owner ON owner.id = c.owner_id
  LEFT JOIN inventory_owner custodian ON custodian.id = c.custodian_id
  LEFT JOIN inventory_environment environment ON environment.id = c.environment_id
  ORDER BY c.id) x"""
LINK = """CASE WHEN {table}.id IS NOT NULL THEN
  json_build_object('id', {table}.id, 'url', {root} || '{noun}/' || {table}.id || '/', 'display', {table}.name) END"""
NOUNS = {"owner": "owners", "custodian": "owners", "environment": "environments", "connection": "connections"}


def run(sizes: tuple[int, ...] | int = (300_000,)) -> list[Row]:
    return [row for size in (sizes if isinstance(sizes, tuple) else (sizes,)) for row in _run(size)]


def _run(size: int) -> Iterator[Row]:
    with scratch_database():
        fill(0, size)
        limit = _by_hand(size)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rate = _export(size)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    yield Row(
        name="export of credentials as NDJSON",
        size=size,
        value=round(rate),
        unit="rows/s",
        limit=round(limit),
        ratio=round(rate / limit, 2),
        budget=f"≥ {SHARE} × the statement by hand",
        ok=rate >= SHARE * limit,
    )
    yield Row(
        name="memory that an export adds",
        size=size,
        value=round(grown, 1),
        unit="MiB",
        limit=None,
        ratio=None,
        budget=f"≤ {MOST_MEMORY} MiB at any size",
        ok=grown <= MOST_MEMORY,
    )


def _export(size: int) -> float:
    token = issue_token("benchmark", Role.AUDITOR, life=timedelta(days=1), actor=Actor.system("benchmark"))
    client = Client(SERVER_NAME=HOST)
    with timed() as watch:
        answer = client.get("/api/v1/export/credentials.ndjson", headers={"Authorization": f"Token {token}"})
        lines = sum(part.count(b"\n") for part in answer.streaming_content)
    if lines != size:
        raise AssertionError(f"{lines} lines for {size} credentials")
    return size / watch.seconds


def _by_hand(size: int) -> float:
    """The same objects by the database alone, fetched by a server-side cursor and thrown away."""
    root = f"'http://{HOST}/api/v1/'"
    links = {table: LINK.format(table=table, noun=noun, root=root) for table, noun in NOUNS.items()}
    with transaction.atomic(), timed() as watch:
        connection.ensure_connection()
        with connection.connection.cursor(name="by_hand") as cursor:
            cursor.execute(BY_HAND.format(root=root, **links))
            found = 0
            while rows := cursor.fetchmany(CHUNK):
                found += len(rows)
    if found != size:
        raise AssertionError(f"{found} rows for {size} credentials")
    return size / watch.seconds
