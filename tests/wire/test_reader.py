"""A stream is cut the same way wherever the network cuts it; hostile lengths are a fault at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.postgres import messages
from wire.postgres.reader import Body, Cutter, Head, RawMessage, Reader, RemoteFault, Whole, cut

STREAM = b"".join(
    [messages.query(b"select 1"), messages.SYNC, messages.bind(values=(b"4111", None)), messages.TERMINATE]
)
EXPECTED = Reader().feed(STREAM)


def test_every_split_offset_gives_the_same_messages() -> None:
    assert [chr(m.type) for m in EXPECTED] == ["Q", "S", "B", "X"]
    for at in range(len(STREAM) + 1):
        reader = Reader()
        assert reader.feed(STREAM[:at]) + reader.feed(STREAM[at:]) == EXPECTED
        assert reader.waiting == 0


@given(st.lists(st.tuples(st.integers(65, 122), st.binary(max_size=60)), max_size=12), st.data())
def test_a_cutter_hands_on_every_byte_once_in_order(parts: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(bytes([kind]) + (len(body) + 4).to_bytes(4, "big") + body for kind, body in parts)
    cutter, out, heads, at = Cutter(hold_at_most=20), b"", 0, 0
    while at < len(stream):
        step = data.draw(st.integers(1, 40))
        for piece in cutter.feed(stream[at : at + step]):
            out += piece.data
            heads += isinstance(piece, Head)
            if isinstance(piece, Whole):
                assert piece.messages[0][1] == 0
                assert piece.messages[-1][2] == len(piece.data)
        assert cutter.waiting < 20 + 5
        at += step
    assert out == stream
    assert heads <= sum(1 for _, body in parts if len(body) + 5 > 20)


def test_a_large_message_passes_in_pieces() -> None:
    body = bytes(300_000)
    stream = b"D" + (len(body) + 4).to_bytes(4, "big") + body + messages.ready_for_query("I")
    cutter = Cutter(hold_at_most=4096)
    pieces = [p for at in range(0, len(stream), 65_536) for p in cutter.feed(stream[at : at + 65_536])]
    assert isinstance(pieces[0], Head)
    assert pieces[0].length == 300_005
    bodies = [p for p in pieces if isinstance(p, Body)]
    assert [p.last for p in bodies] == [False] * (len(bodies) - 1) + [True]
    assert isinstance(pieces[-1], Whole)


@pytest.mark.parametrize("length", [b"\0\0\0\3", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x40\0\0\0"])
def test_an_impossible_length_is_a_fault_before_anything_is_held(length: bytes) -> None:
    for feed in (Reader().feed, Cutter(100).feed, cut):
        with pytest.raises(RemoteFault):
            feed(b"Q" + length)


def test_what_is_shown_of_a_message_is_its_length() -> None:
    assert "4111" not in repr(RawMessage(68, b"4111")) + repr(Head(68, 9, b"4111")) + repr(Body(b"4111", True))
    assert "4111" not in repr(messages.parse_bind(messages.bind(values=(b"4111",))[5:]))
    assert "4111" not in repr(messages.parse_parse(messages.parse(b"select 4111")[5:]))


PARSERS = [
    messages.parse_query, messages.parse_parse, messages.parse_bind, messages.parse_named, messages.parse_execute,
    messages.parse_row_description, messages.parse_data_row, messages.parse_fields, messages.parse_parameter_status,
    messages.parse_parameter_description, messages.parse_key_data, messages.parse_authentication,
    messages.parse_copy_response,
]  # fmt: skip


@pytest.mark.parametrize("parser", PARSERS, ids=lambda p: p.__name__)
@given(payload=st.binary(max_size=64))
def test_random_payloads_raise_nothing_but_a_fault(parser: object, payload: bytes) -> None:
    assert callable(parser)
    try:
        parser(payload)
    except RemoteFault as e:
        assert len(str(e)) < 100


@given(
    st.binary(max_size=9).filter(lambda b: 0 not in b),
    st.binary(max_size=30).filter(lambda b: 0 not in b),
    st.lists(st.none() | st.binary(max_size=9), max_size=4).map(tuple),
)
def test_what_is_written_reads_back(name: bytes, text: bytes, values: tuple[bytes | None, ...]) -> None:
    parsed = messages.parse_parse(messages.parse(text, name, (23, 25))[5:])
    assert parsed == messages.Parse(name, text, (23, 25))
    bound = messages.parse_bind(messages.bind(name, text, values, (1,), (0, 1))[5:])
    assert (bound.statement, bound.portal, bound.values, bound.formats) == (name, text, values, (1,) * len(values))
    told = messages.parse_fields(messages.error("ERROR", "42501", "no", hint="ask")[5:])
    assert (told.get("C"), told.get("H")) == (b"42501", b"ask")
