"""Every address of the product, found from its configuration: what each role may do there, and what an owner sees."""

import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from access.actors import Actor
from access.roles import Role
from audit.actions import action, record
from audit.events import Event
from inventory.models import AuthorizationServer, LoggingRecord, MetadataSnapshot
from inventory.states import Hygiene, Registration, Severity, Storage
from lifecycle.models import Finding
from tests import factories
from tests.factories import NOW
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db

NOBODY = "00000000-0000-7000-8000-000000000000"
PUBLIC = {"healthz", "readyz", "one_time_sign_in", "account_login", "account_inactive"}
OF_THE_SIGNED_IN = {
    "account_logout",
    "account_reauthenticate",
    "account_change_password",
    "account_set_password",
}
ANYBODYS_DOCUMENTS = {"api_schema", "api_intake_schema"}

OPERATORS = {Role.ADMINISTRATOR, Role.OPERATOR}
REVIEWERS = OPERATORS | {Role.REVIEWER}
OWNERS = REVIEWERS | {Role.OWNER}
EVERYBODY = set(Role)
# Who may do what. Whatever is not named here only reads: a write needs its line, or this file fails.
WRITES: dict[str, set[Role]] = {
    "authorization_server_answer": OPERATORS,
    "batch_approve": OPERATORS,
    "batch_cancel": OPERATORS | {Role.OWNER},
    "batch_decide": OPERATORS,
    "batch_decline": OPERATORS,
    "batch_extend": OPERATORS,
    "batch_halt": OPERATORS | {Role.OWNER},
    "batch_rehearse": OPERATORS,
    "batch_resume": OPERATORS | {Role.OWNER},
    "batch_revoke": OPERATORS | {Role.OWNER},
    "batch_value": OPERATORS,
    "client_admit": REVIEWERS,
    "client_assign_owner": OWNERS,
    "client_quarantine": OWNERS,
    "client_registration_reference": OPERATORS,
    "client_reinstate": REVIEWERS,
    "client_remove": OWNERS,
    "client_suspend": OWNERS,
    "connection_create": OPERATORS,
    "connection_edit": OPERATORS,
    "connection_enable": OPERATORS,
    "connection_remove": OPERATORS,
    "connection_sync": OPERATORS,
    "exposure_replace": OPERATORS,
    "connection_test": OPERATORS,
    "credential_assign_environment": OPERATORS,
    "credential_assign_owner": OWNERS,
    "credential_confirm": OWNERS,
    "credential_dates": REVIEWERS,
    "credential_delivery": OPERATORS,
    "credential_revoke": OPERATORS | {Role.OWNER},
    "credential_rotate": OPERATORS | {Role.OWNER},
    "credential_tag": OWNERS,
    "endpoint_add": OPERATORS,
    "endpoint_edit": OPERATORS,
    "endpoint_pause": OPERATORS,
    "endpoint_remove": OPERATORS,
    "endpoint_test": OPERATORS,
    "finding_acknowledge": OWNERS,
    "finding_assign": OWNERS,
    "finding_comment": OWNERS,
    "finding_link": OWNERS,
    "finding_revoke": OPERATORS | {Role.OWNER},
    "finding_rotate": OPERATORS | {Role.OWNER},
    "finding_unlink": OWNERS,
    "finding_waive": OWNERS,
    "window_retire": OPERATORS,
    "window_add": OPERATORS,
    "schedule_resume": OPERATORS,
    "operating_limits": {Role.ADMINISTRATOR},
    "freeze_set": OPERATORS,
    "freeze_lift": OPERATORS,
    "grant_approve": OWNERS,
    "grant_change": OWNERS,
    "grant_draft": OWNERS,
    "grant_withdraw": OWNERS,
    "mail_test": OPERATORS,
    "notice_again": OPERATORS,
    "operation_act": OPERATORS | {Role.OWNER},
    "owner_activate": REVIEWERS,
    "owner_create": REVIEWERS,
    "policy_change": REVIEWERS,
    "policy_create": REVIEWERS,
    "policy_retire": REVIEWERS,
    "preferences": EVERYBODY,
    "removal_resume": REVIEWERS,
    "removal_withdraw": OWNERS,
    "rule_set": REVIEWERS,
    "server_assign_environment": OPERATORS,
    "server_assign_owner": OWNERS,
    "server_classify": OPERATORS,
    "server_logging": REVIEWERS,
    "tools_approve": OWNERS,
    "view_forget": EVERYBODY,
    "view_save": EVERYBODY,
    "waiver_approve": REVIEWERS,
    "waiver_cap": {Role.ADMINISTRATOR},
    "waiver_cap_remove": {Role.ADMINISTRATOR},
    "waiver_decline": REVIEWERS,
    "waiver_withdraw": OWNERS,
}
FORMS_TO_READ = {"batch_new": OPERATORS, "connection_choose": OPERATORS}


