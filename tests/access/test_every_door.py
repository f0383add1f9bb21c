"""Every address of the product, found from its configuration: what each role may do there, and to whose things."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path

import pytest
from django.test import Client

from access.doors import Door, check_doors, doors
from access.rights import Reach, Right, holders
from access.roles import Role
from audit.models import AuditEntry
from inventory.states import Storage
from lifecycle.models import Batch
from tests import factories
from tests.access.estates import Things, marked, things, token_browser
from tests.people import browser, owners_browser, text

pytestmark = pytest.mark.django_db

NOBODY = "00000000-0000-7000-8000-000000000000"
ALL = [door for door in doors() if "*" not in door.path]
PAGES = [door for door in ALL if not door.is_api]
API = [door for door in ALL if door.is_api and set(door.rights.values()) != {Right.ANYBODY}]
GUARDED = [door for door in PAGES if door.right not in {Right.ANYBODY, Right.SIGNED_IN}]
WRITES = [door for door in GUARDED if door.right is not Right.READ]
UNKNOWN = "?no-such-parameter=1"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A refusal is logged with its traceback, and here are thousands of them."""
    logger = logging.getLogger("django.request")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def unhurried(settings) -> None:
    """As many requests a minute as there are doors."""
    settings.API_BUDGETS = dict.fromkeys(settings.API_BUDGETS, 0)


def filled(path: str, *keys: str) -> str:
    """The address with these keys, or with such as lead to nothing."""
    left = list(keys)
    path = re.sub(r"<(?:uuid|int):\w+>", lambda of: left.pop(0) if left else NOBODY if "uuid" in of[0] else "999", path)
    return re.sub(r"<slug:\w+>", "feed" if "connections" in path else "credential", path)


# ── Who ────────────────────────────────────────────────────────────────────────────────────────


def test_every_address_names_its_right() -> None:
    assert check_doors() == []


def test_what_names_no_right_is_found_when_keyreeve_is_checked(settings) -> None:
    settings.ROOT_URLCONF = "tests.access.forgetful_urls"
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if "Rights" not in each]
    found = check_doors()
    assert [each.id for each in found] == ["access.E001", "access.E001", "access.E002"]
    assert "/forgotten/" in found[0].msg
    assert "/half-forgotten/ takes (post)" in found[1].msg


@pytest.mark.parametrize("path", ["/forgotten/", "/half-forgotten/"])
def test_what_names_no_right_lets_nobody_in(settings, path) -> None:
    settings.ROOT_URLCONF = "tests.access.forgetful_urls"
    assert browser(Role.ADMINISTRATOR).post(path).status_code == 403


def test_the_manual_says_who_may_do_what() -> None:
    manual = Path("docs/rights.md").read_text()
    assert manual == run_path("docs/rights.py")["written"](manual), "run python docs/rights.py"


def test_a_page_lets_in_only_whom_its_right_names() -> None:
    """Asked with a verb that no page answers, so that nothing is done: 405 says that the right was held."""
    people = {role: browser(role) for role in Role}
    outsider, stranger = browser(), Client()
    met = {}
    for door in GUARDED:
        path = filled(door.path)
        let_in = {role for role, person in people.items() if person.generic("REPORT", path).status_code == 405}
        if let_in != set(holders(door.right)):
            met[door.name] = let_in
        if outsider.generic("REPORT", path).status_code != 403:
            met[f"{door.name}, without a role"] = {"somebody"}
        if not stranger.generic("REPORT", path).headers.get("Location", "").startswith("/account/login/?next="):
            met[f"{door.name}, unknown"] = {"somebody"}
    assert len(GUARDED) > 100
    assert met == {}


def test_what_a_page_is_for_is_told_to_who_is_refused() -> None:
    answer = browser(Role.AUDITOR).post("/credentials/rotate/")
    assert answer.status_code == 403
    assert "operator" in text(answer)


