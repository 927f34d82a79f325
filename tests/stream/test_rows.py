"""A put is all or none, wherever the store was cut off, however often."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.rows import HEAD, Rows, RowsUnreadable

KEYS = st.sampled_from([b"a", b"b", b"a/0", b"head", b""])
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=4)


def write(stored: dict[bytes, bytes], rows: Rows, changes: Mapping[bytes, bytes | None], most: int) -> bool:
    """The first `most` writes of a put become durable; True if these were all."""
    for n, (name, value) in enumerate(rows.put(changes)):
        if n == most:
            return False
        if value is None:
            stored.pop(name, None)
        else:
            stored[name] = value
    return True


def changed(model: dict[bytes, bytes], changes: Mapping[bytes, bytes | None]) -> dict[bytes, bytes]:
    return {key: value for key, value in (model | changes).items() if value is not None}


@settings(max_examples=300)
@given(st.lists(st.tuples(CHANGES, st.integers(0, 12)), max_size=12))
def test_after_any_crash_the_rows_are_those_of_the_newest_whole_put(puts: list[tuple[dict[bytes, bytes], int]]) -> None:
    stored: dict[bytes, bytes] = {}
    rows, model = Rows(), {}
    for changes, most in puts:
        head = stored.get(HEAD)
        whole = write(stored, rows, changes, most)
        if stored.get(HEAD) != head:
            model = changed(model, changes)
        if not whole:  # died: another process begins from what is stored
            rows = Rows()
            assert rows.restore(stored) == model
    assert Rows().restore(stored) == model


@given(st.lists(CHANGES, max_size=12))
def test_what_is_deleted_leaves_nothing_behind(puts: list[dict[bytes, bytes]]) -> None:
    stored: dict[bytes, bytes] = {}
    rows, model = Rows(), {}
    for changes in puts:
        assert write(stored, rows, changes, -1)
        model = changed(model, changes)
    assert len(stored) <= 1 + 2 * len(model)


def test_what_a_crash_left_of_a_deletion_goes_with_the_next_put() -> None:
    stored: dict[bytes, bytes] = {}
    rows = Rows()
    assert write(stored, rows, {b"a": b"1", b"b": b"1"}, -1)
    assert not write(stored, rows, {b"a": None}, 2)  # the mark and the head, but not the burial
    rows = Rows()
    assert rows.restore(stored) == {b"b": b"1"}
    assert write(stored, rows, {b"b": b"2"}, -1)
    assert sorted(stored) == [b"b/0", b"b/1", HEAD]


@pytest.mark.parametrize("rows", [{b"k": bytes(9)}, {b"k/0": b"short"}, {b"k/2": bytes(9)}, {HEAD: b""}])
def test_rows_of_somebody_else_are_refused(rows: dict[bytes, bytes]) -> None:
    with pytest.raises(RowsUnreadable):
        Rows().restore(rows)
