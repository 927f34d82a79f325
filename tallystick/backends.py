"""The bus and the store that a config names, opened. Drivers are imported only where they are used."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from bus.local import LocalBus
from bus.topics import Bus
from ledger.store import FileStore, Store
from tallystick.config import Config, ConfigInvalid

if TYPE_CHECKING:
    from bus.kafka import KafkaBus
    from bus.kafka_client import KafkaSettings
    from ledger.s3 import Bucket

_NEEDS = "this needs more than is installed: pip install 'tallystick[full]'"


def kafka_settings(config: Config) -> KafkaSettings:
    """Raises ConfigInvalid."""
    try:
        from bus.kafka_client import KafkaSettings
    except ModuleNotFoundError as e:
        raise ConfigInvalid(f"bus: {_NEEDS}") from e
    k = config.kafka
    return KafkaSettings(
        servers=config.kafka_servers,
        prefix=k.prefix,
        partitions=k.partitions,
        replication=k.replication,
        min_insync=k.min_insync,
        ca_file=k.ca,
        cert_file=k.cert,
        key_file=k.key,
        user=k.user,
        password=read_secret(k.password_file, "the password of Kafka's user") if k.password_file else "",
        mechanism=k.mechanism,
    )


async def open_kafka(config: Config) -> KafkaBus:
    """With every topic as it must be. Raises ConfigInvalid, BusDown, TopicProblems."""
    settings = kafka_settings(config)
    from bus.kafka import KafkaBus

    bus = await KafkaBus.open(settings)
    try:
        await bus.ensure_topics()
    except BaseException:
        await bus.close()
        raise
    return bus


async def open_bus(config: Config) -> Bus:
    """Raises ConfigInvalid, BusDown, TopicProblems."""
    return await open_kafka(config) if config.kafka_servers else LocalBus(config.data)


def open_bucket(config: Config, patience_s: float = 30.0) -> Bucket:
    """A request is begun again for `patience_s`. Raises ConfigInvalid, StoreBroken."""
    from ledger.s3_settings import StoreSettings, StoreSettingsInvalid

    try:
        settings = StoreSettings.parse(config.store)
        from ledger.s3 import Bucket
    except StoreSettingsInvalid as e:
        raise ConfigInvalid(str(e)) from e
    except ModuleNotFoundError as e:
        raise ConfigInvalid(f"store: {_NEEDS}") from e
    return Bucket(settings, patience_s)


def open_store(config: Config) -> Store:
    """For reading, and for a writer that has probed it. Raises ConfigInvalid, StoreBroken."""
    if config.store_dir is not None:
        return FileStore(config.store_dir)
    bucket = open_bucket(config)
    from ledger.s3 import S3Store

    return S3Store(bucket, now_us)


def now_us() -> int:
    return time.time_ns() // 1000


def read_secret(path: Path, what: str) -> str:
    """Of a file that its owner alone may read, without the end of its line. Raises ConfigInvalid."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigInvalid(f"{path}: others can read {what}; chmod 600 {path}")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigInvalid(f"{path}: cannot be read: it holds {what}") from e
