"""Settings, all read from the environment through `config.env`. README lists the variables."""

import os
import secrets
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import platformdirs
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo

from audit.places import Address
from config import env
from config.directory import oidc
from config.log_settings import logging_of
from config.mail import mail_from, mail_server, public_url
from config.queues import THROTTLE
from config.roles import APPLICATION, OWNER
from providers.folders import Folders
from providers.guard import Guard
from providers.references import References
from providers.regions import known_region

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = "0.1.0"

DEBUG = env.flag("KEYREEVE_DEBUG")
DEFAULT_EXCEPTION_REPORTER_FILTER = "config.reporting.NamesAlone"
PORT = env.number("KEYREEVE_PORT", 8000, least=1, most=65535)
BIND = env.text("KEYREEVE_BIND", "127.0.0.1")
ALLOWED_HOSTS = list(env.names("KEYREEVE_HOSTS", ("localhost", "127.0.0.1", "[::1]")))
HTTPS = env.flag("KEYREEVE_HTTPS")
# This organisation's: a server under any other is a third party's. Without them nobody can tell.
OWN_DOMAINS = tuple(each.lower().removeprefix("*").strip(".") for each in env.names("KEYREEVE_OWN_DOMAINS"))
ESTATE_NAME = env.text("KEYREEVE_ESTATE_NAME", "This estate")


