"""What recording costs: microseconds a command, by durability and by sessions that share a turn.

    .venv/bin/python bench/recorder.py [commands]

One loop, no sockets: each session puts a command of 120 bytes, waits for its
release, then puts an answer of 400 bytes and goes on. The bus takes everything.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from ingest.recorder import Recorder
from ingest.settings import Durability
from schemas.frames import FrameKind
from seal import keyfiles

COMMAND, ANSWER = b"Q" * 120, b"D" * 400


class Nowhere:
    async def send(self, topic: str, items: object) -> None:
        return


async def run(place: Path, durability: Durability, sessions: int, commands: int) -> tuple[float, float, float]:
    """Microseconds a command, microseconds a chunk of CPU, commands a chunk."""
    signer, masker = keyfiles.load_signer(place / "keys", "gateway"), keyfiles.load_masker_public(place / "keys")
    recorder = Recorder(f"{durability}.{sessions}", place / "journal", signer, masker, Nowhere(), "bench", "policy")
    await recorder.start()
    loop, left, done = asyncio.get_running_loop(), [commands], asyncio.Event()

    def ask(session: int) -> None:
        recorder.put_command(session, FrameKind.CLIENT, COMMAND, durability, lambda: answer(session), print)

    def answer(session: int) -> None:
        recorder.put(session, FrameKind.SERVER, ANSWER)
        left[0] -= 1
        if left[0] > 0:
            loop.call_soon(ask, session)
        else:
            done.set()

    started, cpu = time.perf_counter(), time.process_time()
    for session in range(sessions):
        ask(session)
    await done.wait()
    took, used = time.perf_counter() - started, time.process_time() - cpu
    recorder.close()
    return took / commands * 1e6, used / recorder.chunks * 1e6, commands / recorder.chunks


async def main(commands: int) -> None:
    print(f"{os.cpu_count()} cores; commands of {len(COMMAND)} bytes, answers of {len(ANSWER)}")
    print("durability  sessions  us/command  cpu us/chunk  commands/chunk")
    with tempfile.TemporaryDirectory() as place:
        keyfiles.init(Path(place) / "keys", "bench")
        for durability in (Durability.WRITE, Durability.FSYNC):
            for sessions in (1, 8):
                count = commands if durability is Durability.WRITE else commands // 10
                took, used, shared = await run(Path(place), durability, sessions, count)
                print(f"{durability:10}  {sessions:8}  {took:10.1f}  {used:12.1f}  {shared:14.1f}")


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30_000))
