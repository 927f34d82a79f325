"""What is kept of Parses that are not answered: no more than may be asked for, and all of it comes back."""

from __future__ import annotations

from schemas.records import Statement
from stream.parsing import Parsing
from wire.postgres.dialogue import Operation


def parse(text: str) -> tuple[Operation, Statement]:
    return Operation("P", None, b"n", b"", text.encode(), 0), Statement("n", text, (), b"")


def test_what_nobody_will_ask_for_is_not_kept() -> None:
    """A session that is never idle may prepare for ever."""
    parsing = Parsing()
    for n in range(100):
        operation, made = parse(f"select {n}" + "x" * 1000)
        parsing.began(operation, made)
        assert parsing.done(operation) == made
    assert (parsing.weight(), parsing.dump()) == (0, None)


def test_all_that_is_kept_is_weighed_and_goes_when_it_is_settled() -> None:
    parsing = Parsing()
    operation, made = parse("x" * 1000)
    other = Statement("n", "y" * 500, (), b"")
    parsing.began(operation, made)
    for number in (1, 2):
        parsing.bound(number, b"n", other)
    assert parsing.weight() == 1000 + 2 * 500
    parsing.done(operation)
    assert parsing.weight() == 1000 + 2 * 500
    assert [parsing.settled(number, b"n") for number in (1, 2, 3)] == [(True, made), (True, made), (False, None)]
    assert (parsing.weight(), parsing.dump()) == (0, None)


def test_it_comes_back_behind_parses_of_which_an_earlier_release_kept_nothing() -> None:
    parsing = Parsing()
    (before, _), (operation, made) = parse("select 1"), parse("select 2")
    parsing.began(operation, made)
    parsing.bound(7, b"n", None)
    loaded = Parsing.load(parsing.dump(), [before, operation])
    assert loaded.pending(b"n") == made
    assert loaded.dump() == parsing.dump()
    assert loaded.settled(7, b"n") == (True, None), "the Bind was answered, the Parse had failed"
