"""The journal's files: one directory a recorder, one file an epoch. Opaque bytes.

    head      magic, length, CRC-32, an Avro JournalSegment without chunks (the epoch's facts)
    records   kind (1), number (8), length (4), CRC-32 of it all (4), body
                 C  chunk `number`, sealed
                 S  a signed JournalSegment header without chunks: everything since the last S

Rules: a chunk number is written with one content only: a failed write is cut back
and the same bytes are written again, or the epoch ends. A torn tail is cut off by
the next boot, which signs what it found (`recover`). A record in the middle that
does not read is damage, and said.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from schemas.codec import CodecError, decode, encode
from schemas.records import JournalSegment
from seal.segment import CHAIN_START, next_chain

MAGIC = b"TSJ1"
_RECORD = struct.Struct(">cQII")
_ABOUT = struct.Struct(">cQI")
_LENGTH = struct.Struct(">II")  # length and CRC-32 of the head
LARGEST_RECORD = 64 * 1024 * 1024
LARGEST_HEAD = 64 * 1024
_READ = 256 * 1024
_FILE = re.compile(r"(\d{10})\.tsj")


class JournalDamaged(RuntimeError):
    """A journal file does not read; the message names the file and the offset."""


class JournalUnwritable(RuntimeError):
    """The disk did not take it: full, read-only or failing. Nothing of it was kept."""


def epoch_path(directory: Path, epoch: int) -> Path:
    return directory / f"{epoch:010d}.tsj"


def epochs(directory: Path) -> list[int]:
    """The epochs that have a file here, in order."""
    found = [_FILE.fullmatch(p.name) for p in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(m[1]) for m in found if m)


def _record(kind: bytes, number: int, body: bytes) -> bytes:
    return _RECORD.pack(kind, number, len(body), _checksum(kind, number, body)) + body


def _checksum(kind: bytes, number: int, body: bytes) -> int:
    """Over the header too: a header torn into zeros would else be an empty chunk with the right sum."""
    return zlib.crc32(body, zlib.crc32(_ABOUT.pack(kind, number, len(body))))


def _sync_directory(directory: Path) -> None:
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as e:
        raise JournalUnwritable(f"{directory.name}: {e.strerror}") from e


class JournalWriter:
    """One epoch's file, appended to. `facts` is the segment header without numbers, chunks or signature."""

    def __init__(self, directory: Path, facts: JournalSegment) -> None:
        """Raises JournalUnwritable; a file that is there already is never opened again."""
        self.path = epoch_path(directory, facts.epoch)
        head = encode(replace(facts, chunks=()))
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as e:
            raise JournalUnwritable(f"{self.path.name}: {e.strerror}") from e
        self._good = 0  # everything before this offset is whole
        self._torn = False  # there may be part of a failed write behind it
        try:
            self._append(MAGIC + _LENGTH.pack(len(head), zlib.crc32(head)) + head)
            self.sync()  # so that a head that does not read means that the epoch never began
            _sync_directory(directory)
        except JournalUnwritable:
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
            raise

    def append_chunk(self, number: int, sealed: bytes) -> None:
        """Raises JournalUnwritable: then nothing of it stays, and the same bytes may be tried again."""
        self._append(_record(b"C", number, sealed))

    def close_segment(self, header: JournalSegment) -> None:
        """Raises JournalUnwritable, likewise."""
        self._append(_record(b"S", header.last, encode(replace(header, chunks=()))))

    def _append(self, data: bytes) -> None:
        try:
            if self._torn:
                self._cut_back()
            written = os.pwrite(self._fd, data, self._good)
            while written < len(data):  # a short write: the disk filled up, or a signal came
                written += os.pwrite(self._fd, data[written:], self._good + written)
        except OSError as e:
            self._torn = True
            with suppress(OSError):  # if even this fails, nothing is written before it has worked
                self._cut_back()
            raise JournalUnwritable(f"{self.path.name}: {e.strerror}") from e
        self._good += len(data)

    def _cut_back(self) -> None:
        os.ftruncate(self._fd, self._good)
        self._torn = False

    def sync(self) -> None:
        """Raises JournalUnwritable: then the pages may be lost, and the epoch must end."""
        try:
            os.fdatasync(self._fd)
        except OSError as e:
            raise JournalUnwritable(f"{self.path.name}: {e.strerror}") from e

    def close(self) -> None:
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class Tail:
    """What a boot finds of the epoch before: where it ends, and the chunks nobody signed."""

    facts: JournalSegment
    last_chunk: int  # -1 if there is none
    chain: bytes  # after the last signed segment
    unsigned: tuple[bytes, ...]
    unsigned_first: int
    torn: int  # bytes that were cut off


