"""The parser of deliveries: any bytes give rows or sentences, and the sentences repeat nothing."""

import gzip
import json
import secrets
import string
from typing import Any

import jsonschema
import pytest
from django.conf import settings as django_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from docs import rows as documentation
from inventory.feeds.bodies import PIECE, CutShort, pieces
from inventory.feeds.rows import CSV, LONGEST_LINE, NDJSON, Malformed, Parser, Portion, Refusal
from inventory.feeds.shapes import SHAPES, Identity, identity_of, json_schema
from tests.examples import examples
from tests.feeds import NOW, in_pieces, key_of, lines

WORDS = string.ascii_letters + string.digits


def parsed(body: bytes, format_: str = NDJSON, *, size: int = 100, identity: tuple[str, ...] = ()) -> list[Portion]:
    parser = Parser(format_, Identity("f", identity), named="CMDB", now=NOW)
    return list(parser.portions(in_pieces(body, size)))


def refused(body: bytes, format_: str = NDJSON) -> list[Refusal]:
    return [each for portion in parsed(body, format_) for each in portion.refusals]


def refusal_of(**more: Any) -> Refusal:
    """Why a row beside a good one is refused."""
    (found,) = refused(lines(key_of(1), key_of(2, **more)))
    assert found.line == 2
    return found


def rows(body: bytes, format_: str = NDJSON) -> list[dict[str, Any]]:
    parser = Parser(format_, Identity("f"), named="CMDB", now=NOW)
    return [
        dict(zip(parser.columns_of(type_), row, strict=True))
        for portion in parser.portions(in_pieces(body))
        for type_, found in portion.rows.items()
        for row in found
    ]


# ── Any bytes ──────────────────────────────────────────────────────────────────────────────────────
MARK = "Zq7Xw"
anything = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.one_of(
            st.just(json.dumps(key_of(1)).encode()),
            st.binary(max_size=80),
            st.dictionaries(
                st.sampled_from(["name", "type", "scopes", "issued_at", "details", MARK]),
                st.recursive(
                    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.just(MARK)),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
                    max_leaves=6,
                ),
            ).map(lambda row: json.dumps(row).encode()),
        ),
        max_size=8,
    ).map(b"\n".join),
)


@settings(max_examples=examples(300), deadline=None)
@given(anything, st.sampled_from([NDJSON, CSV]), st.integers(1, 60))
def test_any_bytes_give_rows_or_refusals(body: bytes, format_: str, size: int) -> None:
    said, portions = "", []
    try:
        portions = parsed(body, format_, size=size)
    except Malformed as exc:
        said = str(exc)
    assert MARK not in said
    for portion in portions:
        assert portion.taken == sum(map(len, portion.rows.values()))
        assert not any(MARK in each.sentence or MARK in each.field for each in portion.refusals)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 300))
def test_where_the_pieces_are_cut_makes_no_difference(numbers: list[int], size: int) -> None:
    body = lines(*(key_of(n, principal="ä€𝄞") for n in numbers))
    assert parsed(body, size=size) == parsed(body, size=10_000)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_that_claim_to_be_packed_are_unpacked_or_refused(body: bytes, cut: int) -> None:
    for packed in (body, gzip.compress(body)[:-cut]):
        source = in_pieces(packed, 7)
        try:
            found = b"".join(pieces(lambda _, source=source: next(source, b""), length=None, encoding="gzip"))
        except (Malformed, CutShort):
            continue
        assert len(packed) == 0 or found == gzip.decompress(packed)


# ── Secrets ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", ["secret", "token", "password", "value", "api_key", "Client-Secret"])
def test_a_field_for_secrets_is_refused_unseen(name: str) -> None:
    found = refusal_of(**{name: "Zq7Xw"})
    assert "never the secret itself" in found.sentence
    assert "Zq7Xw" not in repr(found)


def secret() -> str:
    return "ghp_" + "".join(secrets.choice(WORDS) for _ in range(36))


