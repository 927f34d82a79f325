"""A recorder's journal made by hand, keys in a temp directory, and a small bus that can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bus.topics import Message
from mask.masker import Copied
from policy.rules import default_text, parse
from schemas.codec import encode
from schemas.frames import Frame, pack
from schemas.ids import RecorderId
from schemas.records import Found, JournalSegment
from seal import keyfiles
from seal.box import EpochKey, seal_to
from seal.segment import CHAIN_START, next_chain, sign_segment
from stream.pipeline import Tools

RECORDER = RecorderId("db.0.aaaaaaaa")


@dataclass(frozen=True)
class Said:
    text: str
    found: tuple[Found, ...] = ()
    withheld: int = 0
    failed: tuple[Found, ...] = ()
    hidden: tuple[tuple[str, str], ...] = ()


class StarMasker:
    """Stands for mask.masker.Masker: every digit becomes a star, and is counted."""

    def _mask(self, text: str) -> Said:
        digits = sum(c.isdigit() for c in text)
        found = (Found("digit", digits),) if digits else ()
        return Said("".join("*" if c.isdigit() else c for c in text), found)

    def text(self, text: str, name: str = "") -> Said:
        return self._mask(text)

    def value(self, value: str | None, column: str = "") -> Said:
        return self._mask(value or "")

    def unreadable(self, raw: bytes) -> Said:
        return Said(f"withheld:{len(raw)}", (), 1)

    def speaks_of(self, text: str) -> bool:
        return False

    def sql(self, sql: str) -> Said:
        return self._mask(sql)

    def copied(self, shapes: object, data: bytes, *, whole: bool) -> Copied:
        said = self._mask(data.decode())
        return Copied(tuple(said.text.splitlines(keepends=True)), said.found)


@dataclass
class MemoryBus:
    """What bus.topics asks for, in memory: what was sent, stored and committed survives a killed worker."""

    topics: dict[str, list[Message]] = field(default_factory=dict)
    tables: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    offsets: dict[tuple[str, str], int] = field(default_factory=dict)
    now_us: int = 1_700_000_000_000_000
    cluster: str = "memory"

    async def identity(self, topic: str) -> str:
        return f"{self.cluster}/{topic}"

    def producer(self) -> Any:
        return self

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        held = self.topics.setdefault(topic, [])
        for key, value in items:
            held.append(Message(topic, 0, len(held), key, value, self.now_us))

    async def consumer(self, group: str, topics: Sequence[str]) -> Any:
        return _Reader(self, group, topics[0])

    def table(self, name: str) -> Any:
        return _Rows(self.tables.setdefault(name, {}))

    async def close(self) -> None: ...


@dataclass
class _Reader:
    bus: MemoryBus
    group: str
    topic: str
    at: int | None = None

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        await asyncio.sleep(0 if self.at is None else 0.001)
        if self.at is None:
            self.at = self.bus.offsets.get((self.group, self.topic), -1) + 1
        found = self.bus.topics.get(self.topic, [])[self.at : self.at + most]
        self.at += len(found)
        return found

    async def commit(self, upto: Message, metadata: str = "") -> None:
        self.bus.offsets[self.group, self.topic] = upto.offset


@dataclass
class _Rows:
    rows: dict[bytes, bytes]

    async def items(self) -> dict[bytes, bytes]:
        return dict(self.rows)

    async def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value


@dataclass
class Journal:
    """Segments as a recorder signs them."""

    keys: Path
    chunk: int = 0
    prior: tuple[int, int] = (-1, -1)
    chain: bytes = CHAIN_START

    def __post_init__(self) -> None:
        public = keyfiles.load_masker_public(self.keys)
        self._epoch = EpochKey(b"e" * 32, RECORDER, 0)
        self._sealed, self._masker = seal_to(public.key, b"e" * 32), public.id
        self._signer = keyfiles.load_signer(self.keys, "gateway")

    def segment(self, frames: Sequence[Frame], boot: int = 0) -> JournalSegment:
        """One chunk, one segment."""
        sealed = self._epoch.seal(self.chunk, b"".join(map(pack, frames)))
        self.chain = next_chain(self.chain, [sealed])
        made = JournalSegment(
            RECORDER,
            boot,
            0,
            self.chunk,
            self.chunk,
            *self.prior,
            self.chain,
            self._masker,
            self._sealed,
            "",
            False,
            b"",
            (sealed,),
        )
        self.prior, self.chunk = (0, self.chunk), self.chunk + 1
        return sign_segment(self._signer, made)

    async def publish(self, bus: MemoryBus, frames: Sequence[Frame], boot: int = 0) -> None:
        await bus.send("journal", [(RECORDER.encode(), encode(self.segment(frames, boot)))])


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("keys") / "k"
    keyfiles.init(directory, "test")
    return directory


@pytest.fixture
def bus() -> MemoryBus:
    import time

    return MemoryBus(now_us=time.time_ns() // 1000)


@pytest.fixture
def journal(keys: Path) -> Journal:
    return Journal(keys)


@pytest.fixture
def tools(keys: Path) -> Tools:
    signer, secret = keyfiles.load_signer(keys, "pipeline"), keyfiles.load_secret(keys, "fingerprint")
    return Tools(signer, parse(default_text()), lambda session: StarMasker(), secret, lambda session: None)