def default_home() -> Path:
    """The embedded server drops to a user of its own under root and must reach its folder, which /root forbids."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/keyreeve")
    return Path(platformdirs.user_data_dir("keyreeve", appauthor=False))


KEYREEVE_HOME = Path(env.text("KEYREEVE_HOME") or default_home()).expanduser().absolute()


def key_from_home(name: str) -> str | None:
    """What the first start wrote there. None before it, so that commands without a database need no folder."""
    try:
        return (KEYREEVE_HOME / name).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


SECRET_KEY_GIVEN = env.secret("KEYREEVE_SECRET_KEY")
SECRET_KEY = SECRET_KEY_GIVEN or key_from_home("secret.key") or secrets.token_urlsafe(48)
FINGERPRINT_KEY: bytes | None = env.secret("KEYREEVE_FINGERPRINT_KEY").encode() or None
SCANNER_CACHE_DIR = Path(env.text("KEYREEVE_SCANNER_CACHE") or platformdirs.user_cache_dir("keyreeve", appauthor=False))
# Whose MCP clients the connection to this machine looks at, and the variables that move their folders.
MACHINE_HOME = Path(env.text("KEYREEVE_MACHINE_HOME") or Path.home())
MACHINE_ENVIRONMENT = dict(os.environ)
# Where evidence packs are kept, and for how long their files are.
EVIDENCE_DIR = Path(env.text("KEYREEVE_EVIDENCE") or KEYREEVE_HOME / "evidence")
EVIDENCE_KEPT_FOR = env.duration("KEYREEVE_EVIDENCE_KEPT_FOR", timedelta(days=400))
# The key that signs the audit chain's heads, and where they are exported: always to a folder, to buckets too if asked.
CHAIN_KEY = Path(env.text("KEYREEVE_CHAIN_KEY") or KEYREEVE_HOME / "chain.key")
HISTORY_KEPT_FOR = env.duration("KEYREEVE_HISTORY_KEPT_FOR", timedelta(days=3 * 365))
CHAIN_HEADS_DIR = Path(env.text("KEYREEVE_CHAIN_HEADS") or KEYREEVE_HOME / "chain-heads")
CHAIN_HEADS_S3 = env.names("KEYREEVE_CHAIN_HEADS_S3")
CHAIN_HEADS_S3_KEY = env.secret("KEYREEVE_CHAIN_HEADS_S3_KEY")
env.accept("KEYREEVE_CHAIN_HEADS_S3", lambda: [Address.read(address) for address in CHAIN_HEADS_S3])

# Streams of events: where those into files are written, and the keys that sign security event tokens.
STREAMS_DIR = Path(env.text("KEYREEVE_STREAMS") or KEYREEVE_HOME / "streams")
STREAM_FILE_SIZE = env.number("KEYREEVE_STREAM_FILE_MB", 64, most=10_000) * 1024 * 1024
STREAM_FILES_KEPT = env.number("KEYREEVE_STREAM_FILES_KEPT", 20, most=100_000)
SIGNAL_KEYS_DIR = Path(env.text("KEYREEVE_SIGNAL_KEYS") or KEYREEVE_HOME / "signal-keys")

# ── The outside world ──────────────────────────────────────────────────────────────────────────
# Where the guarded fetcher may go besides public addresses, which references a connection may name, and where files
# may be written: new secrets, and references in place of literals.
ALLOW_LOOPBACK = env.flag("KEYREEVE_ALLOW_LOOPBACK")
ALLOW_NETWORKS = env.names("KEYREEVE_ALLOW_NETWORKS")
REFERENCE_FOLDERS = tuple(Path(each).expanduser() for each in env.names("KEYREEVE_REFERENCE_FOLDERS"))
DELIVERY_FOLDERS = tuple(Path(each).expanduser() for each in env.names("KEYREEVE_DELIVERY_FOLDERS"))
REFERENCE_VARIABLES = env.names("KEYREEVE_REFERENCE_VARIABLES")
REFERENCE_AWS_REGION = env.text("KEYREEVE_REFERENCE_AWS_REGION")
env.accept("KEYREEVE_ALLOW_NETWORKS", lambda: Guard(networks=ALLOW_NETWORKS))
env.accept("KEYREEVE_REFERENCE_FOLDERS", lambda: References(folders=REFERENCE_FOLDERS))
env.accept("KEYREEVE_DELIVERY_FOLDERS", lambda: Folders(DELIVERY_FOLDERS))
env.accept("KEYREEVE_REFERENCE_VARIABLES", lambda: References(variables=REFERENCE_VARIABLES))
env.accept("KEYREEVE_REFERENCE_AWS_REGION", lambda: REFERENCE_AWS_REGION and known_region(REFERENCE_AWS_REGION))

# ── Watching ──────────────────────────────────────────────────────────────────────────────────
METRICS_TOKEN = env.secret("KEYREEVE_METRICS_TOKEN")
METRICS_KEPT_FOR = env.number("KEYREEVE_METRICS_KEPT_FOR", 10, most=600)  # seconds
# By OpenTelemetry's own variables: traces go to OTEL_EXPORTER_OTLP_ENDPOINT, where it is set.
TRACING = bool(env.text("OTEL_EXPORTER_OTLP_ENDPOINT") or env.text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))

# While this file is there, /readyz says that nobody should be sent here. `up` writes it when it ends, and then goes on
# for as long as a proxy needs to notice.
DRAIN_FILE = Path(env.text("KEYREEVE_DRAIN_FILE") or KEYREEVE_HOME / "draining")
DRAIN_FOR = env.duration("KEYREEVE_DRAIN_FOR", timedelta(0))

# ── Ownership ──────────────────────────────────────────────────────────────────────────────────
# Owners accept what they answer for, for so long; then they are asked again, and each in line has so long to answer.
# Who is never told must not lose what is in their name: without mail nobody is asked, unless the operator says so.
OWNERSHIP_IS_ASKED = env.flag("KEYREEVE_OWNERSHIP_IS_ASKED", default=bool(env.secret("KEYREEVE_MAIL_URL")))
OWNERSHIP_HOLDS_FOR = env.duration("KEYREEVE_OWNERSHIP_HOLDS_FOR", timedelta(days=180))
OWNERSHIP_OWNER_ANSWERS = env.duration("KEYREEVE_OWNERSHIP_OWNER_ANSWERS", timedelta(days=14))
OWNERSHIP_DEPUTY_ANSWERS = env.duration("KEYREEVE_OWNERSHIP_DEPUTY_ANSWERS", timedelta(days=7))
OWNERSHIP_MANAGER_ANSWERS = env.duration("KEYREEVE_OWNERSHIP_MANAGER_ANSWERS", timedelta(days=7))
OWNERSHIP_QUARANTINES_CLIENTS = env.flag("KEYREEVE_OWNERSHIP_QUARANTINES_CLIENTS")
if not OWNERSHIP_HOLDS_FOR or not all((OWNERSHIP_OWNER_ANSWERS, OWNERSHIP_DEPUTY_ANSWERS, OWNERSHIP_MANAGER_ANSWERS)):
    raise ImproperlyConfigured("The times of KEYREEVE_OWNERSHIP_… are longer than nothing.")

# ── Operations ─────────────────────────────────────────────────────────────────────────────────
# How long what is revoked stays suspended, so that it can be brought back should something miss it.
REVOCATION_SETTLES_FOR = env.duration("KEYREEVE_REVOCATION_SETTLES_FOR", timedelta(hours=1))

# ── Notices ────────────────────────────────────────────────────────────────────────────────────
# Where people reach Keyreeve: what links in mails and webhooks begin with.
PUBLIC_URL = public_url(env.text("KEYREEVE_URL"))
MAIL_SERVER = mail_server(env.secret("KEYREEVE_MAIL_URL"))
if MAIL_SERVER:
    for _name in ("KEYREEVE_MAIL_FROM", "KEYREEVE_URL"):
        if not env.text(_name):
            raise ImproperlyConfigured(f"KEYREEVE_MAIL_URL is set, so {_name} must be too.")
    DEFAULT_FROM_EMAIL = mail_from(env.text("KEYREEVE_MAIL_FROM"))
    EMAIL_HOST, EMAIL_PORT = MAIL_SERVER.host, MAIL_SERVER.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = MAIL_SERVER.user, MAIL_SERVER.password
    EMAIL_USE_TLS, EMAIL_USE_SSL = MAIL_SERVER.starts_tls, MAIL_SERVER.is_tls
EMAIL_TIMEOUT = 20  # seconds

# ── Database and broker ────────────────────────────────────────────────────────────────────────
DATABASE_URL = env.secret("DATABASE_URL")
EMBEDDED_DATA_DIR = KEYREEVE_HOME / "pg"


# The role that owns the tables and migrates them. Processes that serve and work need not know it.
MIGRATION_DATABASE_URL = env.secret("KEYREEVE_MIGRATION_DATABASE_URL")
if MIGRATION_DATABASE_URL and not DATABASE_URL:
    raise ImproperlyConfigured("KEYREEVE_MIGRATION_DATABASE_URL is set, so DATABASE_URL must be too.")


def database_from(url: str, variable: str = "DATABASE_URL") -> dict[str, object]:
    """Django's settings for `postgresql://user:password@host:port/name?option=value`; a socket folder as `?host=/…`."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(f"{variable} must begin with postgresql://")
    options = dict(parse_qsl(parts.query))
    return {
        "NAME": unquote(parts.path.lstrip("/")) or "keyreeve",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }


