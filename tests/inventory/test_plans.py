"""Lists of a large estate are served by indexes: each statement is explained over tables large enough for a choice."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection as database
from django.db.models import OuterRef, QuerySet

from inventory.filters import MatrixFilter, McpServerFilter
from inventory.models import Grant, McpClient, McpServer, MetadataSnapshot, PostureCheck, SyncRun, Use
from inventory.states import Verdict
from inventory.views.counts import LIMIT, CappedCount
from inventory.views.servers import listed
from tests.factories import NOW, connection

pytestmark = pytest.mark.django_db
SERVERS_MADE = 3_000
BUSY_USES = 12_000

FILL = (
    """INSERT INTO inventory_mcpserver (identity_key, connection_id, name, transport, url, launcher, package,
      package_version, command, role, vendor, protocol_versions, authentication, scopes, probe_error, tools_error,
      first_seen_at, risk, open_findings)
    SELECT 's' || n, %(connection)s, 'server ' || n, 'http', '', '', '', '', '', 'unclassified', '', '{}', '', '{}',
      '', '', %(now)s, n %% 5, 0 FROM generate_series(1, %(servers)s) n""",
    """INSERT INTO inventory_posturecheck (server_id, check_id, verdict, severity, evidence, specification, checked_at)
    SELECT s.id, 'MCP-RS-' || n, CASE WHEN n = 1 AND s.name LIKE '%%00' THEN 'violated' ELSE 'met' END, 3, '{}', '',
      %(now)s FROM inventory_mcpserver s, generate_series(1, 12) n""",
    """INSERT INTO inventory_metadatasnapshot (server_id, digest, document, differences, first_seen_at)
    SELECT s.id, 'd', '{}', '[]', %(now)s FROM inventory_mcpserver s, generate_series(1, 3)""",
    """INSERT INTO inventory_mcpclient (identity_key, connection_id, name, product, host, client_id, registration,
      redirect_uris, grant_types, software_id, application_type, scopes, registration_uri, registration_reference,
      hygiene, hygiene_key, hygiene_reason, admission, admission_reason, first_seen_at, risk, open_findings)
    SELECT 'c' || n, %(connection)s, 'client ' || n, '', '', '', 'config_file', '{}', '{}', '', '', '{}', '', '',
      'unknown', '', '', 'admitted', '', %(now)s, n %% 5, 0 FROM generate_series(1, 4000) n""",
    """WITH s AS (SELECT array_agg(id ORDER BY name) AS ids FROM inventory_mcpserver),
      c AS (SELECT array_agg(id ORDER BY name) AS ids FROM inventory_mcpclient)
    INSERT INTO inventory_use (connection_id, client_id, server_id, file, pointer, held_as, is_disabled, first_seen_at)
    SELECT %(connection)s, c.ids[1 + n %% 4000], CASE WHEN n <= %(busy)s THEN s.ids[1] ELSE s.ids[1 + n %% 3000] END,
      'file ' || n, '', '', false, %(now)s FROM s, c, generate_series(1, %(busy)s + 8000) n""",
    """INSERT INTO inventory_grant (client_id, server_id, tools, scopes, resources, tool_digests, drafted_by,
      drafted_at, approved_by, approved_at, ends_at, reason, withdrawn_by)
    SELECT DISTINCT ON (client_id, server_id) client_id, server_id, '{}'::varchar[], '{}'::varchar[], '{}'::text[],
      '{}'::jsonb, 'Mira', %(now)s::timestamptz, 'Otto', %(now)s::timestamptz, %(now)s::timestamptz
        + (1 + get_byte(uuid_send(client_id), 15)) * interval '1 day', '', '' FROM inventory_use""",
    """INSERT INTO inventory_syncrun (connection_id, state, requested_by, started_at, finished_at, done, received,
      counts, problems, error, idempotency_key, body_digest, digest)
    SELECT %(connection)s, 'complete', '', %(now)s, %(now)s, 0, '{}', '{}', '[]', '', '', '', ''
    FROM generate_series(1, 5000)""",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def estate(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Made once for all plans, and emptied again; each test closes its connection, so it is committed in between."""
    given = {"now": NOW, "servers": SERVERS_MADE, "busy": BUSY_USES}
    with django_db_blocker.unblock():
        with database.cursor() as cursor:
            given["connection"] = connection().pk
            for statement in FILL:
                cursor.execute(statement, given)
            cursor.execute("VACUUM ANALYZE")
        yield
        with database.cursor() as cursor:
            cursor.execute("TRUNCATE inventory_connection CASCADE")


