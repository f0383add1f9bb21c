"""What may be typed to make a connection, and what is taken out of it before anybody reads it."""

import base64
import secrets
import string
from pathlib import Path

import pytest
from django.http import QueryDict
from django.utils.http import urlencode

from inventory.connection_fields import holds_secret, is_reference
from inventory.connection_forms import (
    FORMS,
    AwsForm,
    ConnectionForm,
    McpConfigForm,
    McpServerForm,
    OauthForm,
    PostgresForm,
)
from inventory.connection_kinds import KINDS
from inventory.listings.mcp_servers import Setup as McpServerSetup
from inventory.listings.oauth import Setup as OauthSetup
from inventory.models import Connection
from inventory.states import ConnectionKind
from tests import factories

pytestmark = pytest.mark.django_db
ROLE = "arn:aws:iam::123456789012:role/keyreeve"
KEY_ID = "AKIA" + "Q" * 12 + "2345"


def random_text(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def sent(**values: str) -> QueryDict:
    return QueryDict(urlencode({"interval": "3600", **values}))


@pytest.fixture(autouse=True)
def places(settings, tmp_path: Path) -> None:
    settings.REFERENCE_FOLDERS, settings.REFERENCE_VARIABLES = (tmp_path,), ("AWS_SECRET", "PG_PASSWORD", "MCP_*")


def aws(**values: str) -> AwsForm:
    given = {"access_key_id": KEY_ID, "secret_access_key": "env://AWS_SECRET", "own_account": "on", "secrets": "on"}
    return AwsForm(sent(**{**given, **values}))


def postgres(**values: str) -> PostgresForm:
    given = {"host": "db.example", "port": "5432", "database": "postgres", "user": "reader"}
    return PostgresForm(sent(**{**given, "password": "env://PG_PASSWORD", **values}))


def held(kind: ConnectionKind, **settings: object) -> Connection:
    return factories.connection(kind=kind, settings=settings)


# ── Secrets ──


SECRETS = {
    "of a known format": lambda: "ghp_" + random_text(36),
    "of no known format": lambda: random_text(64),
    "with signs in it": lambda: base64.b64encode(secrets.token_bytes(48)).decode(),
    "in an address": lambda: f"https://robot:{random_text(9)}@mcp.example/mcp",
    "in a query": lambda: f"https://mcp.example/mcp?api_key={random_text(20)}",
    "in a connection string": lambda: f"host=db password={random_text(8)}",
    "behind the beginning of a reference": lambda: f"env://ghp_{random_text(36)}",
    "behind a folder": lambda: f"file:///run/{random_text(64)}",
}


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_in_any_field_is_refused_and_never_comes_back(form: type[ConnectionForm], kind: str):
    for name in form.base_fields:
        secret = SECRETS[kind]()
        filled = form(sent(**{name: secret}))
        assert not filled.is_valid()
        assert name in filled.errors
        rest = secret.partition("://ghp_")[2] or secret
        assert rest not in filled.as_p()
        assert rest not in str(filled.errors.as_json())
        assert rest not in repr(filled.data)
        assert rest not in repr(filled.cleaned_data)


@pytest.mark.parametrize("pasted", ["hunter2", "correct horse battery staple", "vault:kv/prod", "s3cr3t!"])
def test_what_stands_where_a_reference_belongs_and_is_none_is_never_kept(pasted: str):
    form = postgres(password=pasted)
    assert "This is no reference, so it was taken out and is kept nowhere." in str(form.errors["password"])
    assert pasted not in form.as_p()


@pytest.mark.parametrize(
    "plain",
    [
        "Payments in production",
        "/srv/checkouts/payments-service/.mcp.json",
        "https://mcp.corp.example:8443/mcp/v1",
        "prod-db-01.eu-central-1.rds.amazonaws.com",
        "https://vpce-0a1b2c3d4e5f67890-abcdefgh.secretsmanager.eu-central-1.vpce.amazonaws.com/",
        "https://mcp-7d9f8b6c5d-x2x4zq.example.com:8443/mcp",
        "s3bucket2logs4team1prod",
        "PaymentsProductionLedgerService2",
        ROLE,
        KEY_ID,
        "6f1c0c0e-6a0e-4f43-9b51-0a2f3e6f1f10",
    ],
)
def test_what_people_type_there_is_taken_for_no_secret(plain: str):
    assert not holds_secret(plain)


@pytest.mark.parametrize(
    "reference",
    [
        "env://MCP_GITHUB_TOKEN",
        "file:///run/secrets/github-token",
        "file:///run/secrets/token#password=",
        "aws-sm://arn:aws:secretsmanager:eu-central-1:123456789012:secret:prod/payments/database-AbCdEf",
    ],
)
def test_a_reference_is_taken_for_one(reference: str):
    assert is_reference(reference)


def test_a_refused_secret_leaves_the_other_fields_as_they_were():
    form = postgres(password=random_text(40), name="Ledger")
    assert 'value="db.example"' in form.as_p()
    assert 'value="Ledger"' in form.as_p()


def test_a_choice_that_does_not_exist_is_not_repeated():
    form = postgres(interval="7 plain words", sslmode="8 plain words")
    assert not form.is_valid()
    assert "plain words" not in form.as_p()
    assert "plain words" not in str(form.errors)


# ── References ──


def test_a_reference_to_a_place_that_is_not_listed_names_the_setting():
    form = postgres(password="env://SOMETHING_ELSE")
    assert "KEYREEVE_REFERENCE_VARIABLES" in str(form.errors["password"])
    assert 'value="env://SOMETHING_ELSE"' in form.as_p()


def test_a_reference_outside_the_listed_folders_names_the_setting():
    assert "KEYREEVE_REFERENCE_FOLDERS" in str(postgres(password="file:///etc/shadow").errors["password"])


def test_a_secret_is_bound_to_the_host_that_the_connection_talks_to():
    form = postgres()
    assert form.is_valid(), form.errors
    assert form.settings()["bound_to"] == "db.example"


@pytest.mark.parametrize("host", ["db.example", "DB.example", "/var/run/postgresql"])
def test_a_secret_may_be_bound_to_that_host_by_hand(host: str):
    bound = "localhost" if host.startswith("/") else "db.example"
    assert postgres(host=host, bound_to=bound).is_valid()


def test_a_secret_cannot_be_bound_to_another_host():
    assert "db.example" in str(postgres(bound_to="evil.example").errors["bound_to"])


def test_an_address_that_is_changed_later_does_not_carry_the_secret_along():
    connection = held(ConnectionKind.POSTGRES, host="db.example", user="reader", password="env://PG_PASSWORD")
    given = sent(host="evil.example", port="5432", database="postgres", user="reader", password="env://PG_PASSWORD")
    given = given.copy()
    given["bound_to"] = "db.example"
    assert "bound_to" in PostgresForm(given, connection=connection).errors


def test_without_a_secret_nothing_is_bound():
    form = postgres(password="", bound_to="anything.example")
    assert form.is_valid()
    assert "bound_to" not in form.settings()


def test_a_reference_to_aws_is_taken_where_a_region_is_named_for_it(settings):
    settings.REFERENCE_AWS_REGION = ""
    assert "cannot be read here" in str(postgres(password="aws-sm://prod/ledger").errors["password"])
    settings.REFERENCE_AWS_REGION = "eu-central-1"
    form = postgres(password="aws-sm://prod/ledger#password")
    assert form.is_valid(), form.errors
    assert form.settings()["password"] == "aws-sm://prod/ledger#password"
    assert "AWS Secrets Manager in eu-central-1" in form.places_note


# ── Kinds ──


def test_an_aws_connection_holds_what_its_listing_reads():
    form = aws(roles=f"{ROLE}\n{ROLE}-two outside-7", regions="eu-central-1, us-east-1")
    assert form.is_valid(), form.errors
    assert form.settings() == {
        "access_key_id": KEY_ID,
        "secret_access_key": "env://AWS_SECRET",
        "bound_to": "amazonaws.com",
        "roles": [ROLE, {"arn": f"{ROLE}-two", "external_id": "outside-7"}],
        "own_account": True,
        "secrets": True,
        "regions": ["eu-central-1", "us-east-1"],
    }
    assert form.cleaned_data["name"] == "AWS 123456789012"


def test_an_external_id_may_be_random_where_it_follows_a_role():
    outside = random_text(32)
    form = aws(roles=f"{ROLE} {outside}")
    assert form.is_valid(), form.errors
    assert form.settings()["roles"] == [{"arn": ROLE, "external_id": outside}]


def test_an_endpoint_of_ones_own_is_what_the_key_is_bound_to():
    form = aws(endpoint="http://127.0.0.1:5005")
    assert form.is_valid(), form.errors
    assert form.settings()["bound_to"] == "127.0.0.1:5005"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"secret_access_key": ""}, "secret_access_key"),
        ({"access_key_id": ""}, "access_key_id"),
        ({"use_machine_identity": "on"}, "use_machine_identity"),
        ({"roles": "arn:aws:s3:::bucket"}, "roles"),
        ({"own_account": ""}, "roles"),
        ({"regions": "mars-north"}, "regions"),
        ({"endpoint": "http://aws.example"}, "endpoint"),
    ],
)
def test_an_aws_connection_that_cannot_work_is_refused_at_its_field(values: dict[str, str], field: str):
    assert field in aws(**values).errors