@pytest.mark.long
def test_each_verb_of_the_api_takes_its_right() -> None:
    """Asked with a parameter that none knows, so that nothing is read or done: 400 says that the right was held."""
    by_scheme = {scheme: {role: token_browser(role, scheme) for role in Role} for scheme in ("Token", "Bearer")}
    outsider, stranger = browser(), Client()
    met = []
    for door in API:
        path = filled(door.path) + UNKNOWN
        is_scim = path.startswith("/scim/")
        programs = by_scheme["Bearer" if is_scim else "Token"]
        for verb, right in door.rights.items():
            for role, program in programs.items():
                status = program.generic(verb.upper(), path, "{}", "application/json").status_code
                held = {200, 400, 404} if is_scim else {400}  # SCIM passes over parameters that it does not know
                if status not in (held if role in holders(right) else {403}):
                    met.append((verb, path, role.value, status))
            # A directory has a token: to one that was only signed in for pages SCIM is a stranger's.
            if (status := getattr(outsider, verb)(path).status_code) != (401 if is_scim else 403):
                met.append((verb, path, "without a role", status))
            if (status := getattr(stranger, verb)(path).status_code) != 401:
                met.append((verb, path, "unknown", status))
        for verb in {"post", "delete"} - set(door.rights):
            status = getattr(programs[Role.ADMINISTRATOR], verb)(path).status_code
            met += [(verb, path, "not offered", status)] if status not in {403, 405, 404 if is_scim else 405} else []
    assert len(API) > 150
    assert met == []


def test_nothing_is_written_without_the_token_of_its_form() -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = browser(Role.ADMINISTRATOR).cookies
    answers = {door.name: careful.post(filled(door.path), {"id": NOBODY}).status_code for door in WRITES}
    assert {name for name, status in answers.items() if status != 403} == set()


# ── Whose ──────────────────────────────────────────────────────────────────────────────────────

MINE, FOREIGN = "kirschrot", "zweifelhaft"
# Addresses of one thing that belongs to nobody: everybody who reads reads all of it.
EVERYBODYS = {"policy_detail", "api_policies_one"}
# Where even the owner of a thing meets only what they asked for themselves, or nothing at all.
OF_THE_ESTATE = {"connection_detail", "job_detail", "evidence_detail", "evidence_download"}
TO_A_LIST = {"findings_about"}  # which is narrowed for an owner as every list is
NOUNS = {
    "audit-entries": "audit", "client-removals": "clients", "tools": "servers",
}  # fmt: skip


def own_reach(door: Door) -> bool:
    """Whether an owner may use it for what is theirs."""
    return any(right and holders(right).get(Role.OWNER) is Reach.OWN for right in door.rights.values())


def noun_of(door: Door) -> str:
    return door.path.removeprefix("/account").split("/")[1]


def one_of(things_: Things, door: Door) -> list[str]:
    """The keys that an address of a page takes."""
    rows = things_.rows
    if door.name == "grant_pair":
        return [str(rows["clients"].pk), str(rows["servers"].pk)]
    if door.name == "evidence_item":  # of a sample of credentials
        return [str(rows["credentials"].pk)]
    if "/reviews/items/" in door.path:
        return [str(rows["review-items"].pk)]
    noun = "links" if "/links/" in door.path else noun_of(door)
    return [str(rows[noun].pk)]


def of_one_thing() -> list[Door]:
    return [
        door for door in GUARDED
        if re.search("<(uuid|int):", door.path) and own_reach(door)
        and door.name not in EVERYBODYS | OF_THE_ESTATE | TO_A_LIST
    ]  # fmt: skip


def asked(client: Client, door: Door, of: Things) -> int:
    """What the page of a thing answers, or where it is only written to, the writing of it."""
    path = filled(door.path, *one_of(of, door))
    if door.name == "operation_act":
        path = path.replace("/credential/", "/cancel/")
    answer = client.get(path)
    return int((client.post(path) if answer.status_code == 405 else answer).status_code)


def test_an_owner_reaches_what_is_theirs_and_nothing_of_what_is_somebody_elses() -> None:
    mine, theirs = things(MINE), things(FOREIGN)
    me = mine.browser()
    met = {}
    for door in of_one_thing():
        foreign, own = asked(me, door, theirs), asked(me, door, mine)
        if foreign != 404 or own not in {200, 302, 422}:
            met[door.name] = (own, foreign)
    assert len(of_one_thing()) > 15
    assert met == {}


def test_who_reads_everything_reaches_the_things_of_everybody() -> None:
    theirs = things(FOREIGN)
    people = {role: browser(role) for role in (Role.AUDITOR, Role.AUTOMATION, Role.ADMINISTRATOR)}
    met = {}
    for door in of_one_thing():
        if door.right is Right.READ:
            for role, person in people.items():
                if (status := asked(person, door, theirs)) != 200:
                    met[door.name, role.value] = status
    assert met == {}