class EpochReader:
    """One epoch's file, read record by record in bounded memory; goes on when the file has grown."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        self.path, self.epoch = path, int(path.stem)
        self._file = path.open("rb", buffering=0)
        self._ahead = b""  # bytes read ahead; those from `_used` on lie at `end` in the file
        self._used = 0
        self.facts: JournalSegment | None = None  # None until the head is there
        self.open_chunks: list[bytes] = []
        self.next_chunk = 0
        self.chain = CHAIN_START
        self.end = 0  # everything before this offset is whole

    def close(self) -> None:
        self._file.close()

    def size(self) -> int:
        return os.fstat(self._file.fileno()).st_size

    def written_us(self) -> int:
        """When the file was last written, microseconds since 1970: no segment that is in it is younger."""
        return os.fstat(self._file.fileno()).st_mtime_ns // 1000

    def next_segment(self) -> JournalSegment | None:
        """None: nothing more yet, or a tail that does not read. Raises JournalDamaged."""
        if self.facts is None and not self._read_head():
            return None
        while True:
            record = self._record()
            if record is None:
                self._forget()  # the writer may cut its tail back: these bytes are looked at again
                return None
            kind, number, body, at = record
            if kind == b"S":
                return self._segment(body, at)
            if number != self.next_chunk:
                raise JournalDamaged(f"{self.path.name}: chunk {number} where {self.next_chunk} should be, at {at}")
            self.open_chunks.append(body)
            self.next_chunk += 1

    def check_whole(self) -> None:
        """For a file that a later epoch follows. Raises JournalDamaged if anything in it was not read."""
        if self.facts is None:
            raise JournalDamaged(f"{self.path.name}: the head does not read, and a later epoch follows")
        if self.end != self.size() or self.open_chunks:
            raise JournalDamaged(f"{self.path.name}: does not read from offset {self.end}, and a later epoch follows")

    def _forget(self) -> None:
        self._ahead, self._used = b"", 0

    def _have(self, wanted: int) -> bool:
        """True if `wanted` bytes from `end` on are there."""
        while (left := len(self._ahead) - self._used) < wanted:
            more = os.pread(self._file.fileno(), max(_READ, wanted - left), self.end + left)
            if not more:
                return False
            self._ahead, self._used = self._ahead[self._used :] + more, 0
        return True

    def _skip(self, count: int) -> None:
        self._used += count
        self.end += count

    def _read_head(self) -> bool:
        start = len(MAGIC) + _LENGTH.size
        if not self._have(start):
            self._forget()
            return False
        length, crc = _LENGTH.unpack_from(self._ahead, len(MAGIC))
        # A crash may leave zeros: an empty head has CRC-32 zero, so it would pass its own check.
        whole = self._ahead.startswith(MAGIC) and 0 < length <= LARGEST_HEAD and self._have(start + length)
        head = self._ahead[start : start + length]
        if not whole or zlib.crc32(head) != crc:
            self._forget()
            return False
        try:
            facts = decode(head)
        except CodecError as e:
            raise JournalDamaged(f"{self.path.name}: the head does not read") from e
        if not isinstance(facts, JournalSegment):
            raise JournalDamaged(f"{self.path.name}: the head is another record")
        self.facts = facts
        self._skip(start + length)
        return True

    def _record(self) -> tuple[bytes, int, bytes, int] | None:
        if not self._have(_RECORD.size):
            return None
        kind, number, length, crc = _RECORD.unpack_from(self._ahead, self._used)
        if kind not in (b"C", b"S") or length > LARGEST_RECORD or not self._have(_RECORD.size + length):
            return None
        start = self._used + _RECORD.size
        body = self._ahead[start : start + length]
        if _checksum(kind, number, body) != crc:
            return None
        at = self.end
        self._skip(_RECORD.size + length)
        return kind, number, body, at

    def _segment(self, body: bytes, at: int) -> JournalSegment:
        try:
            header = decode(body)
        except CodecError as e:
            raise JournalDamaged(f"{self.path.name}: a segment header does not read, at {at}") from e
        chain = next_chain(self.chain, self.open_chunks)
        if not isinstance(header, JournalSegment) or (header.last, header.chain) != (self.next_chunk - 1, chain):
            raise JournalDamaged(f"{self.path.name}: a segment header is not about the chunks before it, at {at}")
        whole = replace(header, chunks=tuple(self.open_chunks))
        self.open_chunks, self.chain = [], chain
        return whole


def read(directory: Path, after: tuple[int, int] = (-1, -1)) -> Iterator[JournalSegment]:
    """The closed segments behind position (epoch, chunk), in order. What is not closed yet is not there yet.

    Raises JournalDamaged where a file that has a follower, or a signed part, does not read.
    """
    known = epochs(directory)
    for epoch in known:
        if epoch < after[0]:
            continue
        reader = EpochReader(epoch_path(directory, epoch))
        try:
            while segment := reader.next_segment():
                if (epoch, segment.last) > after:
                    yield segment
            if epoch != known[-1]:
                reader.check_whole()
        finally:
            reader.close()


def recover(directory: Path) -> Tail | None:
    """Cuts the torn tail of the newest epoch's file; None if there is no journal.

    Raises JournalDamaged; JournalUnwritable if what is cut off should be kept and the disk does not take it.

    The caller signs the unsigned chunks (`append_header`) before it opens a new epoch.
    """
    for epoch in reversed(epochs(directory)):
        path = epoch_path(directory, epoch)
        reader = EpochReader(path)
        try:
            while reader.next_segment():
                pass
            size = reader.size()
        finally:
            reader.close()
        if reader.facts is None:  # it died while the head was written: this epoch never began
            path.rename(path.with_suffix(".torn"))  # kept: it may be damage after all
            continue
        if reader.end < size:
            _keep_what_is_whole(path, reader.end, reader.next_chunk)
            os.truncate(path, reader.end)
        unsigned = tuple(reader.open_chunks)
        first = reader.next_chunk - len(unsigned)
        return Tail(reader.facts, reader.next_chunk - 1, reader.chain, unsigned, first, size - reader.end)
    return None


def _keep_what_is_whole(path: Path, end: int, chunk: int) -> None:
    """A torn write leaves nothing whole behind it. Where there is a record, of this chunk or a later one, it is damage
    that is cut off, with what was signed after it: kept beside the file, for whoever can mend it. Raises
    JournalUnwritable."""
    with path.open("rb") as f:
        f.seek(end)
        cut = f.read()
    if not any(_whole(cut, found.start(), chunk) for found in re.finditer(rb"[CS]", cut)):
        return
    try:
        with path.with_suffix(".cut").open("wb") as f:
            f.write(cut)
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        raise JournalUnwritable(f"{path.name}: {e.strerror}") from e


def _whole(data: bytes, at: int, chunk: int) -> bool:
    if len(data) - at < _RECORD.size:
        return False
    kind, number, length, crc = _RECORD.unpack_from(data, at)
    end = at + _RECORD.size + length
    if not chunk - 1 <= number <= chunk + len(data) or length > LARGEST_RECORD:
        return False  # at once: sealed bytes look like a record's first one in 128 places, and a checksum reads on far
    return bool(end <= len(data) and _checksum(kind, number, data[at + _RECORD.size : end]) == crc)


def append_header(directory: Path, header: JournalSegment) -> None:
    """Closes the recovered tail of an epoch. Raises JournalUnwritable."""
    path = epoch_path(directory, header.epoch)
    try:
        with path.open("ab") as f:
            f.write(_record(b"S", header.last, encode(replace(header, chunks=()))))
            f.flush()
            os.fsync(f.fileno())
    except OSError as e:
        raise JournalUnwritable(f"{path.name}: {e.strerror}") from e
