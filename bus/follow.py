"""The journal topic out of the journal's files: every recorder's closed segments, read as they grow.

Each poll reads only what is new. Damage is a message too (`damage`), so that the
pipeline can say what is lost and go on at the next epoch; its bytes are no record,
and its offset is past every chunk of that epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bus.journal import EpochReader, JournalDamaged, epoch_path, epochs
from bus.topics import JOURNAL, Message
from schemas.codec import encode

PAST_EPOCH = 0xFFFF_FFFF
DAMAGE = b"journal damaged: "
"""A value that begins so is no segment but our own words: which file, and where."""


def offset_of(epoch: int, chunk: int) -> int:
    return epoch << 32 | chunk


class Follower:
    """One recorder's files, from behind an offset. Not for two threads at once, but for `left`."""

    def __init__(self, directory: Path, partition: int, after: int) -> None:
        self.directory, self.partition, self.after = directory, partition, after
        self._reader: EpochReader | None = None

    def close(self) -> None:
        if self._reader:
            self._reader.close()
        self._reader = None

    def seek(self, offset: int) -> None:
        self.close()
        self.after = offset - 1

    def left(self) -> int:
        """Bytes that were not read yet. What was read of a segment that is still open is none of them."""
        reader = self._reader
        due = [e for e in epochs(self.directory) if offset_of(e, PAST_EPOCH) > self.after]
        left = 0
        for epoch in due:
            if reader is not None and epoch == reader.epoch:
                left -= reader.end
            with suppress(FileNotFoundError):  # pruned, or found torn by a new boot, between the two looks
                left += epoch_path(self.directory, epoch).stat().st_size
        return max(0, left)

    def take(self, most: int, room: int) -> list[Message]:
        found: list[Message] = []
        while len(found) < most and room > 0:
            message = self._next()
            if message is None:
                break
            found.append(message)
            room -= len(message.value)
        return found

    def _next(self) -> Message | None:
        """The next segment, or the damage where it should be; None: nothing more yet."""
        while True:
            if self._reader is None and not self._open():
                return None
            assert self._reader is not None  # noqa: S101
            epoch = self._reader.epoch
            # Listed before reading: a follower's file is made only after this one got its last byte.
            followed = epochs(self.directory)[-1:] > [epoch]
            try:
                segment = self._reader.next_segment()
                if segment is None and followed:
                    self._reader.check_whole()
            except JournalDamaged as e:
                written_us = self._reader.written_us()
                self._leave(epoch)
                return self._message(self.after, (DAMAGE + str(e).encode()), written_us)
            if segment is not None:
                at = offset_of(epoch, segment.last)
                if at > self.after:
                    self.after = at
                    return self._message(at, encode(segment), self._reader.written_us())
            elif followed:
                self._leave(epoch)
            else:
                return None

    def _leave(self, epoch: int) -> None:
        self.after = max(self.after, offset_of(epoch, PAST_EPOCH))
        self.close()

    def _open(self) -> bool:
        due = [e for e in epochs(self.directory) if offset_of(e, PAST_EPOCH) > self.after]
        if not due:
            return False
        try:
            self._reader = EpochReader(epoch_path(self.directory, due[0]))
        except FileNotFoundError:  # pruned, or found torn by a new boot, between the two looks
            return False
        return True

    def _message(self, offset: int, value: bytes, written_us: int) -> Message:
        """Its time is the file's: keys are looked up as of then."""
        return Message(JOURNAL, self.partition, offset, self.directory.name.encode(), value, written_us)


class JournalTopic:
    """All recorders under one directory, read in turns. `known` gives a recorder's partition and committed offset."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._followers: dict[str, Follower] = {}
        self._sought: dict[int, int] = {}

    def seek(self, partition: int, offset: int) -> None:
        self._sought[partition] = offset
        for follower in self._followers.values():
            if follower.partition == partition:
                follower.seek(offset)

    def left(self) -> int:
        """Bytes that were not read yet; may be asked from another thread."""
        return sum(follower.left() for follower in list(self._followers.values()))

    def take(self, most: int, room: int, known: Callable[[str], tuple[int, int]]) -> list[Message]:
        for entry in sorted(self._root.iterdir()):
            if entry.name not in self._followers and entry.is_dir():
                partition, after = known(entry.name)
                follower = self._followers[entry.name] = Follower(entry, partition, after)
                if partition in self._sought:
                    follower.seek(self._sought[partition])
        found: list[Message] = []
        for name in list(self._followers):
            got = self._followers[name].take(most - len(found), room)
            if got:  # whoever had something comes last next time
                self._followers[name] = self._followers.pop(name)
            found += got
            room -= sum(len(m.value) for m in got)
            if len(found) >= most or room <= 0:
                break
        return found