OWNER_DATABASE: dict[str, object] | None = None
if DATABASE_URL:
    _database, OWNER_CONNINFO = database_from(DATABASE_URL), MIGRATION_DATABASE_URL
    if MIGRATION_DATABASE_URL:
        OWNER_DATABASE = database_from(MIGRATION_DATABASE_URL, "KEYREEVE_MIGRATION_DATABASE_URL")
else:
    _database = {"NAME": "keyreeve", "USER": APPLICATION, "HOST": str(EMBEDDED_DATA_DIR), "OPTIONS": {}}
    OWNER_DATABASE = {**_database, "USER": OWNER}
    OWNER_CONNINFO = make_conninfo(host=str(EMBEDDED_DATA_DIR), dbname="keyreeve", user=OWNER, connect_timeout=5)
# A command needs one connection, and says at once when there is none; a pool would wait for half a minute.
if env.flag("KEYREEVE_DB_POOL", default=Path(sys.argv[0]).name != "manage.py"):
    _database["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 4}, **_database["OPTIONS"]}  # type: ignore[dict-item]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": 0,
        "TEST": {"TEMPLATE": env.text("KEYREEVE_TEST_TEMPLATE") or None},
        **_database,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

BROKER_URL = env.secret("KEYREEVE_BROKER_URL")
CELERY_BROKER_URL = BROKER_URL or "pgmq://localhost"
if not BROKER_URL:
    CELERY_BROKER_TRANSPORT = "config.transport:Transport"
    _conninfo = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "conn_string": " ".join(
            "{}='{}'".format(key, str(_database[name]).replace("\\", "\\\\").replace("'", "\\'"))
            for key, name in _conninfo.items()
            if _database.get(name)
        ),
        "init_extension": False,
        "use_notify": True,
        "notify_throttle_interval_ms": THROTTLE,
        "polling_interval": 0.2,
        "wait_time_seconds": 0,
        "visibility_timeout": 300,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_WORKER_LOST_WAIT = 1  # seconds that a killed process keeps its place; nothing it may have answered is read
CELERY_WORKER_PREFETCH_MULTIPLIER = 4
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    "inventory.tasks.sync_connection": {"queue": "sync"},
    "inventory.tasks.advance_removal": {"queue": "sync"},
    "audit.tasks.export_chain_heads": {"queue": "sync"},
    "audit.tasks.verify_chain": {"queue": "sync"},
    "notifications.tasks.send_mail": {"queue": "sync"},
    "notifications.tasks.send_to_endpoint": {"queue": "sync"},
    "lifecycle.tasks.evaluate_findings": {"queue": "evaluate"},
    "reviews.tasks.build_evidence_pack": {"queue": "sync"},
    "lifecycle.tasks.advance_operation": {"queue": "operate"},
    "lifecycle.tasks.look_at_operation": {"queue": "operate"},
}
CELERY_TIMEZONE = "UTC"

