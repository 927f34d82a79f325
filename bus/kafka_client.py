"""How Kafka is reached, and what is asked of it directly: who it is, its topics, a group's offsets.

aiokafka's producer and consumer do the rest. They log why they cannot connect and
raise something else, retry without an end, and know no topic ids: so whoever
starts one dials first, and every call here ends within `timeout_s`.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.conn import create_conn
from aiokafka.protocol.admin import CreateTopicsRequest, DeleteRecordsRequest, DescribeConfigsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from bus.kafka_metadata import DescribeTopics
from bus.topics import BusDown, BusRefused

T = TypeVar("T")
_RETRY_S = 0.1
_NEWEST, _OLDEST = -1, -2  # in place of a time: the end, the beginning
_TOPIC = 2  # the kind of resource that DescribeConfigs is asked about
_NOT_ALLOWED = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where, under which names, how safe. With `ca_file` it is TLS, and a server must be who it is called; with `user`
    it is SCRAM."""

    servers: tuple[str, ...]  # host:port; any of them leads to all
    prefix: str = "tallystick"  # of topics, and of groups
    partitions: int = 4  # of `journal`, for ever: so many maskers can share it
    shards: int = 1  # partitions of `events`, each a log of its own
    replication: int = 3
    min_insync: int = 2
    timeout_s: float = 20.0  # no call hangs longer: then it is BusDown
    ca_file: Path | None = None
    cert_file: Path | None = None  # the client's own, with its chain
    key_file: Path | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    def topic(self, topic: str) -> str:
        return f"{self.prefix}.{topic}"

    def group(self, group: str) -> str:
        return f"{self.prefix}-{group}"

    def reach(self) -> dict[str, Any]:
        """What every aiokafka client is given. Raises BusRefused if a file cannot be used."""
        found: dict[str, Any] = {
            "security_protocol": ("SASL_" if self.user else "") + ("SSL" if self.ca_file else "PLAINTEXT"),
            # Half, so that a request that was lost is tried a second time within the whole.
            "request_timeout_ms": int(self.timeout_s * 500),
        }
        if self.ca_file:
            try:
                context = ssl.create_default_context(cafile=str(self.ca_file))
                if self.cert_file:
                    # The empty password: for a key that has one, OpenSSL would else ask at the terminal.
                    context.load_cert_chain(self.cert_file, self.key_file, password="")
            except OSError as e:  # ssl.SSLError is one
                raise BusRefused(f"Kafka's CA, or our certificate and key, cannot be read ({e.strerror})") from e
            found["ssl_context"] = context
        if self.user:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return found


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is. `id` is another one when the topic is deleted and made again."""

    id: str
    leaders: tuple[int, ...]  # of partition 0, 1, ...; -1 is none
    replicas: int  # the fewest of any partition
    in_sync: int  # likewise


@asynccontextmanager
async def within(seconds: float, what: str) -> AsyncIterator[None]:
    """Whatever keeps Kafka from doing `what` in time is BusDown."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as e:
        raise BusDown(f"Kafka did not {what} within {seconds:g} s") from e
    except (errors.KafkaError, OSError) as e:
        raise (BusRefused if isinstance(e, _NOT_ALLOWED) else BusDown)(
            f"Kafka did not {what} ({type(e).__name__})"
        ) from e


def _fault(server: str, error: BaseException, settings: KafkaSettings) -> BusDown:
    """In one line, without what the server sent: what is wrong between us and it."""
    if isinstance(error, errors.SaslAuthenticationFailed):
        return BusRefused(f"{server}: user {settings.user!r} or its password is not accepted ({settings.mechanism})")
    if isinstance(error, errors.UnsupportedSaslMechanismError | errors.IllegalSaslStateError):
        return BusRefused(f"{server}: does not offer {settings.mechanism}")
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return BusRefused(f"{server}: did not prove that it knows the password of {settings.user!r}")
    tls = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(tls, ssl.SSLCertVerificationError):
        return BusRefused(f"{server}: its certificate is not accepted ({tls.verify_message})")
    if isinstance(tls, ssl.SSLError):
        return BusRefused(f"{server}: no TLS as we want it ({tls.reason})")
    if isinstance(error, TimeoutError):
        return BusDown(f"{server}: does not answer")
    if isinstance(error, errors.KafkaConnectionError):
        # Alerts of TLS 1.3 do not reach us: of what it may have meant, the likeliest.
        wants = "" if settings.cert_file else "; does it want a certificate of ours?" if settings.ca_file else "; TLS?"
        return BusDown(f"{server}: closed the connection{wants}")
    return BusDown(f"{server}: cannot be reached ({type(error).__name__})")


