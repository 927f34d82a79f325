"""Prepared statements whose Parse is not answered yet, and what a Bind runs once it is known which of them worked.

A Parse of a name that is taken fails and changes nothing, and a client may send the Bind behind it before it hears
so. What the Bind runs is known when it is answered itself: the target answers in order. Of the unnamed statement the
newest Parse alone counts: a failed one leaves none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from schemas.records import Statement
from wire.postgres.dialogue import Operation, Outcome


class Parsing:
    """Of one session, since nothing was open."""

    __slots__ = ("_count", "_done", "_newest", "_owed", "_unsure")

    def __init__(self) -> None:
        self._owed: dict[int, tuple[Operation, Statement]] = {}  # by the operation's id
        self._newest: dict[bytes, int] = {}  # by name
        self._done: dict[bytes, tuple[int, Statement]] = {}  # by name: the last that worked, and the how manieth it was
        self._count = 0
        self._unsure: dict[int, tuple[int, Statement | None]] = {}  # by exchange: what had worked, what it ran by that

    def clear(self) -> None:
        if self._owed or self._done or self._unsure:
            self.__init__()  # type: ignore[misc]

    def began(self, operation: Operation, made: Statement) -> None:
        self._owed[id(operation)] = operation, made
        self._newest[operation.name] = id(operation)

    def pending(self, name: bytes) -> Statement | None:
        """By the newest Parse of this name, if it is not answered."""
        operation, made = self._owed.get(self._newest.get(name, 0), (None, None))
        return made if operation is not None and operation.outcome is Outcome.OWED else None

    def owed(self) -> Iterator[tuple[Operation, Statement]]:
        return ((op, made) for op, made in self._owed.values() if op.outcome is Outcome.OWED)

    def done(self, operation: Operation) -> Statement | None:
        """It worked: gives what its name means now."""
        _, made = self._owed.pop(id(operation), (None, None))
        if self._newest.get(operation.name) == id(operation):
            del self._newest[operation.name]
        if made is not None and self._unsure:  # else nobody will ask
            self._count += 1
            self._done[operation.name] = self._count, made
        return made

    def bound(self, number: int, name: bytes, otherwise: Statement | None) -> None:
        """A Bind was sent. `otherwise`: what its name means if what is pending fails."""
        if name and self.pending(name) is not None:
            self._unsure[number] = self._count, otherwise

    def settled(self, number: int, name: bytes) -> tuple[bool, Statement | None]:
        """Its Bind was answered. Whether that was open until now, and what it runs; None if nobody here knows."""
        if number not in self._unsure:
            return False, None
        before, otherwise = self._unsure.pop(number)
        count, made = self._done.get(name, (0, None))
        if not self._unsure:
            self._done.clear()
        return True, made if count > before else otherwise

    def weight(self) -> int:
        """Bytes of all texts that `dump` writes, about."""
        made = [made for _, made in (*self.owed(), *self._done.values(), *self._unsure.values())]
        return sum(len(each.text) for each in made if each is not None)

    # --- from one segment to the next ---------------------------------------------------

    def dump(self) -> Any:
        """Plain values, or None if there is nothing. The same state gives the same ones."""
        owed = [_plain(made) for _, made in self.owed()]
        if not (owed or self._done or self._unsure):
            return None
        return {
            "owed": owed,
            "done": [[name.hex(), count, _plain(made)] for name, (count, made) in self._done.items()],
            "count": self._count,
            "unsure": [[n, count, made and _plain(made)] for n, (count, made) in self._unsure.items()],
        }

    @classmethod
    def load(cls, plain: Any, owed: Sequence[Operation]) -> Parsing:
        """`owed`: the Parses that are, in order; those before this was kept, by an earlier release, come first. Raises
        KeyError, TypeError, ValueError."""
        self = cls()
        if plain is None:
            return self
        for operation, made in zip(owed[len(owed) - len(plain["owed"]) :], plain["owed"], strict=True):
            self.began(operation, _made(made))
        self._done = {bytes.fromhex(name): (count, _made(made)) for name, count, made in plain["done"]}
        self._count = plain["count"]
        self._unsure = {n: (count, made and _made(made)) for n, count, made in plain["unsure"]}
        return self


def _plain(made: Statement) -> list[Any]:
    return [made.name, made.text, list(made.param_oids)]


def _made(plain: Sequence[Any]) -> Statement:
    name, text, oids = plain
    return Statement(name, text, tuple(oids), b"")
