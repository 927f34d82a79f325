"""The embedded bus: topics, offsets and tables in one SQLite file; the journal topic is the journal's own files.

Several processes use it at once: WAL, every commit synced, short transactions.
All SQLite work of one bus object is done by its one thread, so the loop never
waits. Every topic but `journal` has one partition, 0. In `journal` a partition is
a recorder, and the offset of a segment is (epoch << 32) | its last chunk.
Waiting is polling: 5 ms while something happens, 25 ms at most when idle; what
this process itself sends wakes its own consumers at once.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from bus.follow import JournalTopic
from bus.journal import epoch_path, epochs
from bus.topics import APPROVALS, COVERED, EVENTS, GRANTS, JOURNAL, BusDown, Message, check_size

T = TypeVar("T")
Hook = Callable[[str], None]
_TOPICS = (EVENTS, APPROVALS, GRANTS, COVERED)
_FASTEST_S, _SLOWEST_S = 0.005, 0.025
_BATCH_BYTES = 16 * 1024 * 1024
_GRANTS_KEPT_US = 24 * 3600 * 1_000_000  # nobody commits on `grants`: gateways read it from its end
_DAY_US = 24 * 3600 * 1_000_000
_WAITED_FOR_US = {"notify": _DAY_US, "behaviour": 7 * _DAY_US}
"""How long messages are kept for a step that is behind, or gone: what the one would only count by then, and the other
can do without. All others are waited for without end."""
_BUSY_S = 10.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    grp TEXT, topic TEXT, part INTEGER, at INTEGER NOT NULL, metadata TEXT NOT NULL, PRIMARY KEY (grp, topic, part)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (name TEXT, key BLOB, value BLOB NOT NULL, PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS recorders (part INTEGER PRIMARY KEY AUTOINCREMENT, recorder TEXT NOT NULL UNIQUE);
""" + "".join(
    f"CREATE TABLE IF NOT EXISTS topic_{name} (at INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL,"
    " value BLOB NOT NULL, time_us INTEGER NOT NULL);\n"
    for name in _TOPICS
)


def _nothing(step: str) -> None:
    """No test is watching."""


class LocalBus:
    """Topics under `data_dir`; `after` is called with "outputs", "state" or "offset" once that step is durable."""

    def __init__(self, data_dir: Path, after: Hook = _nothing) -> None:
        """Raises BusDown if the directory cannot be used."""
        self.journal_dir = data_dir / "journal"
        self.after = after
        self.woken = asyncio.Event()
        self._journal: JournalTopic | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bus")
        try:
            self.journal_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = self._thread.submit(_open, data_dir / "bus.sqlite").result()
        except (OSError, sqlite3.Error) as e:
            self._thread.shutdown()
            raise BusDown(f"{data_dir}: the embedded bus cannot be opened ({type(e).__name__})") from e
        self._cluster = self.now(_cluster)

    @property
    def cluster(self) -> str:
        return self._cluster

    async def identity(self, topic: str) -> str:
        return self._cluster

    def now(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `run`, but the caller waits: for starting only."""
        return self._thread.submit(self._transact, work).result()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """In the bus's thread, as one transaction. Raises BusDown; nothing of it was kept then."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self._db:  # commits, or rolls back
                return work(self._db)
        except sqlite3.Error as e:
            raise BusDown(f"the embedded bus did not take it ({type(e).__name__})") from e

    def producer(self) -> LocalProducer:
        return LocalProducer(self)

    async def consumer(
        self, group: str, topics: Sequence[str], partitions: Sequence[int] | None = None
    ) -> LocalConsumer:
        if partitions is not None and (JOURNAL in topics or list(partitions) != [0]):
            raise ValueError("a topic of the embedded bus has partition 0; the journal is read whole")
        made = LocalConsumer(self, group, topics)
        await self.run(made.begin)
        return made

    def table(self, name: str) -> LocalTable:
        return LocalTable(self, name)

    async def end(self, topic: str, partition: int) -> int:
        """The offset that the next message will have; 0 before the first, which will have 1. Raises BusDown."""
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        found = await self.run(lambda db: db.execute(query, (_table_of(topic),)).fetchone())
        return 1 + found[0] if found else 0

    def journal_left(self) -> int:
        """Bytes of the journal that its newest reader here has not read yet; 0 without one."""
        return self._journal.left() if self._journal else 0

    async def prune(self) -> None:
        """Deletes messages that everybody is done with; the newest of a topic stays (it is the topic's clock)."""
        await self.run(_prune)

    async def prune_journal(self, recorder: str, covered_epoch: int) -> list[int]:
        """Deletes epoch files before the one the ledger covers and every group has read into. Gives those deleted."""
        read = await self.run(lambda db: _read_by_all(db, recorder))
        directory = self.journal_dir / recorder
        gone = [e for e in epochs(directory)[:-1] if e < covered_epoch and read is not None and e < read >> 32]
        for epoch in gone:
            epoch_path(directory, epoch).unlink(missing_ok=True)
        return gone

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._db.close)
        self._thread.shutdown()


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level="IMMEDIATE", check_same_thread=False)
    path.chmod(0o600)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_SCHEMA)
    return db