class Client:
    """One cluster. `open` first, `close` at the end."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Raises BusRefused if a file of the settings cannot be used."""
        # It says at each try what we say once, and at DEBUG what keys and values it sends.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
        self._settings = settings
        self.reach = settings.reach()
        self.cluster = ""

    async def open(self) -> None:
        """Raises BusDown, BusRefused."""
        self.cluster = await self.dial()
        self._client = AIOKafkaClient(bootstrap_servers=list(self._settings.servers), **self.reach)
        try:
            async with within(self._settings.timeout_s, "answer"):
                await self._client.bootstrap()
        except BaseException:
            await self._client.close()
            raise

    async def close(self) -> None:
        await self._client.close()

    async def dial(self) -> str:
        """The cluster's id, from the first server that talks to us. Raises BusDown, BusRefused: what each one said."""
        faults: list[BusDown] = []
        for server in self._settings.servers:
            host, _, port = server.rpartition(":")
            try:
                async with asyncio.timeout(self._settings.timeout_s / 2):
                    connection = await create_conn(host, int(port), **self.reach)
                    try:
                        answer = await connection.send(MetadataRequest([]))
                    finally:
                        connection.close()
                return str(answer.cluster_id)
            except (OSError, ValueError, errors.KafkaError) as e:
                faults.append(_fault(server, e, self._settings))
        refused = all(isinstance(fault, BusRefused) for fault in faults)
        raise (BusRefused if refused else BusDown)("Kafka: " + "; ".join(str(fault) for fault in faults))

    async def _repeat(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries again what may be tried again. Raises BusDown."""
        last = ""
        try:
            async with within(self._settings.timeout_s, what):
                while True:
                    try:
                        return await attempt()
                    except errors.KafkaError as e:
                        if not e.retriable:
                            raise
                        last = f" ({type(e).__name__})"
                    await asyncio.sleep(_RETRY_S)
                    await self._client.force_metadata_update()
        except BusRefused:
            raise
        except BusDown as e:
            raise BusDown(f"{e}{last}") from e

    async def _anywhere(self, request: Any) -> Any:
        return await self._client.send(self._client.get_random_node(), request)

    # --- topics -----------------------------------------------------------------------

    async def topics(self, names: Collection[str]) -> dict[str, Topic]:
        """Those that are there, by Kafka's names. Asking never makes one. Raises BusDown; BusRefused if the
        cluster behind the addresses is no longer the one that was opened."""

        async def ask() -> dict[str, Topic]:
            answer = await self._anywhere(DescribeTopics(names))
            if answer.cluster_id != self.cluster:
                raise BusRefused(f"another Kafka cluster answers now: {answer.cluster_id}, not {self.cluster}")
            found = {}
            for code, name, raw_id, _, partitions, *_ in answer.topics:
                if code == errors.UnknownTopicOrPartitionError.errno:
                    continue
                if code:
                    raise errors.for_code(code)
                in_order = sorted(partitions, key=lambda partition: int(partition[1]))
                topic_id = base64.urlsafe_b64encode(raw_id).rstrip(b"=").decode()
                leaders = tuple(int(partition[2]) for partition in in_order)
                replicas, in_sync = (min(len(partition[n]) for partition in in_order) for n in (4, 5))
                found[name] = Topic(topic_id, leaders, replicas, in_sync)
            return found

        return await self._repeat("describe its topics", ask)

    async def topic(self, name: str) -> Topic:
        """Raises BusDown; BusRefused if it is not there."""
        found = await self.topics([name])
        if name not in found:
            raise BusRefused(f"Kafka has no topic {name}: `tallystick check` makes what is missing")
        return found[name]

    async def led(self, names: Collection[str]) -> None:
        """Until each of these has a leader for each partition: a new topic has none for a moment. Raises BusDown."""

        async def ask() -> None:
            found = await self.topics(names)
            if found.keys() != set(names) or any(-1 in topic.leaders for topic in found.values()):
                raise errors.LeaderNotAvailableError

        await self._repeat("lead its topics", ask)

    async def brokers(self) -> int:
        """How many there are. Raises BusDown."""
        answer = await self._repeat("describe itself", lambda: self._anywhere(DescribeTopics([])))
        return len(answer.brokers)

    async def create(self, partitions: int, replication: int, topics: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Makes these, by name and settings. Gives what was refused, one line each. Raises BusDown."""
        nowhere: list[object] = []  # Kafka chooses the brokers
        rows = [(name, partitions, replication, nowhere, [*config.items()]) for name, config in topics.items()]

        async def ask() -> list[str]:
            answer = await self._anywhere(CreateTopicsRequest(rows, int(self._settings.timeout_s * 500), False))
            refused = []
            for name, code, *message in answer.topic_errors:
                error = errors.for_code(code)
                if error.retriable and code:
                    raise error
                if code not in (0, errors.TopicAlreadyExistsError.errno):  # another role was quicker
                    refused.append(f"{name}: not made: {message[0] if message and message[0] else error.__name__}")
            return refused

        return await self._repeat("make topics", ask)

    async def configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings in force, by topic. Raises BusDown."""

        async def ask() -> dict[str, dict[str, str]]:
            answer = await self._anywhere(DescribeConfigsRequest([(_TOPIC, name, None) for name in names]))
            found = {}
            for code, _, _, name, entries in answer.resources:
                if code:
                    raise errors.for_code(code)
                found[name] = {entry[0]: entry[1] for entry in entries}
            return found

        return await self._repeat("describe its settings", ask)

    async def delete_before(self, name: str, partition: int, offset: int) -> int:
        """Deletes what is before `offset`; gives the first offset that is left. Raises BusDown."""

        async def ask() -> int:
            leader = (await self.topic(name)).leaders[partition]
            request = DeleteRecordsRequest([(name, [(partition, offset)])], int(self._settings.timeout_s * 500))
            answer = await self._client.send(leader, request)
            (_, first, code, *_) = answer.topics[0][1][0]
            if code:
                raise errors.for_code(code)
            return int(first)

        return await self._repeat(f"delete what is covered in {name}", ask)

    async def end(self, name: str, partition: int) -> int:
        """The offset that the next message will have. Raises BusDown."""
        return await self._offset(name, partition, _NEWEST, "ends")

    async def begin(self, name: str, partition: int) -> int:
        """The offset before which everything is deleted. Raises BusDown."""
        return await self._offset(name, partition, _OLDEST, "begins")

    async def _offset(self, name: str, partition: int, time: int, does: str) -> int:
        async def ask() -> int:
            leader = (await self.topic(name)).leaders[partition]
            answer = await self._client.send(leader, OffsetRequest(-1, 0, [(name, [(partition, time)])]))
            (_, code, _, offset) = answer.topics[0][1][0]
            if code:
                raise errors.for_code(code)
            return int(offset)

        return await self._repeat(f"say where {name} {does}", ask)

    # --- a group's offsets: nobody joins it, so nothing is ever divided anew ---------------

    async def _coordinator(self, group: str, request: Any) -> Any:
        return await self._client.send(await self._client.coordinator_lookup(CoordinationType.GROUP, group), request)

    async def committed(self, group: str, partitions: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], Any]:
        """{(topic, partition): (next offset, metadata)}; none where nothing was committed. Raises BusDown."""

        async def ask() -> dict[tuple[str, int], Any]:
            answer = await self._coordinator(
                group, OffsetFetchRequest(group, [(t, [*p]) for t, p in partitions.items()])
            )
            if answer.error_code:  # aiokafka takes a coordinator that is still loading for one that knows nothing
                raise errors.for_code(answer.error_code)
            found = {}
            for name, rows in answer.topics:
                for partition, offset, metadata, code in rows:
                    if code:
                        raise errors.for_code(code)
                    if offset >= 0:
                        found[name, partition] = (offset, metadata or "")
            return found

        return await self._repeat("give committed offsets", ask)

    async def commit(self, group: str, name: str, partition: int, offset: int, metadata: str) -> None:
        """Raises BusDown."""
        rows = [(name, [(partition, offset, metadata)])]
        request = OffsetCommitRequest(group, -1, "", OffsetCommitRequest.DEFAULT_RETENTION_TIME, rows)

        async def ask() -> None:
            answer = await self._coordinator(group, request)
            (_, code) = answer.topics[0][1][0]
            if code:
                raise errors.for_code(code)

        await self._repeat("commit an offset", ask)
