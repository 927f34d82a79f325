"""What the behaviour step costs, and what it says of weeks that were clean and of misuse that was planted in them.

python -m bench.behaviour            # 12 weeks of five identities, five seeds
python -m bench.behaviour --many     # and 100,000 identities
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from approvals.votes import Directory
from bus.topics import EVENTS, Message
from policy.behaviour import Behaviour
from policy.rules import parse
from schemas.codec import decode, to_plain
from schemas.records import Alert, Exchange, SessionClosed, SessionOpened
from seal import keyfiles
from stream.behaviour.memory import Memory
from stream.behaviour.watch import Watch
from stream.behaviour_stage import BehaviourStage, SealedRows
from tests.stream.behaving import MONDAY_US, SECOND_US, Does, Log, Timed, Weeks, misuses

WEEKS, SEEDS, A_MESSAGE = 12, range(1, 6), 50


class _Bare:
    """Rows need no seal here."""

    def seal(self, name: bytes, plain: bytes) -> bytes:
        return plain

    def open(self, name: bytes, sealed: bytes) -> bytes:
        return sealed


def alerts(entries: list[Timed]) -> list[Alert]:
    watch = Watch(Behaviour(), "v", Directory(()), Memory(_Bare()))
    for n, (at_us, body) in enumerate(entries):
        watch.begin(str(n), at_us)
        if isinstance(body, Exchange):
            watch.exchange(to_plain(body))
        elif isinstance(body, SessionOpened):
            watch.opened(body)
        elif isinstance(body, SessionClosed):
            watch.closed(body.session)
    return [said for said in watch.said() if isinstance(said, Alert)]


def table() -> None:
    clean: Counter[str] = Counter()
    found: dict[str, list[str]] = {}
    exchanges = told = 0
    for seed in SEEDS:
        weeks = Weeks(seed, WEEKS)
        usual = weeks.entries()
        exchanges += sum(isinstance(body, Exchange) for _, body in usual)
        before = alerts(usual)
        for alert in before:
            told += 1
            clean.update(f.signal for f in alert.findings)
        for what, acts in misuses(weeks).items():
            clean_of = {(a.subject, a.at_us) for a in before}
            new = [a for a in alerts(sorted([*usual, *acts], key=lambda timed: timed[0]))
                   if (a.subject, a.at_us) not in clean_of]  # fmt: skip
            signals = sorted({f.signal.removeprefix("Behaviour:") for a in new for f in a.findings})
            found.setdefault(what, []).append(", ".join(signals))
    print(f"clean: {told} alerts in {len(SEEDS) * WEEKS} weeks of five identities, {exchanges:,} commands", dict(clean))
    for what, said in found.items():
        print(f"{sum(map(bool, said))} of {len(said)}  {what}: {Counter(said).most_common(1)[0][0] or 'nothing'}")


def cost(place: Path) -> None:
    keyfiles.init(place / "keys", "bench")
    signer, pipeline = (keyfiles.load_signer(place / "keys", role) for role in ("behaviour", "pipeline"))
    box = SealedRows(keyfiles.load_state_key(place / "keys", "behaviour"))
    stage = BehaviourStage(signer, box, keyfiles.enrolled(place / "keys"), parse("rules: []"))
    stage.restore({}, "bench")
    log, bodies = Log(pipeline), [body for _, body in Weeks(1, 8).entries()]
    parts = [bodies[at : at + A_MESSAGE] for at in range(0, len(bodies), A_MESSAGE)]
    messages = [Message(EVENTS, 0, n, b"", log.add(*part), time.time_ns() // 1000) for n, part in enumerate(parts)]
    bare = time.process_time()
    for message in messages:
        for event in decode(message.value).events:
            decode(event.leaf)
    bare = (time.process_time() - bare) / len(bodies) * 1e6
    began = time.process_time()
    for n, message in enumerate(messages):
        stage.apply(message)
        if n % 16 == 15:
            stage.changes()
    each = (time.process_time() - began) / len(bodies) * 1e6
    print(f"cost: {each:.1f} µs of CPU an entry, {len(bodies):,} entries in messages of {A_MESSAGE}, rows every 16; "
          f"to decode them as records alone {bare:.1f} µs")  # fmt: skip


def many() -> None:
    box = SealedRows(bytes(32))
    memory = Memory(box)
    watch, does = Watch(Behaviour(), "v", Directory(()), memory), Does()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows: dict[bytes, int] = {}
    for n in range(100_000):
        at_us = MONDAY_US + n * SECOND_US
        opened = does.open(at_us, f"ci/{n}", address=f"10.{n % 250}.1.1:1")
        watch.begin(str(n), at_us)
        watch.opened(opened)
        for k in range(10):
            watch.exchange(to_plain(does.command(at_us, opened.session, f"t{k % 5}", statement=str(k))))
        watch.closed(opened.session)
        if n % 500 == 499:
            watch.said()
            for key, row in memory.changes().items():
                rows.pop(key, None) if row is None else rows.__setitem__(key, len(row))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"100,000 identities: {len(memory):,} remembered, {len(rows):,} rows of {sum(rows.values()) / 1e6:.0f} MB, "
          f"{grown:.0f} MB of memory")  # fmt: skip


if __name__ == "__main__":
    asked = argparse.ArgumentParser()
    asked.add_argument("--many", action="store_true")
    wanted = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cost(Path(folder))
        if wanted.many:
            many()
    table()
