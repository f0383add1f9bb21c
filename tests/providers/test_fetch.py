"""The guarded fetcher against real servers on loopback."""

import asyncio
import contextlib
import gzip
import itertools
import secrets
import socket
import ssl
import zlib
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import Secret
from providers.fetch import Fetcher, Guard, Limits, fetch
from providers.guard import Address
from providers.observations import Exchange
from tests.examples import examples
from tests.providers.peers import (
    Answer,
    Asked,
    Authority,
    Peer,
    json_answer,
    pathwise,
    redirecting,
    response,
    saying,
    serving,
)

AGENT = "Keyreeve/test"
LOOPBACK = Guard(allow_loopback=True)
SOON = Limits(seconds=0.3)


def ask(answer: Answer, path: str = "/", *, guard: Guard = LOOPBACK, method: str = "GET", **options) -> Exchange:
    """What one request to a server that answers so is answered."""
    return ask_all(answer, (method, path, options), guard=guard)[0][0]


def ask_all(answer: Answer, *requests: tuple[str, str, dict], guard: Guard = LOOPBACK) -> tuple[list[Exchange], Peer]:
    async def scenario() -> tuple[list[Exchange], Peer]:
        async with serving(answer) as peer, Fetcher(guard, user_agent=AGENT) as fetcher:
            exchanges = [await fetcher.request(method, peer.url(path), **options) for method, path, options in requests]
        return exchanges, peer

    return asyncio.run(scenario())


def test_an_answer_is_returned_as_it_came():
    exchange = ask(saying(json_answer(b'{"issuer": "x"}', ("X-Twice", "1"), ("x-twice", "2"))))
    assert exchange.status == 200
    assert exchange.document == {"issuer": "x"}
    assert exchange.all("x-twice") == ["1", "2"]
    assert not exchange.error
    assert not exchange.is_truncated


def test_the_request_says_who_asks_and_carries_nothing_else():
    _, peer = ask_all(saying(response()), ("GET", "/a%20b?c=d", {"headers": [("Cookie", "a=b"), ("Accept", "x/y")]}))
    assert peer.asked[0].path == "/a%20b?c=d"
    assert dict(peer.asked[0].headers) == {
        "host": f"127.0.0.1:{peer.port}",
        "user-agent": AGENT,
        "accept-encoding": "identity",
        "accept": "x/y",
    }


def test_a_body_is_posted_whole():
    _, peer = ask_all(saying(response()), ("POST", "/", {"content": b'{"id": 1}'}))
    assert peer.asked[0].body == b'{"id": 1}'


def test_a_connection_is_used_again():
    _, peer = ask_all(saying(response()), ("GET", "/1", {}), ("POST", "/2", {}), ("GET", "/3", {}))
    assert len(peer.asked) == 3
    assert peer.connections == 1


@pytest.mark.parametrize("guard", [Guard(), Guard(networks=("10.0.0.0/8", "localhost"))])
def test_loopback_is_closed_unless_asked_for(guard):
    exchanges, peer = ask_all(saying(response()), ("GET", "/", {}), guard=guard)
    assert exchanges[0].status is None
    assert (
        exchanges[0].error
        == "127.0.0.1 leads to 127.0.0.1, which is not a public address. KEYREEVE_ALLOW_LOOPBACK opens such ones."
    )
    assert peer.connections == 0


# ── Limits ─────────────────────────────────────────────────────────────────────────────────────


