"""When how much goes, and that nothing is lost by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.notify.kinds import Kind
from tallystick.notify.notices import Notice
from tallystick.notify.outbox import BURST, MOST_LISTED, MOST_SINGLE, Outbox, Wanted, message
from tallystick.notify.told import Told


def notice(n: int, kind: Kind = Kind.OPENED, **told: object) -> Notice:
    return Notice(f"id{n}", n, n, Told(kind, f"title {n}", **told))  # type: ignore[arg-type]


def filled(count: int, per_minute: int = 60) -> Outbox:
    outbox = Outbox(Wanted(), per_minute)
    for n in range(count):
        outbox.add(notice(n))
    return outbox


def test_few_go_one_by_one_and_many_as_one() -> None:
    outbox = filled(MOST_SINGLE)
    assert [outbox.take(0.0).notices[0].offset for _ in range(MOST_SINGLE)] == [0, 1, 2]
    taken = filled(MOST_SINGLE + 1).take(0.0)
    assert (taken.kind, taken.count, taken.alone) == ("digest", MOST_SINGLE + 1, False)


def test_what_does_not_fit_is_counted_by_kind() -> None:
    outbox = filled(MOST_LISTED)
    for n in range(7):
        outbox.add(notice(100 + n, Kind.ALARM))
    taken = outbox.take(0.0)
    assert len(taken.notices) == MOST_LISTED
    assert dict(taken.more) == {Kind.ALARM: 7}
    assert (taken.count, taken.at_us) == (MOST_LISTED + 7, 106)


def test_a_burst_and_then_so_many_a_minute() -> None:
    outbox, now, went = Outbox(Wanted(), 60), 1000.0, []
    for n in range(100):
        outbox.add(notice(n))
        if outbox.pause(now) == 0:
            went.append(outbox.take(now).count)
            outbox.done()
    assert went == [1] * BURST
    assert outbox.pause(now) == 1.0
    assert outbox.pause(now + 0.25) == 0.75
    assert outbox.pause(now + 1.0) == 0
    assert outbox.take(now + 1.0).count == 100 - BURST
    assert outbox.pause(now + 1.0) is None


def test_one_a_minute_is_one_a_minute() -> None:
    outbox = filled(2, per_minute=1)
    assert outbox.pause(5.0) == 0
    outbox.take(5.0)
    assert outbox.pause(5.0) == 60.0


def test_the_id_is_of_what_is_in_it() -> None:
    assert message([notice(1)], 1).id == message([notice(1)], 1).id
    different = [message([notice(1)], 1), message([notice(2)], 1), message([notice(1), notice(2)], 1)]
    different += [message([notice(1)], 1, {Kind.ALARM: 1}), message([notice(1)], 1, {Kind.ALARM: 2})]
    assert len({one.id for one in different}) == 5


@pytest.mark.parametrize(
    ("wanted", "told", "is_in"),
    [
        (Wanted(), {"kind": Kind.ALARM}, True),
        (Wanted(kinds=frozenset({Kind.ALARM})), {"kind": Kind.ALARM}, True),
        (Wanted(kinds=frozenset({Kind.ALARM})), {}, False),
        (Wanted(targets=frozenset({"a"})), {"target": "a"}, True),
        (Wanted(targets=frozenset({"a"})), {"target": "b"}, False),
        (Wanted(targets=frozenset({"a"})), {"kind": Kind.ALARM}, True),
        (Wanted(groups=frozenset({"dba"})), {"target": "a", "groups": ("x", "dba")}, True),
        (Wanted(groups=frozenset({"dba"})), {"target": "a", "groups": ("x",)}, False),
        (Wanted(groups=frozenset({"dba"})), {"target": "a", "kind": Kind.ALERT}, True),
        (Wanted(min_score=40), {"target": "a", "score": 40}, True),
        (Wanted(min_score=40), {"target": "a", "score": 39}, False),
    ],
)
def test_who_is_told_what(wanted: Wanted, told: dict[str, object], is_in: bool) -> None:
    assert (notice(1, **told) in wanted) is is_in  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(["add", "count", "take", "done"]), max_size=200))
def test_nothing_is_lost_and_the_oldest_is_known(steps: list[str]) -> None:
    outbox = Outbox(Wanted(), 600)
    waiting: set[int] = set()  # offsets
    leaving: set[int] = set()
    added = delivered = 0
    for now, what in enumerate(steps):
        if what in ("add", "count"):
            added += 1
            (outbox.add if what == "add" else outbox.count)(notice(added))
            waiting.add(added)
        elif what == "take" and not leaving and outbox.pause(now) == 0:
            taken = outbox.take(now)
            leaving = {one.offset for one in taken.notices} if taken.alone else set(waiting)
            assert taken.count == len(leaving)
            assert [one.offset for one in taken.notices] == sorted(one.offset for one in taken.notices)
            waiting -= leaving
        elif what == "done":
            delivered += len(leaving)
            leaving = set()
            outbox.done()
        assert delivered + outbox.waiting == added
        assert outbox.oldest == min(waiting | leaving, default=None)
