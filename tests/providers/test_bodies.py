"""Reading what a target answered, without a network."""

import json

from hypothesis import given
from hypothesis import strategies as st

from providers.bodies import Events, parsed

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(st.binary(max_size=30), max_size=20), st.integers(min_value=1, max_value=7))
def test_an_event_stream_reads_the_same_in_pieces_of_any_size(lines, size):
    stream = (
        b"\n".join(lines) + b'\n\ndata: {"jsonrpc": "2.0", "result": 1}\n\ndata: {"jsonrpc": "2.0", "result": 2}\n\n'
    )
    whole, pieces = Events(), Events()
    whole.feed(stream)
    for start in range(0, len(stream), size):
        pieces.feed(stream[start : start + size])
    assert whole.is_complete
    assert pieces.is_complete
    assert whole.document == pieces.document


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXT,
        lambda each: st.lists(each) | st.dictionaries(TEXT, each),
        max_leaves=20,
    )
)
def test_every_document_of_json_is_read_back(document):
    assert parsed(json.dumps(document, ensure_ascii=False).encode()) == document