def _cluster(db: sqlite3.Connection) -> str:
    db.execute("INSERT OR IGNORE INTO meta VALUES ('cluster', ?)", (f"local-{secrets.token_hex(8)}",))
    return str(db.execute("SELECT value FROM meta WHERE name = 'cluster'").fetchone()[0])


def _read_by_all(db: sqlite3.Connection, recorder: str) -> int | None:
    found = db.execute(
        "SELECT min(at) FROM commits JOIN recorders USING (part) WHERE topic = ? AND recorder = ?", (JOURNAL, recorder)
    ).fetchone()
    return None if found[0] is None else int(found[0])


def _prune(db: sqlite3.Connection) -> None:
    now_us = time.time_ns() // 1000
    for topic in (EVENTS, APPROVALS):
        patient = ", ".join(f"'{group}'" for group in _WAITED_FOR_US)
        done = _least(db, topic, f"grp NOT IN ({patient})")
        if done is None:
            continue
        where, values = "at <= ?", [done]
        for group, kept_us in _WAITED_FOR_US.items():
            read = _least(db, topic, f"grp = '{group}'")
            if read is not None:
                where, values = f"{where} AND (at <= ? OR time_us < ?)", [*values, read, now_us - kept_us]
        db.execute(f"DELETE FROM topic_{topic} WHERE {where} AND at < (SELECT max(at) FROM topic_{topic})", values)  # noqa: S608
    db.execute(  # a later mark of a source says all that an earlier one did
        "DELETE FROM topic_covered WHERE at NOT IN (SELECT max(at) FROM topic_covered GROUP BY key)"
    )
    db.execute(
        "DELETE FROM topic_grants WHERE time_us < ? AND at < (SELECT max(at) FROM topic_grants)",
        (now_us - _GRANTS_KEPT_US,),
    )


def _least(db: sqlite3.Connection, topic: str, whose: str) -> int | None:
    found = db.execute(f"SELECT min(at) FROM commits WHERE topic = ? AND {whose}", (topic,)).fetchone()[0]  # noqa: S608
    return None if found is None else int(found)


def _table_of(topic: str) -> str:
    if topic not in _TOPICS:
        raise ValueError(f"{topic!r} is no topic that can be written here")
    return f"topic_{topic}"


