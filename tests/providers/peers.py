"""Real servers on loopback that answer byte by byte as a test says, and certificates made for the occasion."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for each, value in self.headers if each == name), None)


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A listening server: what it was asked, and over how many connections."""

    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


def response(status: int = 200, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers)]
    if not any(name.lower() in {"content-length", "transfer-encoding"} for name, _ in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def saying(raw: bytes) -> Answer:
    """Answers every request with the same bytes."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


def json_answer(body: bytes, *headers: tuple[str, str], status: int = 200) -> bytes:
    return response(status, (("Content-Type", "application/json"), *headers), body)


def redirecting(location: str, status: int = 302) -> bytes:
    return response(status, (("Location", location),))


def pathwise(**answers: bytes | Answer) -> Answer:
    """Answers by the first part of the path: `/name…`."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        chosen = answers[asked.path.strip("/").partition("/")[0].partition("?")[0]]
        if isinstance(chosen, bytes):
            writer.write(chosen)
        else:
            await chosen(asked, writer)

    return answer


@contextlib.asynccontextmanager
async def serving(
    answer: Answer, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Peer]:
    peer = Peer(scheme="https" if tls else "http")
    writers: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[None]] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.connections += 1
        writers.append(writer)
        if task := asyncio.current_task():
            tasks.append(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *rest = head.decode("latin-1").strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = tuple((name.lower(), value) for name, _, value in (line.partition(": ") for line in rest))
                length = int(dict(headers).get("content-length", "0"))
                asked = Asked(method, path, headers, await reader.readexactly(length))
                peer.asked.append(asked)
                await answer(asked, writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(converse, host, port, ssl=tls, backlog=2048)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


@dataclass(frozen=True)
class Authority:
    """A certificate authority of one test: `trust` believes it, `serve` shows a certificate of it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(key, _certificate(key, "Test authority", None, key, is_authority=True), folder)

    def trust(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())
        return context

    def serve(self, *names: str, days: int = 1) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(key, names[0], self.certificate, self.key, names=names, days=days)
        pem = self.folder / f"{names[0].replace('*', '_')}{days}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        return context


def _certificate(
    key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    names: tuple[str, ...] = (),
    days: int = 1,
    is_authority: bool = False,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(each) for each in names]), False)
    if is_authority:
        usage = x509.KeyUsage(*(each in {5, 6} for each in range(9)))
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
