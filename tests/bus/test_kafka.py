"""The contract of a bus on a real Kafka, and what only Kafka does: lost offsets, refusals, a broker that dies."""

import asyncio
import gc
import itertools
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from bus.kafka import KafkaBus, KafkaSettings
from bus.kafka_topics import NAMES, TopicProblems, config_of
from bus.topics import APPROVALS, COVERED, EVENTS, GRANTS, JOURNAL, BusDown, BusRefused, OffsetLost
from tests.bus.contract import KEY, Contract, take, values
from tools import services
from tools.services import Kafka, kafka_server
from tools.services.process import free_ports

pytestmark = pytest.mark.timeout(300)  # some start a broker again, on whatever machine

PREFIXES = (f"bus{n}" for n in itertools.count())


@pytest.fixture
async def settings(kafka: Kafka) -> AsyncIterator[KafkaSettings]:
    """Topics of its own, deleted afterwards: a broker that starts again takes its time over each that is left."""
    made = KafkaSettings((kafka.servers,), prefix=next(PREFIXES), replication=1, min_insync=1, timeout_s=5.0)
    yield made
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
    await admin.start()
    await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(f"{made.prefix}.")])
    await admin.close()


@pytest.fixture
async def bus(settings: KafkaSettings) -> AsyncIterator[KafkaBus]:
    made = await KafkaBus.open(settings)
    await made.ensure_topics()
    yield made
    await made.close()


@pytest.fixture
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    made = AIOKafkaAdminClient(bootstrap_servers=kafka.servers)
    await made.start()
    yield made
    await made.close()


async def make_again(bus: KafkaBus, admin: AIOKafkaAdminClient, topic: str) -> None:
    """Deleted and made, as somebody might who wants it empty."""
    name = bus.settings.topic(topic)
    await admin.delete_topics([name])
    async with asyncio.timeout(20):
        while name in await bus.client.topics([name]):
            await asyncio.sleep(0.05)
        await bus.ensure_topics()


class TestContract(Contract):
    """tests/bus/contract.py, on Kafka."""


# --- who it is, and where messages go ---------------------------------------------------


async def test_a_topic_that_is_made_again_is_another_and_the_cluster_stays(
    bus: KafkaBus, admin: AIOKafkaAdminClient
) -> None:
    again = await KafkaBus.open(bus.settings)
    assert again.cluster == bus.cluster
    before = await again.identity(EVENTS)
    assert before == await bus.identity(EVENTS) != await bus.identity(GRANTS)
    assert before.startswith(f"{bus.cluster}/")
    await make_again(bus, admin, EVENTS)
    assert await again.identity(EVENTS) != before
    await again.close()


async def test_another_cluster_at_the_same_address_is_refused_until_the_bus_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kafka: Kafka
) -> None:
    ports = free_ports(3)
    monkeypatch.setattr(kafka_server, "free_ports", lambda _: ports)
    with services.kafka(tmp_path / "one") as server:
        settings = KafkaSettings((server.servers,), replication=1, min_insync=1, timeout_s=5.0)
        bus = await KafkaBus.open(settings)
        await bus.ensure_topics()
        producer, reader = bus.producer(), await bus.consumer("g", [EVENTS])
        await producer.send(EVENTS, [(KEY, b"old")])
        (old,) = await take(reader, 1)
    with services.kafka(tmp_path / "two") as server:
        again = await KafkaBus.open(settings)
        await again.ensure_topics()
        assert again.cluster != bus.cluster
        line = f"another Kafka cluster answers now: {again.cluster}, not {bus.cluster}"
        for attempt in (bus.identity(EVENTS), reader.commit(old), bus.consumer("g", [EVENTS]), bus.ensure_topics()):
            with pytest.raises(BusRefused, match=line):
                await attempt
        await bus.close()
        await again.close()


