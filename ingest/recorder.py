"""The recorder: no record, no action.

In each turn of the event loop the frames of all sessions become one chunk, sealed
once, appended with one write; then the commands of that turn are released, each
in its own guard. Sealed bytes are final: a chunk that the disk did not take waits
and goes in again as it is, and no number is ever sealed twice.

    put            a frame that nobody waits for: with the next chunk, at most 20 ms later
    put_command    release() once it is as durable as asked, or refuse(JournalUnwritable)

While the disk takes nothing, commands are refused, answers wait in memory, reading
stops at 4 MiB, and what still arrives beyond 8 MiB is counted and digested: an
ELIDED frame says so later. No space is held in reserve: the newest segment is
then signed when there is space again, or by the next boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from bus.journal import JournalUnwritable
from bus.topics import Consumer, Producer
from ingest.beats import Beats, Coverage
from ingest.durability import GroupSync, Waiting, refuse, release
from ingest.epoch import Epoch
from ingest.journal_home import NotAlone, RecorderTaken, give_up, identity, lock, sign_what_is_left
from ingest.settings import Durability
from schemas.codec import encode
from schemas.frames import ASKING, HEADER, FrameKind
from schemas.ids import START
from schemas.records import Beat, Boot, BootMark, Elided, PolicyInForce, ReviewerInForce
from seal.keyfiles import MaskerPublic
from seal.sign import Signer

__all__ = ["NotAlone", "Recorder", "RecorderTaken"]

LATE_S = 0.02
EARLY_BYTES = 256 * 1024  # frames that nobody waits for are written at once above this
CHUNK_BYTES = 1024 * 1024  # a chunk ends with the frame that passes this
SEGMENT_BYTES = 512 * 1024
EPOCH_S = 3600.0
BEAT_S = 10.0
COVERED_S = 2.0
MOST_CHUNKS = (1 << 32) - (1 << 20)  # an epoch ends here at its next quiet moment
CONGESTED_BYTES = 4 * 1024 * 1024  # not durable: reading stops
MOST_WAITING = 2 * CONGESTED_BYTES  # what was read already still comes; beyond this it is counted only
RETRY_S = 0.1
FAREWELL_S = 5.0

_ANSWERS = (FrameKind.SERVER, FrameKind.SERVER_HEAD)
_log = structlog.get_logger()


class Recorder:
    """One journal, one process. Call `start` before use and `stop` at the end."""

    def __init__(
        self,
        name: str,
        directory: Path,
        signer: Signer,
        masker: MaskerPublic,
        producer: Producer,
        version: str,
        policy: str,
        reviewers: tuple[ReviewerInForce, ...] = (),
        *,
        epoch_s: float = EPOCH_S,
        beat_s: float = BEAT_S,
        congested: Callable[[bool], None] | None = None,
        covered: Consumer | None = None,
        prune: Callable[[str, int], Awaitable[object]] | None = None,
    ) -> None:
        """`name` is `<gateway>.<worker>`; `directory` holds one folder a recorder; `version` is the program's,
        `policy` that of the rules this boot screens by, `reviewers` those whose votes it takes. Raises RecorderTaken.

        `congested` is told when reading should stop, and go on. With `covered` (a consumer of that topic, in a
        group of its own) and `prune(recorder, epoch)` journal files go once the ledger has them.
        """
        self.recorder, self._place = identity(name, directory)
        self._lock = lock(self._place)
        self._signer, self._masker, self._version = signer, masker, version
        self._policy, self._reviewers = policy, reviewers
        self._epoch_s, self._beat_s = epoch_s, beat_s
        self._tell_congested = congested
        self._loop = asyncio.get_running_loop()
        self._beats = Beats(self.recorder, self._place, signer, producer)
        self._coverage = Coverage(self.recorder, covered, prune, self._written) if covered and prune else None
        self._twin = asyncio.Event()
        self._sync = GroupSync(self._sync_settled, self._sync_failed)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.boot = 0
        self.segment = 0
        self.opened = self.closed = self.chunks = self.bytes = 0
        self.congested = False
        self._beat_number = 0
        self._buffer: list[bytes] = []
        self._size = 0
        self._commands: list[Waiting] = []
        self._unrecorded: list[tuple[Waiting, JournalUnwritable]] = []  # came while nothing could be written
        self._turn_set = False
        self._late: asyncio.TimerHandle | None = None
        self._due: asyncio.TimerHandle | None = None
        self._retrying: asyncio.TimerHandle | None = None
        self._cut = False
        self._asks = False  # a frame in the open segment is for the approvals step
        self._fault: JournalUnwritable | None = None  # the disk takes nothing now
        self._broken = False  # a sync failed: this epoch must end
        self._lost: dict[int, _Lost] = {}

    # --- life --------------------------------------------------------------------

    async def start(self) -> None:
        """Signs what the boot before left behind, opens an epoch, registers this boot on the bus.

        The gateway listens only after this. Raises JournalUnwritable, JournalDamaged, BusDown.
        """
        left = sign_what_is_left(self._place, self._signer)
        self.boot = left.boot + 1
        self._open_epoch(left.epoch + 1, left.end)
        started = _micros()
        self.put(0, FrameKind.BOOT, encode(BootMark(self.recorder, self.boot, started)))
        self._turn()
        await self._beats.boot(
            Boot(self.recorder, self.boot, left.boot, *left.end, self._version, started),
            PolicyInForce(self._policy, self.recorder, started, self._reviewers),
        )
        self._tasks.append(asyncio.create_task(self._beat()))
        if self._coverage:
            self._tasks.append(asyncio.create_task(self._look(self._coverage)))

    async def stop(self) -> None:
        """A clean end: everything written, signed and synced, and a farewell if the bus takes it in time."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FAREWELL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._finish()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._beats.beat(self._next_beat(farewell=True)), FAREWELL_S)
        self.close()

    def close(self) -> None:
        """Without a farewell: writes and signs what there is. What the disk still does not take is refused."""
        for task in self._tasks:
            task.cancel()
        self._finish()
        why = JournalUnwritable("the gateway is stopping")
        self._sync.close(why)
        self._refuse_unrecorded()
        commands, self._commands = self._commands, []
        refuse(commands, why)
        for timer in (self._late, self._due, self._retrying):
            if timer is not None:
                timer.cancel()
        self._epoch.writer.close()
        os.close(self._lock)

    def _finish(self) -> None:
        if self._fault is not None:
            self._retry()  # a last time
        self._cut = True
        self._turn()
        if self._buffer or self._lost:
            _log.error("the disk takes nothing: the last answers are not recorded", recorder=self.recorder)
        try:
            self._epoch.writer.sync()
        except JournalUnwritable as e:
            _log.error("the journal's end is not synced", recorder=self.recorder, fault=str(e))

    async def _beat(self) -> None:
        while not await self._stops_within(self._beat_s):
            await self._beats.beat(self._next_beat(farewell=False))

    async def _look(self, coverage: Coverage) -> None:
        while not await self._stops_within(COVERED_S):
            await coverage.look()
            if coverage.beyond:
                _log.error("alarm", alarm="another recorder of this name", recorder=self.recorder)
                self._twin.set()
                try:
                    give_up(self._place)
                except OSError as e:  # the next start takes the same name, and meets its twin again
                    _log.error("the folder cannot be given up", recorder=self.recorder, fault=str(e.strerror))
                return

    async def alone(self) -> None:
        """As long as nobody else writes under this recorder's name. Raises NotAlone: then what is recorded here is
        taken for the other's, and the gateway must end."""
        await self._twin.wait()
        raise NotAlone(
            f"{self.recorder}: the ledger has more of it than was written here: its disk was cloned, or is an older "
            "copy; the next start takes a new name, and what it wrote as this one is told of as Undecoded"
        )

    def _written(self) -> tuple[int, int]:
        return self._epoch.number, self._epoch.next_chunk - 1

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _next_beat(self, *, farewell: bool) -> Beat:
        self._beat_number += 1
        covered = self._coverage.last if self._coverage else START
        return Beat(
            recorder=self.recorder,
            boot=self.boot,
            number=self._beat_number,
            opened=self.opened,
            closed=self.closed,
            chunks=self.chunks,
            head=self._epoch.head,
            covered_epoch=covered.major,
            covered_chunk=covered.minor,
            farewell=farewell,
            at_us=_micros(),
        )

    @property
    def fault(self) -> str:
        """Why nothing can be recorded now, or ""."""
        return "" if self._fault is None else str(self._fault)

    # --- what gateways call ------------------------------------------------------------

    def digest_key(self) -> bytes:
        """For digests of what was forwarded but not captured, in this epoch."""
        return self._epoch.key.digest_key()

    def session_opened(self) -> None:
        self.opened += 1

    def session_closed(self) -> None:
        self.closed += 1

    def put(self, session: int, kind: FrameKind, data: bytes) -> None:
        """`segment` is the number of the segment that this frame will be in."""
        if self._fault is not None and self._count_only(session, kind, data):
            return
        self._buffer.append(HEADER.pack(time.time_ns() // 1000, session, kind, len(data)))
        self._buffer.append(data)
        self._size += len(data) + HEADER.size
        if kind in ASKING:
            self._asks = True
        if self._size > EARLY_BYTES:
            self._soon()
        elif self._late is None and not self._turn_set:
            self._late = self._loop.call_later(LATE_S, self._turn)

    def put_command(
        self,
        session: int,
        kind: FrameKind,
        data: bytes,
        durability: Durability,
        release: Callable[[], None],
        refuse: Callable[[Exception], None],
    ) -> bool:
        """Exactly one of the two is called, in a later turn. True if the frame is, or will be, in the journal:
        then it is even if it is refused. False: it is nowhere, and will be refused."""
        waiting = Waiting(durability, release, refuse)
        if self._fault is None:
            self.put(session, kind, data)
            self._commands.append(waiting)
        else:
            # It is in no frame, so it must never be released: the disk may be back before this turn is.
            self._unrecorded.append((waiting, self._fault))
        self._soon()
        return self._fault is None

    def cut_now(self) -> None:
        """Close the segment at the end of this turn: somebody waits for what is in it."""
        self._cut = True
        self._soon()

    def _soon(self) -> None:
        if not self._turn_set:
            self._turn_set = True
            self._loop.call_soon(self._turn)

    # --- a turn ----------------------------------------------------------------------------

    def _turn(self) -> None:
        self._turn_set = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._refuse_unrecorded()
        waiting, self._commands = self._commands, []
        before = self.bytes
        if self._fault is None:
            try:
                self._write_all()
            except JournalUnwritable as fault:
                self._stop_writing(fault)
        if self._fault is not None:
            # Whatever of these reached the disk: they do not go upstream, and the journal claims nothing else.
            refuse(waiting, self._fault)
            self._measure()
            return
        # Before anything is released: a release may put frames, and these belong to the next segment.
        self._end_segment()
        self._release(waiting, self.bytes - before)
        self._measure()

    def _refuse_unrecorded(self) -> None:
        unrecorded, self._unrecorded = self._unrecorded, []
        for one, fault in unrecorded:
            refuse([one], fault)

    def _write_all(self) -> None:
        """Raises JournalUnwritable: what is not written stays in the buffer, what is sealed stays pending."""
        epoch = self._epoch
        first = epoch.next_chunk
        try:
            epoch.write_pending()
            while self._buffer:
                plain = self._next_plain()
                self.bytes += len(plain)
                epoch.write(plain)
        finally:
            self.chunks += epoch.next_chunk - first
        if self._due is None and epoch.open_bytes:
            self._due = self._loop.call_later(LATE_S, self._segment_due)

    def _next_plain(self) -> bytes:
        if self._size <= CHUNK_BYTES:
            plain = b"".join(self._buffer)
            self._buffer, self._size = [], 0
            return plain
        count = size = 0
        while count < len(self._buffer) and size <= CHUNK_BYTES:  # a header and its data, two pieces a frame
            size += len(self._buffer[count]) + len(self._buffer[count + 1])
            count += 2
        plain = b"".join(self._buffer[:count])
        del self._buffer[:count]
        self._size -= size
        return plain

    def _release(self, waiting: list[Waiting], size: int) -> None:
        if not waiting:
            return
        synced = [w for w in waiting if w.durability is not Durability.WRITE]
        if synced:
            self._sync.wait(self._epoch.writer, synced, size)
        release(w for w in waiting if w.durability is Durability.WRITE)

    def _measure(self) -> None:
        """Tells gateways to stop reading while too much is not durable, and to go on at half of that."""
        unsafe = self._size + len(self._epoch.pending or b"") + self._sync.bytes
        now = unsafe > (CONGESTED_BYTES // 2 if self.congested else CONGESTED_BYTES)
        if now != self.congested:
            self.congested = now
            if self._tell_congested is not None:
                self._tell_congested(now)

    # --- segments, epochs ----------------------------------------------------------------------

    def _segment_due(self) -> None:
        self._due = None
        self._cut = True
        self._turn()

    def _end_segment(self) -> None:
        """Only with an empty buffer: frames are in the segment that `segment` named when they were put."""
        if not (self._cut or self._epoch.open_bytes >= SEGMENT_BYTES):
            return
        try:
            self._close_segment()
        except JournalUnwritable as fault:
            self._stop_writing(fault)
            return
        self._cut = False
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._loop.time() >= self._epoch_ends or self._epoch.next_chunk >= MOST_CHUNKS:
            self._next_epoch()

    def _close_segment(self) -> None:
        """With everything written that was put. Raises JournalUnwritable: then it stays open."""
        if self._epoch.close_segment(self._asks):
            self.segment += 1
            self._asks = False

    def _open_epoch(self, number: int, prior: tuple[int, int]) -> None:
        self._epoch = Epoch(self._place, self.recorder, self.boot, number, prior, self._signer, self._masker)
        self._epoch_ends = self._loop.time() + self._epoch_s

    def _next_epoch(self) -> None:
        """Only with everything signed. The old file is synced first: no later chunk outlives an earlier one."""
        if self._sync.in_flight:
            return  # `_sync_settled` comes back
        old = self._epoch
        try:
            old.writer.sync()
            self._open_epoch(old.number + 1, old.end)
        except JournalUnwritable as fault:
            self._broken = True
            self._stop_writing(fault)
            return
        old.writer.close()
        self._sync.synced()

    def _sync_settled(self) -> None:
        self._measure()
        if self._fault is None and self._loop.time() >= self._epoch_ends:
            self._cut = True
            self._turn()

    # --- a disk that does not take it -------------------------------------------------------------

    def _sync_failed(self, fault: JournalUnwritable) -> None:
        self._broken = True
        self._stop_writing(fault)

    def _stop_writing(self, fault: JournalUnwritable) -> None:
        if self._fault is None:
            _log.error("journal not writable: commands are refused", recorder=self.recorder, fault=str(fault))
        self._fault = fault
        if self._retrying is None:
            self._retrying = self._loop.call_later(RETRY_S, self._retry)

    def _retry(self) -> None:
        """The same bytes again; then all that waited; then, if a sync failed, another epoch."""
        self._retrying = None
        try:
            self._write_all()
            if self._cut or self._broken or self._lost:
                self._cut = False
                self._close_segment()
            if self._broken:
                old = self._epoch
                self._open_epoch(old.number + 1, old.end)
                old.writer.close()
                self._broken = False
        except JournalUnwritable as fault:
            self._cut = True
            self._stop_writing(fault)
            return
        self._fault = None
        self._say_lost()
        _log.info("journal writable again", recorder=self.recorder)
        self._soon()

    def _count_only(self, session: int, kind: FrameKind, data: bytes) -> bool:
        """True if these bytes are an answer that there is no room for: its session's stretch is lost."""
        if kind not in _ANSWERS or (session not in self._lost and self._size + len(data) <= MOST_WAITING):
            return False
        lost = self._lost.setdefault(session, _Lost(self._epoch.key.digest_key()))
        lost.size += len(data)
        lost.digest.update(data)
        return True

    def _say_lost(self) -> None:
        """In a segment of its own, so that the next one begins with where each session stands."""
        lost, self._lost = self._lost, {}
        for session, stretch in lost.items():
            elided = Elided(from_client=False, rows=0, size=stretch.size, digest=stretch.digest.digest())
            self.put(session, FrameKind.ELIDED, encode(elided))
            self._cut = True


class _Lost:
    """A stretch of one session's answers that was forwarded while nothing could be written."""

    __slots__ = ("digest", "size")

    def __init__(self, key: bytes) -> None:
        self.size = 0
        self.digest = hmac.new(key, digestmod=hashlib.sha256)


def _micros() -> int:
    return time.time_ns() // 1000