@pytest.mark.parametrize(
    "hide",
    [
        lambda value: {"name": value},
        lambda value: {"name": f"the key is {value}."},
        lambda value: {"external_id": value},
        lambda value: {"principal": value},
        lambda value: {"scopes": ["read", value]},
        lambda value: {"details": {"note": value}},
        lambda value: {"details": {value: "note"}},
        lambda value: {"reference": f"env:{value}"},
        lambda value: {"owner": value},
        lambda value: {"issuer": {"deep": value}},
        lambda value: {value: "x"},
        lambda value: {"type": value},
    ],
)
def test_a_value_that_the_scanner_knows_is_refused_and_not_repeated(hide: Any) -> None:
    value = secret()
    found = refusal_of(**hide(value))
    assert value[4:20] not in repr(found)


@pytest.mark.parametrize("thing", ["client", "server", "credential"])
def test_a_secret_in_what_a_row_refers_to_is_refused(thing: str) -> None:
    value = secret()
    use = {"type": "use", "client": {"name": "a"}, "server": {"name": "b"}, "credential": {"name": "c"}}
    (found,) = refused(lines(key_of(1), {**use, thing: {"name": value}}))
    assert value not in repr(found)


def test_an_escaped_secret_is_a_secret() -> None:
    value = secret()
    escaped = "".join(f"\\u{ord(char):04x}" for char in value)
    (found,) = refused(lines(key_of(1), f'{{"name": "{escaped}"}}'))
    assert "looks like a secret" in found.sentence


@pytest.mark.parametrize("query", ["?api_key={}", "?x=1&access_token={}"])
def test_an_address_that_carries_a_secret_is_refused(query: str) -> None:
    value = "".join(secrets.choice(WORDS) for _ in range(40))
    row = {"type": "server", "name": "a", "url": "https://mcp.example/mcp" + query.format(value)}
    (found,) = refused(lines(key_of(1), row))
    assert (found.field, value in found.sentence) == ("url", False)


def test_noise_behind_a_scheme_is_no_reference() -> None:
    value = "".join(secrets.choice(WORDS) for _ in range(40))
    assert refusal_of(reference=f"env:{value}").field == "reference"


@pytest.mark.parametrize(
    "reference",
    [
        "env:GITHUB_TOKEN_OF_THE_BUILD",
        "aws-sm://payments/production/api-key",
        "vault:secret/data/payments/service-account#password",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:payments-a1B2c3",
        "op://Private Vault/0a1b2c3d-1111-4222-8333-444455556666/credential",
    ],
)
def test_places_are_references(reference: str) -> None:
    assert refused(lines(key_of(1, reference=reference))) == []


def test_a_password_in_an_address_is_refused() -> None:
    value = "".join(secrets.choice(WORDS) for _ in range(30))
    (found,) = refused(lines(key_of(1), {"type": "server", "name": "a", "url": f"https://robot:{value}@mcp.example/"}))
    assert found.field == "url"


def test_a_column_for_secrets_refuses_the_whole_file() -> None:
    with pytest.raises(Malformed, match="Column 2 of the header is for secrets"):
        parsed(b"name,password\na,b\n", CSV)


def test_a_header_that_is_no_header_is_not_repeated() -> None:
    value = secret()
    with pytest.raises(Malformed) as raised:
        parsed(f"name,{value}\n".encode(), CSV)
    assert value not in str(raised.value)


def test_an_identifier_is_no_secret() -> None:
    (row,) = rows(lines({"name": "robot", "kind": "aws_access_key", "external_id": "AKIAQ4J7XKEXAMPLEAAA"}))
    assert row["credential_key"] == "aws:AKIAQ4J7XKEXAMPLEAAA"


