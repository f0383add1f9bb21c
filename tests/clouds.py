"""An AWS for tests: moto over HTTP, with accounts of known content and with faults on demand.

The server is a real one on a free port of this machine; what it holds is moto's, so ages are set there.
"""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from moto import settings as moto_settings
from moto.moto_api._internal.models import moto_api_backend

from demo.cloud import HOME_ACCOUNT, Answer, Endpoint, Environ, Server, account_of, add_key
from demo.estate import Forge
from providers.aws import Aws, Key
from providers.base import Secret

MADE = datetime(2026, 1, 5, 8, 30, tzinfo=UTC)


@dataclass
class Fault:
    """An answer given instead of moto's, to calls of one action."""

    action: str
    status: int
    code: str
    after: int = 0  # so many calls are answered first
    times: int = 1_000_000
    account: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    hangs_up: bool = False

    def meets(self, action: str, account: str) -> bool:
        if action != self.action or (self.account and account != self.account):
            return False
        if self.after:
            self.after -= 1
            return False
        if not self.times:
            return False
        self.times -= 1
        return True

    def answer(self, is_query: bool) -> Answer:
        body = self.body
        if body is None and is_query:
            error = f"<Error><Type>Sender</Type><Code>{self.code}</Code><Message>no</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()
        elif body is None:
            body = f'{{"__type": "{self.code}", "message": "no"}}'.encode()
        return Answer(f"{self.status} said", list(self.headers), body)


class Cloud(Endpoint):
    """Counts what it is asked, and fails as planned."""

    def __init__(self, *, page: int = 100) -> None:
        super().__init__(page=page)
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.url = ""
        self.forge = Forge(11)
        self._lock = Lock()
        self.key = add_key(HOME_ACCOUNT, "keyreeve", forge=self.forge, made=MADE)

    def answer(self, action: str, asked: dict[str, str], environ: Environ) -> Answer:
        with self._lock:
            self.calls[action] += 1
            account = account_of(environ)
            fault = next((fault for fault in self.faults if fault.meets(action, account)), None)
        if fault is not None:
            if fault.hangs_up:
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return fault.answer("Action" in asked)
        return super().answer(action, asked, environ)

    def fail(self, action: str, status: int, code: str, **more: object) -> None:
        self.faults.append(Fault(action, status, code, **more))  # type: ignore[arg-type]

    def aws(self, *, attempts: int = 2, secret: str = "") -> Aws:
        key = Key(access_key_id=self.key.access_key_id, secret_access_key=Secret(secret or self.key.secret_access_key))
        return Aws(key, region="eu-north-1", endpoint=self.url, attempts=attempts)


@contextmanager
def served(*, page: int = 100) -> Iterator[Cloud]:
    """An empty cloud but for the identity that looks at it, until the test ends."""
    moto_api_backend.reset()
    cloud = Cloud(page=page)
    server = Server(cloud)
    server.start()
    cloud.url = server.url
    try:
        yield cloud
    finally:
        server.stop()
        moto_api_backend.reset()


@contextmanager
def strict() -> Iterator[None]:
    """moto checks signatures and permissions only when it is told to."""
    before = moto_settings.INITIAL_NO_AUTH_ACTION_COUNT
    moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    try:
        yield
    finally:
        moto_settings.INITIAL_NO_AUTH_ACTION_COUNT = before
