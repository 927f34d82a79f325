"""A state comes back from its rows as it was; a row that is none of ours is an error with a name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from approvals.machine import step
from approvals.state import (
    Request,
    Review,
    State,
    StateUnreadable,
    Use,
    decode_request,
    decode_state,
    encode_request,
    encode_rest,
)
from schemas.records import BootStarted, Choice


@pytest.fixture
def busy(office: Any) -> State:
    """A state with something in every field."""
    one, two, lookup = (office.hold(n) for n in (1, 2, 3))
    lookup = replace(lookup, lookup_only=True, match_key=b"l" * 32)
    late = office.hold(4, raised_us=0)
    denied = office.hold(5, match_key=b"d" * 32)
    given = [one, two, lookup, late, denied, BootStarted(one.recorder, 3), office.vote("guest", one)]
    given += [office.vote(name, lookup) for name in ("ann", "bob")]
    given += [office.vote("ann", denied, Choice.DENY), office.hold(6, boot=3), office.vote("bob", one)]
    used = office.hold(7, caused_by=("cyd",), match_key=b"u" * 32, boot=3)
    given += [used, *(office.vote(name, used) for name in ("ann", "bob"))]
    state = State()
    for one_input in given:
        state, _ = step(state, one_input, one.raised_us, office.directory())
    return state


def test_it_comes_back_as_it_was(busy: State) -> None:
    rows = [encode_request(request) for request in busy.requests.values()]
    again = decode_state(encode_rest(busy), reversed(rows))
    assert again == busy
    assert sorted(encode_request(request) for request in again.requests.values()) == sorted(rows)
    assert {r.state.value for r in busy.requests.values()} == {"pending", "approved", "denied", "reserved"}
    assert busy.strays
    assert busy.ignored_votes


@pytest.mark.parametrize("row", [b"", b"[]", b"\xff", b'{"v":2}', b'{"v":1}', b'{"v":1,"boots":[]}'])
def test_other_rows_are_refused(row: bytes) -> None:
    with pytest.raises(StateUnreadable):
        decode_request(row)
    with pytest.raises(StateUnreadable):
        decode_state(row, [])


def test_a_row_of_an_earlier_release_is_read(busy: State) -> None:
    approved = next(r for r in busy.requests.values() if r.state.value == "approved")
    for use in (b"", b'"use":[null,0],'):  # of the first release, and of those with one use
        assert decode_request(_older(approved, use)) == approved
    reserved = next(r for r in busy.requests.values() if r.state.value == "reserved")
    (use,) = reserved.uses
    assert decode_request(_older(reserved, f'"use":["{use.hold}",1],'.encode())) == reserved
    undone = replace(approved, uses=(Use(1, 3),))
    assert decode_request(_older(undone, b'"use":[null,3],')) == undone


def _older(request: Request, use: bytes) -> bytes:
    """As a row was before standing approvals."""
    row = re.sub(rb',"uses":\[.*?\](?=,"v")', b"", encode_request(request))
    row = row.replace(b'"allows":[1,false],', b"").replace(b'"review":null,', b"")
    assert not re.search(rb'"(allows|uses|review)"', row)
    return row.replace(b'"votes"', use + b'"votes"')


def test_what_is_new_comes_back_too(busy: State, office: Any) -> None:
    request = next(r for r in busy.requests.values() if r.state.value == "approved")
    said = office.vote("ann", request.raised, Choice.OBJECT)
    for review in (Review("gus", 5), Review("gus", 5, overdue=True, vote=said)):
        uses = (Use(1, 1, None, kept=True), Use(2, 2, request.raised.hold))
        more = replace(request, allowed=3, any_values=True, uses=uses, review=review)
        assert decode_request(encode_request(more)) == more


def test_a_record_of_another_kind_is_refused(busy: State) -> None:
    rows = [encode_request(request) for request in busy.requests.values()]
    with pytest.raises(StateUnreadable):
        decode_request(rows[0].replace(b'"raised":', b'"was":').replace(b'"votes":', b'"raised":'))