# ── Applications ───────────────────────────────────────────────────────────────────────────────
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "knox",
    "rest_framework",
    "history",
    "web",
    "access",
    "audit",
    "inventory",
    "notifications",
    "lifecycle",
    "reviews",
    "config",
]
MIDDLEWARE = [
    "config.logs.RequestIdMiddleware",
    "config.tracing.TracingMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.refusals.RefusalMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "access.middleware.ActorMiddleware",
    "access.middleware.IdleMiddleware",
    "access.middleware.RightsMiddleware",
    "web.past.PastMiddleware",
    "web.budgets.BudgetMiddleware",
    "web.deprecations.DeprecationMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "config.navigation.navigation",
            ],
        },
    }
]

# ── People ─────────────────────────────────────────────────────────────────────────────────────
AUTH_USER_MODEL = "access.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "access.passwords.GuessableValidator", "OPTIONS": {"words": ["keyreeve", ESTATE_NAME]}},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "access.authentication.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email", "username"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "username*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/15m/key"}
PASSWORD_RESET_TIMEOUT = 24 * 3600  # also the life of a one-time sign-in link, seconds
# Counts tries to sign in, so every process must count the same ones.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "access_tries"}}
SESSION_COOKIE_AGE = env.number("KEYREEVE_SESSION_HOURS", 12, least=1, most=720) * 3600
SESSION_IDLE_SECONDS = env.number("KEYREEVE_SESSION_IDLE_MINUTES", 60, least=5, most=43_200) * 60
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:  # browsers take a cookie of such a name from this host alone, and only over TLS
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
    MESSAGE_STORAGE = "web.notices.HostNotices"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS] if HTTPS else []

# ── Second factors ─────────────────────────────────────────────────────────────────────────────
# Operators and administrators need one: an authenticator app, a passkey, or a sign-in through the directory.
REQUIRE_SECOND_FACTOR = env.flag("KEYREEVE_REQUIRE_SECOND_FACTOR")
MFA_ADAPTER = "access.second_factor.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are given by administrators and directories
MFA_TOTP_ISSUER = f"Keyreeve {ESTATE_NAME}"
MFA_TOTP_TOLERANCE = 1
MFA_WEBAUTHN_USER_VERIFICATION = "required"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS  # browsers themselves allow it for localhost alone
MFA_RECOVERY_CODES_SHOW_ONCE = True