class LocalProducer:
    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus

    async def send(self, topic: str, items: Sequence[tuple[bytes, bytes]]) -> None:
        table = _table_of(topic)
        check_size(items)

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            last = db.execute(f"SELECT max(time_us) FROM {table} WHERE at = (SELECT max(at) FROM {table})").fetchone()  # noqa: S608
            at_us = max(time.time_ns() // 1000, last[0] or 0)  # a topic's time never goes back
            db.executemany(f"INSERT INTO {table} (key, value, time_us) VALUES (?, ?, {at_us})", items)  # noqa: S608

        await self._bus.run(work)
        self._bus.after("outputs")
        self._bus.woken.set()


class LocalConsumer:
    def __init__(self, bus: LocalBus, group: str, topics: Sequence[str]) -> None:
        self._bus, self._group = bus, group
        self._tables = {topic: _table_of(topic) for topic in topics if topic != JOURNAL}
        self._at: dict[str, int] = {}
        self._journal: JournalTopic | None = None
        if JOURNAL in topics:
            self._journal = bus._journal = JournalTopic(bus.journal_dir)

    def begin(self, db: sqlite3.Connection) -> None:
        for topic, table in self._tables.items():
            if self._group:
                self._at[topic] = (_committed(db, self._group, topic, 0) or (0, ""))[0]
            else:
                newest = db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
                self._at[topic] = newest[0] if newest else 0
        if self._journal and not self._group:
            while self._journal.take(1000, _BATCH_BYTES, lambda name: _partition(db, self._group, name)):
                pass

    def _collect(self, most: int) -> list[Message]:
        found: list[Message] = []
        room = _BATCH_BYTES
        db = self._bus._db
        if self._journal:
            found = self._journal.take(most, room, self._known)
            room -= sum(len(m.value) for m in found)
        for topic, table in self._tables.items():
            if len(found) >= most or room <= 0:
                break
            query = f"SELECT at, key, value, time_us FROM {table} WHERE at > ? ORDER BY at LIMIT ?"  # noqa: S608
            with closing(db.execute(query, (self._at[topic], most - len(found)))) as rows:
                for at, key, value, time_us in rows:
                    found.append(Message(topic, 0, at, key, value, time_us))
                    self._at[topic] = at
                    room -= len(value)
                    if room <= 0:
                        break
        return found

    def _known(self, recorder: str) -> tuple[int, int]:
        return self._bus._transact(lambda db: _partition(db, self._group, recorder))

    async def batch(self, most: int, timeout_s: float) -> list[Message]:
        until = time.monotonic() + timeout_s
        pause = _FASTEST_S
        while True:
            self._bus.woken.clear()
            found = await self._read(most)
            left = until - time.monotonic()
            if found or left <= 0:
                return found
            try:
                await asyncio.wait_for(self._bus.woken.wait(), min(pause, left))
            except TimeoutError:
                pause = min(pause * 1.5, _SLOWEST_S)

    async def _read(self, most: int) -> list[Message]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._bus._thread, self._collect, most)
        except sqlite3.Error as e:
            raise BusDown(f"the embedded bus did not give ({type(e).__name__})") from e

    async def commit(self, upto: Message, metadata: str = "") -> None:
        if not self._group:
            raise ValueError("a consumer without a group commits nothing")
        row = (self._group, upto.topic, upto.partition, upto.offset, metadata)
        await self._bus.run(lambda db: db.execute("INSERT OR REPLACE INTO commits VALUES (?, ?, ?, ?, ?)", row))
        self._bus.after("offset")

    async def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        return await self._bus.run(lambda db: _committed(db, self._group, topic, partition))

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        if topic != JOURNAL:
            self._at[topic] = offset - 1
        elif self._journal:
            self._journal.seek(partition, offset)


def _committed(db: sqlite3.Connection, group: str, topic: str, partition: int) -> tuple[int, str] | None:
    found = db.execute(
        "SELECT at, metadata FROM commits WHERE grp = ? AND topic = ? AND part = ?", (group, topic, partition)
    ).fetchone()
    return None if found is None else (int(found[0]), str(found[1]))


def _partition(db: sqlite3.Connection, group: str, recorder: str) -> tuple[int, int]:
    """The recorder's partition, given for ever, and the offset this group is done with (-1: none)."""
    db.execute("INSERT OR IGNORE INTO recorders (recorder) VALUES (?)", (recorder,))
    partition = int(db.execute("SELECT part FROM recorders WHERE recorder = ?", (recorder,)).fetchone()[0])
    return partition, (_committed(db, group, JOURNAL, partition) or (-1, ""))[0]


class LocalTable:
    def __init__(self, bus: LocalBus, name: str) -> None:
        self._bus, self._name = bus, name

    async def get(self, key: bytes) -> bytes | None:
        query = "SELECT value FROM states WHERE name = ? AND key = ?"
        found = await self._bus.run(lambda db: db.execute(query, (self._name, key)).fetchone())
        return None if found is None else bytes(found[0])

    async def items(self) -> dict[bytes, bytes]:
        query = "SELECT key, value FROM states WHERE name = ?"
        rows = await self._bus.run(lambda db: db.execute(query, (self._name,)).fetchall())
        return {bytes(key): bytes(value) for key, value in rows}

    async def put(self, changes: Mapping[bytes, bytes | None]) -> None:
        gone = [(self._name, k) for k, v in changes.items() if v is None]
        kept = [(self._name, k, v) for k, v in changes.items() if v is not None]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM states WHERE name = ? AND key = ?", gone)
            db.executemany("INSERT OR REPLACE INTO states VALUES (?, ?, ?)", kept)

        await self._bus.run(work)
        self._bus.after("state")
