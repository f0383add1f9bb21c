"""A receiver of security event tokens on loopback (RFC 8935), which verifies as the documentation says."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.notifications.receivers import listening

DOCS = Path(__file__).parents[2] / "docs" / "signals.md"


@dataclass
class SignalReceiver:
    """What it was sent. `answers` are given in turn, each a status and a body; None breaks the connection off.

    Otherwise it keeps the token and what it claims, once that is verified, and answers 202.
    """

    url: str = ""
    answers: list[tuple[int | None, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[dict[str, str], str]] = field(default_factory=list)
    verified: Callable[[str], dict[str, Any]] = json.loads  # until somebody who has the keys says how
    tokens: list[str] = field(default_factory=list)

    def forget(self) -> None:
        for kept in (self.answers, self.asked, self.tokens):
            kept.clear()

    @property
    def taken(self) -> list[dict[str, Any]]:
        """What it took, verified by whoever asks: that one has the database with the published keys."""
        return [self.verified(token) for token in self.tokens]


@contextmanager
def signal_receiver() -> Iterator[SignalReceiver]:
    receiver = SignalReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            token = self.rfile.read(int(self.headers["Content-Length"])).decode()
            receiver.asked.append(({name.lower(): value for name, value in self.headers.items()}, token))
            status, body = receiver.answers.pop(0) if receiver.answers else (202, {})
            if status is None:
                self.close_connection = True
                return
            if status == 202:
                receiver.tokens.append(token)
            content = json.dumps(body).encode() if body else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with listening(Handler) as root:
        receiver.url = f"{root}/events"
        yield receiver


def documented_receiver() -> Callable[..., dict[str, Any]]:
    """The receiver's check as the documentation prints it: `verified(token, jwks, issuer, audience)`."""
    (code,) = (
        code for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL) if "def verified" in code
    )
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)
    found: Callable[..., dict[str, Any]] = names["verified"]
    return found
