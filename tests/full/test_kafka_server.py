"""The real Kafka that other tests stand on: it answers, keeps its data through a kill, and is what was pinned."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tools import services
from tools.services import Kafka, Secure

pytestmark = pytest.mark.timeout(300)  # a JVM or two start in a test, on a machine that may be busy

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


async def test_answers_nothing_while_it_is_paused(kafka: Kafka) -> None:
    to = await topic(kafka)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.servers, acks="all")
    await producer.start()
    await producer.send_and_wait(to, b"before")
    kafka.pause()
    try:
        sent = asyncio.ensure_future(producer.send_and_wait(to, b"meanwhile"))
        done, _ = await asyncio.wait([sent], timeout=1)
        assert not done
    finally:
        kafka.resume()
    assert (await sent).offset == 1
    await producer.stop()


PASSWORD = 'a,b="c]d'
"""With what separates and quotes in Kafka's own form of it."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(kafka: Kafka, authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A second Kafka, with TLS and SCRAM; after the first, so that it is skipped or fails as that one does."""
    place = tmp_path_factory.mktemp("secure")
    certificate = authority.issue_cert("127.0.0.1")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    pem = place / "server.pem"
    pem.touch(0o600)
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    with services.kafka(place / "kafka", Secure(pem, {"alice": PASSWORD})) as server:
        yield server


def client(secure: Kafka, authority: trustme.CA | None, mechanism: str, password: str) -> AIOKafkaProducer:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return AIOKafkaProducer(
        bootstrap_servers=secure.secure_servers,
        security_protocol="SASL_SSL",
        ssl_context=context,
        sasl_mechanism=mechanism,
        sasl_plain_username="alice",
        sasl_plain_password=password,
    )


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_lets_a_user_in_over_tls(secure: Kafka, authority: trustme.CA, mechanism: str) -> None:
    to = await topic(secure)
    producer = client(secure, authority, mechanism, PASSWORD)
    await producer.start()
    await producer.send_and_wait(to, b"safe")
    await producer.stop()
    assert await read(secure, to) == b"safe"


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_refuses_another_password(secure: Kafka, authority: trustme.CA, mechanism: str) -> None:
    producer = client(secure, authority, mechanism, "another")
    with pytest.raises(KafkaError, match="Unable to bootstrap"):
        await producer.start()


async def test_shows_a_certificate_that_only_its_authority_vouches_for(secure: Kafka) -> None:
    with pytest.raises(KafkaConnectionError):
        await client(secure, None, "SCRAM-SHA-256", PASSWORD).start()


def test_the_password_is_in_no_file_and_no_argument(secure: Kafka) -> None:
    files = [path for path in secure.folder.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    assert PASSWORD.encode() not in Path(f"/proc/{secure.pid}/cmdline").read_bytes()
