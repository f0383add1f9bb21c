"""Settings of the demo authorization server. `__main__` says folder, issuer and posture through the environment."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from demo.authorization_server.secret_files import kept

FOLDER = Path(os.environ["DEMO_AUTHORIZATION_SERVER_FOLDER"])
ISSUER = os.environ["DEMO_AUTHORIZATION_SERVER_ISSUER"]
IS_LAX = os.environ.get("DEMO_AUTHORIZATION_SERVER_LAX") == "1"
RESOURCES = os.environ["DEMO_AUTHORIZATION_SERVER_RESOURCES"].split()


def signing_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


SECRET_KEY = kept(FOLDER, "session_key", lambda: secrets.token_urlsafe(48))
MANAGEMENT_TOKEN = kept(FOLDER, "management_token", lambda: f"mgmt-{secrets.token_urlsafe(32)}")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "demo.authorization_server.urls"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/authorized_tokens/"
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "oauth2_provider",
    "demo.authorization_server",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before the library's own, which load a stylesheet that nobody serves here.
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "authorization.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",  # else two writers that have both read refuse each other at once
            "timeout": 20,
        },
    }
}
# Every secret here is random and long, so stretching it would only make each request of a client slow.
PASSWORD_HASHERS = ["demo.authorization_server.hashers.FewRounds"]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"quiet": {"class": "logging.NullHandler"}, "stderr": {"class": "logging.StreamHandler"}},
    "loggers": {
        # A line per request would show what stands in addresses, codes among it.
        "django.server": {"handlers": ["quiet"], "propagate": False},
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}

SCOPES = {
    "openid": "Sign in",
    "email": "Your e-mail address",
    "groups": "The groups you are in",
    "mcp:tools": "Use the tools of an MCP server",
    "repo:read": "Read repositories",
    "repo:write": "Write repositories",
    "tickets:read": "Read tickets",
    "tickets:write": "Write tickets",
    "billing:read": "Read invoices",
    "billing:refund": "Refund payments",
    "introspection": "Introspect tokens",
}
FLOWS = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
]
METHODS = ["client_secret_basic", "client_secret_post", "none"]
# The library's defaults; migrations that point at its tables want them said.
OAUTH2_PROVIDER_APPLICATION_MODEL = "oauth2_provider.Application"
OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = "oauth2_provider.AccessToken"
OAUTH2_PROVIDER = {
    "SCOPES": SCOPES,
    "DEFAULT_SCOPES": ["mcp:tools"],
    "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 24 * 3600,
    "ROTATE_REFRESH_TOKEN": True,
    "REFRESH_TOKEN_REUSE_PROTECTION": True,
    "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https", "cursor", "vscode"],
    "ALLOW_LOCALHOST_LOOPBACK": True,
    "PKCE_REQUIRED": not IS_LAX,
    "OIDC_ENABLED": True,
    "OAUTH2_VALIDATOR_CLASS": "demo.authorization_server.people.WithGroups",
    "OIDC_ISS_ENDPOINT": ISSUER,
    "OIDC_RSA_PRIVATE_KEY": kept(FOLDER, "signing_key", signing_key),
    "OIDC_RESPONSE_TYPES_SUPPORTED": ["code", "token"] if IS_LAX else ["code"],
    "OIDC_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": METHODS,
    "OAUTH2_RESPONSE_TYPES_SUPPORTED": ["code", "token"] if IS_LAX else ["code"],
    "OAUTH2_GRANT_TYPES_SUPPORTED": [*FLOWS, "implicit", "password"] if IS_LAX else FLOWS,
    "OAUTH2_TOKEN_ENDPOINT_AUTH_METHODS_SUPPORTED": METHODS,
    "OAUTH_DEVICE_VERIFICATION_URI": f"{ISSUER}/device/",
    "DCR_ENABLED": True,
    "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.AllowAllDCRPermission",),
    "DCR_ROTATE_REGISTRATION_TOKEN_ON_UPDATE": False,
    "CIMD_ENABLED": not IS_LAX,
    "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
    **{
        f"COMPLIANT_BCP_RFC9700_{gate}": not IS_LAX
        for gate in ("IMPLICIT_GRANT", "PASSWORD_GRANT", "PKCE_METHOD", "ACCESS_TOKEN_TRANSPORT", "AUTHZ_RESPONSE_ISS")
    },
}
