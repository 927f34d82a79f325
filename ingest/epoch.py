"""One epoch open for writing: its key, its numbers, its open segment.

A chunk is sealed once. If the disk does not take it, the sealed bytes wait in
`pending` and nothing else is sealed before they are written.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from bus.journal import JournalWriter
from schemas.ids import RecorderId
from schemas.records import ChainHead, JournalSegment
from seal.box import EpochKey, seal_to
from seal.keyfiles import MaskerPublic
from seal.segment import CHAIN_START, next_chain, sign_segment
from seal.sign import Signer


class Epoch:
    def __init__(
        self,
        directory: Path,
        recorder: RecorderId,
        boot: int,
        number: int,
        prior: tuple[int, int],
        signer: Signer,
        masker: MaskerPublic,
    ) -> None:
        """Raises JournalUnwritable: then there is no such epoch."""
        key = secrets.token_bytes(32)
        sealed_key = seal_to(masker.key, key)
        self.number = number
        self.key = EpochKey(key, recorder, number)
        self._signer = signer
        unsigned = JournalSegment(
            recorder, boot, number, 0, -1, *prior, CHAIN_START, masker.id, sealed_key, "", False, b"", ()
        )
        self._facts = sign_segment(signer, unsigned)
        self.writer = JournalWriter(directory, self._facts)
        self.next_chunk = 0
        self.pending: bytes | None = None
        self.end = prior  # position of the last signed chunk, of this epoch or an earlier one
        self.open_bytes = 0  # of the open segment
        self._open: list[bytes] = []
        self._first = 0
        self._chain = CHAIN_START

    @property
    def head(self) -> ChainHead:
        return ChainHead(*self.end, self._chain)

    def write(self, plain: bytes) -> None:
        """Raises JournalUnwritable: then the chunk is pending. Call `write_pending` before the next."""
        self.pending = self.key.seal(self.next_chunk, plain)
        self.write_pending()

    def write_pending(self) -> None:
        """Raises JournalUnwritable."""
        if self.pending is None:
            return
        self.writer.append_chunk(self.next_chunk, self.pending)
        self._open.append(self.pending)
        self.open_bytes += len(self.pending)
        self.pending = None
        self.next_chunk += 1

    def close_segment(self, asks: bool) -> bool:
        """`asks`: as in JournalSegment. False if no chunk is open. Raises JournalUnwritable: then it stays open."""
        if not self._open:
            return False
        chain, last = next_chain(self._chain, self._open), self.next_chunk - 1
        header = replace(
            self._facts,
            first=self._first,
            last=last,
            prior_epoch=self.end[0],
            prior_chunk=self.end[1],
            chain=chain,
            asks=asks,
        )
        self.writer.close_segment(sign_segment(self._signer, header))
        self._chain, self._first, self.end = chain, last + 1, (self.number, last)
        self._open, self.open_bytes = [], 0
        return True