def test_the_identity_of_the_machine_needs_no_key():
    form = AwsForm(sent(use_machine_identity="on", own_account="on"))
    assert form.is_valid(), form.errors
    assert form.settings() == {"use_machine_identity": True, "own_account": True, "secrets": False}


def test_an_aws_connection_opens_for_editing_as_it_was_saved():
    form = aws(roles=f"{ROLE} outside-7", regions="eu-central-1")
    assert form.is_valid()
    shown = AwsForm(connection=held(ConnectionKind.AWS, **form.settings())).as_p()
    assert f"{ROLE} outside-7" in shown
    assert 'value="eu-central-1"' in shown
    assert 'value="env://AWS_SECRET"' in shown


def test_a_postgres_connection_holds_what_its_listing_reads():
    form = postgres(port="5433", sslmode="require", password_date="rotated")
    assert form.is_valid(), form.errors
    assert form.settings() == {
        "host": "db.example",
        "port": 5433,
        "database": "postgres",
        "sslmode": "require",
        "user": "reader",
        "password": "env://PG_PASSWORD",
        "bound_to": "db.example",
        "password_date": "rotated",
    }


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"host": "two hosts"}, "The host is one name"),
        ({"port": "0"}, "greater than or equal to 1"),
        ({"password_date": "1!"}, "The word before a date"),
        ({"sslrootcert": "/no/such/file"}, "no such file"),
    ],
)
def test_a_postgres_connection_that_cannot_work_is_refused(values: dict[str, str], said: str):
    assert said in str(postgres(**values).errors)