def doors(patterns: list[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Name and pattern of every address, the API's without a name by its pattern."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from doors(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            path = "/" + re.sub(r"[\^$]|\\Z", "", prefix + str(pattern.pattern))
            yield pattern.name or path, path


ALL = [door for door in doors(get_resolver().url_patterns) if ".*" not in door[1]]
PAGES = [door for door in ALL if not door[1].startswith("/api/") and door[0] not in PUBLIC | OF_THE_SIGNED_IN]
API = [door for door in ALL if door[1].startswith("/api/") and door[0] not in ANYBODYS_DOCUMENTS]


def filled(path: str, *keys: str) -> str:
    """The address with these keys, or with such as lead to nothing."""
    left = list(keys)
    path = re.sub(r"<uuid:\w+>", lambda _: left.pop(0) if left else NOBODY, path)
    path = re.sub(r"<int:\w+>", "999999999", path)
    return re.sub(r"<slug:\w+>", "feed" if "connections" in path else "credential", path)


@pytest.fixture
def people() -> dict[Role, Client]:
    return {role: browser(role) for role in Role}


def test_a_page_lets_in_only_whom_its_right_names(people: dict[Role, Client]) -> None:
    stranger, outsider = Client(), browser()
    for (name, path), method in product(PAGES, ("get", "post")):
        allowed = WRITES.get(name) or FORMS_TO_READ.get(name) or EVERYBODY
        answers = {role: getattr(person, method)(filled(path)).status_code for role, person in people.items()}
        if set(answers.values()) == {405}:
            continue
        assert name in WRITES or method == "get", f"say in WRITES who may do this: {name}"
        assert {role for role, status in answers.items() if status != 403} == allowed, name
        assert getattr(outsider, method)(filled(path)).status_code == 403, name
        assert getattr(stranger, method)(filled(path)).headers["Location"].startswith("/account/login/?next="), name


def test_the_api_is_read_by_whoever_has_a_role_and_written_by_feeds_and_those_who_operate(
    people: dict[Role, Client],
) -> None:
    stranger, outsider = Client(), browser()
    feeds = OPERATORS | {Role.AUTOMATION}
    operate = feeds | {Role.OWNER}
    for name, path in API:
        is_intake, is_written = (
            "/intake/" in path,
            any(noun in path for noun in ("/operations/", "/deliveries/", "/batches/")),
        )
        is_verb = is_written and re.search(r"/<uuid:id>/[a-z-]+/$", path)
        for role, person in people.items():
            readable = {403, 405} if is_intake else {405} if is_verb else {200, 404}
            assert person.get(filled(path)).status_code in readable, (name, role)
            expected = {400} if is_intake and role in feeds else {403, 405}
            if is_written and role in operate:
                is_read_only = not is_verb and ("<uuid:id>" in path or "/export/" in path)
                expected = {404, 405} if is_read_only else {415}  # what is sent here is a form, and no object
            assert person.post(filled(path)).status_code in expected, (name, role)
        assert outsider.get(filled(path)).status_code in {403, 405}, name
        assert stranger.get(filled(path)).status_code in {401, 405}, name
        assert stranger.post(filled(path)).status_code == 401, name


def test_nothing_is_written_without_the_token_of_its_form() -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = browser(Role.ADMINISTRATOR).cookies
    written = [path for name, path in PAGES if name in WRITES]
    answers = {path: careful.post(filled(path), {"id": NOBODY}).status_code for path in written}
    assert len(answers) == len(WRITES)
    assert set(answers.values()) == {403}


MARK = "zweifelhaft"


@action
def an_entry(subject: Model) -> None:
    record(Event.CREDENTIAL_OWNER_ASSIGNED, actor=Actor.system(MARK), subject=subject, detail={"to": MARK})


@pytest.fixture
def foreign() -> dict[str, str]:
    """Rows of somebody else, each with a word in all of its texts; their keys, by what they are."""
    place = factories.connection(name=f"{MARK} place")
    somebody = factories.owner(name=f"{MARK} owner", email=f"{MARK}@halden.example")
    issuer = AuthorizationServer.objects.create(
        issuer=f"https://{MARK}.example", metadata={MARK: MARK}, first_seen_at=NOW
    )
    one = factories.server(name=f"{MARK} server", connection=place, iam_owner=somebody, authorization_server=issuer)
    factories.tool(one, f"{MARK}_tool")
    LoggingRecord.objects.create(
        server=one, trust_model="unknown", happening="refresh", is_logged=True, evidence=MARK, recorded_by=MARK,
        recorded_at=NOW,
    )  # fmt: skip
    MetadataSnapshot.objects.create(server=one, digest="0", document={MARK: 1}, differences=[MARK], first_seen_at=NOW)
    program = factories.client(
        name=f"{MARK} client", connection=place, owner=somebody, authorization_server=issuer, client_id=MARK,
        registration=Registration.DYNAMIC, hygiene=Hygiene.DEAD, hygiene_key=MARK,
    )  # fmt: skip
    held = factories.credential(
        name=f"{MARK} credential", connection=place, owner=somebody, scopes=[MARK], reference=f"env://{MARK}",
        hint=MARK[:10], subject=MARK, principal=MARK,
    )  # fmt: skip
    used = factories.use(held, connection=place, client=program, server=one)
    shown = factories.exposure(held, host=MARK)
    found = Finding.objects.create(
        credential=held, rule="no-owner", severity=Severity.CRITICAL, opened_at=NOW, refreshed_at=NOW, due_at=NOW
    )
    an_entry(held)
    rows = (place, somebody, issuer, one, program, held, used, shown, found)
    return {str(row.pk): type(row).__name__ for row in rows}


def addresses(keys: list[str]) -> Iterator[str]:
    for name, path in [*PAGES, *API]:
        if name in {"view_save", "view_forget"} or "/intake/" in path:
            continue
        slots = path.count("<uuid:")
        yield from (filled(path, *each) for each in product(keys, repeat=slots))
        if name in WRITES and not slots:
            yield filled(path) + "?" + "&".join(f"id={key}" for key in keys)
    for key in keys:
        for noun in (
            "tools", "grants", "uses", "posture-checks", "logging-records", "exposures", "findings", "credentials",
            "clients",
        ):  # fmt: skip
            for field in ("server", "client", "credential", "owner", "authorization_server", "connection"):
                yield f"/api/v1/{noun}/?{field}={key}"
        yield f"/grants/?server={key}"
        yield f"/grants/draft/?client={key}&server={key}"
    yield f"/search/?q={MARK[:5]}"
    yield "/clients/hygiene/?show=all"


def test_an_owner_meets_nothing_of_what_is_somebody_elses(foreign: dict[str, str]) -> None:
    mine, _ = owners_browser()
    asked, met = 0, []
    for address in addresses(list(foreign)):
        answer = mine.get(address)
        said = text(answer).replace(address.partition("?")[2], "").replace(f'value="{MARK[:5]}"', "")
        asked += 1
        if MARK in said or answer.status_code >= 500:
            met.append((address, answer.status_code))
    assert asked > 300
    assert met == []


def test_an_auditor_meets_all_of_it(foreign: dict[str, str]) -> None:
    """Without this the test above could pass on rows that nobody sees."""
    reader = browser(Role.AUDITOR)
    seen = {kind for key, kind in foreign.items() for path in (
        f"/credentials/{key}/", f"/servers/{key}/", f"/clients/{key}/", f"/owners/{key}/", f"/connections/{key}/",
        f"/authorization-servers/{key}/", f"/findings/{key}/", f"/api/v1/uses/{key}/", f"/api/v1/exposures/{key}/",
    ) if MARK in text(reader.get(path))}  # fmt: skip
    assert seen == set(foreign.values())


def test_of_a_foreign_credential_at_ones_own_server_an_owner_reads_neither_scopes_nor_place() -> None:
    mine, me = owners_browser()
    one = factories.server(name="mine", iam_owner=me)
    factories.tool(one, "read")
    program = factories.client(name="theirs")
    held = factories.credential(
        name=f"{MARK} name", scopes=[f"{MARK}:scope"], reference=f"env://{MARK}", hint=MARK[:10], subject=MARK,
        principal=MARK, storage=Storage.REFERENCE,
    )  # fmt: skip
    factories.use(held, client=program, server=one, file=f"/home/{MARK}/x.json")
    grant = factories.grant(program, one)
    said = {
        address: text(mine.get(address))
        for address in (
            f"/servers/{one.pk}/", f"/grants/{program.pk}/{one.pk}/", "/grants/", "/grants/list/", "/",
            f"/grants/draft/?client={program.pk}&server={one.pk}", f"/clients/{program.pk}/",
            "/api/v1/uses/", "/api/v1/grants/", "/api/v1/export/uses.ndjson", "/api/v1/export/grants.csv",
            f"/grants/approve/?id={grant.pk}", "/grants/list/?format=csv",
        )
    }  # fmt: skip
    assert [address for address, words in said.items() if MARK in words] == []
