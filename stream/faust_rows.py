"""The Faust table that keeps a stage's rows: one dict a partition, in memory, restored from a compacted changelog.

Faust's own memory table keeps every partition's rows under their bare keys, forgets
which partition a row written here came from, and reads a changelog again from its
start whenever partitions move, even one it has followed as a standby. So the store
here counts: it knows of each partition the last changelog offset that its rows hold.
Faust asks for that (`persisted_offset`) and reads on from there.

Rows are not written through the table. Faust sends them one by one, so that a kill
between two would leave half a state; `stream.faust_app` sends the rows of one turn
as one record batch, which a broker appends whole or not at all, and tells `wrote`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.table import Table
from faust.types import TP, AppT, EventT

from bus.kafka_client import KafkaSettings

CHANGELOG_BATCH = 16 * 1024 * 1024
"""Bytes of one put: what the changelog topic takes as one record batch."""


def changelog_config(settings: KafkaSettings) -> dict[str, str]:
    """Kafka's settings of a changelog."""
    return {
        "cleanup.policy": "compact",
        "segment.bytes": str(16 * 1024 * 1024),  # the open segment is never compacted, and a takeover reads it whole
        "segment.ms": str(10 * 60 * 1000),
        "min.cleanable.dirty.ratio": "0.1",
        "delete.retention.ms": str(60 * 60 * 1000),  # of tombstones: longer than any recovery takes
        "max.message.bytes": str(CHANGELOG_BATCH + 64 * 1024),
        "min.insync.replicas": str(settings.min_insync),
        "unclean.leader.election.enable": "false",
    }


class Rows(Store[int, dict[bytes, bytes]]):
    """Rows by partition. Only messages of the present generation of the group are taken, each once, in order."""

    def __post_init__(self) -> None:
        self.data: dict[int, dict[bytes, bytes]] = {}
        self._at: dict[int, int] = {}
        self._generation = 0
        self.taken = 0
        """How many changelog messages were read."""

    def rows(self, partition: int) -> dict[bytes, bytes]:
        return self.data.get(partition, {})

    def at(self, partition: int) -> int:
        """The last changelog offset that the rows hold; -1 before the first."""
        return self._at.get(partition, -1)

    def reach(self, partition: int, offset: int) -> None:
        """Recovery is done up to `offset`: what compaction left out before it will not come."""
        self._at[partition] = max(self.at(partition), offset)

    def wrote(self, partition: int, changes: Mapping[bytes, bytes | None], last: int) -> None:
        rows = self.data.setdefault(partition, {})
        for key, value in changes.items():
            _set(rows, key, value)
        self._at[partition] = last

    def apply_changelog_batch(
        self, batch: Iterable[EventT[Any]], to_key: Callable[[Any], Any], to_value: Callable[[Any], Any]
    ) -> None:
        for event in batch:
            message = event.message
            old = message.generation_id != self.app.consumer_generation_id
            if old or message.offset <= self.at(message.partition):
                continue  # left over from before partitions moved: it is read again if it is ours
            _set(self.data.setdefault(message.partition, {}), message.key or b"", message.value)
            self._at[message.partition] = message.offset
            self.taken += 1

    def persisted_offset(self, tp: TP) -> int | None:
        return self._at.get(tp.partition)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        kept = {tp.partition for tp in assigned if tp.topic == self.table.changelog_topic.get_topic_name()}
        if generation_id != self._generation + 1:
            kept = set()  # we were out of the group for a time: tombstones may have come and gone
        self._generation = generation_id
        for partition in self._at.keys() - kept:
            self.data.pop(partition, None)
            del self._at[partition]

    def reset_state(self) -> None:
        """Nothing is on disk."""

    async def backup_partition(self, tp: TP | int, flush: bool = True, purge: bool = False, keep: int = 1) -> None:
        raise NotImplementedError("rows are restored from their changelog")

    def restore_backup(self, tp: TP | int, latest: bool = True, backup_id: int = 0) -> None:
        raise NotImplementedError("rows are restored from their changelog")


def _set(rows: dict[bytes, bytes], key: bytes, value: bytes | None) -> None:
    if value is None:
        rows.pop(key, None)
    else:
        rows[key] = value


class RowTable(Table[bytes, bytes]):
    """Keys and values are bytes as they are: of a table declared by `schema=` they came back as JSON."""

    def __init__(self, app: AppT, name: str, partitions: int, recovered: Callable[[frozenset[int]], None]) -> None:
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
        )
        self._recovered = recovered

    @property
    def kept(self) -> Rows:
        return cast(Rows, self.data)

    def _new_store(self) -> Rows:
        return Rows("memory://", self.app, self, table_name=self.name)

    def _changelog_topic_name(self) -> str:
        return self.name

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        recovery = cast(TableManager, self.app.tables).recovery
        for tp in active_tps:
            self.kept.reach(tp.partition, recovery.active_highwaters.get(tp, -1))
        self._recovered(frozenset(tp.partition for tp in active_tps))
