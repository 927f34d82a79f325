"""What an HTTP request was found to do; the readers of Kubernetes and AWS requests fill one and answer with it."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from schemas.judging import Prepares, TransactionStep
from schemas.records import Effect

MAX_EFFECTS = 256
"""More effects, or relations, than these are not given to rules, worst first: the answer is then not complete.
Handing 20,000 over to CEL would take a second."""


class Effects(NamedTuple):
    """Everything that one request alone says."""

    effects: tuple[Effect, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    marks: frozenset[StrEnum]
    complete: bool
    reason: str
    read_only: bool
    names: tuple[str, ...]
    # HTTP has no settings, transactions and prepared statements: a request stands for itself.
    barrier: bool = False
    settings_only: bool = False
    transaction: TransactionStep = TransactionStep.USES
    literal_blind: bool = False
    undoable: bool = False
    prepares: tuple[Prepares, ...] = ()
    executes: tuple[str, ...] = ()
    deallocates: tuple[str, ...] = ()
    statements: int = 1


class Finding:
    """The answer while it is put together. `unknown_mark` is what stands for "not complete" in this protocol."""

    def __init__(self, unknown_mark: StrEnum) -> None:
        self._unknown_mark = unknown_mark
        self._effects: dict[Effect, None] = {}
        self._reads: dict[str, None] = {}
        self._writes: dict[str, None] = {}
        self._changes = False
        self.marks: set[StrEnum] = set()
        self.reason = ""

    def unknown(self, reason: str) -> None:
        """The first reason is told."""
        self.reason = self.reason or reason
        self.marks.add(self._unknown_mark)

    def read(self, effect: str, relation: str) -> None:
        self._add(effect, relation, self._reads)

    def write(self, effect: str, relation: str) -> None:
        self._changes = True
        self._add(effect, relation, self._writes)

    def _add(self, effect: str, relation: str, names: dict[str, None]) -> None:
        if len(self._effects) >= MAX_EFFECTS:
            return self.unknown(f"more than {MAX_EFFECTS} things are named")
        self._effects[Effect(effect, relation)] = None
        if relation:
            names[relation] = None
        return None

    def answer(self) -> Effects:
        complete = not self.reason
        if not self._effects:
            self._effects[Effect("unknown")] = None
        read_only = complete and not self._changes
        return Effects(
            tuple(self._effects),
            tuple(self._reads),
            tuple(self._writes),
            frozenset(self.marks),
            complete,
            self.reason,
            read_only,
            (*self._reads, *self._writes),
        )