def forever(*pieces: bytes, pause: float = 0.0) -> Answer:
    """Sends the first piece, then the others again and again until nobody listens."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        first, *rest = pieces
        writer.write(first)
        while not writer.is_closing():
            for piece in rest:
                writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    return answer


def test_a_body_without_end_is_cut_off_at_the_limit():
    endless = forever(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", b"x" * 4096)
    exchange = ask(endless, limits=Limits(body=10_000))
    assert exchange.status == 200
    assert exchange.is_truncated
    assert exchange.body == b"x" * 10_000
    assert exchange.error == "The answer's body is larger than 10000 bytes."


def test_a_slow_drip_ends_with_the_time_and_keeps_what_came():
    drip = forever(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\n\r\n", b"x", pause=0.01)
    exchange = ask(drip, limits=SOON)
    assert exchange.status == 401
    assert exchange.header("www-authenticate") == "Bearer"
    assert exchange.is_truncated
    assert "took longer than 0.3 s" in exchange.error
    assert exchange.seconds < 2


def test_headers_that_drip_end_with_the_time():
    exchange = ask(forever(b"HTTP/1.1 200 OK\r\n", b"X-A: 1\r\n", pause=0.01), limits=SOON)
    assert exchange.status is None
    assert "took longer than 0.3 s" in exchange.error


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nX-Long: ", b"y" * 4096),
        (b"HTTP/1.1 200 OK\r\n", b"X-More: y\r\n" * 100),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\n" + b"X-More: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n",),
    ],
    ids=["one huge", "many", "informational", "many and an end"],
)
def test_headers_without_measure_are_no_answer(pieces):
    exchange = ask(forever(*pieces, pause=0.001), limits=Limits(seconds=5))
    assert exchange.status is None
    assert exchange.error == "The answer has more headers than one needs."


@pytest.mark.parametrize(
    ("coding", "compress"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data)[2:-4]),
        ("GZip", gzip.compress),
    ],
    ids=["gzip", "deflate", "raw deflate", "in capitals"],
)
def test_a_compression_bomb_ends_at_the_limit(coding, compress):
    bomb = compress(b"0" * 50_000_000)
    exchange = ask(saying(response(200, (("Content-Encoding", coding),), bomb)), limits=Limits(body=100_000))
    assert exchange.is_truncated
    assert len(exchange.body) == 100_000


def test_a_compressed_answer_is_read():
    exchange = ask(saying(json_answer(gzip.compress(b'{"a": 1}', mtime=0), ("Content-Encoding", "gzip"))))
    assert exchange.document == {"a": 1}


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        ("br", b"x", "an encoding that was not asked for"),
        ("gzip, gzip", b"x", "encoded more than once"),
        ("gzip", b"no gzip at all", "not encoded as it says"),
        ("gzip", gzip.compress(b"0123456789" * 100, mtime=0)[:-12], "ends before its encoding does"),
    ],
)
def test_an_encoding_that_cannot_be_undone_is_said(coding, body, sentence):
    exchange = ask(saying(response(200, (("Content-Encoding", coding),), body)))
    assert exchange.status == 200
    assert exchange.is_truncated
    assert sentence in exchange.error


def test_a_body_in_tiny_chunks_is_cut_off():
    chunks = forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 500)
    exchange = ask(chunks, limits=Limits(seconds=8))
    assert exchange.is_truncated
    assert len(exchange.body) < 20_000


def test_chunks_that_are_mostly_extensions_are_cut_off():
    wrapped = b"1;" + b"e" * 3000 + b"\r\nx\r\n"
    exchange = ask(forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", wrapped), limits=Limits(seconds=8))
    assert exchange.error == "The answer wraps its body in too much else."


# ── Event streams ──────────────────────────────────────────────────────────────────────────────

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def test_an_event_stream_that_never_ends_is_read_up_to_its_answer():
    events = b': hello\r\n\r\nevent: message\r\ndata: {"jsonrpc": "2.0",\r\ndata:  "id": 1, "result": {}}\r\n\r\n'
    exchange = ask(forever(STREAM + events, b": still here\n\n", pause=0.05), method="POST")
    assert exchange.document == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert not exchange.is_truncated
    assert exchange.seconds < 5


def test_a_notification_before_the_answer_is_passed_over():
    events = b'data: {"jsonrpc":"2.0","method":"log"}\n\ndata: {"jsonrpc":"2.0","id":1,"error":{"code":-1}}\n\n'
    exchange = ask(saying(STREAM + events))
    assert exchange.document["error"] == {"code": -1}


def test_the_older_transport_is_read_up_to_its_endpoint():
    exchange = ask(forever(STREAM + b"event: endpoint\ndata: /messages?session=1\n\n", pause=0.05))
    assert b"/messages" in exchange.body
    assert exchange.document is None
    assert not exchange.error


def test_an_event_stream_that_says_nothing_ends_with_the_time():
    exchange = ask(forever(STREAM, b": wait\n\n", pause=0.02), limits=SOON)
    assert exchange.status == 200
    assert exchange.is_truncated
    assert exchange.document is None


# ── What the body is ───────────────────────────────────────────────────────────────────────────


def test_only_json_is_read_where_only_json_is_wanted():
    exchange = ask(saying(response(200, (("Content-Type", "text/html"),), b'{"issuer": "x"}')), json_only=True)
    assert exchange.status == 200
    assert exchange.document is None
    assert exchange.body == b""
    assert exchange.error == "The answer is not JSON by its content type."


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
def test_json_by_any_of_its_types_is_read(media_type):
    exchange = ask(saying(response(200, (("Content-Type", media_type),), b'\xef\xbb\xbf{"a": 1}')), json_only=True)
    assert exchange.document == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 65 + b"1" + b"}" * 65, id="just too deep"),
        pytest.param(b'{"a": NaN}', id="not a number"),
        pytest.param(b'{"a": 1e999}', id="infinite"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"9" * 5000, id="huge number"),
        pytest.param(b'"\\"' * 500_000, id="quotes"),
    ],
)
def test_what_is_no_document_is_none_and_harms_nothing(body):
    exchange = ask(saying(json_answer(body)), json_only=True, limits=Limits(body=1 << 21))
    assert exchange.status == 200
    assert exchange.document is None
    assert "nested too deeply" in exchange.error


def test_what_no_database_keeps_is_replaced():
    exchange = ask(saying(json_answer(b'{"a\\u0000": ["\\ud800", "\\ud83d\\ude00", "\\\\u0000"]}')))
    assert exchange.document == {"a\ufffd": ["?", "\U0001f600", "\\u0000"]}


# ── Connections that break ─────────────────────────────────────────────────────────────────────


async def reset(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.transport.close()


def test_a_reset_is_a_sentence():
    exchange = ask(reset)
    assert exchange.status is None
    assert exchange.error


def test_half_an_answer_keeps_its_status():
    exchange = ask(half)
    assert exchange.status == 403
    assert exchange.is_truncated
    assert exchange.body == b"half"


@pytest.mark.parametrize(
    "raw", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"\x00" * 50 + b"\r\n\r\n", b"HTTP/1.1 200\r\nA b\r\n\r\n"]
)
def test_what_is_no_http_is_said(raw):
    exchange = ask(saying(raw), limits=Limits(seconds=2))
    assert exchange.status is None
    assert "does not answer in HTTP" in exchange.error


def test_a_closed_port_is_a_sentence():
    async def scenario() -> Exchange:
        async with serving(saying(b"")) as peer:
            gone = peer.url()
        async with Fetcher(LOOPBACK, user_agent=AGENT) as fetcher:
            return await fetcher.request("GET", gone)

    exchange = asyncio.run(scenario())
    assert exchange.status is None
    assert "connection refused" in exchange.error


# ── Names and addresses ────────────────────────────────────────────────────────────────────────


class Names:
    """A name service that answers as a test says, one answer after another, and keeps to the last."""

    def __init__(self, *answers: str | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, OSError):
            raise answer
        return [ip_address(each) for each in answer.split()]


def test_a_name_that_changes_its_address_is_judged_by_the_address_it_has_now():
    guard = Guard(networks=("127.0.0.5/32",))
    names = Names("127.0.0.5", "127.0.0.1")

    async def scenario() -> tuple[list[Exchange], Peer, Peer]:
        closing = saying(response(200, (("Connection", "close"),)))
        async with (
            serving(closing, host="127.0.0.5") as listed,
            serving(closing, port=listed.port) as private,
            Fetcher(guard, user_agent=AGENT, resolver=names) as fetcher,
        ):
            exchanges = [await fetcher.request("GET", listed.url(host="mcp.example")) for _ in range(2)]
        return exchanges, listed, private

    (first, second), listed, private = asyncio.run(scenario())
    assert first.status == 200
    assert (
        second.error
        == "mcp.example leads to 127.0.0.1, which is not a public address. KEYREEVE_ALLOW_LOOPBACK opens such ones."
    )
    assert listed.connections == 1
    assert private.connections == 0


def test_a_name_is_looked_up_once_for_each_connection():
    names = Names("127.0.0.1")

    async def scenario() -> Peer:
        async with (
            serving(saying(response())) as peer,
            Fetcher(LOOPBACK, user_agent=AGENT, resolver=names) as fetcher,
        ):
            for _ in range(3):
                await fetcher.request("GET", peer.url(host="mcp.example"))
        return peer

    peer = asyncio.run(scenario())
    assert names.asked == ["mcp.example"]
    assert [asked.header("host") for asked in peer.asked] == [f"mcp.example:{peer.port}"] * 3


def test_the_next_address_is_tried_when_one_refuses():
    async def scenario() -> Exchange:
        async with (
            serving(saying(response(204))) as peer,
            Fetcher(LOOPBACK, user_agent=AGENT, resolver=Names("127.0.0.9 ::1 127.0.0.1")) as fetcher,
        ):
            return await fetcher.request("GET", peer.url(host="mcp.example"))

    assert asyncio.run(scenario()).status == 204


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no address: Name or service not known."),
        ("", "mcp.example has no address."),
        (
            "1.1.1.1 10.0.0.1",
            "mcp.example leads to 10.0.0.1, which is not a public address. KEYREEVE_ALLOW_NETWORKS opens such ones.",
        ),
    ],
)
def test_a_name_that_leads_nowhere_is_a_sentence(answer, sentence):
    async def scenario() -> Exchange:
        async with Fetcher(LOOPBACK, user_agent=AGENT, resolver=Names(answer)) as fetcher:
            return await fetcher.request("GET", "https://mcp.example/")

    exchange = asyncio.run(scenario())
    assert exchange.status is None
    assert sentence in exchange.error


def test_a_name_service_that_hangs_ends_with_the_time():
    async def hang(host: str, port: int) -> Sequence[Address]:
        await asyncio.Event().wait()
        return []

    async def scenario() -> Exchange:
        async with Fetcher(LOOPBACK, user_agent=AGENT, resolver=hang, limits=SOON) as fetcher:
            return await fetcher.request("GET", "https://mcp.example/")

    assert "took longer than 0.3 s" in asyncio.run(scenario()).error


def test_the_system_is_asked_for_names_by_default():
    async def scenario() -> Exchange:
        async with serving(saying(response(204))) as peer, Fetcher(LOOPBACK, user_agent=AGENT) as fetcher:
            return await fetcher.request("GET", peer.url(host="localhost"))

    assert asyncio.run(scenario()).status == 204


def test_the_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(saying(response(204))).status == 204


# ── Redirects ──────────────────────────────────────────────────────────────────────────────────


def test_a_redirect_is_not_followed_unless_asked_for():
    exchanges, peer = ask_all(saying(redirecting("/there")), ("GET", "/", {}))
    assert exchanges[0].status == 302
    assert exchanges[0].header("location") == "/there"
    assert len(peer.asked) == 1


def test_a_redirect_is_followed_to_the_document():
    exchanges, peer = ask_all(
        pathwise(a=redirecting("/b?x=1#top"), b=redirecting("/c", 308), c=json_answer(b'{"a": 1}')),
        ("GET", "/a", {"follow": True, "json_only": True}),
    )
    assert exchanges[0].url == peer.url("/c")
    assert exchanges[0].document == {"a": 1}
    assert [asked.path for asked in peer.asked] == ["/a", "/b?x=1", "/c"]


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://10.0.0.1/",
            "https://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/",
        ),
        *("http://[::ffff:10.0.0.1]/", "http://2130706433/", "http://0x7f.1/", "http://0/", "http://[::]/"),
        *("http://user:pw@127.0.0.1/", "file:///etc/passwd", "javascript:alert(1)", "gopher://127.0.0.1/", "http://"),
        *("http://1.1.1.1/", "http://[::1", "//[x]/", "http://127.0.0.1\\@10.0.0.1/", "http://a b/"),
    ],
)
def test_a_redirect_to_what_is_not_open_is_a_sentence(location):
    exchange = ask(saying(redirecting(location)), follow=True)
    assert exchange.status is None
    assert exchange.error.endswith(".")
    assert "pw" not in exchange.error


def test_redirects_in_a_circle_end():
    exchanges, peer = ask_all(
        pathwise(a=redirecting("/b"), b=redirecting("/a")),
        ("GET", "/a", {"follow": True, "limits": Limits(redirects=9)}),
    )
    assert exchanges[0].status is None
    assert "in a circle" in exchanges[0].error
    assert len(peer.asked) == 2


def test_redirects_without_end_end_after_three():
    count = itertools.count()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(redirecting(f"/{next(count)}"))

    exchanges, peer = ask_all(answer, ("GET", "/", {"follow": True}))
    assert exchanges[0].error == "It redirects more than 3 times."
    assert len(peer.asked) == 4


@pytest.mark.parametrize(("status", "method", "body"), [(302, "GET", b""), (303, "GET", b""), (307, "POST", b"{}")])
def test_a_redirected_post_keeps_its_body_only_where_the_status_says_so(status, method, body):
    _, peer = ask_all(
        pathwise(a=redirecting("/b", status), b=response()), ("POST", "/a", {"follow": True, "content": b"{}"})
    )
    assert (peer.asked[1].method, peer.asked[1].body) == (method, body)


def ask_across(status: int, **options) -> tuple[Exchange, Peer]:
    """What comes of a request that is redirected to another origin, and what that origin saw."""

    async def scenario() -> tuple[Exchange, Peer]:
        async with (
            serving(saying(response(204))) as other,
            serving(saying(redirecting(other.url("/seen"), status))) as peer,
            Fetcher(LOOPBACK, user_agent=AGENT) as fetcher,
        ):
            return await fetcher.request(url=peer.url(), follow=True, **options), other

    return asyncio.run(scenario())


def test_credentials_do_not_follow_a_redirect_to_another_origin():
    token = secrets.token_urlsafe()
    exchange, other = ask_across(
        302,
        method="GET",
        headers=[("Authorization", Secret(f"Bearer {token}")), ("X-Api-Key", token), ("Accept", "application/json")],
    )
    assert exchange.status == 204
    assert token not in repr(other.asked)
    assert other.asked[0].header("accept") == "application/json"


def test_credentials_follow_a_redirect_within_their_origin():
    token = secrets.token_urlsafe()
    _, peer = ask_all(
        pathwise(a=redirecting("/b"), b=response()),
        ("GET", "/a", {"follow": True, "headers": [("Authorization", Secret(f"Bearer {token}"))]}),
    )
    assert peer.asked[1].header("authorization") == f"Bearer {token}"


def test_a_body_does_not_follow_a_redirect_to_another_origin():
    exchange, other = ask_across(307, method="POST", content=b"client_secret=x")
    assert exchange.status is None
    assert "another origin" in exchange.error
    assert other.connections == 0


def test_a_header_that_cannot_be_sent_is_refused_without_its_value():
    token = secrets.token_urlsafe()
    exchanges, peer = ask_all(
        saying(response()), ("GET", "/", {"headers": [("Authorization", Secret(f"Bearer {token}\r\nX-Other: 1"))]})
    )
    assert exchanges[0].status is None
    assert token not in repr(exchanges[0])
    assert peer.connections == 0


def test_a_password_in_a_refused_url_is_not_repeated():
    token = secrets.token_urlsafe()
    exchange = fetch(LOOPBACK, "GET", f"https://user:{token}@mcp.example/a", user_agent=AGENT)
    assert exchange.error == "The address holds a user name or a password."
    assert exchange.url == "https://mcp.example/a"


# ── TLS ────────────────────────────────────────────────────────────────────────────────────────


def ask_tls(tls: ssl.SSLContext, *, trust: ssl.SSLContext, host: str = "mcp.example") -> Exchange:
    async def scenario() -> Exchange:
        async with (
            serving(saying(response(204)), tls=tls) as peer,
            Fetcher(LOOPBACK, user_agent=AGENT, tls=trust, resolver=Names("127.0.0.1")) as fetcher,
        ):
            return await fetcher.request("GET", peer.url(host=host), limits=Limits(seconds=5))

    return asyncio.run(scenario())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


@pytest.mark.parametrize(("certified", "host"), [("mcp.example", "mcp.example"), ("127.0.0.1", "127.0.0.1")])
def test_a_certificate_for_the_host_is_accepted_at_the_address(authority, certified, host):
    exchange = ask_tls(authority.serve(certified), trust=authority.trust(), host=host)
    assert exchange.status == 204
    assert exchange.tls_version == "TLSv1.3"


def test_the_name_is_told_to_the_server_in_the_handshake(authority):
    seen = []
    tls = authority.serve("mcp.example")
    tls.sni_callback = lambda _, name, __: seen.append(name)
    ask_tls(tls, trust=authority.trust())
    assert seen == ["mcp.example"]


def test_a_certificate_for_another_host_is_not_accepted(authority):
    exchange = ask_tls(authority.serve("other.example"), trust=authority.trust())
    assert exchange.status is None
    assert "certificate of mcp.example" in exchange.error
    assert "Hostname mismatch" in exchange.error


def test_a_certificate_that_has_run_out_is_not_accepted(authority):
    exchange = ask_tls(authority.serve("mcp.example", days=-1), trust=authority.trust())
    assert "certificate has expired" in exchange.error


def test_a_certificate_of_an_unknown_authority_is_not_accepted(authority, tmp_path):
    stranger = Authority.make(tmp_path)
    exchange = ask_tls(stranger.serve("mcp.example"), trust=authority.trust())
    assert "certificate of mcp.example" in exchange.error
    assert exchange.status is None


def test_a_server_that_speaks_no_tls_is_said():
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(400))
        await writer.drain()
        await reader.read()
        writer.close()

    async def scenario() -> Exchange:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, Fetcher(LOOPBACK, user_agent=AGENT) as fetcher:
            return await fetcher.request("GET", url)

    exchange = asyncio.run(scenario())
    assert exchange.status is None
    assert "does not speak TLS as it should" in exchange.error


def test_tls_that_breaks_in_the_middle_is_a_sentence(authority):
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = authority.serve("127.0.0.1").wrap_bio(incoming, outgoing, server_side=True)
        with contextlib.suppress(ConnectionError):
            while not tls.version():
                incoming.write(await reader.read(65536))
                with contextlib.suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                writer.write(outgoing.read())
            writer.write(b"HTTP/1.1 200 OK, in the clear\r\n\r\n")
            await reader.read()
        writer.close()

    async def scenario() -> Exchange:
        server = await asyncio.start_server(break_off, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, Fetcher(LOOPBACK, user_agent=AGENT, tls=authority.trust()) as fetcher:
            return await fetcher.request("GET", url)

    exchange = asyncio.run(scenario())
    assert exchange.status is None
    assert "broke the connection" in exchange.error


# ── Many at once ───────────────────────────────────────────────────────────────────────────────


async def silence(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_a_thousand_requests_at_once_are_answered_beside_a_dead_host():
    async def scenario() -> tuple[list[Exchange], list[Exchange]]:
        async with (
            serving(saying(json_answer(b'{"a": 1}'))) as peer,
            serving(silence) as dead,
            Fetcher(LOOPBACK, user_agent=AGENT, limits=Limits(seconds=30)) as fetcher,
        ):
            waiting = [asyncio.create_task(fetcher.request("GET", dead.url(f"/{n}"))) for n in range(100)]
            answered = await asyncio.gather(*(fetcher.request("GET", peer.url(f"/{n}")) for n in range(1000)))
            still_waiting = [task for task in waiting if not task.done()]
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        return answered, still_waiting

    answered, still_waiting = asyncio.run(scenario())
    assert [exchange.status for exchange in answered] == [200] * 1000
    assert len(still_waiting) == 100


def test_a_connection_that_the_server_closed_meanwhile_is_replaced():
    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(response())
        await writer.drain()
        writer.transport.close()

    exchanges, peer = ask_all(once, *(("GET", f"/{n}", {}) for n in range(5)))
    assert [exchange.status for exchange in exchanges] == [200] * 5
    assert len(peer.asked) == 5


def breaking_when_used_again() -> Answer:
    """Answers the first request and breaks off at the second, on the connection that it kept open."""
    count = itertools.count(1)

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if next(count) == 2:
            writer.transport.abort()
        else:
            writer.write(response(204))

    return answer


def test_what_can_be_repeated_is_asked_again_when_a_kept_connection_breaks():
    exchanges, peer = ask_all(breaking_when_used_again(), ("GET", "/", {}), ("GET", "/", {}))
    assert [exchange.status for exchange in exchanges] == [204, 204]
    assert len(peer.asked) == 3


def test_a_post_is_never_sent_twice():
    exchanges, peer = ask_all(breaking_when_used_again(), ("GET", "/", {}), ("POST", "/", {"content": b"{}"}))
    assert exchanges[1].status is None
    assert exchanges[1].error
    assert [asked.method for asked in peer.asked] == ["GET", "POST"]


def test_a_request_that_is_given_up_leaves_no_connection_behind():
    ended = asyncio.Event()

    async def until_closed(asked: Asked, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            ended.set()
            raise

    async def scenario() -> None:
        async with serving(until_closed) as peer, Fetcher(LOOPBACK, user_agent=AGENT) as fetcher:
            task = asyncio.create_task(fetcher.request("GET", peer.url()))
            while not peer.asked:
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait_for(ended.wait(), 5)

    asyncio.run(scenario())
    assert ended.is_set()


def test_one_request_needs_no_event_loop():
    exchange = fetch(Guard(), "GET", "https://10.0.0.1/", user_agent=AGENT)
    assert (
        exchange.error
        == "10.0.0.1 leads to 10.0.0.1, which is not a public address. KEYREEVE_ALLOW_NETWORKS opens such ones."
    )


# ── Whatever they say ──────────────────────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 302 Found\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 100 Go\r\n\r\n"),
        *(b"Content-Type: application/json\r\n", b"Content-Type: text/event-stream\r\n", b"Content-Length: 5\r\n"),
        *(
            b"Content-Length: 99999999999999999999\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Content-Encoding: gzip\r\n",
        ),
        *(
            b"Location: /\xff\r\n",
            b"Location: http://[\r\n",
            b"Location: \r\n",
            b"\r\n",
            b"\n",
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
        *(
            b"FFFFFFFFFFFFFFFFFFFFF\r\n",
            b'data: {"jsonrpc": 1, "result"',
            b"event: endpoint\n\n",
            b'{"a": [',
            b"]}",
            b"\0",
        ),
    ]
) | st.binary(max_size=20)


def test_whatever_bytes_come_back_the_result_is_an_exchange():
    async def scenario(raw: bytes) -> Exchange:
        async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(raw)
            await writer.drain()
            writer.close()

        async with serving(answer) as peer, Fetcher(LOOPBACK, user_agent=AGENT) as fetcher:
            return await fetcher.request("GET", peer.url(), follow=True, limits=Limits(seconds=2))

    @settings(max_examples=examples(200), deadline=None)
    @given(st.lists(PIECES, max_size=10).map(b"".join))
    def holds(raw: bytes) -> None:
        exchange = asyncio.run(scenario(raw))
        assert exchange.is_answered or exchange.error
        assert bool(exchange.error) or not exchange.is_truncated
        assert exchange.error == "" or exchange.error.endswith(".")

    holds()