@pytest.mark.parametrize(
    ("key", "murmur2"),  # from the tests of Kafka's own client: UtilsTest.testMurmur2
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
async def test_the_partition_is_the_one_that_java_and_faust_choose(bus: KafkaBus, key: bytes, murmur2: int) -> None:
    await bus.producer().send(JOURNAL, [(key, b"x")])
    (got,) = await take(await bus.consumer("g", [JOURNAL]), 1)
    assert got.partition == (murmur2 & 0x7FFFFFFF) % 4


async def test_a_topic_takes_its_time_from_the_broker(bus: KafkaBus) -> None:
    before = time.time_ns() // 1_000_000 * 1000
    await bus.producer().send(APPROVALS, [(KEY, b"x")])
    (got,) = await take(await bus.consumer("g", [APPROVALS]), 1)
    assert before <= got.time_us <= time.time_ns() // 1000


# --- positions ------------------------------------------------------------------------------


async def test_a_group_that_committed_nothing_starts_at_what_is_left(bus: KafkaBus) -> None:
    await bus.producer().send(EVENTS, [(KEY, b"%d" % i) for i in range(4)])
    got = await take(await bus.consumer("g", [EVENTS]), 4)
    assert await bus.prune(EVENTS, got[1].partition, got[1].offset) == got[2].offset
    assert values(await take(await bus.consumer("new", [EVENTS]), 2)) == [b"2", b"3"]


async def test_messages_deleted_before_they_were_read_are_an_error_until_somebody_seeks(bus: KafkaBus) -> None:
    await bus.producer().send(EVENTS, [(KEY, b"%d" % i) for i in range(4)])
    reader = await bus.consumer("g", [EVENTS])
    got = await take(reader, 4)
    await reader.commit(got[0], "first")
    await bus.prune(EVENTS, got[2].partition, got[2].offset)
    late = await bus.consumer("g", [EVENTS])
    for _ in range(2):
        with pytest.raises(OffsetLost, match=r"events/\d: offset 1 is not there; 3 to 4 ") as lost:
            await late.batch(10, 1)
    assert (lost.value.wanted, lost.value.first, lost.value.end) == (1, 3, 4)
    await late.seek(EVENTS, lost.value.partition, lost.value.first)
    assert values(await take(late, 1)) == [b"3"]
    await reader.seek(EVENTS, got[1].partition, got[1].offset)  # one that is running is told likewise
    with pytest.raises(OffsetLost, match="offset 1 is not there"):
        await take(reader, 1)


async def test_a_topic_that_was_made_again_is_lost_to_those_who_read_the_old_one(
    bus: KafkaBus, admin: AIOKafkaAdminClient
) -> None:
    await bus.producer().send(EVENTS, [(KEY, b"%d" % i) for i in range(3)])
    reader, full = await bus.consumer("g", [EVENTS]), await bus.consumer("full", [EVENTS])
    got, _ = await take(reader, 3), await take(full, 3)
    await reader.commit(got[2], "three")
    await make_again(bus, admin, EVENTS)
    await bus.producer().send(EVENTS, [(KEY, b"new %d" % i) for i in range(2)])
    with pytest.raises(OffsetLost, match="offset 3 is not there; 0 to 2 "):
        await take(reader, 1)
    await bus.producer().send(EVENTS, [(KEY, b"new %d" % i) for i in range(2, 5)])
    with pytest.raises(OffsetLost, match="offset 2 is not there; 0 to 5 "):  # there is a 2, but not the one it read
        await full.commit(got[1])


async def test_what_was_committed_on_the_topic_before_is_no_position_on_this_one(
    bus: KafkaBus, admin: AIOKafkaAdminClient
) -> None:
    """Kafka forgets a deleted topic's commits, but only after a while: one that came later stays."""
    await bus.producer().send(EVENTS, [(KEY, b"old")])
    (old,) = await take(await bus.consumer("g", [EVENTS]), 1)
    before = (await bus.client.topic(bus.settings.topic(EVENTS))).id
    await make_again(bus, admin, EVENTS)
    await bus.producer().send(EVENTS, [(KEY, b"new"), (KEY, b"newer")])
    await bus.client.commit(bus.settings.group("g"), bus.settings.topic(EVENTS), old.partition, 1, f"{before} late")
    reader = await bus.consumer("g", [EVENTS])
    with pytest.raises(OffsetLost, match="offset 1 is not there; 0 to 2 "):
        await reader.batch(10, 1)
    assert await reader.committed(EVENTS, old.partition) == (0, "late")


async def test_a_reader_ends_while_its_fetch_waits_to_try_again(bus: KafkaBus) -> None:
    """As where the broker was killed: aiokafka lets the end of a fetch that it cancelled out of its own `stop`."""
    reader = await bus.consumer("g", [EVENTS])
    client = reader._started()
    waits = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    client._fetcher._pending_tasks.add(waits)
    await reader.close()
    assert waits.cancelled()
    assert all(not connection.connected() for connection in client._client._conns.values())


async def test_only_the_newest_mark_of_a_source_need_stay(bus: KafkaBus) -> None:
    configs = await bus.client.configs([bus.settings.topic(COVERED)])
    assert configs[bus.settings.topic(COVERED)]["cleanup.policy"] == "compact"
    with pytest.raises(BusDown, match="PolicyViolation"):
        await bus.producer().send(COVERED, [(b"s", b"1")])
        await bus.prune(COVERED, 0, -1)


# --- topics -----------------------------------------------------------------------------------


async def test_topics_are_made_once_with_every_setting_that_a_promise_hangs_on(bus: KafkaBus) -> None:
    await bus.ensure_topics()  # again: nothing to say
    there = await bus.client.configs([bus.settings.topic(t) for t in NAMES])
    for topic in (JOURNAL, EVENTS):
        found = there[bus.settings.topic(topic)]
        assert (found["retention.ms"], found["retention.bytes"], found["cleanup.policy"]) == ("-1", "-1", "delete")
    for found in there.values():
        assert found["message.timestamp.type"] == "LogAppendTime"
        assert found["unclean.leader.election.enable"] == "false"
        assert int(found["max.message.bytes"]) > 4 * 1024 * 1024


async def test_a_topic_that_differs_is_said_and_not_altered(
    settings: KafkaSettings, admin: AIOKafkaAdminClient
) -> None:
    name = settings.topic(EVENTS)
    config = config_of(EVENTS, settings) | {"retention.ms": "1000"}
    await admin.create_topics([NewTopic(name, 2, 1, topic_configs=config)])
    bus = await KafkaBus.open(settings)
    with pytest.raises(TopicProblems) as said:
        await bus.ensure_topics()
    assert said.value.problems == (
        f"{name}: 2 partitions, should be 1",
        f"{name}: retention.ms is 1000, should be -1",
    )
    assert (await bus.client.configs([name]))[name]["retention.ms"] == "1000"
    await bus.close()


async def test_more_replicas_than_brokers_is_one_line(settings: KafkaSettings) -> None:
    bus = await KafkaBus.open(replace(settings, replication=3, min_insync=2))
    with pytest.raises(TopicProblems, match=r"^replication 3 needs as many brokers; Kafka has 1$"):
        await bus.ensure_topics()
    await bus.close()


async def test_a_topic_that_is_not_there_is_said_and_not_made(settings: KafkaSettings) -> None:
    bus = await KafkaBus.open(settings)
    line = rf"^Kafka has no topic {settings.prefix}\.events: `tallystick check` makes what is missing$"
    with pytest.raises(BusRefused, match=line):
        await bus.consumer("g", [EVENTS])
    with pytest.raises(BusRefused, match=line):
        await bus.producer().send(EVENTS, [(KEY, b"x")])
    with pytest.raises(ValueError, match="is no topic"):
        await bus.producer().send("event", [(KEY, b"x")])
    assert await bus.client.topics([settings.topic(EVENTS)]) == {}
    await bus.close()


async def test_a_partition_that_is_not_there_is_said(bus: KafkaBus) -> None:
    with pytest.raises(ValueError, match="1 partitions"):
        await bus.consumer("g", [EVENTS], [1])


# --- a broker that is away ----------------------------------------------------------------------


async def test_a_broker_that_does_not_answer_is_bus_down_in_bounded_time_and_afterwards_all_goes_on(
    kafka: Kafka, settings: KafkaSettings
) -> None:
    bus = await KafkaBus.open(replace(settings, timeout_s=2.0))
    await bus.ensure_topics()
    producer, reader = bus.producer(), await bus.consumer("g", [EVENTS])
    await producer.send(EVENTS, [(KEY, b"before")])
    (before,) = await take(reader, 1)

    async def until_down() -> None:
        async with asyncio.timeout(20):
            while True:
                await reader.batch(10, 0.5)

    kafka.pause()
    try:
        for attempt in (
            producer.send(EVENTS, [(KEY, b"during")]),
            reader.commit(before),
            reader.committed(EVENTS, before.partition),
            until_down(),
            bus.consumer("h", [EVENTS]),
            bus.identity(EVENTS),
            bus.ensure_topics(),
            KafkaBus.open(bus.settings),
        ):
            began = time.monotonic()
            with pytest.raises(BusDown):
                await attempt
            assert time.monotonic() - began < 20
    finally:
        kafka.resume()
    async with asyncio.timeout(30):
        while True:
            try:
                await producer.send(EVENTS, [(KEY, b"after")])
                break
            except BusDown:
                continue
        found: list[bytes] = []
        while b"after" not in found:
            found += values(await reader.batch(10, 1))
    assert found in ([b"after"], [b"during", b"after"])
    await bus.close()


async def test_what_was_not_acknowledged_in_time_is_not_sent_behind_our_back(
    kafka: Kafka, settings: KafkaSettings
) -> None:
    complaints: list[dict[str, object]] = []  # of what nobody waited for, or nobody caught
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    bus = await KafkaBus.open(replace(settings, timeout_s=2.0))
    await bus.ensure_topics()
    producer = bus.producer()
    await producer.send(EVENTS, [(KEY, b"before")])
    await asyncio.to_thread(kafka.kill)
    try:
        with pytest.raises(BusDown, match=r"did not acknowledge what was sent to .*events within 2 s"):
            await producer.send(EVENTS, [(KEY, b"during")])
        with pytest.raises(BusDown, match=r"cannot be reached \(ConnectionRefusedError\)"):
            await producer.send(EVENTS, [(KEY, b"still")])
    finally:
        await asyncio.to_thread(kafka.start)
    async with asyncio.timeout(30):
        while True:
            try:
                await producer.send(EVENTS, [(KEY, b"after")])
                break
            except BusDown:
                continue
    assert values(await take(await bus.consumer("g", [EVENTS]), 2)) == [b"before", b"after"]
    await bus.close()
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_a_request_that_is_repeated_because_its_answer_did_not_come_is_written_once(
    kafka: Kafka, settings: KafkaSettings
) -> None:
    """The broker has the first one in its socket when it wakes, and the second after it."""
    bus = await KafkaBus.open(replace(settings, timeout_s=20.0))  # aiokafka repeats after 10 s
    await bus.ensure_topics()
    producer = bus.producer()
    await producer.send(EVENTS, [(KEY, b"before")])
    waiting = producer._made._message_accumulator  # type: ignore[union-attr]
    kafka.pause()
    try:
        sending = asyncio.create_task(producer.send(EVENTS, [(KEY, b"once")]))
        async with asyncio.timeout(15):
            while not any(batch.retry_count for batches in waiting._batches.values() for batch in batches):
                await asyncio.sleep(0.01)
    finally:
        kafka.resume()
    await sending
    reader = await bus.consumer("g", [EVENTS])
    assert values(await take(reader, 2)) == [b"before", b"once"]
    assert await reader.batch(1, 1.0) == []
    await bus.close()


async def test_a_broker_killed_while_sending_loses_nothing_that_was_acknowledged_and_keeps_the_order(
    kafka: Kafka, settings: KafkaSettings
) -> None:
    bus = await KafkaBus.open(replace(settings, timeout_s=60.0))  # so that only aiokafka repeats, and no send of ours
    await bus.ensure_topics()
    sent = 0

    async def send() -> None:
        nonlocal sent
        producer = bus.producer()
        while sent < 3000:
            await producer.send(EVENTS, [(b"%d" % (n % 8), b"%d" % n) for n in range(sent, sent + 50)])
            sent += 50

    reader = await bus.consumer("g", [EVENTS])
    kept = await bus.consumer("kept", [GRANTS])
    await bus.producer().send(GRANTS, [(KEY, b"x")])
    (mark,) = await take(kept, 1)
    await kept.commit(mark, "before")

    async def kill() -> None:
        for at in (500, 1500):
            while sent < at:
                await asyncio.sleep(0.001)
            await asyncio.to_thread(kafka.kill)
            await asyncio.to_thread(kafka.start)
            # Asked while the broker is still reading what groups committed: it must not look like a group without.
            assert await kept.committed(GRANTS, mark.partition) == (mark.offset, "before")

    async with asyncio.timeout(200):
        await asyncio.gather(send(), kill())
    got = await take(reader, 3000)
    for n in range(8):
        assert [int(m.value) for m in got if m.key == b"%d" % n] == list(range(n, 3000, 8))
    assert await reader.batch(1, 1.0) == []
    await bus.close()


# --- TLS and SASL ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


PASSWORD = "correct horse, battery=staple"


def server_pem(folder: Path, cert: trustme.LeafCert) -> Path:
    key = load_pem_private_key(cert.private_key_pem.bytes(), None)
    pem = folder / "server.pem"
    chain = b"".join(blob.bytes() for blob in cert.cert_chain_pems)
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    return pem


@pytest.fixture(scope="module")
def secure(kafka: Kafka, ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    folder = tmp_path_factory.mktemp("secure")
    pem = server_pem(folder, ca.issue_cert("127.0.0.1"))
    with services.kafka(folder / "kafka", services.Secure(pem=pem, users={"ledger": PASSWORD})) as server:
        yield server


@pytest.fixture
def over_tls(secure: Kafka, ca: trustme.CA, tmp_path: Path) -> KafkaSettings:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return KafkaSettings(
        (secure.secure_servers,),
        prefix=next(PREFIXES),
        replication=1,
        min_insync=1,
        timeout_s=5.0,
        ca_file=tmp_path / "ca.pem",
        user="ledger",
        password=PASSWORD,
    )


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_messages_go_over_tls_as_a_user(over_tls: KafkaSettings, mechanism: str) -> None:
    bus = await KafkaBus.open(replace(over_tls, mechanism=mechanism))
    await bus.ensure_topics()
    await bus.producer().send(EVENTS, [(KEY, b"x")])
    reader = await bus.consumer("g", [EVENTS])
    (got,) = await take(reader, 1)
    await reader.commit(got)
    assert await reader.committed(EVENTS, got.partition) == (got.offset, "")
    await bus.close()


REFUSED: dict[str, tuple[Callable[[KafkaSettings, Path], KafkaSettings], type[BusDown], str]] = {
    "wrong password": (
        lambda s, _: replace(s, password=PASSWORD + "!"),
        BusRefused,
        "user 'ledger' or its password is not accepted",
    ),
    "unknown user": (lambda s, _: replace(s, user="nobody"), BusRefused, "user 'nobody' or its password is not"),
    "unknown authority": (
        lambda s, folder: replace(s, ca_file=_other_ca(folder)),
        BusRefused,
        "its certificate is not accepted (unable to get local issuer certificate)",
    ),
    "another name": (
        lambda s, _: replace(s, servers=(s.servers[0].replace("127.0.0.1", "localhost"),)),
        BusRefused,
        "its certificate is not accepted (Hostname mismatch",
    ),
    "no TLS on our side": (lambda s, _: replace(s, ca_file=None), BusDown, "closed the connection; TLS?"),
    "no CA file": (
        lambda s, folder: replace(s, ca_file=folder / "missing.pem"),
        BusRefused,
        "Kafka's CA, or our certificate and key, cannot be read (No such file or directory)",
    ),
}


def _other_ca(folder: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    return folder / "other.pem"


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_between_us_and_kafka_is_one_line_without_a_secret(
    over_tls: KafkaSettings, tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wrong, error, line = REFUSED[case]
    settings = wrong(over_tls, tmp_path)
    with pytest.raises(error) as said:
        await KafkaBus.open(settings)
    assert line in str(said.value)
    assert "\n" not in str(said.value)
    for text in (str(said.value), repr(said.value), repr(settings), caplog.text):
        assert PASSWORD not in text


async def test_a_certificate_that_has_expired_is_said(
    kafka: Kafka, ca: trustme.CA, over_tls: KafkaSettings, tmp_path: Path
) -> None:
    """The handshake is all there is to it: a TLS server with the expired certificate stands for the broker."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(BusRefused, match=r"its certificate is not accepted \(certificate has expired\)"):
        await KafkaBus.open(replace(over_tls, servers=(f"127.0.0.1:{port}",)))
    server.close()


async def test_our_own_certificate_is_shown_where_it_is_asked_for(ca: trustme.CA, tmp_path: Path) -> None:
    """As above; brokers of the tests ask for none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    seen: list[str] = []

    def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(str(writer.get_extra_info("peercert")["subjectAltName"]))
        writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=context)
    ours = ca.issue_cert("ledger@tallystick.test")
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = KafkaSettings((address,), timeout_s=5.0, ca_file=tmp_path / "ca.pem")
    with pytest.raises(BusDown, match=rf"^Kafka: {address}: closed the connection; does it want a certificate of ours"):
        await KafkaBus.open(settings)
    assert seen == []
    with pytest.raises(BusDown, match=r"closed the connection$"):
        await KafkaBus.open(replace(settings, cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem"))
    assert seen == ["(('email', 'ledger@tallystick.test'),)"]
    server.close()


async def test_a_client_without_tls_learns_that_the_other_side_is_not_there(settings: KafkaSettings) -> None:
    free = free_ports(1)[0]
    with pytest.raises(BusDown, match=rf"^Kafka: 127\.0\.0\.1:{free}: cannot be reached \(ConnectionRefusedError\)$"):
        await KafkaBus.open(replace(settings, servers=(f"127.0.0.1:{free}",)))