def test_settings_that_a_form_does_not_know_are_kept(tmp_path: Path):
    connection = held(ConnectionKind.MCP_CONFIG, paths=["/gone"], host="a", made_by={"a": 1})
    form = McpConfigForm(sent(paths=str(tmp_path), host="b", name=connection.name), connection=connection)
    assert form.is_valid(), form.errors
    assert form.settings() == {"made_by": {"a": 1}, "paths": [str(tmp_path)], "host": "b"}


def test_a_setting_that_was_emptied_is_gone():
    connection = held(ConnectionKind.POSTGRES, host="db.example", user="reader", sslmode="require")
    form = PostgresForm(
        sent(host="db.example", port="5432", database="postgres", user="reader", name=connection.name),
        connection=connection,
    )
    assert form.is_valid(), form.errors
    assert "sslmode" not in form.settings()


def test_the_clients_of_this_machine_are_not_asked_for_paths():
    connection = held(ConnectionKind.MCP_CONFIG, this_machine=True, host="halden")
    form = McpConfigForm(sent(host="other", name=connection.name), connection=connection)
    assert form.is_valid(), form.errors
    assert form.settings() == {"this_machine": True, "host": "other"}


def test_many_paths_are_one_connection(tmp_path: Path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    form = McpConfigForm(sent(paths=f"{tmp_path}/one\n\n {tmp_path}/two/\n{tmp_path}/one", host="a"))
    assert form.is_valid(), form.errors
    assert form.settings()["paths"] == [f"{tmp_path}/one", f"{tmp_path}/two"]
    assert form.cleaned_data["name"] == f"{tmp_path}/one"


def test_a_path_with_noise_in_its_name_is_a_path_where_it_exists(tmp_path: Path):
    folder = tmp_path / random_text(40)
    folder.mkdir()
    assert McpConfigForm(sent(paths=str(folder), host="a", name="Checkouts")).is_valid()


# ── MCP servers and authorization servers ──


def mcp(**values: str) -> McpServerForm:
    return McpServerForm(sent(**{"urls": "https://mcp.example/mcp", "known": "on", **values}))


def oauth(**values: str) -> OauthForm:
    return OauthForm(sent(**{"issuer": "https://login.example", **values}))


def test_a_connection_to_mcp_servers_holds_what_its_listing_reads():
    form = mcp(tokens="https://mcp.example/mcp env://MCP_TOKEN", minimum_version="2025-06-18")
    assert form.is_valid(), form.errors
    assert form.settings() == {
        "urls": ["https://mcp.example/mcp"],
        "known": True,
        "tokens": [{"url": "https://mcp.example/mcp", "reference": "env://MCP_TOKEN", "bound_to": "mcp.example"}],
        "minimum_version": "2025-06-18",
    }
    assert McpServerSetup.of(form.settings()).urls == ("https://mcp.example/mcp",)


def test_the_token_of_a_server_goes_to_no_other_host():
    form = mcp(tokens="https://mcp.example/mcp env://MCP_TOKEN evil.example")
    assert "the host of its address, mcp.example" in str(form.errors["tokens"])


def test_a_server_that_moved_is_not_sent_the_old_ones_token():
    connection = held(ConnectionKind.MCP_SERVER, urls=["https://mcp.example/mcp"], known=False)
    connection.settings["tokens"] = [
        {"url": "https://mcp.example/mcp", "reference": "env://MCP_TOKEN", "bound_to": "mcp.example"}
    ]
    shown = McpServerForm(connection=connection)["tokens"].value()
    assert shown == "https://mcp.example/mcp env://MCP_TOKEN mcp.example"
    assert "tokens" in mcp(tokens=shown.replace("https://mcp.example", "https://evil.example", 1)).errors


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"urls": "", "known": ""}, "urls"),
        ({"urls": "ftp://mcp.example"}, "urls"),
        ({"urls": "https://2130706433.0x1/"}, "urls"),
        ({"tokens": "https://mcp.example/mcp"}, "tokens"),
        ({"tokens": "https://mcp.example/mcp hunter2"}, "tokens"),
        ({"tokens": "https://mcp.example/mcp env://NOT_LISTED"}, "tokens"),
        ({"minimum_version": "newest"}, "minimum_version"),
    ],
)
def test_a_connection_to_mcp_servers_that_cannot_work_is_refused_at_its_field(values: dict[str, str], field: str):
    assert field in mcp(**values).errors


