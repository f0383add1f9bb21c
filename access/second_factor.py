"""Second factors: who needs one, and how their secrets are kept."""

from base64 import urlsafe_b64encode
from functools import cache

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.http import HttpRequest

from access.actors import Actor
from access.models import User
from access.roles import Role

BY_DIRECTORY = "socialaccount"


@cache
def _box(key: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"keyreeve second factor").derive(key.encode())
    return Fernet(urlsafe_b64encode(derived))


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """The secrets of authenticator apps are written encrypted: a copy of the database makes no codes."""

    def encrypt(self, text: str) -> str:
        return _box(settings.SECRET_KEY).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _box(settings.SECRET_KEY).decrypt(encrypted_text.encode()).decode()


def has_second_factor(user: User) -> bool:
    kept = Authenticator.objects.filter(user=user)
    return bool(kept.exclude(type=Authenticator.Type.RECOVERY_CODES).exists())


def came_by_directory(request: HttpRequest) -> bool:
    """Whether this session began in the directory, which asks for second factors itself."""
    methods: list[dict[str, object]] = request.session.get("account_authentication_methods", [])
    return any(method.get("method") == BY_DIRECTORY for method in methods)


def lacks_second_factor(request: HttpRequest, actor: Actor) -> bool:
    """Whether the person must add a second factor before they may do anything else."""
    if not settings.REQUIRE_SECOND_FACTOR or not actor.has(Role.OPERATOR):
        return False
    return isinstance(request.user, User) and not came_by_directory(request) and not has_second_factor(request.user)
