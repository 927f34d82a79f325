"""When a worker is taken to stand still: never for work that has only just come, always for work that stays."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream.standstill import Standstill

PATIENCE = 90.0


def test_work_that_stays_due_is_a_standstill_once_the_patience_is_over() -> None:
    watch = Standstill(PATIENCE)
    watch.moved(0.0, 5)
    assert not watch.asks(44.0, 5)
    assert watch.asks(45.0, 5)
    assert not watch.stands(45.0, frozenset([(0, 7)]))
    assert not watch.asks(89.0, 5)
    assert watch.asks(90.0, 5)
    assert watch.stands(90.0, frozenset([(0, 7), (1, 3)]))


def test_work_that_came_after_the_first_look_is_none() -> None:
    watch = Standstill(PATIENCE)
    watch.moved(0.0, 5)
    assert watch.asks(45.0, 5)
    assert not watch.stands(45.0, frozenset())
    assert watch.asks(90.0, 5)
    assert not watch.stands(90.0, frozenset([(0, 7)]))
    assert not watch.asks(91.0, 5), "it begins anew"


def test_what_moves_begins_anew() -> None:
    watch = Standstill(PATIENCE)
    watch.moved(0.0, 5)
    assert watch.asks(50.0, 5)
    assert not watch.stands(50.0, frozenset(["get ready"]))
    assert not watch.asks(100.0, 6)
    assert watch.due == frozenset()


@given(st.lists(st.tuples(st.floats(0.1, 30.0), st.booleans(), st.integers(0, 3)), max_size=60))
def test_nobody_is_ended_for_work_that_is_not_older_than_half_the_patience(
    steps: list[tuple[float, bool, int]],
) -> None:
    """Each step: seconds later, whether something moved, and how many pieces of work came new."""
    watch, now, handled = Standstill(PATIENCE), 0.0, 0
    came: dict[object, float] = {}
    watch.moved(now, handled)
    for later, moved, new in steps:
        now += later
        if moved:
            handled += 1
            came.clear()
        came |= {(now, n): now for n in range(new)}
        if watch.asks(now, handled) and watch.stands(now, frozenset(came)):
            assert now - min(came.values()) >= PATIENCE / 2
            return


def test_a_machine_that_slept_is_given_its_second_half() -> None:
    watch = Standstill(PATIENCE)
    watch.moved(0.0, 5)
    assert watch.asks(1000.0, 5)
    assert not watch.stands(1000.0, frozenset([(0, 7)]))
    assert not watch.asks(1002.0, 5)