def test_a_connection_to_an_authorization_server_holds_what_its_listing_reads():
    form = oauth(
        clients_url="https://login.example/clients",
        management_token="env://MCP_MANAGER",
        client_id="keyreeve",
        client_secret="env://MCP_SECRET",
        tokens="env://MCP_ONE\nenv://MCP_TWO",
    )
    assert form.is_valid(), form.errors
    assert form.settings() == {
        "issuer": "https://login.example",
        "clients_url": "https://login.example/clients",
        "management_token": "env://MCP_MANAGER",
        "client_id": "keyreeve",
        "client_secret": "env://MCP_SECRET",
        "tokens": ["env://MCP_ONE", "env://MCP_TWO"],
        "bound_to": "login.example",
    }
    assert OauthSetup.of(form.settings()).issuer == "https://login.example"


def test_an_issuer_alone_is_enough():
    form = oauth()
    assert form.is_valid(), form.errors
    assert form.settings() == {"issuer": "https://login.example"}
    assert form.cleaned_data["name"] == "login.example"


def test_where_several_hosts_are_talked_to_somebody_says_which_gets_the_secrets():
    elsewhere = {"clients_url": "https://admin.example/clients", "management_token": "env://MCP_MANAGER"}
    assert "login.example, admin.example" in str(oauth(**elsewhere).errors["bound_to"])
    assert oauth(**elsewhere, bound_to="admin.example").is_valid()
    assert "bound_to" in oauth(**elsewhere, bound_to="evil.example").errors


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"issuer": "login.example"}, "issuer"),
        ({"client_id": "keyreeve"}, "client_secret"),
        ({"client_secret": "env://MCP_SECRET"}, "client_id"),
        ({"management_token": "env://MCP_MANAGER"}, "clients_url"),
        ({"tokens": "env://MCP_ONE"}, "client_id"),
        ({"tokens": "env://MCP_ONE\neyJhbGciOi"}, "tokens"),
        ({"introspection_endpoint": "https://login.example/ x"}, "introspection_endpoint"),
    ],
)
def test_a_connection_to_an_authorization_server_that_cannot_work_is_refused(values: dict[str, str], field: str):
    assert field in oauth(**values).errors


