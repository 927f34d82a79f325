"""Amounts and things: what the tables of the behaviour step keep, and that it is bounded and the same in any order."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from stream.behaviour.identity import SETS, Identity, read_identity
from stream.behaviour.peers import Peers
from stream.behaviour.seen import Seen, SharedSeen
from stream.behaviour.sketch import MOST, Sketch, bucket, upper

AMOUNTS = st.integers(0, 2**63)


@given(AMOUNTS)
def test_a_bucket_holds_what_begins_alike(amount: int) -> None:
    at = bucket(amount)
    assert (upper(at - 1) if at else -1) < amount <= upper(at)
    assert upper(at) * 4 <= amount * 5 or amount < 4
    assert at < 256


@given(st.lists(AMOUNTS, min_size=1, max_size=200), st.integers(1, 100))
def test_a_quantile_is_at_most_a_quarter_too_high(amounts: list[int], percent: int) -> None:
    sketch = Sketch()
    for amount in amounts:
        sketch.add(amount)
    exact = sorted(amounts)[-(-len(amounts) * percent // 100) - 1]
    assert exact <= sketch.quantile(percent) <= max(3, exact * 5 // 4)


def test_what_was_once_and_long_ago_is_forgotten() -> None:
    sketch = Sketch()
    sketch.add(10**9)
    for _ in range(3 * MOST):
        sketch.add(100)
    assert sketch.quantile(100) == upper(bucket(100))
    assert sketch.total <= MOST


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30)), max_size=120), st.randoms(use_true_random=False))
def test_what_is_kept_is_the_newest_and_its_rows_say_all_of_it(
    things: list[tuple[int, int]], rng: random.Random
) -> None:
    seen = Seen(16)
    for thing, day in things:
        seen.note(str(thing), day)
        assert len(seen.days) <= 16
        back = list(seen.days.items())
        rng.shuffle(back)
        seen = Seen(16, dict(back))  # a row does not keep the order
    in_order = Seen(16)
    for thing, day in things:
        in_order.note(str(thing), day)
    assert seen.days == in_order.days


def test_a_thing_of_a_class_is_of_two_of_them_at_most() -> None:
    shared = SharedSeen(8)
    for who, day in (("a", 1), ("b", 2), ("c", 3)):
        shared.note("t", who, day)
    assert shared.doers == {"t": {"b": 2, "c": 3}}
    assert shared.others("t", "c", 3, 90)
    assert not shared.others("t", "c", 100, 90)
    for n in range(100):
        shared.note(str(n), "a", n)
    assert len(shared.doers) <= 8


def test_an_identity_and_its_peers_come_back_from_their_rows() -> None:
    identity = Identity("app", 1, 2)
    for mark, most in SETS.items():
        for n in range(most * 2):
            identity.seen[mark].note(f"{mark}-{n}", n)
    again = read_identity(identity.head(), identity.sets())
    assert (again.head(), again.sets()) == (identity.head(), identity.sets())
    assert {mark: len(seen.days) for mark, seen in again.seen.items()} == {
        mark: len(seen.days) for mark, seen in identity.seen.items()
    }
    assert len(identity.sets()) < 32 * 1024
    peers = Peers()
    peers.came("app", 3)
    back = Peers()
    for part in peers.changed:
        back.read(part, peers.row(part))
        assert json.loads(back.row(part)) == json.loads(peers.row(part))
    assert back.count("another") == 1
