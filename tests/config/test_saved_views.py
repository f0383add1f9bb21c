"""A person's own views of a list: named, shown as tabs, nobody else's."""

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from access.models import SavedView, User
from audit.models import AuditEntry

pytestmark = pytest.mark.django_db


def person(name: str, role: str = "auditor") -> User:
    user = User.objects.create_user(name, f"{name}@example.org")
    user.groups.add(Group.objects.get(name=role))
    return user


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def save(client: Client, **given: str):
    return client.post(
        "/views/save/", {"path": "/findings/", "query": "rule=no-owner&sort=due", "label": "Nobody's", **given}
    )


def test_a_saved_view_is_a_tab_of_its_list() -> None:
    client = browser(person("mira"))
    assert save(client).url == "/findings/?rule=no-owner&sort=due"
    page = client.get("/findings/?rule=no-owner&sort=due").content.decode()
    assert "Nobody&#x27;s" in page
    assert "Forget this view" in page
    assert "Nobody&#x27;s" not in client.get("/credentials/").content.decode()


def test_a_view_begins_at_the_first_page() -> None:
    save(browser(person("mira")), query="rule=no-owner&cursor=abc&format=csv")
    assert SavedView.objects.get().query == "rule=no-owner"


def test_the_same_name_again_replaces_the_view() -> None:
    client = browser(person("mira"))
    save(client)
    save(client, query="rule=stale")
    assert SavedView.objects.get().query == "rule=stale"


@pytest.mark.parametrize(
    "given", [{"label": ""}, {"query": ""}, {"path": "https://elsewhere.example/"}, {"path": "/views/save/"}]
)
def test_what_is_no_view_of_a_list_is_refused(given: dict[str, str]) -> None:
    response = save(browser(person("mira")), **given)
    assert response.url in {"/", "/findings/"}
    assert not SavedView.objects.exists()


def test_a_view_is_forgotten_by_its_owner_alone() -> None:
    save(browser(person("mira")))
    pk = SavedView.objects.get().pk
    assert browser(person("ana")).post(f"/views/{pk}/forget/").status_code == 404
    assert browser(User.objects.get(username="mira")).post(f"/views/{pk}/forget/").url == "/findings/"
    assert not SavedView.objects.exists()


def test_saving_and_forgetting_are_recorded() -> None:
    client = browser(person("mira"))
    save(client)
    client.post(f"/views/{SavedView.objects.get().pk}/forget/")
    events = AuditEntry.objects.filter(event__startswith="user.view").order_by("seq").values_list("event", flat=True)
    assert list(events) == ["user.view_saved", "user.view_forgotten"]


def test_a_stranger_saves_nothing() -> None:
    assert save(Client()).status_code == 302
    assert not SavedView.objects.exists()