OPERATING = {
    "clients_url": "https://login.example/clients",
    "tokens_url": "https://login.example/tokens",
    "management_token": "env://MCP_MANAGER",
    "revoke_as": "desktop\nrobot env://MCP_ROBOT\nagent env://MCP_AGENT client_secret_post",
    "manage_tokens": "on",
    "manage_clients": "on",
    "registration_token": "env://MCP_INITIAL",
    "revocation_endpoint": "https://login.example/revoke",
}


def test_an_authorization_server_is_told_what_operations_may_do_there(tmp_path: Path):
    form = oauth(**OPERATING, registrations=f"file://{tmp_path}/registrations")
    assert form.is_valid(), form.errors
    kept = form.settings()
    assert kept["revoke_as"] == [
        "desktop",
        {"client_id": "robot", "client_secret": "env://MCP_ROBOT"},
        {"client_id": "agent", "client_secret": "env://MCP_AGENT", "client_auth": "client_secret_post"},
    ]
    rights = OauthSetup.of(kept).rights
    assert list(rights.revokers) == ["desktop", "robot", "agent"]
    assert rights.are_tokens_managed
    assert rights.are_clients_managed
    assert rights.endpoints == {"revocation_endpoint": "https://login.example/revoke"}
    again = OauthForm(connection=held(ConnectionKind.OAUTH, **kept))
    assert again["revoke_as"].value() == OPERATING["revoke_as"]
    assert "manage_tokens" not in oauth(clients_url="https://login.example/clients").own({"manage_tokens": False})


def test_an_id_by_which_a_client_is_known_is_no_secret_though_it_looks_like_one():
    client_id = random_text(48)
    assert "revoke_as" in oauth(revoke_as=client_id).errors
    factories.client(client_id=client_id)
    assert oauth(revoke_as=client_id).is_valid()
    assert "revoke_as" in oauth(revoke_as=f"{client_id} {random_text(48)}").errors


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"manage_tokens": "on"}, "tokens_url"),
        ({"manage_clients": "on", "clients_url": "https://login.example/clients"}, "management_token"),
        ({"registrations": "env://MCP_FOLDER"}, "registrations"),
        ({"revoke_as": "robot env://MCP_ROBOT private_key_jwt"}, "revoke_as"),
        ({"revoke_as": "robot env://MCP_ROBOT\nrobot"}, "revoke_as"),
        ({"token_endpoint": "https://login.example/ x"}, "token_endpoint"),
    ],
)
def test_what_operations_may_do_is_refused_where_it_cannot_work(values: dict[str, str], field: str):
    assert field in oauth(**values).errors


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_setting_of_a_form_has_a_name_for_readers(form: type[ConnectionForm]):
    asked = {name for _, names in form.groups for name in names}
    assert asked <= set(KINDS[form.kind].settings)
