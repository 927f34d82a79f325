"""A recorder's journal for tests of those who read it."""

from dataclasses import replace
from pathlib import Path

from bus import journal
from schemas.ids import RecorderId
from schemas.records import JournalSegment
from seal.segment import CHAIN_START, next_chain

NAME = "g.0.00000000"


class Writer:
    """Writes closed segments, one epoch after the other. What is signed is left out: nobody here checks it."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True, parents=True)
        self._directory, self._epoch = directory, -1
        self.next_epoch()

    def next_epoch(self) -> None:
        self._epoch += 1
        prior = (self._epoch - 1, 0) if self._epoch else (-1, -1)
        self.facts = JournalSegment(
            RecorderId(NAME), 1, self._epoch, 0, -1, *prior, CHAIN_START, "k", b"", "g", False, b"", ()
        )
        self._file = journal.JournalWriter(self._directory, self.facts)
        self._number, self._chain = 0, CHAIN_START

    def segment(self, *chunks: bytes) -> None:
        first = self._number
        for chunk in chunks:
            self._file.append_chunk(self._number, chunk)
            self._number += 1
        self._chain = next_chain(self._chain, list(chunks))
        self._file.close_segment(replace(self.facts, first=first, last=self._number - 1, chain=self._chain))
