"""Sign-in through a directory: a real authorization server with OpenID Connect, and what its groups give."""

import re
from urllib.parse import urlsplit

import httpx2
import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from access.directory import roles_of
from access.models import User
from access.roles import Role
from audit.events import Event
from audit.models import AuditEntry
from config.directory import oidc, roles
from tests.authorization_server import AuthorizationServer
from tests.people import person, text

pytestmark = pytest.mark.django_db

BEGIN = "/account/directory/sso/login/?process=login"
GROUPS = {"keyreeve-operators": "operator", "keyreeve-reviewers": "reviewer"}


@pytest.fixture
def client() -> Client:
    return Client(SERVER_NAME="localhost")


@pytest.fixture
def directory(authorization_server: AuthorizationServer, settings):
    """The demo authorization server as the directory of this Keyreeve."""
    registered = authorization_server.register(
        redirect_uris=["http://localhost/account/directory/sso/login/callback/"],
        token_endpoint_auth_method="client_secret_post",
        grant_types=["authorization_code"],
        scope="openid email groups",
    )
    app = {
        "provider_id": "sso", "name": "id.halden.example", "client_id": registered["client_id"],
        "secret": registered["client_secret"],
        "settings": {"server_url": authorization_server.issuer, "oauth_pkce_enabled": True},
    }  # fmt: skip
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {"APPS": [app], "OAUTH_PKCE_ENABLED": True, "SCOPE": ["openid", "email", "groups"]}
    }
    settings.OIDC_ROLES = GROUPS
    yield authorization_server
    authorization_server.deregister(registered)


def at_directory(server: AuthorizationServer, address: str, name: str) -> str:
    """Sign in over there as a person would, and agree; the address that leads back here."""
    with httpx2.Client(base_url=server.issuer, follow_redirects=False) as there:
        page = there.get("/login/")
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        signed = there.post(
            "/login/",
            data={"username": name, "password": server.secret("user_password"), "csrfmiddlewaretoken": token},
        )
        assert signed.status_code == 302
        answer = there.get(address)
        if answer.status_code == 200:
            fields = dict(re.findall(r'<input type="hidden" name="([^"]+)"[^>]*value="([^"]*)"', answer.text))
            answer = there.post(address, data={**fields, "allow": "Authorize"})
        return answer.headers["Location"]


def came_in(client: Client, server: AuthorizationServer, name: str):
    address = client.post(BEGIN).headers["Location"]
    back = urlsplit(at_directory(server, address, name))
    return client.get(f"{back.path}?{back.query}")


def test_the_sign_in_page_offers_the_directory_first(client, directory):
    assert "Continue with id.halden.example" in text(client.get("/account/login/"))


def test_a_person_of_the_directory_comes_in_with_the_role_of_their_group(client, directory):
    assert came_in(client, directory, "mira").headers["Location"] == "/"
    mira = User.objects.get(email="mira@halden.example")
    assert mira.roles == {Role.OPERATOR}
    assert not mira.has_usable_password()
    assert client.get("/").status_code == 200
    said = AuditEntry.objects.get(event=Event.USER_ROLES_MAPPED)
    assert said.detail == {"from": [], "to": ["operator"]}
    assert AuditEntry.objects.get(event=Event.USER_SIGNED_IN).detail == {"by": ["socialaccount"]}


def test_the_directory_counts_as_the_second_factor(client, directory, settings):
    settings.REQUIRE_SECOND_FACTOR = True
    came_in(client, directory, "mira")
    assert client.get("/").status_code == 200


def test_somebody_without_a_group_that_gives_a_role_is_turned_away(client, directory):
    answer = came_in(client, directory, "omar")
    assert answer.status_code == 403
    assert "None of your groups" in text(answer)
    assert not User.objects.filter(email="omar@halden.example").exists()
    assert AuditEntry.objects.filter(event=Event.USER_SIGN_IN_REFUSED).exists()
    assert client.get("/").status_code == 302


