"""A small estate with something of everything, and packs of it."""

import gzip
import io
import json
import zipfile
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema_rs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connection as database

from access.actors import Actor
from audit.heads import sign_head
from inventory.actions.ownership import assign_owner
from inventory.models import Credential
from inventory.states import Severity
from lifecycle.actions.evaluation import evaluate
from lifecycle.models import Finding, Waiver
from lifecycle.states import FindingState, WaiverState
from reviews.packing.writing import Inputs, write_pack
from tests.factories import NOW, client, credential, exposure, owner, server, use

SYSTEM = Actor.system("test")
KEY = Ed25519PrivateKey.generate()
DAY = timedelta(days=1)
SCHEMA = Path(__file__).parent / "schemas" / "oscal-1.2.3-complete.json.gz"
OFFICIAL = "384324105c7a817af0f65b120a963146caa0e0d55d969cf0daf60e063b87a206"  # of NIST's release, uncompressed


def official_oscal() -> jsonschema_rs.Draft7Validator:
    text = gzip.decompress(SCHEMA.read_bytes())
    assert sha256(text).hexdigest() == OFFICIAL
    return jsonschema_rs.Draft7Validator(json.loads(text), validate_formats=True)


def an_estate(now=NOW, key=KEY) -> list[Credential]:
    """Credentials with and without owners, one of them waived, in use and exposed; evaluated, and the chain signed."""
    mira = owner(name="Mira Okafor")
    held = [credential(name=f"key {n}", first_seen_at=now - DAY, last_used_at=now - n * DAY) for n in range(6)]
    credential(name='=1+1 "quoted"\nand broken')
    hers = Credential.objects.filter(pk__in=[each.pk for each in held[:4]])
    assign_owner(hers, mira, actor=SYSTEM, reason="It is hers.")
    use(held[0], client=client(), server=server(name="search"))
    exposure(held[0])
    evaluate(now, actor=SYSTEM, full=True)
    found = Finding.objects.filter(rule="no-owner").order_by("pk").first()
    Finding.objects.filter(pk=found.pk).update(state=FindingState.WAIVED)
    Waiver.objects.create(
        finding=found, state=WaiverState.ACTIVE, reason="Later.", compensating_control="A wall.",
        severity=Severity.MEDIUM, requested_by="Mira", requested_by_key="user:1", requested_at=now, approved_by="Otto",
        approved_by_key="user:2", granted_at=now, begins_at=now, ends_at=now + DAY,
    )  # fmt: skip
    sign_head(key, now=now, actor=SYSTEM)
    return held


def inputs(**values: Any) -> Inputs:
    with database.cursor() as cursor:
        cursor.execute("SELECT coalesce(min(at), now()) FROM audit_auditentry")
        (first,) = cursor.fetchone()
    given = {"purpose": "The half-year", "begins_at": first - DAY, "taken_at": NOW, "release": "1", **values}
    return Inputs(**given)


def sampled(**values: Any) -> Inputs:
    return inputs(
        sample_size=3, sample_seed="2026", sample_filter="gone=false",
        population=Credential.objects.filter(gone_at=None), **values,
    )  # fmt: skip


def packed(given: Inputs | None = None) -> bytes:
    file = io.BytesIO()
    write_pack(file, given or sampled(), key=KEY, progress=lambda _step: None)
    return file.getvalue()


def member(pack: bytes, path: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(pack)) as archive:
        return archive.read(path)


def member_json(pack: bytes, path: str) -> Any:
    return json.loads(member(pack, path))