def steps(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from steps(each)


def plan_of(rows: QuerySet[Any]) -> list[dict[str, Any]]:
    """The steps that the database really took for these rows."""
    return list(steps(json.loads(rows.explain(format="json", analyze=True))[0]["Plan"]))


def indexes(taken: list[dict[str, Any]]) -> set[str]:
    return {step["Index Name"] for step in taken if "Index Name" in step}


def scanned(taken: list[dict[str, Any]]) -> set[str]:
    """Tables that were read from end to end; those of a handful of rows may be."""
    return {step["Relation Name"] for step in taken if step["Node Type"] == "Seq Scan"} - {
        "inventory_connection", "inventory_environment", "inventory_owner",
    }  # fmt: skip


def narrowed(**given: str) -> QuerySet[Any]:
    found: QuerySet[Any] = McpServerFilter(given, queryset=listed(McpServer.objects.present())).qs
    return found.order_by("-risk", "-id")[:51]


def busiest() -> McpServer:
    return McpServer.objects.get(name="server 1")


def test_servers_that_violate_something_are_found_without_reading_their_checks():
    taken = plan_of(narrowed(posture="violated"))
    assert indexes(taken) & {"posture_violated_by_server", "posture_violated"}
    assert "inventory_posturecheck" not in scanned(taken)


def test_the_servers_of_a_page_are_read_from_an_index_with_their_verdicts():
    taken = plan_of(narrowed())
    assert "server_by_risk" in indexes(taken)
    assert not scanned(taken)


def test_counting_the_clients_of_a_server_that_everybody_uses_stops_at_the_limit():
    """Its uses are many times as many as the clients that are counted."""
    uses = Use.objects.present().filter(server=OuterRef("pk"))
    taken = plan_of(McpServer.objects.filter(pk=busiest().pk).annotate(clients=CappedCount(uses, "client")))
    (read,) = [step for step in taken if step.get("Index Name") == "use_by_server_and_client"]
    assert LIMIT < read["Actual Rows"] < BUSY_USES / 2


def test_grants_that_run_out_are_a_range_of_an_index():
    taken = plan_of(Grant.objects.current().filter(ends_at__lt=NOW + timedelta(days=2)))
    assert "grant_current_by_end" in indexes(taken)
    assert not scanned(taken)


def test_the_grants_of_a_server_are_found_by_an_index():
    taken = plan_of(Grant.objects.current().filter(server=McpServer.objects.get(name="server 7")))
    assert indexes(taken) & {"grant_current_by_server", "inventory_grant_server_id_fb9c3ac7"}
    assert not scanned(taken)


def test_clients_sorted_by_risk_are_read_from_an_index():
    taken = plan_of(McpClient.objects.present().order_by("-risk", "-id")[:51])
    assert indexes(taken) == {"client_by_risk"}
    assert not any(step["Node Type"].endswith("Sort") for step in taken)


def test_the_newest_snapshot_of_a_server_is_one_look_into_an_index():
    taken = plan_of(MetadataSnapshot.objects.filter(server=busiest()).order_by("-id")[:1])
    assert indexes(taken) <= {"metadata_by_server", "inventory_metadatasnapshot_server_id"}
    assert not scanned(taken)


def test_the_newest_runs_of_a_connection_are_read_from_an_index():
    taken = plan_of(SyncRun.objects.filter(connection=busiest().connection).order_by("-id")[:20])
    assert not scanned(taken)
    assert not any(step["Node Type"].endswith("Sort") for step in taken)


def test_what_one_check_violates_is_read_from_an_index():
    taken = plan_of(PostureCheck.objects.filter(check_id="MCP-RS-1", verdict=Verdict.VIOLATED).order_by("id")[:101])
    assert "posture_violated" in indexes(taken)
    assert not scanned(taken)


def test_the_clients_of_a_server_in_the_matrix_are_found_from_the_server():
    one = McpServer.objects.get(name="server 7")
    taken = plan_of(MatrixFilter({"server": str(one.pk)}, queryset=McpClient.objects.present()).qs)
    assert "use_by_server_and_client" in indexes(taken)
    assert not scanned(taken)


def test_clients_that_only_a_grant_names_are_in_the_matrix_of_a_server():
    one = McpServer.objects.get(name="server 7")
    only = McpClient.objects.exclude(pk__in=Use.objects.filter(server=one).values("client")).first()
    assert only is not None
    Grant.objects.create(client=only, server=one, drafted_by="Mira", drafted_at=NOW)
    assert only in MatrixFilter({"server": str(one.pk)}, queryset=McpClient.objects.present()).qs
