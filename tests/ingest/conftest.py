"""A recorder on a temporary directory, a bus that keeps what it was given, and a stranger's reading of the journal."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bus import journal
from bus.topics import BusDown
from ingest.recorder import Recorder
from ingest.settings import Durability
from schemas.codec import decode
from schemas.frames import Frame, FrameKind, unpack
from schemas.records import EventBatch
from seal import keyfiles
from seal.box import EpochKey, open_sealed
from seal.segment import CHAIN_START, check_segment, next_chain


class Sent:
    """`down` makes it refuse."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.down = False

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        if self.down:
            raise BusDown("down")
        self.values += [value for _, value in items]

    @property
    def batches(self) -> list[EventBatch]:
        return [decode(v) for v in self.values]


class Room:
    def __init__(self, keys: Path) -> None:
        self.keys, self.journal, self.bus = keys, keys.parent / "journal", Sent()

    @property
    def place(self) -> Path:
        [place] = self.journal.iterdir()
        return place

    def recorder(self, **more: object) -> Recorder:
        signer, masker = keyfiles.load_signer(self.keys, "gateway"), keyfiles.load_masker_public(self.keys)
        return Recorder("orders.0", self.journal, signer, masker, more.pop("bus", self.bus), "0", "policy", **more)

    def segments(self) -> list[list[Frame]]:
        """Everything in the journal, each segment checked as a stranger would."""
        known, masker = keyfiles.enrolled(self.keys), keyfiles.load_masker(self.keys)
        found: list[list[Frame]] = []
        position, chain = (-1, -1), CHAIN_START
        for segment in journal.read(self.place):
            check_segment(segment, known, known.all[0].from_us + 1)
            assert (segment.prior_epoch, segment.prior_chunk) == position
            chain = next_chain(chain if segment.epoch == position[0] else CHAIN_START, segment.chunks)
            assert segment.chain == chain
            secret = open_sealed(masker.private(segment.masker_key), segment.sealed_key)
            key = EpochKey(secret, segment.recorder, segment.epoch)
            plain = [key.open(n, sealed) for n, sealed in enumerate(segment.chunks, segment.first)]
            found.append([f for p in plain for f in unpack(p)])
            position = (segment.epoch, segment.last)
        return found

    def data(self, *kinds: FrameKind) -> list[bytes]:
        return [f.data for segment in self.segments() for f in segment if f.kind in (kinds or (FrameKind.CLIENT,))]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    keyfiles.init(tmp_path / "keys", "test")
    return Room(tmp_path / "keys")


@pytest.fixture
def command() -> Callable[..., asyncio.Future[str]]:
    """Puts a command; the future says "released", or the name of the refusal's type."""

    def put(r: Recorder, data: bytes, durability: Durability = Durability.WRITE, session: int = 1) -> asyncio.Future:
        done = asyncio.get_running_loop().create_future()
        r.put_command(
            session,
            FrameKind.CLIENT,
            data,
            durability,
            lambda: done.set_result("released"),
            lambda e: done.set_result(type(e).__name__),
        )
        return done

    return put