# ── Sign-in through a directory (OpenID Connect) ───────────────────────────────────────────────
OIDC = oidc()
OIDC_ROLES, OIDC_GROUPS_CLAIM = OIDC.roles, OIDC.groups_claim
SOCIALACCOUNT_ADAPTER = "access.directory.DirectoryAdapter"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": OIDC.apps, "OAUTH_PKCE_ENABLED": True, "SCOPE": OIDC.scopes}}
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = "directory"

# ── Security floor ─────────────────────────────────────────────────────────────────────────────
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF, *([OIDC.origin] if OIDC.origin else [])],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

# ── API ────────────────────────────────────────────────────────────────────────────────────────
# Requests a minute; 0 is as many as they like. An address has the budget of those that nobody is known behind.
API_BUDGETS = {
    "token": env.number("KEYREEVE_API_TOKEN_BUDGET", 1_200),
    "person": env.number("KEYREEVE_API_PERSON_BUDGET", 600),
    "address": env.number("KEYREEVE_API_ADDRESS_BUDGET", 300),
}
# Of how many proxies in front of us `X-Forwarded-For` is believed, here and where tries to sign in are counted.
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("KEYREEVE_TRUSTED_PROXIES", 0, most=10)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "access.authentication.ApiTokenAuthentication",
        "access.authentication.PageSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["access.permissions.HoldsRight"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["web.bodies.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["web.budgets.Budget"],
    "EXCEPTION_HANDLER": "web.problems.problem_handler",
    "UNAUTHENTICATED_USER": None,
}
KNOX_TOKEN_MODEL = "access.ApiToken"
REST_KNOX = {"AUTH_HEADER_PREFIX": "Token", "TOKEN_PREFIX": "kr_", "AUTO_REFRESH": False}
SPECTACULAR_SETTINGS = {
    "TITLE": "Keyreeve",
    "DESCRIPTION": "Inventory and lifecycle of non-human identities.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "RiskEnum": [(name.lower(), name) for name in ("None", "Low", "Medium", "High", "Critical")],
        "SeverityEnum": [(name.lower(), name) for name in ("Low", "Medium", "High", "Critical")],
        "CredentialKindEnum": "inventory.states.CredentialKind",
        "OperationKindEnum": "lifecycle.states.OperationKind",
        "OperationStateEnum": "lifecycle.serializers.STATES",
        "BatchKindEnum": "lifecycle.states.BatchKind",
        "BatchStateEnum": "lifecycle.states.BatchState",
        "PackStateEnum": "reviews.packs.PackState",
        "SuggestionEnum": "lifecycle.states.Suggestion",
        "TokenRoleEnum": "config.token_api.ROLES",
        "StreamKindEnum": "notifications.states.StreamKind",
        "StreamStatusEnum": "notifications.states.StreamStatus",
        "SignalTypeEnum": "notifications.states.SignalType",
        "CredentialStatusEnum": "inventory.states.CredentialStatus",
        "TrustModelEnum": "inventory.states.TrustModel",
        "ServerRoleEnum": "inventory.states.ServerRole",
        "ReviewedEnum": "reviews.states.Reviewed",
        "CampaignStateEnum": "reviews.states.CampaignState",
        "ReviewItemStateEnum": "reviews.states.ItemState",
        "DecisionEnum": "reviews.states.What",
        "ChoiceEnum": "reviews.serializers.DECIDABLE",
        "SeatEnum": "reviews.states.Seat",
        "PersonSeatEnum": "reviews.serializers.SEATS",
    },
}

# ── The rest ───────────────────────────────────────────────────────────────────────────────────
FILTERS_EMPTY_CHOICE_LABEL = "Any"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
STATIC_ROOT = Path(env.text("KEYREEVE_STATIC_ROOT") or BASE_DIR / ".static")
STATICFILES_DIRS = [BASE_DIR / "static"]
TESTING = "pytest" in sys.modules
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG or TESTING
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG or TESTING
LOG_FORMAT = env.text("KEYREEVE_LOG_FORMAT", "line")
if LOG_FORMAT not in {"line", "json"}:
    raise ImproperlyConfigured("KEYREEVE_LOG_FORMAT is line or json.")
LOGGING = logging_of(env.text("KEYREEVE_LOG_LEVEL", "WARNING").upper(), LOG_FORMAT)
