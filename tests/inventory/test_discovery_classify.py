import base64
import json
import uuid

import pytest

from inventory.discovery.classify import Judge, Where, pair_up
from inventory.discovery.model import Class, Confidence, Kind
from tests.inventory.discovery_samples import github_token, hexadecimal, noise

KEY = b"k" * 32
LITERAL, REFERENCE, PLACEHOLDER = Class.LITERAL, Class.REFERENCE, Class.PLACEHOLDER


def short(value):
    """Names of tests are the same in every process and show no samples."""
    return value if isinstance(value, str) and len(value) < 20 and not isinstance(value, Kind) else "-"


def judged(value, name="API_KEY", where=Where.ENV):
    judge = Judge(KEY)
    return judge.settle(pair_up(judge.value(value, name, f"/env/{name}", where)))


def only(value, name="API_KEY", where=Where.ENV):
    found = judged(value, name, where)
    assert len(found) == 1, [(d.class_, d.name) for d in found]
    return found[0]


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        ("${API_KEY}", "env:API_KEY"),
        ("$API_KEY", "env:API_KEY"),
        ("${env:API_KEY}", "env:API_KEY"),
        ("$env:API_KEY", "env:API_KEY"),
        ("%API_KEY%", "env:API_KEY"),
        ("{env:API_KEY}", "env:API_KEY"),
        ("{file:~/.secrets/key}", "file:~/.secrets/key"),
        ("${file:/run/secrets/key}", "file:/run/secrets/key"),
        ("${input:api-key}", "input:api-key"),
        ("${{ secrets.API_KEY }}", "secret:API_KEY"),
        ("${{ inputs.API_KEY }}", "input:API_KEY"),
        ("${user_config.api_key}", "user_config:api_key"),
        ("{{LIBRECHAT_USER_TOKEN}}", "template:LIBRECHAT_USER_TOKEN"),
        ("{{server.api_key}}", "template:server.api_key"),
        ("$(op read op://vault/item/field)", "command"),
        ("`pass show key`", "command"),
        ("${cmd: op read x}", "command"),
        ("${command:extension.key}", "command:extension.key"),
        ("${config:my.key}", "config:my.key"),
        ("Bearer ${API_KEY}", "env:API_KEY"),
        ("token ${env:API_KEY}", "env:API_KEY"),
        ("${API_KEY:-}", "env:API_KEY"),
        ("${API_KEY:-your-api-key}", "env:API_KEY"),
        ("${COPILOT_MCP_API_KEY}", "env:COPILOT_MCP_API_KEY"),
        ("op://vault/item/field", "op://vault/item/field"),
        ("vault:secret/data/app#key", "vault:secret/data/app#key"),
        ("keyvault:my-key", "keyvault:my-key"),
        ("aws-sm:prod/key", "aws-sm:prod/key"),
        ("aws-sm://prod/key", "aws-sm://prod/key"),
        ("doppler://project/config/KEY", "doppler://project/config/KEY"),
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf",
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf",
        ),
        ("projects/p/secrets/key/versions/latest", "projects/p/secrets/key/versions/latest"),
        (
            "@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/k)",
            "@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/k)",
        ),
    ],
)
def test_every_interpolation_and_secret_manager_is_a_reference(value, reference):
    found = only(value)
    assert found.class_ is REFERENCE
    assert found.reference == reference
    assert found.secret == ""


