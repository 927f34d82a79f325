"""The topics in Kafka: every setting that a promise hangs on is set, and looked at again at each start.

Nothing that is there is altered: what differs is said, and a person decides.
Time is the broker's everywhere (LogAppendTime): for `approvals` it is the only
clock there is, and everywhere else it is what `Message.time_us` means.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bus.kafka_client import Client, KafkaSettings
from bus.topics import APPROVALS, COVERED, EVENTS, GRANTS, JOURNAL, LARGEST_MESSAGE, BusRefused

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_OVERHEAD = 64 * 1024  # of the batch that a largest message comes in
LARGEST_BATCH = LARGEST_MESSAGE + _OVERHEAD

_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_SETTINGS = {
    # Only what is covered goes, by `prune`: time never deletes what the ledger has not got.
    JOURNAL: _FOR_EVER,
    EVENTS: _FOR_EVER,
    # A hold, a vote or a tick of last week is past every deadline; what it did is in the step's state.
    APPROVALS: {
        "cleanup.policy": "delete",
        "retention.ms": str(7 * _DAY_MS),
        "retention.bytes": "-1",
        "segment.ms": str(_DAY_MS),
    },
    # Gateways read it from its end, and a hold waits for minutes; a day is for whoever looks into a fault. Segments
    # of an hour, because only whole ones go.
    GRANTS: {
        "cleanup.policy": "delete",
        "retention.ms": str(_DAY_MS),
        "retention.bytes": "-1",
        "segment.ms": str(_HOUR_MS),
    },
    # The newest mark of a source says all that the earlier ones did; the segment being written is never compacted.
    COVERED: {
        "cleanup.policy": "compact",
        "segment.ms": str(_HOUR_MS // 6),
        "segment.bytes": str(16 * 1024 * 1024),
        "min.cleanable.dirty.ratio": "0.1",
    },
}
NAMES = tuple(_SETTINGS)


class TopicProblems(BusRefused):
    """What is not as it must be, one line each; nothing was altered."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def partitions_of(topic: str, settings: KafkaSettings) -> int:
    """The approvals step has one owner; grants and marks are read whole by every gateway."""
    return {JOURNAL: settings.partitions, EVENTS: settings.shards}.get(topic, 1)


def config_of(topic: str, settings: KafkaSettings) -> dict[str, str]:
    """A topic's explicit settings, in Kafka's words."""
    return {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(LARGEST_BATCH),
        "min.insync.replicas": str(settings.min_insync),
        "unclean.leader.election.enable": "false",
        **_SETTINGS[topic],
    }


async def ensure(client: Client, settings: KafkaSettings) -> None:
    """Makes the topics that are missing. Raises TopicProblems, BusDown."""
    wanted = {settings.topic(topic): (partitions_of(topic, settings), config_of(topic, settings)) for topic in NAMES}
    there, problems = await _differences(client, settings, wanted)
    if settings.min_insync > settings.replication:
        problems.append(f"min_insync {settings.min_insync} is more than replication {settings.replication}")
    missing = {name: made for name, made in wanted.items() if name not in there}
    if missing and (brokers := await client.brokers()) < settings.replication:
        problems.append(f"replication {settings.replication} needs as many brokers; Kafka has {brokers}")
    if problems:
        raise TopicProblems(problems)
    if not missing:
        return
    for count in {count for count, _ in missing.values()}:
        alike = {name: config for name, (partitions, config) in missing.items() if partitions == count}
        if refused := await client.create(count, settings.replication, alike):
            raise TopicProblems(refused)
    await client.led(wanted)
    _, problems = await _differences(client, settings, wanted)  # another may have made one meanwhile, and otherwise
    if problems:
        raise TopicProblems(problems)


async def short(client: Client, settings: KafkaSettings) -> list[str]:
    """Topics that take nothing now, one line each: fewer replicas are in sync than a write needs. Raises BusDown."""
    there = await client.topics([settings.topic(topic) for topic in NAMES])
    return [
        f"{name}: replicas in sync: {topic.in_sync}; a write needs {settings.min_insync}"
        for name, topic in there.items()
        if topic.in_sync < settings.min_insync
    ]


async def _differences(
    client: Client, settings: KafkaSettings, wanted: Mapping[str, tuple[int, Mapping[str, str]]]
) -> tuple[Collection[str], list[str]]:
    """The topics that are there, and what is not as wanted in them. Raises BusDown."""
    there = await client.topics(wanted)
    configs = await client.configs(list(there)) if there else {}
    problems: list[str] = []
    for name, topic in there.items():
        partitions, config = wanted[name]
        if len(topic.leaders) != partitions:
            problems.append(f"{name}: {len(topic.leaders)} partitions, should be {partitions}")
        if topic.replicas != settings.replication:
            problems.append(f"{name}: replication {topic.replicas}, should be {settings.replication}")
        for key, value in config.items():
            if configs[name].get(key) != value:
                problems.append(f"{name}: {key} is {configs[name].get(key)}, should be {value}")
    return there.keys(), problems
