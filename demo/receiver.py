"""Somebody who is told by webhook: takes what is signed with the secret, once each, and says so in its log.

    python -m demo.receiver --port 9420 --secret FILE

A program like it stands in front of a chat or a ticket system. The check is that of docs/notifications.md.
"""

import argparse
import base64
import hashlib
import hmac
import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "127.0.0.1"
TOLERANCE = 300  # seconds
LARGEST = 4 * 1024 * 1024


class Receiver(ThreadingHTTPServer):
    """Listens on one port of this machine and remembers the ids that it has seen."""

    daemon_threads = True

    def __init__(self, port: int, key: bytes) -> None:
        super().__init__((HOST, port), Told)
        self.key = key
        self.seen: set[str] = set()

    def is_signed(self, message: str, stamp: str, body: bytes, signatures: str) -> bool:
        if not stamp.isdecimal() or abs(time.time() - int(stamp)) > TOLERANCE:
            return False
        digest = hmac.digest(self.key, f"{message}.{stamp}.".encode() + body, hashlib.sha256)
        expected = f"v1,{base64.b64encode(digest).decode()}"
        return any(hmac.compare_digest(expected.encode(), each.encode()) for each in signatures.split())


class Told(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST:
            self.send_error(413)
            return
        body = self.rfile.read(int(length))
        message, stamp, given = (self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        if not self.server.is_signed(message, stamp, body, given):
            self.send_error(401, "No signature of ours")
            return
        if message not in self.server.seen:
            self.server.seen.add(message)
            told = json.loads(body)
            print(f"{told['type']}: {told['data'].get('count', '')}".rstrip(": "), flush=True)  # noqa: T201  its log
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing of requests; what was told has its own line."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.receiver", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--secret", type=Path, required=True, help="the file that the signatures' key is in")
    given = parser.parse_args()
    Receiver(given.port, given.secret.read_text().strip().encode()).serve_forever()


if __name__ == "__main__":
    main()