@pytest.mark.parametrize(
    "value",
    [
        "",
        "your-api-key",
        "YOUR_API_KEY",
        "<token>",
        "[API_KEY]",
        "xxx",
        "xxxxxxxxxxxxxxxx",
        "changeme",
        "replace-me",
        "TODO",
        "...",
        "user_provided",
        "none",
        "[REDACTED]",
        "***",
        "sk-...",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "sk-your-key-here",
        "{api_key}",
        "insert key here",
        "Enter your token",
        "my-secret-key",
        "example-api-key",
        "1234567890",
        "abcdef123456",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "key-goes-here",
        "00000000-0000-0000-0000-000000000000",
        "Bearer <your token>",
        "REPLACE_WITH_KEY",
    ],
)
def test_what_has_yet_to_be_filled_in_is_a_placeholder(value):
    judge = Judge(KEY)
    found = judge.value(value, "API_KEY", "/env/API_KEY", Where.ENV)
    assert [d.class_ for d in found] == [PLACEHOLDER]
    assert found[0].secret == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_TOKENS", "4096"),
        ("DEFAULT_MINIMUM_TOKENS", "10000"),
        ("OPENAI_MAX_TOKENS", "128000"),
        ("TOKEN_LIMIT", "5000"),
        ("PROJECT_REF", "abcdefghijklmnopqrst"),
        ("SUPABASE_PROJECT_REF", noise(20).lower()),
        ("NOTION_PAGE_ID", hexadecimal(32)),
        ("TRELLO_BOARD_ID", hexadecimal(24)),
        ("WORKSPACE_ID", str(uuid.uuid4())),
        ("AWS_ACCOUNT_ID", "123456789012"),
        ("AWS_REGION", "eu-central-1"),
        ("MODEL", "gpt-4o-mini-2024-07-18"),
        ("ANTHROPIC_MODEL", "claude-3-5-sonnet-20241022"),
        ("OAUTH_CLIENT_ID", noise(32)),
        ("clientId", str(uuid.uuid4())),
        ("IMAGE_DIGEST", "sha256:" + hexadecimal(64)),
        ("COMMIT", hexadecimal(40)),
        ("GIT_SHA", hexadecimal(40)),
        ("LOG_PATH", "/var/log/x.log"),
        ("CONFIG_FILE", "./config.json"),
        ("SUPABASE_ANON_KEY", "sb_publishable_" + noise(31)),
        ("STRIPE_PUBLISHABLE_KEY", "pk_live_" + noise(24)),
        ("POSTHOG_KEY", "phc_" + noise(43)),
        ("API_URL", "https://api.example.com/v1"),
        ("DATABASE_URL", "postgresql://localhost:5432/app"),
        ("REDIS_URL", "redis://cache:6379/0"),
        ("TOKEN_TYPE", "bearer"),
        ("AUTH_METHOD", "oauth2"),
        ("USE_TOKEN", "true"),
        ("API_KEY_HEADER", "X-Api-Key"),
        ("SECRET_NAME", "prod/db"),
        ("ISSUE_KEY", "PROJ-1234"),
        ("JIRA_PROJECT_KEY", "ACME"),
        ("CACHE_KEY", "user-list-v2"),
        ("KEYCLOAK_REALM", "master"),
        ("PORT", "8080"),
        ("SLACK_TEAM_ID", "T0AB12CD34E"),
        ("TWILIO_ACCOUNT_SID", "AC" + hexadecimal(32)),
        ("AUTHOR", "Jane Roe"),
        ("SENTRY_DSN", f"https://{hexadecimal(32)}@o1.ingest.sentry.io/2"),
        ("PATH", "/usr/local/bin:/usr/bin"),
        ("NODE_ENV", "production"),
        ("WORKDIR", "${workspaceFolder}/data"),
        ("HOME_DIR", "${HOME}"),
        ("API_KEY", "true"),
        ("TIMEOUT", "30s"),
        ("VERSION", "1.2.3"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("EMAIL", "someone@example.com"),
        ("KEYBOARD", "us"),
        ("PASSTHROUGH", "yes"),
        ("MONKEY", "see-do"),
        ("ARN", "arn:aws:iam::123456789012:role/Deploy"),
        ("MODEL_PATH", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
    ids=short,
)
def test_a_value_that_merely_looks_like_one_is_no_credential(name, value):
    assert judged(value, name) == []


@pytest.mark.parametrize(
    ("name", "value", "kind", "issuer"),
    [
        ("GITHUB_TOKEN", github_token(), Kind.PERSONAL_ACCESS_TOKEN, "GitHub"),
        ("ANY_NAME", github_token("gho"), Kind.OAUTH_ACCESS_TOKEN, "GitHub"),
        ("OPENAI_API_KEY", f"sk-proj-{noise(40)}T3BlbkFJ{noise(40)}", Kind.API_KEY, "OpenAI"),
        ("TAVILY_API_KEY", "tvly-dev-" + noise(32), Kind.API_KEY, "Tavily"),
        ("EXA_API_KEY", str(uuid.uuid4()), Kind.API_KEY, "Exa"),
        ("DD_API_KEY", hexadecimal(32), Kind.API_KEY, "Datadog"),
        ("GOOGLE_CLIENT_SECRET", "GOCSPX-" + noise(28), Kind.OAUTH_CLIENT_SECRET, "Google"),
        ("MY_CLIENT_SECRET", noise(40), Kind.OAUTH_CLIENT_SECRET, None),
        ("REFRESH_TOKEN", noise(64), Kind.OAUTH_REFRESH_TOKEN, None),
        ("REGISTRATION_ACCESS_TOKEN", noise(40), Kind.REGISTRATION_TOKEN, None),
        ("GITLAB_PERSONAL_ACCESS_TOKEN", "glpat-" + noise(20), Kind.PERSONAL_ACCESS_TOKEN, "GitLab"),
        ("PGPASSWORD", noise(24), Kind.DATABASE_PASSWORD, None),
        ("MYSQL_PASS", "n0t-Easy-t0-guess", Kind.DATABASE_PASSWORD, None),
        ("AWS_SECRET_ACCESS_KEY", noise(40), Kind.AWS_ACCESS_KEY, "AWS"),
        ("INTERNAL_API_KEY", noise(40), Kind.API_KEY, None),
        ("FIGMA_KEY", noise(40), Kind.API_KEY, "Figma"),
        ("PASSWORD", "hunter22", Kind.OTHER, None),
    ],
    ids=short,
)
def test_a_literal_has_its_kind_and_issuer(name, value, kind, issuer):
    found = only(value, name)
    assert (found.class_, found.kind, found.issuer) == (LITERAL, kind, issuer)
    assert found.secret == value


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "token ", "ApiKey ", ""])
def test_a_scheme_word_is_no_part_of_the_secret(scheme):
    secret = noise(40)
    assert only(scheme + secret, "Authorization", Where.HEADER).secret == secret


