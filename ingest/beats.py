"""What goes past the journal: boots and beats, signed, straight to `events`.

They say what a disk that died with its machine would have held. One message is
outstanding at a time: it is kept in a file before it is sent and sent again until
the bus took it, also by the next boot, so that positions have no hole of ours.
While the bus is down traffic goes on and the next beat says it all: counters grow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from bus.topics import COVERED, EVENTS, BusDown, Consumer, OffsetLost, Producer
from ingest.journal_home import LAST_BEAT
from schemas.codec import CodecError, decode, encode
from schemas.ids import START, Position, RecorderId, beats_source, journal_source
from schemas.records import Beat, Boot, Covered, Event, EventBatch, LedgerEntry, PolicyInForce
from seal.event_batch import sign_batch
from seal.sign import Signer

RETRY_S = 1.0
_log = structlog.get_logger()


class Beats:
    def __init__(self, recorder: RecorderId, place: Path, signer: Signer, producer: Producer) -> None:
        self._recorder, self._signer, self._producer = recorder, signer, producer
        self._source = beats_source(recorder)
        self._file = place / LAST_BEAT
        self._last = START
        self._unsent: bytes | None = None

    async def boot(self, boot: Boot, policy: PolicyInForce) -> None:
        """Registers the boot and what it screens by, behind what the boot before may not have got through.

        Raises BusDown.
        """
        if self._file.exists():
            kept = self._file.read_bytes()
            await self._send(kept)
            self._last = decode(kept).last
        await self._keep(Position(boot.boot, 0), boot.started_us, boot, policy)
        await self._send_kept()

    async def beat(self, beat: Beat) -> None:
        """Returns when the bus took it, however long that is. One at a time."""
        made = False
        while True:
            try:
                await self._send_kept()  # also one whose sender was cancelled
                if made:
                    return
                await self._keep(Position(beat.boot, beat.number), beat.at_us, beat)
                made = True
            except BusDown as e:
                _log.warning("the bus does not take beats; trying again", fault=str(e))
                await asyncio.sleep(RETRY_S)

    async def _send_kept(self) -> None:
        if self._unsent is not None:
            await self._send(self._unsent)
            self._unsent = None

    async def _send(self, batch: bytes) -> None:
        await self._producer.send(EVENTS, [(self._recorder.encode(), batch)])

    async def _keep(self, first: Position, at_us: int, *bodies: Boot | PolicyInForce | Beat) -> None:
        positions = [Position(first.major, first.minor, n) for n in range(len(bodies))]
        entries = [LedgerEntry(self._source, at, at_us, body=body) for at, body in zip(positions, bodies, strict=True)]
        events = tuple(Event(encode(entry), b"") for entry in entries)
        batch = EventBatch(self._source, self._recorder, self._last, positions[-1], events, "", b"")
        made = encode(sign_batch(self._signer, batch))
        await asyncio.to_thread(_replace, self._file, made)
        self._last, self._unsent = positions[-1], made


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all, also through a loss of power. A full disk is a bus that is down: tried again."""
    fresh = path.with_suffix(".new")
    try:
        with fresh.open("wb") as f:
            f.write(content)
            f.flush()
            os.fsync(f.fileno())
        fresh.replace(path)
    except OSError as e:
        raise BusDown(f"{path.name} cannot be kept: {e.strerror}") from e


class Coverage:
    """How far the ledger has this journal under a checkpoint; files behind that go."""

    def __init__(
        self,
        recorder: RecorderId,
        consumer: Consumer,
        prune: Callable[[str, int], Awaitable[object]],
        written: Callable[[], tuple[int, int]],
    ) -> None:
        """`prune(recorder, epoch)` deletes the files of epochs before `epoch` that nobody needs any more; `written`
        is how far the journal goes, (epoch, chunk)."""
        self._recorder, self._source = recorder, journal_source(recorder)
        self._consumer, self._prune, self._written = consumer, prune, written
        self.last = START
        self.beyond = False  # the ledger has more of this recorder than it wrote: somebody else has its name

    async def look(self) -> None:
        """Marks that are not read in time cost disk space, nothing else."""
        try:
            for message in await self._consumer.batch(1000, 0.0):
                if message.topic == COVERED and message.key == self._source.encode():
                    self._take(message.value)
            if self.beyond:
                return
            if self.last.major > 0:
                await self._prune(self._recorder, self.last.major)
        except OffsetLost as lost:  # the newest mark of a source is still there, or comes
            await self._consumer.seek(lost.topic, lost.partition, lost.first)
        except (BusDown, OSError) as e:
            _log.warning("journal files are not pruned now", fault=type(e).__name__)

    def _take(self, value: bytes) -> None:
        try:
            mark = decode(value)
        except CodecError:
            _log.error("a covered mark does not read")
            return
        if isinstance(mark, Covered) and mark.source == self._source:
            self.last = max(self.last, mark.last)
            self.beyond = self.last[:2] > self._written()
