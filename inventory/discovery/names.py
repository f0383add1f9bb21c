"""What a field's name says about the value beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from inventory.discovery.model import Kind
from inventory.discovery.vocabulary import word_set


class Sense(IntEnum):
    """How far a name speaks for a secret."""

    DENIES = 0
    """`MAX_TOKENS`, `PROJECT_ID`: only an unmistakable format is believed."""
    SILENT = 1
    """Says nothing: only a known format is believed."""
    HINTS = 2
    """`FIGMA_KEY`, `SESSION`: a value that looks random is believed."""
    SAYS = 3
    """`API_KEY`, `PASSWORD`: any value that is not evidently something else is believed."""
    FILE = 4
    """`API_KEY_FILE`: the value names a file that holds the secret."""
    VARIABLE = 5
    """`api_key_env`: the value is the name of an environment variable."""


@dataclass(frozen=True, slots=True)
class NameSense:
    sense: Sense
    kind: Kind
    issuer: str | None


_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")

# A word is enough by itself.
_SECRET_WORDS = word_set(
    "token secret password passwd passphrase passwort pwd pass apikey apitoken appkey accesskey secretkey "
    "authtoken accesstoken refreshtoken clientsecret credential credentials authorization bearer pat jwt dsn pw "
    "creds pin mnemonic signature privatekey webhooksecret auth cookie apisecret authkey"
)
_PLAIN_SECRET_WORDS = _SECRET_WORDS - {"auth", "pass", "signature", "pin", "cookie"}
_HINTING_WORDS = word_set("session sid webhook license licence sig nonce salt seed hmac connection conn uri url")

# Before "key": makes it a secret, or plainly something else. Anything else before "key" only hints.
_SECRET_KEY_QUALIFIERS = word_set(
    "api access secret private auth service admin master encryption signing app application account subscription "
    "server consumer integration token functions function shared storage deploy write ingest license role hmac "
    "bot live test rest personal developer dev prod goog x sdk"
)
_PUBLIC_KEY_QUALIFIERS = word_set(
    "public publishable anon project issue primary foreign sort partition cache object site map record space "
    "board host hot header user lookup dict json index field row group id idempotency translation config entity "
    "feature flag ssh-public known verification registry"
)

# As the last word they turn the name into something that is not the secret itself.
_NOT_THE_SECRET = word_set(
    "id ids name names host hostname port type types kind method mode format scheme prefix suffix length size "
    "count limit max min ttl timeout expiry expires expiration expire seconds minutes days hours ms interval "
    "region endpoint version scope scopes audience issuer url uri enabled disabled enable disable required "
    "optional rotation policy provider backend store manager source strategy algorithm alg location placeholder "
    "description label hint title status state usage budget window refresh skew leeway arn email username user "
    "login project env environment cost price encoding model models storage helper flow grant redirect callback "
    "domain realm tenant org organization team per used mock validation verify check cached persist header field "
    "param parameter group level"
)
_FILE_WORDS = frozenset(["file", "path", "filename", "filepath", "dir", "directory", "folder", "keyfile"])
_COUNTING = word_set("max min maximum minimum limit count budget context output input completion total num number per")
_CONNECTION_WORDS = frozenset(["dsn", "connection", "conn"])

_DATABASE_WORDS = word_set(
    "db database pg pgsql postgres postgresql mysql mariadb mongo mongodb redis mssql sqlserver oracle clickhouse "
    "neo4j snowflake cassandra couchbase elastic elasticsearch opensearch cockroach rds jdbc sqlalchemy kafka "
    "rabbitmq amqp timescale supabase-db milvus arango"
)

_FORGES = frozenset({"github", "gh", "gitlab", "bitbucket", "gitea"})

_VENDORS: dict[str, str] = {
    "github": "GitHub", "gh": "GitHub", "gitlab": "GitLab", "bitbucket": "Bitbucket", "gitea": "Gitea",
    "aws": "AWS", "amazon": "AWS", "bedrock": "AWS Bedrock", "google": "Google", "goog": "Google", "gemini": "Google",
    "gcp": "Google", "azure": "Microsoft Azure", "entra": "Microsoft Entra", "slack": "Slack", "openai": "OpenAI",
    "anthropic": "Anthropic", "claude": "Anthropic", "huggingface": "Hugging Face", "hf": "Hugging Face", "xai": "xAI",
    "groq": "Groq", "openrouter": "OpenRouter", "perplexity": "Perplexity", "deepseek": "DeepSeek",
    "mistral": "Mistral", "cohere": "Cohere", "replicate": "Replicate", "stripe": "Stripe", "square": "Square",
    "shopify": "Shopify", "npm": "npm", "pypi": "PyPI", "docker": "Docker Hub", "notion": "Notion", "linear": "Linear",
    "sentry": "Sentry", "atlassian": "Atlassian", "jira": "Atlassian", "confluence": "Atlassian",
    "airtable": "Airtable", "figma": "Figma", "postman": "Postman", "databricks": "Databricks", "grafana": "Grafana",
    "vault": "HashiCorp Vault", "terraform": "Terraform Cloud", "tfe": "Terraform Cloud",
    "digitalocean": "DigitalOcean", "cloudflare": "Cloudflare", "cf": "Cloudflare", "supabase": "Supabase",
    "vercel": "Vercel", "netlify": "Netlify", "fly": "Fly.io", "render": "Render", "neon": "Neon",
    "planetscale": "PlanetScale", "heroku": "Heroku", "railway": "Railway", "twilio": "Twilio",
    "sendgrid": "SendGrid", "resend": "Resend", "mailgun": "Mailgun", "mailchimp": "Mailchimp",
    "circleci": "CircleCI", "buildkite": "Buildkite", "doppler": "Doppler", "pulumi": "Pulumi",
    "langsmith": "LangSmith", "langfuse": "Langfuse", "posthog": "PostHog", "pinecone": "Pinecone",
    "tailscale": "Tailscale", "brave": "Brave Search", "tavily": "Tavily", "firecrawl": "Firecrawl",
    "apify": "Apify", "context7": "Context7", "exa": "Exa", "e2b": "E2B", "okta": "Okta", "auth0": "Auth0",
    "telegram": "Telegram", "discord": "Discord", "mongodb": "MongoDB", "mdb": "MongoDB", "datadog": "Datadog",
    "dd": "Datadog", "newrelic": "New Relic", "pagerduty": "PagerDuty", "zapier": "Zapier", "asana": "Asana",
    "trello": "Trello", "monday": "monday.com", "clickup": "ClickUp", "hubspot": "HubSpot",
    "salesforce": "Salesforce", "zendesk": "Zendesk", "intercom": "Intercom", "todoist": "Todoist",
    "smithery": "Smithery", "composio": "Composio", "elevenlabs": "ElevenLabs", "serpapi": "SerpApi",
    "serper": "Serper", "jina": "Jina AI", "voyage": "Voyage AI", "weaviate": "Weaviate", "qdrant": "Qdrant",
    "snyk": "Snyk", "sonar": "SonarQube", "sonarqube": "SonarQube", "elastic": "Elastic", "algolia": "Algolia",
    "mapbox": "Mapbox", "contentful": "Contentful", "sanity": "Sanity", "webflow": "Webflow", "wordpress": "WordPress",
    "dropbox": "Dropbox", "box": "Box", "zoom": "Zoom", "miro": "Miro", "browserbase": "Browserbase",
    "bright": "Bright Data", "brightdata": "Bright Data", "kagi": "Kagi", "plaid": "Plaid", "xero": "Xero",
    "youtube": "Google", "spotify": "Spotify", "reddit": "Reddit", "twitter": "X", "linkedin": "LinkedIn",
    "facebook": "Meta", "meta": "Meta", "snowflake": "Snowflake", "alchemy": "Alchemy", "infura": "Infura",
    "etherscan": "Etherscan", "coingecko": "CoinGecko", "alphavantage": "Alpha Vantage", "polygon": "Polygon.io",
    "openweather": "OpenWeather", "openweathermap": "OpenWeather", "accuweather": "AccuWeather", "kiwi": "Kiwi",
    "mem0": "Mem0", "zep": "Zep", "n8n": "n8n", "together": "Together AI", "fireworks": "Fireworks AI",
    "cerebras": "Cerebras", "nvidia": "NVIDIA", "stability": "Stability AI", "magic": "21st.dev",
}  # fmt: skip


def words(name: str) -> list[str]:
    """The words of a name in any spelling: `X-Api-Key`, `apiKey`, `API_KEY`, `--api-key`."""
    return [w.lower() for w in _WORDS.findall(name)]


def sense_of(name: str) -> NameSense:
    """What `name` says of its value, judged by its beginning. Names repeat, so each is judged once."""
    return _sense_of(name[:200])


@lru_cache(maxsize=4096)
def _sense_of(name: str) -> NameSense:
    parts = words(name)
    return NameSense(_sense(parts), _kind(parts), _issuer(parts))


def _sense(parts: list[str]) -> Sense:
    if not parts:
        return Sense.SILENT
    speaks = _speaks(parts)
    last = parts[-1]
    if last in _FILE_WORDS or (last == "credentials" and "application" in parts):
        return Sense.FILE if speaks >= Sense.HINTS or "key" in parts else Sense.DENIES
    if last == "var" or (last == "env" and speaks >= Sense.SAYS):
        return Sense.VARIABLE if speaks >= Sense.SAYS else Sense.DENIES
    if last in _NOT_THE_SECRET:
        # A database's or a service's URL often carries the password; the value decides.
        return Sense.SILENT if last in {"url", "uri"} else Sense.DENIES
    return speaks


def _speaks(parts: list[str]) -> Sense:
    if "tokens" in parts or "keys" in parts:
        if _COUNTING.intersection(parts) or len(parts) == 1:
            return Sense.DENIES
        return Sense.SAYS if {"api", "access", "auth", "secret"}.intersection(parts) else Sense.HINTS
    if (
        "token" in parts
        and _COUNTING.intersection(parts)
        and not {"access", "auth", "api", "secret"}.intersection(parts)
    ):
        return Sense.DENIES
    if parts[-1] == "key" or (parts[-1].isdigit() and len(parts) > 1 and parts[-2] == "key"):
        before = parts[: parts.index("key")]
        if not before:
            return Sense.SAYS
        if before[-1] in _PUBLIC_KEY_QUALIFIERS:
            return Sense.DENIES
        return Sense.SAYS if before[-1] in _SECRET_KEY_QUALIFIERS else Sense.HINTS
    if _SECRET_WORDS.intersection(parts):
        if parts[0] in {"no", "skip", "disable", "enable", "use", "require", "has", "is", "allow"} or "csrf" in parts:
            return Sense.HINTS
        # `AUTH`, `X-Auth`: a word that as often says how as with what.
        if not _PLAIN_SECRET_WORDS.intersection(parts):
            return Sense.SAYS if parts[-1] in {"cookie", "pass"} else Sense.HINTS
        return Sense.SAYS
    if "key" in parts:
        return Sense.HINTS if "public" not in parts else Sense.DENIES
    if _HINTING_WORDS.intersection(parts) and parts[-1] not in {"url", "uri"}:
        return Sense.HINTS
    joined = "".join(parts)
    if joined.endswith(("apikey", "password", "secretkey", "accesstoken", "authtoken", "passwd", "apitoken", "secret")):
        return Sense.SAYS
    if joined.endswith("token") and not joined.endswith("maxtoken"):
        return Sense.SAYS
    if joined.endswith("string") and _CONNECTION_WORDS.intersection(parts):
        return Sense.HINTS
    return Sense.SILENT


def _kind(parts: list[str]) -> Kind:
    joined = "_".join(parts)
    has = set(parts).intersection
    if "secret_access_key" in joined or "aws_access_key" in joined:
        return Kind.AWS_ACCESS_KEY
    if has({"password", "passwd", "pwd", "pass", "pw"}):
        return Kind.DATABASE_PASSWORD if has(_DATABASE_WORDS) or joined.startswith("pg") else Kind.OTHER
    if "refresh_token" in joined or "refreshtoken" in joined:
        return Kind.OAUTH_REFRESH_TOKEN
    if "registration_access_token" in joined or "registration_token" in joined:
        return Kind.REGISTRATION_TOKEN
    if "client_secret" in joined or "clientsecret" in joined or "consumer_secret" in joined:
        return Kind.OAUTH_CLIENT_SECRET
    if "personal_access_token" in joined or has({"pat"}):
        return Kind.PERSONAL_ACCESS_TOKEN
    if "access_token" in joined or "accesstoken" in joined or "oauth_token" in joined:
        return Kind.OAUTH_ACCESS_TOKEN
    if "private_key" in joined or joined.endswith("privatekey"):
        return Kind.OTHER
    if "token" in parts and has(_FORGES):
        return Kind.PERSONAL_ACCESS_TOKEN
    if joined.endswith("password"):
        return Kind.DATABASE_PASSWORD if joined.startswith("pg") else Kind.OTHER
    if has({"session", "cookie", "webhook", "signing", "passphrase", "encryption", "salt", "mnemonic", "seed"}):
        return Kind.OTHER
    if has({"key", "token", "apikey", "authorization", "bearer", "apitoken", "authtoken", "appkey", "auth", "secret"}):
        return Kind.API_KEY
    return Kind.OTHER


def _issuer(parts: list[str]) -> str | None:
    for part in parts:
        label = _VENDORS.get(part)
        if label is not None:
            return label
    return None