def test_basic_authorization_holds_the_password():
    secret = noise(24)
    encoded = base64.b64encode(f"me@example.com:{secret}".encode()).decode()
    found = only(f"Basic {encoded}", "Authorization", Where.HEADER)
    assert (found.secret, found.external_id) == (secret, "me@example.com")


def test_a_default_in_a_reference_can_be_the_secret():
    secret = noise(40)
    found = only(f"${{API_KEY:-{secret}}}")
    assert (found.class_, found.secret, found.reference) == (LITERAL, secret, "env:API_KEY")


@pytest.mark.parametrize(
    "template",
    [
        "postgresql://app:{}@db:5432/x",
        "mysql://app:{}@db/x",
        "mongodb+srv://app:{}@cluster.example.net/x?retryWrites=true",
        "redis://:{}@cache:6379",
        "amqps://app:{}@queue/x",
        "jdbc:postgresql://app:{}@db/x",
        "Server=db;Database=x;User Id=sa;Password={};Encrypt=true",
        "host=db user=app password={} dbname=x",
        "postgres://app:{}@db:5432/x?sslmode=require",
    ],
)
def test_only_the_password_of_a_connection_string_is_the_secret(template):
    secret = noise(20)
    found = only(template.format(secret), "DATABASE_URL")
    assert (found.class_, found.kind, found.secret) == (LITERAL, Kind.DATABASE_PASSWORD, secret)


def test_an_encoded_password_has_the_fingerprint_of_the_plain_one():
    assert only("postgres://app:p%40ss%2Fw0rd%21xyz@db/x", "DATABASE_URL").secret == "p@ss/w0rd!xyz"


@pytest.mark.parametrize(
    ("template", "class_"),
    [
        ("postgres://user:password@localhost/db", PLACEHOLDER),
        ("postgres://user:${DB_PASSWORD}@db/x", REFERENCE),
        ("postgres://user:<password>@db/x", PLACEHOLDER),
    ],
)
def test_a_connection_string_without_a_password_of_its_own(template, class_):
    assert only(template, "DATABASE_URL").class_ is class_


@pytest.mark.parametrize(
    "template",
    [
        "https://x.example/mcp?api_key={}",
        "https://x.example/mcp?a=b&token={}&c=d",
        "https://x.example/mcp?apiKey={}",
        "https://x.example/mcp?key={}",
        "https://user:{}@x.example/mcp",
        "https://mcp.zapier.com/api/mcp/s/{}/mcp",
        "https://hub.example/webhook/{}",
    ],
)
def test_a_secret_in_an_address_is_found_and_taken_out(template):
    secret = noise(40)
    cleaned, drafts = Judge(KEY).address(template.format(secret), "url", "/url")
    assert [d.secret for d in drafts] == [secret]
    assert secret not in cleaned


def test_a_capability_address_with_a_uuid_is_found_at_a_gateway():
    secret = str(uuid.uuid4())
    assert [
        d.secret for d in Judge(KEY).address(f"https://eu1.make.com/mcp/api/v1/u/{secret}/sse", "url", "/url")[1]
    ] == [secret]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.githubcopilot.com/mcp/",
        "https://mcp.sentry.dev/mcp?org=acme&project=web",
        "https://learn.example.com/docs/" + hexadecimal(40),
        "https://x.example/workspaces/" + str(uuid.uuid4()),
        "https://server.smithery.ai/@owner/name/mcp?profile=happy-mole-42",
        "https://x.example/a-rather-long-readable-path-segment-2024/mcp",
        "http://localhost:3845/sse",
        "https://mcp.example.com/mcp?toolsets=repos,issues",
    ],
    ids=short,
)
def test_an_ordinary_address_holds_no_secret_and_stays_as_it_is(url):
    assert Judge(KEY).address(url, "url", "/url") == (url, [])


def test_credentials_in_a_base64_parameter_are_found():
    secret = noise(32)
    config = base64.b64encode(json.dumps({"apiKey": secret, "debug": False}).encode()).decode()
    cleaned, drafts = Judge(KEY).address(
        f"https://server.smithery.ai/@a/b/mcp?config={config}&profile=x", "url", "/url"
    )
    assert [d.secret for d in drafts] == [secret]
    assert "config" not in cleaned
    assert "profile=x" in cleaned


