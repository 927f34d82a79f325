"""The real Kafka that other tests stand on: it answers, keeps its data through a kill, and is what was pinned."""

from __future__ import annotations

import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tools.services import Kafka

MIB = 1024 * 1024


async def topic(kafka: Kafka) -> str:
    """A new topic with one partition."""
    name = f"t-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()
    return name


async def send(kafka: Kafka, to: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.servers, acks="all", max_request_size=5 * MIB)
    await producer.start()
    await producer.send_and_wait(to, value)
    await producer.stop()


async def read(kafka: Kafka, of: str) -> bytes:
    consumer = AIOKafkaConsumer(
        of,
        bootstrap_servers=kafka.servers,
        group_id=of,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=5 * MIB,
    )
    await consumer.start()
    record = await consumer.getone()
    await consumer.stop()
    return record.value or b""


async def test_takes_and_gives_a_record_of_four_mebibytes(kafka: Kafka) -> None:
    to = await topic(kafka)
    await send(kafka, to, bytes(4 * MIB))
    assert await read(kafka, to) == bytes(4 * MIB)


async def test_keeps_an_acknowledged_record_through_a_kill(kafka: Kafka) -> None:
    to, address, pid = await topic(kafka), kafka.servers, kafka.pid
    await send(kafka, to, b"kept")
    kafka.kill()
    kafka.start()
    assert (kafka.servers, kafka.pid != pid) == (address, True)
    assert await read(kafka, to) == b"kept"
