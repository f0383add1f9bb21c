"""Pages as of a past instant: said plainly, with a way back, and nothing to change."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access.actors import Actor
from access.roles import Role
from inventory.actions.ownership import assign_owner
from inventory.models import Credential, Grant, McpServer
from inventory.states import CredentialStatus
from lifecycle.models import Finding, Policy
from tests.api.conftest import Estate, estate  # noqa: F401  the same small estate
from tests.factories import NOW, client, credential, grant, owner, server
from tests.history.passing import DAY, time_passes
from tests.people import HTMX, browser, text

SYSTEM = Actor.system("test")


def half_a_day_ago() -> str:
    return f"{timezone.now() - DAY / 2:%Y-%m-%dT%H:%M}"


def addresses(of: Credential) -> list[str]:
    pair = Grant.objects.get()
    found = Finding.objects.filter(credential=of).first()
    lists = (
        "server_list", "client_list", "credential_list", "owner_list", "exposure_list", "grant_list", "grant_matrix",
        "finding_list", "waiver_list", "policy_list",
    )  # fmt: skip
    return [
        *map(reverse, lists),
        reverse("grant_pair", args=[pair.client_id, pair.server_id]),
        *(
            reverse(name, args=[pk])
            for name, pk in (
                ("credential_detail", of.pk),
                ("server_detail", pair.server_id),
                ("client_detail", pair.client_id),
                ("owner_detail", of.owner_id),
                ("finding_detail", found.pk if found else None),
                ("policy_detail", Policy.objects.in_order()[0].pk),
            )
        ),
    ]


def main(page: str) -> str:
    return page[page.index("<main") : page.index("</main>")]


def seen(who: Client, address: str) -> str:
    answer = who.get(address, {"as_of": half_a_day_ago()}, follow=True)
    assert answer.status_code == 200, address
    return text(answer)


def test_every_page_of_the_past_says_so_leads_back_and_offers_no_change(estate: Estate):  # noqa: F811
    time_passes()
    for who in (browser(Role.ADMINISTRATOR), estate.caller.browser):
        for address in addresses(estate.mine):
            page = seen(who, address)
            assert "You are looking at the past" in page
            (back,) = set(re.findall(r'<a class="btn" data-present href="([^"]*)"', page))
            assert "as_of" not in back
            assert back.startswith(address)
            shown = main(page)
            assert "csrfmiddlewaretoken" not in shown, address
            assert "hx-post" not in shown, address
            assert "dialog-slot" not in shown, address


def test_links_keep_to_the_instant_where_the_page_they_lead_to_knows_it(estate: Estate):  # noqa: F811
    time_passes()
    page = seen(browser(Role.AUDITOR), reverse("credential_list"))
    then = half_a_day_ago()
    assert f'href="{reverse("credential_detail", args=[estate.mine.pk])}?as_of={then}"' in page
    assert f'href="{reverse("owner_list")}?as_of={then}"' in page
    assert f'href="{reverse("operation_list")}"' in page  # of the present, as every page about it


def test_a_page_that_leads_on_keeps_to_the_instant(estate: Estate):  # noqa: F811
    time_passes()
    answer = browser(Role.AUDITOR).get(reverse("finding_list"), {"as_of": half_a_day_ago()})
    assert answer.status_code == 302
    assert f"as_of={half_a_day_ago()}" in answer["Location"]


def test_a_page_shows_what_was_so_then(db: None):
    row = credential(name="deploy", owner=owner(name="Ada"), status=CredentialStatus.ACTIVE)
    time_passes()
    Credential.objects.filter(pk=row.pk).update(name="release", owner=None, status=CredentialStatus.DESTROYED)
    page = seen(browser(Role.AUDITOR), reverse("credential_detail", args=[row.pk]))
    assert "<h1>deploy" in page
    assert "Ada" in page
    assert "release" not in page
    assert "Destroyed" not in page


def test_an_age_is_that_of_then(db: None):
    row = credential(issued_at=timezone.now() - 30.5 * DAY)
    time_passes(20 * DAY)
    address = reverse("credential_detail", args=[row.pk])
    answer = browser(Role.AUDITOR).get(address, {"as_of": f"{timezone.now() - 10 * DAY:%Y-%m-%dT%H:%M}"})
    assert ">20 d<" in text(answer)


def test_a_fragment_and_a_file_are_of_then_too(db: None):
    row = credential(name="deploy")
    time_passes()
    Credential.objects.filter(pk=row.pk).update(name="release")
    who, address = browser(Role.AUDITOR), reverse("credential_list")
    asked = {"as_of": half_a_day_ago()}
    fragment = text(who.get(address, asked, headers=HTMX))
    assert "deploy" in fragment
    assert "release" not in fragment
    lines = text(who.get(address, {**asked, "format": "csv"}))
    assert "deploy" in lines
    assert "release" not in lines


def test_saved_views_filters_and_pages_keep_to_the_instant(db: None):
    for n in range(60):
        credential(name=f"key {n}")
    time_passes()
    page = main(seen(browser(Role.AUDITOR), reverse("credential_list")))
    (later,) = re.findall(r'<a class="btn" href="([^"]*)"[^>]*id="page-later"', page)
    assert "as_of=" in later
    assert page.count(f'<input type="hidden" name="as_of" value="{half_a_day_ago()}">') >= 2
    assert "Save view" not in page
    for tab in re.findall(r'<a href="([^"]*)"[^>]*id="tab-', page):
        assert "as_of=" in tab


def test_tabs_are_counted_of_now_alone(db: None):
    credential()
    time_passes()
    reader = browser(Role.AUDITOR)
    assert 'class="count"' in text(reader.get(reverse("credential_list")))
    assert 'class="count"' not in main(seen(reader, reverse("credential_list")))


def test_an_owners_past_shows_only_what_is_theirs_now(estate: Estate):  # noqa: F811
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=estate.mira, gone_at=None)  # it was Mira's then
    time_passes()
    Credential.objects.filter(pk=estate.foreign.pk).update(owner=owner())
    who = estate.caller.browser
    page = seen(who, reverse("credential_list"))
    address = reverse("credential_detail", args=[estate.foreign.pk])
    assert reverse("credential_detail", args=[estate.mine.pk]) in page
    assert address not in page
    assert who.get(address, {"as_of": half_a_day_ago()}).status_code == 404


# ── What is no past ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("yesterday", "Give an instant"),
        ("2001-01-01T00:00", "does not reach back so far"),
        ("9999-12-31T23:59", "has not come yet"),
    ],
)
def test_an_instant_of_which_nothing_is_known_is_refused_with_a_way_on(asked: str, said: str, db: None):
    answer = browser(Role.AUDITOR).get(reverse("credential_list"), {"as_of": asked, "kind": "api_key"})
    assert answer.status_code == 400
    page = text(answer)
    assert said in page
    assert 'data-present href="/credentials/?kind=api_key"' in page
    assert '<input id="as-of"' in page


def test_a_page_that_knows_the_present_alone_refuses_a_past_instant(db: None):
    answer = browser(Role.AUDITOR).get(reverse("operation_list"), {"as_of": half_a_day_ago()})
    assert answer.status_code == 400
    assert "knows the present alone" in text(answer)


def test_nothing_is_written_at_an_address_of_the_past(db: None):
    row = credential()
    who = browser(Role.ADMINISTRATOR)
    answer = who.post(f"{reverse('credential_assign_owner')}?as_of={half_a_day_ago()}", {"id": str(row.pk)})
    assert answer.status_code == 400


def test_whoever_may_not_look_learns_nothing_of_the_past(db: None):
    time_passes()
    address = reverse("credential_list")
    assert Client().get(address, {"as_of": half_a_day_ago()}).status_code == 302
    assert browser().get(address, {"as_of": half_a_day_ago()}).status_code == 403


# ── The timeline ───────────────────────────────────────────────────────────────────────────────


def test_a_change_that_nobody_recorded_is_on_the_timeline(db: None):
    row = credential(status=CredentialStatus.ACTIVE)
    time_passes()
    Credential.objects.filter(pk=row.pk).update(status=CredentialStatus.SUSPENDED)
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "<b>It changed</b> status: active → suspended" in page


@pytest.mark.parametrize("kind", ["server", "client", "owner", "grant"])
def test_it_is_on_that_of_every_kind(kind: str, db: None):
    host, program, who = server(name="old"), client(name="old"), owner(name="old")
    held = grant(program, host, ends_at=timezone.now() + 9 * DAY, approved_at=NOW, reason="old")
    time_passes()
    row = {"server": host, "client": program, "owner": who, "grant": held}[kind]
    column = "reason" if kind == "grant" else "name"
    type(row).objects.filter(pk=row.pk).update(**{column: "new"})
    address = (
        reverse("grant_pair", args=[program.pk, host.pk])
        if kind == "grant"
        else reverse(f"{kind}_detail", args=[row.pk])
    )
    assert f"<b>It changed</b> {column}: old → new" in text(browser(Role.AUDITOR).get(address))


def test_what_an_audit_entry_tells_is_told_once(db: None):
    row, ada = credential(), owner(name="Ada")
    time_passes()
    assign_owner(Credential.objects.filter(pk=row.pk), ada, actor=SYSTEM, reason="She runs it.")
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "assigned the owner" in page
    assert "It changed" not in page


def test_the_timeline_of_the_past_ends_at_its_instant(db: None):
    row = server(name="one")
    time_passes(3 * DAY)
    McpServer.objects.filter(pk=row.pk).update(name="two")
    time_passes(DAY)
    McpServer.objects.filter(pk=row.pk).update(name="three")
    page = seen(browser(Role.AUDITOR), reverse("server_detail", args=[row.pk]))
    assert "name: one → two" in page
    assert "three" not in page


def test_a_name_is_told_where_a_key_changed(db: None):
    row = credential(owner=owner(name="Ada"))
    time_passes()
    Credential.objects.filter(pk=row.pk).update(owner=owner(name="Ben"))
    page = text(browser(Role.AUDITOR).get(reverse("credential_detail", args=[row.pk])))
    assert "owner: Ada → Ben" in page