def test_headers_as_json_in_a_variable_are_read():
    secret = f"ntn_{noise(11, '0123456789')}{noise(35)}"
    found = only(
        json.dumps({"Authorization": f"Bearer {secret}", "Notion-Version": "2022-06-28"}), "OPENAPI_MCP_HEADERS"
    )
    assert (found.secret, found.name, found.issuer) == (secret, "Authorization", "Notion")


def test_headers_as_a_list_in_a_variable_are_read():
    secret = noise(40)
    assert only(f"api-key={secret},x-tenant=acme", "OTEL_EXPORTER_OTLP_HEADERS").secret == secret


def test_a_service_accounts_key_file_is_one_credential_with_its_id():
    secret = f"-----BEGIN PRIVATE KEY-----\n{noise(64)}\n{noise(64)}\n-----END PRIVATE KEY-----\n"
    document = json.dumps(
        {"type": "service_account", "private_key_id": "abc123", "private_key": secret, "client_email": "a@b.example"}
    )
    found = only(document, "GOOGLE_CREDENTIALS_JSON")
    assert (found.issuer, found.external_id) == ("Google", "abc123")
    encoded = base64.b64encode(document.encode()).decode()
    assert only(encoded, "GOOGLE_CREDENTIALS_BASE64").external_id == "abc123"


def test_a_private_key_is_the_same_with_written_out_line_ends():
    lines = ["-----BEGIN RSA PRIVATE KEY-----", noise(64), noise(64), "-----END RSA PRIVATE KEY-----"]
    broken, escaped = only("\n".join(lines), "PRIVATE_KEY"), only("\\n".join(lines), "PRIVATE_KEY")
    assert broken.secret == escaped.secret
    assert broken.freeze(KEY).hint == "-----BEG…"


@pytest.mark.parametrize(
    "name", ["GOOGLE_APPLICATION_CREDENTIALS", "API_KEY_FILE", "TOKEN_PATH", "SSH_PRIVATE_KEY_PATH"]
)
def test_a_file_that_holds_the_secret_is_a_reference(name):
    found = only("/run/secrets/it.json", name)
    assert (found.class_, found.reference) == (REFERENCE, "file:/run/secrets/it.json")


def _token(payload):
    def part(tree):
        return base64.urlsafe_b64encode(json.dumps(tree).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(payload)}.{noise(43)}"


def test_a_jwt_tells_its_dates_and_issuer():
    found = only(
        "Bearer " + _token({"iss": "https://login.example", "iat": 1700000000, "exp": 1800000000}),
        "Authorization",
        Where.HEADER,
    )
    assert (found.kind, found.issuer) == (Kind.OAUTH_ACCESS_TOKEN, "https://login.example")
    assert found.expires_at is not None


def test_a_public_anonymous_jwt_is_no_secret_and_the_service_role_is():
    assert judged(_token({"iss": "supabase", "role": "anon", "ref": "abc"}), "SUPABASE_KEY") == []
    assert only(_token({"iss": "supabase", "role": "service_role", "ref": "abc"}), "SUPABASE_KEY").issuer == "Supabase"


def test_an_aws_pair_is_one_credential():
    judge = Judge(KEY)
    account = (210987654321 << 7).to_bytes(6, "big")
    key_id, secret = "AKIA" + base64.b32encode(account + b"\x5a\xc3\x19\x7e").decode(), noise(40)
    drafts = judge.value(key_id, "AWS_ACCESS_KEY_ID", "/env/AWS_ACCESS_KEY_ID", Where.ENV)
    drafts += judge.value(secret, "AWS_SECRET_ACCESS_KEY", "/env/AWS_SECRET_ACCESS_KEY", Where.ENV)
    (found,) = pair_up(drafts)
    assert (found.kind, found.secret, found.external_id) == (Kind.AWS_ACCESS_KEY, secret, key_id)
    assert found.account == "210987654321"


def test_a_wrong_github_checksum_lowers_confidence():
    assert only(github_token(), "GITHUB_TOKEN").confidence is Confidence.HIGH
    assert only("ghp_" + noise(36), "GITHUB_TOKEN").confidence is Confidence.MEDIUM


def test_a_chosen_password_shows_nothing_of_itself():
    assert only("correct-horse-battery", "DB_PASSWORD").freeze(KEY).hint == "…"


def test_realistic_noise_under_a_telling_name_is_always_found():
    missed = [
        v
        for v in (noise(size) for size in (20, 24, 32, 40, 64) for _ in range(200))
        if [d.class_ for d in judged(v)] != [LITERAL]
    ]
    assert missed == []


def test_realistic_noise_under_a_silent_name_is_never_believed():
    assert [v for v in (noise(32) for _ in range(500)) if judged(v, "SETTING")] == []
