"""The whole of a pack, in the order in which it is written. It reads one snapshot and writes one file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection as database
from django.db.models import F, Func, QuerySet, Value
from django.template.loader import render_to_string

from audit.chain import GENESIS
from audit.models import AuditEntry, ChainHead
from inventory.models import Credential
from inventory.serializers import CredentialSerializer
from lifecycle.models import Finding
from lifecycle.rules import RULES
from reviews import oscal, verifying
from reviews.controls import CONTROLS, MEASURES, crosswalk, standings
from reviews.models.sampling import bundles, drawn
from reviews.packing.archive import Archive
from reviews.packing.copying import csv_lines, json_lines, statement_of
from reviews.packing.lists import ROOT, Progress, sources, write_list
from reviews.packing.metrics import control_said, said_of, write_measures
from reviews.packs import FORMAT
from reviews.sampling import METHOD
from web.csvfiles import CHUNK
from web.shapes import AsText, JsonObject

VERIFIER = Path(verifying.__file__)
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
OPEN_BY_OWNER = """
SELECT f.rule, f.owner_id, o.name, f.state = 'waived' AS is_waived, count(*), max(f.severity), min(f.opened_at),
       coalesce(min(w.ends_at), min(f.due_at))
FROM lifecycle_finding f
LEFT JOIN inventory_owner o ON o.id = f.owner_id
LEFT JOIN lifecycle_waiver w ON w.finding_id = f.id AND w.state = 'active' AND f.state = 'waived'
WHERE f.resolved_at IS NULL
GROUP BY f.rule, f.owner_id, o.name, f.state = 'waived'
ORDER BY f.rule, f.owner_id, is_waived
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a pack depends on besides the estate. The same inputs over the same estate give the same bytes."""

    purpose: str
    begins_at: datetime
    taken_at: datetime
    release: str
    ends_at: datetime | None = None
    sample_size: int = 0
    sample_seed: str = ""
    sample_filter: str = ""
    population: QuerySet[Credential] | None = None

    def said(self) -> dict[str, Any]:
        return {
            "purpose": self.purpose,
            "begins_at": _instant(self.begins_at),
            "ends_at": self.ends_at and _instant(self.ends_at),
            "taken_at": _instant(self.taken_at),
            "sample": (
                {"size": self.sample_size, "seed": self.sample_seed, "filter": self.sample_filter}
                if self.sample_size
                else None
            ),
        }


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, for the row of the pack."""

    manifest_sha256: str
    summary: dict[str, Any]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def as_json(content: Any) -> str:
    return json.dumps(content, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def write_pack(file: IO[bytes], inputs: Inputs, *, key: Ed25519PrivateKey, progress: Progress) -> Written:
    """Write the pack to `file`. Needs a transaction that sees one snapshot; nothing that outlives it is written."""
    with Archive(file) as archive:
        return _write(archive, inputs, key, progress)


def _write(archive: Archive, inputs: Inputs, key: Ed25519PrivateKey, progress: Progress) -> Written:
    archive.add("verify.py", VERIFIER.read_bytes())
    lists = sources(inputs.begins_at, inputs.ends_at)
    for name, source in lists.items():
        write_list(archive, name, source, progress)
    later = [name for name, source in lists.items() if inputs.ends_at and not source.keeps_past]
    tallies = write_measures(archive, inputs.taken_at, progress)
    measures = [said_of(measure, tallies[measure.slug]) for measure in MEASURES.values()]
    controls = [control_said(found) for found in standings(tallies)]
    metrics = {"controls": controls, "measures": measures, "csf_1_1": crosswalk()}
    archive.add("metrics.json", as_json(metrics))
    progress("sample")
    sample = _write_sample(archive, inputs)
    progress("OSCAL")
    has_plan = _write_oscal(archive, inputs, controls, measures)
    progress("audit segment")
    audit = _write_audit(archive, inputs, progress)
    public = key.public_key().public_bytes_raw()
    files = [entry.said() for entry in archive.entries]
    summary = {
        **inputs.said(),
        "release": inputs.release,
        "as_it_stands": later,
        "audit": audit,
        "sample_items": sample,
        "has_plan": has_plan,
        "controls": controls,
        "measures": measures,
        "lists": [
            {"name": each["path"].removeprefix("lists/").removesuffix(".json"), "rows": each["rows"]}
            for each in files
            if each["path"].startswith("lists/") and each["path"].endswith(".json")
        ],
        "key_sha256": sha256(public).hexdigest(),
    }
    archive.add("summary.html", render_to_string("reviews/pack_summary.html", {"pack": summary}))
    manifest = {
        "format": FORMAT,
        "release": inputs.release,
        "inputs": inputs.said(),
        "as_it_stands": later,
        "audit": audit,
        "has_plan": has_plan,
        "key_sha256": summary["key_sha256"],
        "files": [entry.said() for entry in archive.entries],
    }
    content = as_json(manifest).encode()
    archive.add(MANIFEST, content)
    archive.add(SIGNATURE, key.sign(content))
    archive.seal()
    summary["files"] = [entry.said() for entry in archive.entries]
    return Written(sha256(content).hexdigest(), summary)


def _write_sample(archive: Archive, inputs: Inputs) -> int:
    if not inputs.sample_size or inputs.population is None:
        return 0
    number = 0
    with archive.member("sample/population.csv") as member:
        member.write("id\n")
        keys = statement_of(inputs.population.order_by("pk").values_list("pk"))
        for block, rows in csv_lines(*keys):
            member.write(block)
            number += rows
        member.rows = number
    sample = drawn(inputs.population, size=inputs.sample_size, seed=inputs.sample_seed)
    row = CredentialSerializer.row(ROOT, CredentialSerializer.names())
    objects = dict(
        Credential.objects.filter(pk__in=[each.pk for each in sample])
        .annotate(json_text=row)
        .values_list("pk", "json_text")
    )
    found, items = bundles(sample), []
    for place, credential in enumerate(sample, 1):
        path = f"sample/{place:04d}-{credential.pk}.json"
        archive.add(path, as_json({"credential": json.loads(objects[credential.pk]), **found[credential.pk]}))
        items.append({"id": str(credential.pk), "name": credential.name, "lot": credential.lot, "bundle": path})  # type: ignore[attr-defined]
    said = {**(inputs.said()["sample"] or {}), "method": METHOD, "population": number, "items": items}
    archive.add("sample/sample.json", as_json(said))
    return len(items)


def _write_oscal(archive: Archive, inputs: Inputs, controls: list[Any], measures: list[Any]) -> bool:
    """Whether there is anything to plan for. A plan without items is none, and the schema refuses it."""
    at, begins = inputs.taken_at.isoformat(), inputs.begins_at.isoformat()
    results = oscal.assessment_results(
        controls, measures, begins_at=begins, at=at, version=inputs.release, purpose=inputs.purpose
    )
    archive.add("oscal/assessment-results.json", as_json(results))
    if not Finding.objects.filter(resolved_at=None).exists():
        return False
    head = json.dumps(oscal.plan_head(at=at, version=inputs.release), ensure_ascii=False)
    with archive.member("oscal/poam.json") as member:
        member.write(f'{{"plan-of-action-and-milestones":{head[:-1]}')
        for name, made in (("risks", oscal.risk), ("poam-items", oscal.item)):
            member.write(f',"{name}":[')
            for place, each in enumerate(_open()):
                member.write((",\n" if place else "\n") + json.dumps(made(each, at), ensure_ascii=False))
            member.write("]")
        member.write("}}\n")
    return True


def _open() -> Iterator[oscal.Open]:
    with database.chunked_cursor() as cursor:
        cursor.execute(OPEN_BY_OWNER)
        while rows := cursor.fetchmany(CHUNK):
            for slug, owner_id, owner, is_waived, number, severity, opened_at, deadline in rows:
                rule = RULES.get(slug)
                yield oscal.Open(
                    rule=slug,
                    name=rule.name if rule else slug,
                    owner_id=str(owner_id or "nobody"),
                    owner=owner or "nobody",
                    is_waived=is_waived,
                    number=number,
                    severity=severity,
                    opened_at=opened_at,
                    deadline=deadline,
                    why=rule.why if rule else "A rule of an earlier release.",
                    remediation=rule.remediation if rule else "See the finding.",
                    controls=[each for each in rule.controls if each in CONTROLS] if rule else [],
                )


def _write_audit(archive: Archive, inputs: Inputs, progress: Progress) -> dict[str, Any]:
    """The entries since the beginning of the period, each with what was hashed, and the heads signed over them."""
    entries = AuditEntry.objects.order_by("seq")
    first = entries.filter(at__gte=inputs.begins_at).values_list("seq", flat=True).first()
    last = entries.values_list("seq", flat=True).last()
    segment = entries.filter(seq__gte=first) if first is not None else entries.none()
    before = GENESIS if first is None else _hash(first - 1)
    latest = before if first is None or last is None else _hash(last)
    number = 0
    with archive.member("audit/entries.ndjson") as member:
        line = JsonObject(
            ("seq", F("seq")), ("hash", Func("hash", Value("hex"), function="encode")), ("text", F("text"))
        )
        select = statement_of(segment.annotate(json_text=AsText(line)).values_list("json_text"))
        for block, rows in json_lines(*select):
            member.write(block)
            number += rows
            progress(f"audit segment, {number} entries")
        member.rows = number
    said = {
        "first": first,
        "last": last if first is not None else None,
        "entries": number,
        "previous_hash": before.hex(),
        "last_hash": latest.hex(),
    }
    heads = ChainHead.objects.filter(seq__gte=first).order_by("seq") if first is not None else ChainHead.objects.none()
    archive.add("audit/heads.json", as_json([_head(head) for head in heads]))
    return said


def _hash(seq: int) -> bytes:
    """Of that entry; what stands before the first where it is none."""
    found = AuditEntry.objects.filter(seq=seq).values_list("hash", flat=True).first()
    return GENESIS if found is None else bytes(found)


def _head(head: ChainHead) -> Mapping[str, Any]:
    return {
        "seq": head.seq,
        "hash": bytes(head.hash).hex(),
        "signed_at": head.signed_at.isoformat(),
        "signature": bytes(head.signature).hex(),
        "key_sha256": sha256(bytes(head.public_key)).hexdigest(),
    }