# ── Values ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("status", "fine", "one of active"),
        ("kind", 7, "one of api_key"),
        ("issued_at", "yesterday", "a day, or a date and time with a zone"),
        ("issued_at", "2026-02-30", "no such date"),
        ("issued_at", "2026-06-01T12:00:00", "with a zone"),
        ("issued_at", 1_780_000_000, "a day, or a date"),
        ("issued_at", "2031-01-01", "in the future"),
        ("last_used_at", "2026-11-23T10:00:01Z", "in the future"),
        ("issued_at", "1850-01-01", "before 1970"),
        ("expires_at", "9999-12-31T23:59:59-14:00", "no such date"),
        ("name", "x" * 301, "at most 300"),
        ("name", "a\x00b", "control character"),
        ("name", "half \ud800", "control character"),
        ("name", True, "a text"),
        ("name", ["a"], "a text"),
        ("name", None, "needs this"),
        ("name", "", "needs this"),
        ("scopes", ["a"] * 201, "at most 200 entries"),
        ("scopes", [1], "list of texts"),
        ("details", {"a": {"b": 1}}, "texts, numbers"),
        ("details", {"a": float("inf")}, "none that JSON knows"),
        ("details", {str(n): 1 for n in range(51)}, "at most 50 members"),
        ("reference", "just words", "beginning with its scheme"),
        ("fingerprint", "kf1:zz", "one that Keyreeve made"),
        ("type", "thing", "one of credential"),
        ("type", ["x"], "one of credential"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence_that_names_the_field(field: str, value: Any, says: str) -> None:
    found = refusal_of(**{field: value})
    assert found.field == field
    assert says in found.sentence


def test_a_clock_that_is_a_little_ahead_is_taken() -> None:
    assert refused(lines(key_of(1, last_used_at="2026-11-23T09:30:00Z"))) == []


def test_an_expiry_may_lie_in_the_future() -> None:
    (row,) = rows(lines(key_of(1, expires_at="2031-01-01")))
    assert row["expires_at"].year == 2031


def test_an_unknown_field_is_named_by_its_place_and_by_what_may_be_meant() -> None:
    found = refusal_of(isuer="Example")
    assert found.sentence == "Field number 5 is none of a row of type credential. Did you mean issuer?"


def test_a_field_of_another_kind_of_row_is_unknown() -> None:
    assert (
        "none of a row of type server"
        in refused(lines(key_of(1), {"type": "server", "name": "a", "hint": 1}))[0].sentence
    )


@pytest.mark.parametrize("row", [{"type": "use"}, {"type": "server"}, {"type": "owner", "name": "Mira"}])
def test_a_row_that_does_not_say_what_it_is_about_is_refused(row: dict[str, Any]) -> None:
    assert len(refused(lines(key_of(1), row))) == 1


# ── Lines ──────────────────────────────────────────────────────────────────────────────────────────
def test_a_line_without_end_is_refused_and_the_next_one_taken() -> None:
    body = lines(key_of(1)) + b'{"name": "' + b"x" * (5 * LONGEST_LINE) + b'"}\n' + lines(key_of(2))
    assert [(each.line, "longer than 64 KiB" in each.sentence) for each in refused(body)] == [(2, True)]
    assert len(rows(body)) == 2


def test_deep_json_is_refused() -> None:
    (found,) = refused(lines(key_of(1), "[" * 30_000, key_of(2)))
    assert found.line == 2


def test_deep_json_within_a_row_is_refused() -> None:
    (found,) = refused(lines(key_of(1), '{"name":' + '{"a":' * 900 + "1" + "}" * 901))
    assert found.field == "name"


def test_other_encodings_are_refused() -> None:
    assert [each.line for each in refused(lines(key_of(1)) + "{'name': 'ü'}\n".encode("latin-1"))] == [2]


def test_a_whole_body_in_utf_16_is_malformed() -> None:
    with pytest.raises(Malformed, match="UTF-16"):
        parsed('{"name": "a"}'.encode("utf-16"))


def test_a_packed_body_that_does_not_say_so_is_malformed() -> None:
    with pytest.raises(Malformed, match="Content-Encoding"):
        parsed(gzip.compress(lines(key_of(1))))


@pytest.mark.parametrize("body", [b"[{}]", b" [\n{}\n]", b"hello\nworld", b"", b"\n\n", b"\x00\x01\x02\x03"])
def test_what_is_no_ndjson_at_all_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parsed(body)


def test_a_byte_order_mark_and_ends_of_lines_from_windows_are_understood() -> None:
    assert len(rows(b"\xef\xbb\xbf" + lines(key_of(1), key_of(2)).replace(b"\n", b"\r\n"))) == 2


def test_the_last_line_needs_no_end() -> None:
    assert len(rows(lines(key_of(1), key_of(2)).rstrip())) == 2


# ── CSV ────────────────────────────────────────────────────────────────────────────────────────────
def test_csv_says_the_same_as_json() -> None:
    header = b"type,name,issuer,external_id,scopes,issued_at,details\n"
    table = header + b',"a, b",Example,id-1,read write,2026-01-01,"{""a"":1}"\n'
    row = {"name": "a, b", "issuer": "Example", "external_id": "id-1", "scopes": ["read", "write"]}
    assert rows(table, CSV) == [
        {**each, "line": 2} for each in rows(lines({**row, "issued_at": "2026-01-01", "details": {"a": 1}}))
    ]


def test_csv_names_what_it_refers_to_by_columns_with_a_dot() -> None:
    table = b"type,client.name,server.url\nuse,Desk,https://mcp.example/a\n"
    (row,) = rows(table, CSV)
    assert row["server_key"] == "url:https://mcp.example/a"


def test_a_quoted_cell_may_span_lines_but_not_hold_an_end_of_line() -> None:
    (found,) = refused(b'name,external_id\n"a\nb",1\nc,2\n', CSV)
    assert (found.line, found.field) == (3, "name")


def test_a_csv_line_with_another_number_of_cells_is_refused() -> None:
    assert [each.line for each in refused(b"name,external_id\na,1,2\nb\nc,3\n", CSV)] == [2, 3]


def test_a_quote_that_is_never_closed_loses_no_more_than_is_bounded() -> None:
    body = b'name,external_id\n"' + b"x,1\n" * 100_000
    found = refused(body, CSV)
    assert found[0].sentence == "What begins on this line is no CSV."


@pytest.mark.parametrize("header", [b"", b"\n", b"nam,external_id\n", b"name,name\n"])
def test_csv_without_a_header_of_ours_is_malformed(header: bytes) -> None:
    with pytest.raises(Malformed):
        parsed(header + b"a,b\n", CSV)


# ── Bodies ─────────────────────────────────────────────────────────────────────────────────────────
def reader(body: bytes):
    source = in_pieces(body, 1_000)
    return lambda _: next(source, b"")


def test_a_bomb_is_unpacked_in_bounded_pieces() -> None:
    bomb = gzip.compress(b"\n" * 30_000_000)
    assert len(bomb) < 50_000
    assert max(map(len, pieces(reader(bomb), length=len(bomb), encoding="gzip"))) <= PIECE


def test_a_body_that_ends_before_its_announced_length_is_cut_short() -> None:
    with pytest.raises(CutShort):
        list(pieces(reader(b"abc"), length=4))


def test_a_packed_body_of_several_members_is_one_body() -> None:
    body = gzip.compress(b"ab") + gzip.compress(b"cd")
    assert b"".join(pieces(reader(body), length=len(body), encoding="gzip")) == b"abcd"


# ── The schema ─────────────────────────────────────────────────────────────────────────────────────
EXAMPLES = [
    key_of(1, issued_at="2026-01-01", scopes=["a"], details={"a": 1}, owner="a@b", reference="aws-sm://a"),
    {"type": "server", "name": "a", "url": "https://mcp.example/a", "is_pinned": True},
    {"type": "client", "name": "a", "client_id": "b", "authorization_server": "https://login.example"},
    {"type": "use", "client": {"name": "a"}, "server": {"name": "a"}, "credential": {"external_id": "1"}},
    {"type": "exposure", "credential": {"name": "a"}, "file": "/a/b"},
    {"type": "owner", "name": "Mira", "email": "mira@example.org", "is_active": False},
]


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row.get("type", "credential"))
def test_what_the_parser_takes_is_valid_by_the_schema(row: dict[str, Any]) -> None:
    assert refused(lines(row)) == []
    jsonschema.Draft202012Validator(json_schema()).validate(row)


@pytest.mark.parametrize(
    "row", [{"name": 1.5}, {"name": "a", "secret": "x"}, {"name": "a", "status": "fine"}, {"type": "use", "name": "a"}]
)
def test_what_the_schema_forbids_is_refused(row: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(row)
    assert len(refused(lines(key_of(1), row))) == 1


def test_every_kind_of_row_has_an_example() -> None:
    assert {row.get("type", "credential") for row in EXAMPLES} == set(SHAPES)


def test_the_manual_shows_the_rows_as_they_are() -> None:
    manual = (django_settings.BASE_DIR / "docs" / "intake.md").read_text()
    assert manual == documentation.written(manual), "run python docs/rows.py"


def test_a_rule_names_a_field_once() -> None:
    assert identity_of("f", {"identity": ["issuer", "issuer"]}).fields == ("issuer",)
