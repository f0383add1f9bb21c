"""The guarded fetcher against real servers on loopback."""

import asyncio
import gzip
import zlib

import pytest

from providers.fetch import Fetcher, Guard, Limits
from providers.observations import Exchange
from tests.providers.peers import Answer, Asked, Peer, json_answer, response, saying, serving

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
    assert exchanges[0].error == "127.0.0.1 leads to 127.0.0.1, which is not a public address."
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
    exchange = ask(saying(json_answer(gzip.compress(b'{"a": 1}'), ("Content-Encoding", "gzip"))))
    assert exchange.document == {"a": 1}


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        ("br", b"x", "an encoding that was not asked for"),
        ("gzip, gzip", b"x", "encoded more than once"),
        ("gzip", b"no gzip at all", "not encoded as it says"),
        ("gzip", gzip.compress(b"0123456789" * 100)[:-12], "ends before its encoding does"),
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