def test_who_was_here_before_keeps_the_account_and_gets_the_roles_of_today(client, directory):
    before = person(Role.ADMINISTRATOR, Role.AUDITOR)
    User.objects.filter(pk=before.pk).update(email="jonas@halden.example")
    came_in(client, directory, "jonas")
    assert User.objects.get(email="jonas@halden.example").pk == before.pk
    assert User.objects.get(pk=before.pk).roles == {Role.REVIEWER}


def test_a_role_is_lost_with_the_group_at_the_next_sign_in(client, directory, settings):
    came_in(client, directory, "mira")
    settings.OIDC_ROLES = {"everybody": "auditor"}
    came_in(Client(SERVER_NAME="localhost"), directory, "mira")
    assert User.objects.get(email="mira@halden.example").roles == {Role.AUDITOR}


def test_somebody_switched_off_does_not_come_in(client, directory):
    came_in(client, directory, "mira")
    User.objects.filter(email="mira@halden.example").update(is_active=False)
    other = Client(SERVER_NAME="localhost")
    came_in(other, directory, "mira")
    assert other.get("/").status_code == 302


def test_another_identity_does_not_take_over_an_account_by_its_address(client, directory):
    victim = person(Role.ADMINISTRATOR)
    User.objects.filter(pk=victim.pk).update(email="mira@halden.example")
    SocialAccount.objects.create(user=victim, provider="sso", uid="somebody else")
    assert came_in(client, directory, "mira").status_code == 403
    assert client.get("/").status_code == 302


def test_an_answer_that_nobody_here_asked_for_signs_nobody_in(client, directory):
    address = Client(SERVER_NAME="localhost").post(BEGIN).headers["Location"]
    back = urlsplit(at_directory(directory, address, "mira"))
    client.get(f"{back.path}?{back.query}")
    assert client.get("/").status_code == 302


def test_nobody_signs_up_or_ties_an_identity_by_hand(client, directory):
    came_in(client, directory, "mira")
    assert client.get("/account/directory/signup/").status_code == 404
    assert client.get("/account/directory/").status_code == 404


@pytest.mark.parametrize(
    "given", [None, 7, {"keyreeve-operators": 1}, ["x"] * 5_000, [["keyreeve-operators"]], "other"]
)
def test_strange_groups_give_no_role(settings, given):
    settings.OIDC_ROLES = GROUPS
    assert roles_of({"groups": given}) == set()


def test_a_single_group_may_come_as_text(settings):
    settings.OIDC_ROLES = GROUPS
    assert roles_of({"groups": "keyreeve-operators"}) == {Role.OPERATOR}


def test_groups_are_paired_with_roles_at_the_start():
    assert roles(("cn=ops,dc=x=operator".replace(",", ";"),)) == {"cn=ops;dc=x": "operator"}
    for wrong in ((), ("ops",), ("ops=king",), ("=operator",)):
        with pytest.raises(ImproperlyConfigured):
            roles(wrong)


@pytest.mark.parametrize("issuer", ["http://id.example", "https://u:p@id.example", "ftp://id.example", "id.example"])
def test_an_issuer_that_is_not_safe_to_ask_stops_the_start(monkeypatch, issuer):
    monkeypatch.setenv("KEYREEVE_OIDC_ISSUER", issuer)
    with pytest.raises(ImproperlyConfigured):
        oidc()


def test_a_token_of_another_issuer_signs_nobody_in(client, directory, settings):
    (app,) = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"]
    app["settings"] |= {"openid_configuration_overrides": {"issuer": "https://elsewhere.example"}}
    answer = came_in(client, directory, "mira")
    assert "did not sign you in" in text(answer)
    assert client.get("/account/sessions/").status_code == 302


def test_tokens_have_to_name_the_issuer_of_the_settings(monkeypatch):
    given = {"ISSUER": "https://id.example/", "CLIENT_ID": "k", "CLIENT_SECRET": "s", "ROLES": "ops=operator"}
    for name, value in given.items():
        monkeypatch.setenv(f"KEYREEVE_OIDC_{name}", value)
    (app,) = oidc().apps
    assert app["settings"]["openid_configuration_overrides"] == {"issuer": "https://id.example/"}
