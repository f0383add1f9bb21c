"""AWS as a place that issues credentials: who calls it, in which accounts, and how its errors read in our words.

What an account holds is listed by the modules beside this one; each is a `Lister` over one account.
"""

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as sdk
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.session import Session

from providers.base import DiscoveredCredential, Problem, Secret
from providers.errors import Denied, Permanent, ProviderError, Refused, Transient
from providers.regions import known_region

DEFAULT_REGION = "us-east-1"
SESSION_NAME = "keyreeve"
ATTEMPTS = 4
CONNECT_SECONDS, READ_SECONDS = 5, 15
MOST_ROLES_CHECKED = 25
LONGEST_WAIT = timedelta(hours=1)

# A session for a key of the operator's own reads nothing of this machine: no profile, no file, no endpoint of another.
ISOLATED = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RegionDisabledException",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
}
THROTTLED = {
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}
CODE = re.compile(r"[A-Za-z0-9.:]{1,80}")
ROLE = re.compile(r"arn:aws[a-z-]{0,20}:iam::(\d{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the operator lends us to call AWS with."""

    access_key_id: str
    secret_access_key: Secret
    session_token: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A role to assume in order to look at its account."""

    arn: str
    external_id: str = ""

    def __post_init__(self) -> None:
        if not ROLE.fullmatch(self.arn):
            raise Permanent("A role to assume is named by its ARN, such as arn:aws:iam::123456789012:role/keyreeve.")

    @property
    def account(self) -> str:
        return self.arn.split(":")[4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who AWS says we are."""

    account: str
    arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account as its listers see it."""

    aws: "Aws"
    number: str


Lister = Callable[[Account], Iterator[DiscoveredCredential | Problem]]


class Aws:
    """Makes clients for one identity: a key, or whatever identity this machine is lent where `key` is None."""

    def __init__(
        self, key: Key | None, *, region: str = DEFAULT_REGION, endpoint: str = "", attempts: int = ATTEMPTS
    ) -> None:
        self.region = known_region(region)
        self.endpoint = permitted_endpoint(endpoint)
        self._key = key
        self._attempts = attempts
        self._session = _isolated() if key else Session()

    def client(self, service: str, region: str = "", *, attempts: int = 0) -> Any:
        """What makes calls to one service; `attempts` for what must not be tried twice unseen."""
        identity: dict[str, str] = {}
        if self._key is not None:
            identity = {
                "aws_access_key_id": self._key.access_key_id,
                "aws_secret_access_key": self._key.secret_access_key.reveal(),
            }
            if self._key.session_token is not None:
                identity["aws_session_token"] = self._key.session_token.reveal()
        with asking(f"a client for {service}"):
            return self._session.create_client(
                service,
                region_name=known_region(region) if region else self.region,
                endpoint_url=self.endpoint or None,
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    # Adaptive: back-off with jitter as in every mode, and a client that was throttled slows down by
                    # itself, which a listing of ten thousand keys needs more than any single call.
                    retries={"mode": "adaptive", "total_max_attempts": attempts or self._attempts},
                    user_agent_extra="keyreeve",
                    ignore_configured_endpoint_urls=self._key is not None,
                ),
                **identity,
            )

    @property
    def access_key_id(self) -> str:
        """The key that signs what we ask; empty where this machine's identity does."""
        return self._key.access_key_id if self._key else ""

    def signing_with(self, key: Key) -> "Aws":
        """The same place as seen by whoever holds another key."""
        return Aws(key, region=self.region, endpoint=self.endpoint, attempts=self._attempts)

    def caller(self) -> Caller:
        """Who we are. It needs no permission, so it proves the identity and nothing else."""
        with asking("sts:GetCallerIdentity"):
            answer = self.client("sts").get_caller_identity()
        return Caller(account=str(answer["Account"]), arn=str(answer["Arn"]))

    def assume(self, role: Role) -> "Aws":
        """The same place as seen by a role, for an hour."""
        asked = {"RoleArn": role.arn, "RoleSessionName": SESSION_NAME}
        if role.external_id:
            asked["ExternalId"] = role.external_id
        with asking(f"sts:AssumeRole of {role.arn}"):
            lent = self.client("sts").assume_role(**asked)["Credentials"]
        key = Key(
            access_key_id=lent["AccessKeyId"],
            secret_access_key=Secret(lent["SecretAccessKey"]),
            session_token=Secret(lent["SessionToken"]),
        )
        return self.signing_with(key)


class Reach:
    """As whom we act in an account: by the role that is there, else as ourselves in our own.

    What a role lends is used for as long as this object is, which is for one step: it ends after an hour.
    """

    def __init__(self, aws: Aws, *, roles: Sequence[Role] = (), with_own: bool = True) -> None:
        self._aws = aws
        self._roles = {role.account: role for role in reversed(roles)}  # of two in one account the first, as listed
        self._with_own = with_own
        self._lent: dict[str, Aws] = {}

    def into(self, account: str) -> Aws:
        """An empty number is the only account there is, or our own. Raises `ProviderError`."""
        if not account and not self._with_own and len(self._roles) == 1:
            (account,) = self._roles
        if account in self._lent:
            return self._lent[account]
        if role := self._roles.get(account):
            found = self._aws.assume(role)
        elif not self._with_own:
            raise Permanent(f"{_account(account)} is not among those of the connection. Add a role there to it.")
        elif not account or (own := self._aws.caller().account) == account:
            found = self._aws
        else:
            raise Permanent(
                f"The connection signs in to account {own} and has no role in {account}. Add a role there to it."
            )
        self._lent[account] = found
        return found

    def is_own_key(self, key_id: str) -> bool:
        return bool(key_id) and key_id == self._aws.access_key_id


def _account(number: str) -> str:
    return f"Account {number}" if number else "The connection's own account"


def _isolated() -> Session:
    session = Session(session_vars=ISOLATED)
    session.register_component("data_loader", _models())
    return session


@functools.cache
def _models() -> Loader:
    """What describes the services to the SDK: read once, as it takes ten times as long as a call."""
    return Loader()


class Accounts:
    """A `Provider` over one or many accounts: the identity's own, and one for each role it may assume.

    An account that cannot be listed is a `Problem` and stops no other; when none can be, the first reason is raised.
    """

    def __init__(
        self, aws: Aws, *, listers: Sequence[Lister], roles: Sequence[Role] = (), with_own: bool = True
    ) -> None:
        if not roles and not with_own:
            raise Permanent("There is no account to look at: name a role, or let the identity's own account be listed.")
        self._aws = aws
        self._listers = listers
        self._roles = roles
        self._with_own = with_own

    def check(self) -> str:
        caller = self._aws.caller()
        for role in self._roles[:MOST_ROLES_CHECKED]:
            self._aws.assume(role)
        said = f"Signed in to AWS account {caller.account} as {caller.arn}"
        if not self._roles:
            return f"{said}."
        tried = min(len(self._roles), MOST_ROLES_CHECKED)
        return f"{said}; {tried} of {len(self._roles)} roles were tried and can be assumed."

    def discover(self) -> Iterator[DiscoveredCredential | Problem]:
        caller = self._aws.caller()
        seen: set[str] = set()
        failed: list[ProviderError] = []
        whole = 0
        for role in (*([None] if self._with_own else []), *self._roles):
            number = role.account if role else caller.account
            if number in seen:
                continue
            seen.add(number)
            try:
                aws = self._aws.assume(role) if role else self._aws
            except ProviderError as exc:
                failed.append(exc)
                yield Problem(place=place(number), reason=str(exc))
                continue
            for lister in self._listers:
                try:
                    yield from lister(Account(aws=aws, number=number))
                    whole += 1
                except ProviderError as exc:
                    failed.append(exc)
                    yield Problem(place=place(number), reason=str(exc))
        if failed and not whole:
            raise failed[0]


def place(account: str, *within: str) -> str:
    """How a part of an account is called among what could not be listed."""
    return "/".join([f"aws:{account}", *within])


def in_utc(at: datetime | None) -> datetime | None:
    """The SDK gives times in this machine's own zone."""
    return at.astimezone(UTC) if at is not None else None


def permitted_endpoint(url: str) -> str:
    """An address to call instead of AWS: over TLS, or on this machine."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as exc:
        raise Refused("The endpoint is not an address.") from exc
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    is_safe = bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    if not (is_plain and is_safe):
        raise Refused("The endpoint is an https address without sign-in or query; http only on this machine itself.")
    return url


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Translate what botocore raises while AWS is asked for `what`."""
    try:
        yield
    except (BotoCoreError, ClientError) as exc:
        raise as_provider_error(exc, what) from exc
    except ResponseParserError:  # its own message is the body of the answer, mostly that of a gateway before AWS
        raise Transient(f"The answer to {what} is not one that AWS gives.") from None
    except (KeyError, TypeError, AttributeError) as exc:  # an answer that is not of the shape AWS documents
        raise Permanent(f"The answer to {what} is not one that AWS gives.") from exc


def as_provider_error(exc: BotoCoreError | ClientError, what: str) -> ProviderError:
    """Our word for an error of the SDK. Of AWS's own words only the code is kept: a message may repeat the request."""
    if isinstance(exc, ClientError):
        return _from_answer(exc, what)
    if isinstance(exc, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
        return Denied("This machine is lent no whole AWS identity. Name one by reference instead.")
    if isinstance(exc, sdk.SSLError):
        return Permanent(f"The certificate of the host that was asked for {what} is not trusted.")
    if isinstance(exc, sdk.ConnectionError | sdk.HTTPClientError):
        return Transient(f"AWS gave no answer to {what} ({type(exc).__name__}).")
    return Permanent(f"{what} failed ({type(exc).__name__}).")


def code_of(exc: ClientError) -> str:
    code = str(exc.response.get("Error", {}).get("Code") or "")
    return code if CODE.fullmatch(code) else "no known code"


def _from_answer(exc: ClientError, what: str) -> ProviderError:
    code = code_of(exc)
    about = exc.response.get("ResponseMetadata", {})
    status = about.get("HTTPStatusCode", 0)
    if code in THROTTLED or status == 429:
        return Transient(
            f"AWS throttles {what} ({code}); it was tried several times.",
            retry_after=_wait(about.get("HTTPHeaders", {})),
        )
    if status >= 500:
        return Transient(
            f"AWS fails at {what} ({code}, HTTP {status}).", retry_after=_wait(about.get("HTTPHeaders", {}))
        )
    if code in DENIED or status in {401, 403}:
        return Denied(f"AWS refuses {what} ({code}).")
    return Permanent(f"AWS does not answer {what} ({code}).")


def _wait(headers: dict[str, str]) -> timedelta | None:
    """How long the other side asks us to stay away, in either of its two ways; never longer than an hour."""
    for name, unit in (("x-amz-retry-after", timedelta(milliseconds=1)), ("retry-after", timedelta(seconds=1))):
        said = headers.get(name, "")
        if said.isascii() and said.isdecimal() and len(said) <= 9:
            return min(int(said) * unit, LONGEST_WAIT)
    return None


def paged(client: Any, operation: str, result: str, what: str, **asked: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a listing, as they come."""
    with asking(what):
        pages = iter(client.get_paginator(operation).paginate(**asked))
    while True:
        with asking(what):
            page = next(pages, None)
            if page is None:
                return
            rows = list(page[result])
        yield rows