def test_what_an_owner_asks_to_be_done_to_somebody_elses_things_is_not_done() -> None:
    theirs, mine = things(FOREIGN), things(MINE)
    me = mine.browser()
    said = {"reason": "because", "confirm": "yes", "decided": "1", "owner": str(mine.owner.pk), "until": "2099-01-01"}
    met = []
    for door in WRITES:
        if not own_reach(door) or door.right is Right.PREFER:
            continue
        (key,) = one_of(theirs, door) if "<" in door.path or noun_of(door) in theirs.rows else [NOBODY]
        path = filled(door.path, key).replace("/credential/", "/cancel/")
        answer = me.post(path, {"id": key, **said})
        if answer.status_code >= 500 or marked(answer, FOREIGN, ""):
            met.append((path, answer.status_code))
    assert met == []
    assert FOREIGN not in str(list(AuditEntry.objects.filter(actor_id=str(mine.user.pk)).values()))
    assert set(Batch.objects.values_list("reason", flat=True)) == {MINE, FOREIGN}


def addresses(of: Things) -> Iterator[str]:
    """Each address with a key of its kind, each with ids to choose, and lists narrowed to what is somebody else's."""
    keys = {noun: str(row.pk) for noun, row in of.rows.items()}
    for door in [*GUARDED, *API]:
        if (door.is_api and "get" not in door.rights) or door.right is Right.PREFER:
            continue
        if re.search("<(uuid|int):", door.path):
            if door.is_api:
                noun = door.path.split("/")[3]
                yield filled(door.path, keys.get(NOUNS.get(noun, noun), NOBODY))
            elif noun_of(door) in keys and door.name not in TO_A_LIST:
                yield filled(door.path, *one_of(of, door))
        elif door.right is Right.READ or door.is_api:
            yield filled(door.path)
        else:
            yield filled(door.path) + "?" + "&".join(f"id={key}" for key in keys.values())
    narrowing = {
        "server": "servers", "client": "clients", "credential": "credentials", "owner": "owners",
        "authorization_server": "authorization-servers", "connection": "connections",
    }  # fmt: skip
    for noun in (
        "tools", "grants", "uses", "posture-checks", "logging-records", "exposures", "findings", "credentials",
        "clients",
    ):  # fmt: skip
        for field, kind in narrowing.items():
            yield f"/api/v1/{noun}/?{field}={keys[kind]}"
    yield f"/grants/?server={keys['servers']}"
    yield f"/grants/draft/?client={keys['clients']}&server={keys['servers']}"
    yield f"/search/?q={FOREIGN[:5]}"
    yield "/clients/hygiene/?show=all"


def test_an_owner_meets_nothing_of_what_is_somebody_elses() -> None:
    theirs, (mine, _) = things(FOREIGN), owners_browser()
    asked_, met = 0, []
    for address in addresses(theirs):
        answer = mine.get(address)
        asked_ += 1
        if answer.status_code >= 500 or marked(answer, FOREIGN, address):
            met.append((address, answer.status_code))
    assert asked_ > 250
    assert met == []


def test_an_auditor_meets_all_of_it() -> None:
    """Without this the test above could pass on rows that nobody sees."""
    theirs, reader = things(FOREIGN), browser(Role.AUDITOR)
    paths = [*(f"/{noun}/" for noun in (
        "credentials", "servers", "clients", "owners", "connections", "authorization-servers", "findings", "operations",
        "batches", "audit",
    )), "/api/v1/uses/", "/api/v1/exposures/", "/api/v1/logging-records/", "/api/v1/waivers/"]  # fmt: skip
    unseen = {path for path in paths for noun in [path.split("/")[-2]]
              if FOREIGN not in text(reader.get(f"{path}{theirs.rows[noun].pk}/"))}  # fmt: skip
    assert unseen == set()


def test_of_a_foreign_credential_at_ones_own_server_an_owner_reads_neither_scopes_nor_place() -> None:
    mine, me = owners_browser()
    one = factories.server(name="mine", iam_owner=me)
    factories.tool(one, "read")
    program = factories.client(name="theirs")
    held = factories.credential(
        name=f"{FOREIGN} name", scopes=[f"{FOREIGN}:scope"], reference=f"env://{FOREIGN}", hint=FOREIGN[:10],
        subject=FOREIGN, principal=FOREIGN, storage=Storage.REFERENCE,
    )  # fmt: skip
    factories.use(held, client=program, server=one, file=f"/home/{FOREIGN}/x.json")
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
    assert [address for address, words in said.items() if FOREIGN in words] == []
