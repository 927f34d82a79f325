"""`tallystick check`: everything that a config names is tried, and each fault is one line that says what to do.

It goes on after a fault, so that all of them are said at once. What it leaves behind: topics
that were missing in Kafka, and the two objects of the WORM probe, locked for five minutes.
No secret is in a finding: the parts it asks keep theirs out of their errors.
"""

from __future__ import annotations

import asyncio
import errno
import http.client
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bus.topics import JOURNAL, BusDown
from ingest.journal_home import RecorderTaken, lock
from ingest.postgres import tls
from ingest.postgres.scram import Verifier
from ingest.postgres.target import TargetDown, connect
from ingest.settings import SettingsInvalid, Target
from ledger.note import VerifierKey
from ledger.recovery import CannotRecover, recover
from ledger.store import Store, StoreBroken, StoreRefused
from ledger.succession import origin_of, shards
from policy.document import RulesInvalid
from schemas.records import WormProbe
from seal import keyfiles
from seal.keyfiles import KeysUnusable, NotEnrolled
from tallystick.backends import kafka_settings, now_us, open_bucket, open_store
from tallystick.config import Address, Config, ConfigInvalid, DoorTls, Gateway, Notify
from tallystick.door import DoorClient, exposed, is_loopback, server_context
from tallystick.gateway_settings import settings_of
from tallystick.notify.channels import NotSent
from tallystick.notify.channels import channel as open_channel
from tallystick.roles import read_rules
from tallystick.roles.ledger import SHARD
from tallystick.roles.workers import OPS

STORE_S = 5.0  # a role waits longer for its store: there it is traffic that waits, here a person
ASK_S = 2.0
_TERMINATE = b"X\0\0\0\4"

_MEND_STORE = {
    "InvalidAccessKeyId": "the store knows no such user: look at the credentials file",
    "SignatureDoesNotMatch": "the secret key is wrong: look at the credentials file",
    "ObjectLockConfigurationNotFoundError": "a bucket gets object lock when it is made: make another",
    "AccessDenied": "give the credential the rights of docs/writer-policy.json",
}
"""By the code of S3's answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    good: bool
    text: str


def findings(config: Config) -> Iterator[Finding]:
    """One after the other, as they are found."""
    yield from _keys(config)
    yield from _policy(config)
    yield from _folders(config)
    yield from _bus(config)
    yield from _store(config)
    for gateway in config.gateway:
        yield from _gateway(gateway, config)
    for channel in config.notify:
        yield _channel(channel, config)
    yield from _door(config)
    yield from _ports(config)


RENEW_DAYS = 30  # before an enrolment ends it is time


# --- on this machine -----------------------------------------------------------------------


def _keys(config: Config) -> Iterator[Finding]:
    keys, now = config.keys, now_us()
    try:
        known = keyfiles.enrolled(keys)
    except KeysUnusable as e:
        yield Finding("keys", False, str(e))
        return
    faults = []
    for role in keyfiles.ROLES:
        if role == "behaviour" and not keyfiles.has_role(keys, role):  # a directory of a release before it
            faults.append(f"{keys}/behaviour.key: not there; make it with: tallystick keys add behaviour --dir {keys}")
            continue
        try:
            if known.public(role, role, now) != keyfiles.load_signer(keys, role).public:
                faults.append(f"{keys}/{role}.key: not the key that is enrolled; restore the right one")
        except KeysUnusable as e:
            faults.append(str(e))
        except NotEnrolled as e:
            faults.append(f"{role}: {e}")
    for purpose in keyfiles.PURPOSES:
        try:
            keyfiles.load_secret(keys, purpose)
        except KeysUnusable as e:
            faults.append(str(e))
    try:
        sealed_to = keyfiles.load_masker_public(keys).id
        keyfiles.load_masker(keys).private(sealed_to)
    except KeysUnusable as e:
        faults.append(str(e))
    except KeyError:
        faults.append(f"{keys}/masker-{sealed_to}.key: not here: nobody could open what is recorded now; restore it")
    left = (keyfiles.ends_us(known, now) - now) // 86_400_000_000
    if not faults and left < RENEW_DAYS:
        faults.append(
            f"an enrolment ends in {left} days, and what its key signs then is refused: tallystick keys renew"
        )
    yield from (Finding("keys", False, fault) for fault in faults)
    if not faults:
        bare = keyfiles.unwrapped_files(keys)  # they were all read just now
        how = f"; {len(bare)} of them unwrapped, so a copy of the disk has them: tallystick keys wrap" if bare else ""
        yield Finding("keys", True, f"every role's, enrolled by the root key, in {keys}{how}")


def _policy(config: Config) -> Iterator[Finding]:
    try:
        rules = read_rules(config)
    except (OSError, UnicodeDecodeError) as e:
        yield Finding("policy", False, f"{config.policy}: cannot be read ({type(e).__name__})")
    except RulesInvalid as e:
        yield Finding("policy", False, f"{config.policy}: {e}")
    else:
        few = "" if rules.reviewers else "; it names no reviewers, so nothing that is held can be approved"
        yield Finding("policy", True, f"version {rules.version}, {len(rules.reviewers)} reviewers{few}")


def _folders(config: Config) -> Iterator[Finding]:
    for path in (config.data, *([config.store_dir] if config.store_dir else [])):
        if _writable(path):
            yield Finding("disk", True, f"{path}")
        else:
            yield Finding("disk", False, f"{path}: cannot be written by this user; make it, or name another place")


def _writable(path: Path) -> bool:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


def _ports(config: Config) -> Iterator[Finding]:
    """Free, or held by the role that the config gives it to."""
    ops = [config.ops_at(n) for n in (0, *OPS.values()) if n != OPS["notify"] or config.notify] + [
        g.ops for g in config.gateway
    ]
    wanted: list[tuple[str, Address, Callable[[], bool]]] = [
        ("approvals", config.approvals, partial(_says, config.approvals, "/approvals", config.approvals_tls)),
        *(("ops", at, partial(_says, at, "/metrics")) for at in ops if at is not None),
        *((f"gateway {g.name}", g.listen, partial(_records, config, g)) for g in config.gateway),
    ]
    seen: set[Address] = set()
    for about, at, ours in wanted:
        if at.port and at in seen:
            yield Finding(about, False, f"{at}: given twice in the config; choose another port")
            continue
        seen.add(at)
        fault = _occupied(at)
        if fault == errno.EADDRINUSE and ours():
            yield Finding(about, True, f"{at} is in use by us")
        elif fault == errno.EADDRINUSE:
            yield Finding(about, False, f"{at}: another program listens there; stop it or choose another port")
        elif fault:
            yield Finding(about, False, f"{at}: cannot be listened on here ({os.strerror(fault)})")
        else:
            yield Finding(about, True, f"{at} is free")


def _occupied(at: Address) -> int:
    """The error number of listening there; 0 for none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(at.host, at.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as e:
        return e.errno or errno.EADDRNOTAVAIL
    return 0


def _door(config: Config) -> Iterator[Finding]:
    if config.approvals_tls is not None:
        try:
            server_context(config.approvals_tls)
            DoorClient(config.door, ca=config.approvals_tls.ca)
        except ConfigInvalid as e:
            yield Finding("approvals", False, str(e))
        except OSError as e:
            yield Finding("approvals", False, f"approvals_tls: {config.approvals_tls.ca}: not a file of certificates "
                          f"({type(e).__name__})")  # fmt: skip
        else:
            yield Finding("approvals", True, f"reviewers reach it over TLS, at {config.door}")
    elif exposed(config.door) or not (config.approvals_url or is_loopback(config.approvals.host)):
        yield Finding("approvals", False, f"{config.door}: what reviewers read and sign goes over a network in the "
                      "clear; give it [approvals_tls], or an approvals_url with https")  # fmt: skip


def _says(at: Address, path: str, tls: DoorTls | None = None) -> bool:
    """Whether a role of ours answers there: its words name the program."""
    connection = http.client.HTTPConnection(at.host, at.port, timeout=ASK_S)
    if tls is not None:
        context = ssl.create_default_context()
        context.check_hostname = False  # who it is, is told by its words alone
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(at.host, at.port, timeout=ASK_S, context=context)
    try:
        connection.request("GET", path)
        return b"tallystick" in connection.getresponse().read(1 << 20)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _records(config: Config, gateway: Gateway) -> bool:
    """Whether a gateway of this name has its journal open."""
    for place in config.journal.glob(f"{gateway.name}.0.*"):
        try:
            os.close(lock(place))
        except RecorderTaken:
            return True
        except OSError:
            continue
    return False


# --- the bus -----------------------------------------------------------------------------


def _bus(config: Config) -> Iterator[Finding]:
    if not config.kafka_servers:
        yield Finding("bus", True, f"embedded, in {config.data}")
        return
    try:
        said = asyncio.run(_ask_kafka(config))
    except (ConfigInvalid, BusDown) as e:
        yield from (Finding("kafka", False, _mended(line, config)) for line in str(e).splitlines())
    else:
        yield Finding("kafka", True, said)


async def _ask_kafka(config: Config) -> str:
    """Its topics, made where they are missing, and each group's offsets. Raises ConfigInvalid, BusDown."""
    settings = kafka_settings(config)
    from bus import kafka_topics
    from bus.kafka import KafkaBus

    bus = await KafkaBus.open(settings)
    try:
        await bus.ensure_topics()
        if short := await kafka_topics.short(bus.client, settings):
            raise BusDown("\n".join(short))
        for group in (
            "ask",
            "pipeline",
            "approvals",
            "behaviour",
            f"ledger-{SHARD}",
            *(f"gateway-{g.name}" for g in config.gateway),
        ):
            await bus.committed(group, JOURNAL)
    finally:
        await bus.close()
    safe = " over TLS" * bool(config.kafka.ca) + f" as {config.kafka.user}" * bool(config.kafka.user)
    return f"{', '.join(config.kafka_servers)}{safe}: cluster {bus.cluster}, every topic as it must be"


def _mended(line: str, config: Config) -> str:
    k = config.kafka
    if "AuthorizationFailed" in line:
        return f"{line}; give user {k.user!r} all rights on topics and groups that begin with {k.prefix!r}"
    if line.startswith("replication "):
        return f"{line}; add brokers, or lower replication and min_insync in [kafka]"
    if "replicas in sync: " in line:
        return f"{line}; bring the brokers back: what is recorded waits on the gateways' disks"
    if ", should be " in line:
        return f"{line}; alter the topic, or choose another prefix in [kafka]"
    return line


# --- the store ----------------------------------------------------------------------------


def _store(config: Config) -> Iterator[Finding]:
    if config.store_dir is None:
        try:
            seen = _probed(config)
        except (ConfigInvalid, StoreBroken) as e:
            line = str(e).removeprefix("store: ")
            mend = next((f"; {hint}" for code, hint in _MEND_STORE.items() if f" {code}:" in line), "")
            yield Finding("store", False, f"{line}{mend}")
            return
        yield Finding("store", True, seen.store)
        yield from (Finding("store", True, f"{check.name}: {check.seen}") for check in seen.checks)
    yield from _log(config, open_store(config))


def _probed(config: Config) -> WormProbe:
    """Raises ConfigInvalid, StoreBroken, WormProbeFailed."""
    bucket = open_bucket(config, STORE_S)
    from ledger.s3 import Refused
    from ledger.worm import probe

    try:
        there = bucket.ask(lambda: bucket.client.bucket_exists(bucket.name))
    except Refused:
        there = True  # the probe says what it may not do
    if not there:  # MinIO says of its object lock what it says of one that was made without
        raise StoreRefused(f"{bucket.name}: no such bucket; make it with object lock: mc mb --with-lock")
    return probe(bucket, now_us)


def _log(config: Config, store: Store) -> Iterator[Finding]:
    try:
        public, origin = keyfiles.load_signer(config.keys, "ledger").public, keyfiles.origin(config.keys, SHARD)
    except KeysUnusable:
        return  # said by `_keys`
    try:
        shard = shards(store, SHARD)[-1]
        head = recover(store, shard, VerifierKey(origin_of(origin, SHARD, shard), public))
    except (CannotRecover, StoreBroken) as e:
        yield Finding("log", False, str(e))
    else:
        yield Finding("log", True, f"shard {shard}: {head.tree.size} entries in {head.seq + 1} batches")


# --- gateways -----------------------------------------------------------------------------


def _gateway(gateway: Gateway, config: Config) -> Iterator[Finding]:
    about = f"gateway {gateway.name}"
    for who in gateway.identity:
        try:
            Verifier.parse(who.verifier)
        except ValueError as e:
            yield Finding(about, False, f"identity {who.user}: {e}")
    try:
        settings = settings_of(gateway, config)
        if settings.tls:
            tls.server_context(settings.tls)
        context = tls.target_context(settings.target)
    except (ConfigInvalid, SettingsInvalid) as e:
        yield Finding(about, False, str(e))
        return
    at = f"{settings.target.host}:{settings.target.port}"
    try:
        began = time.monotonic()
        asyncio.run(_log_in(settings.target, context, settings.admission.connect_seconds))
    except TargetDown as e:
        yield Finding(about, False, f"target {at}: {str(e).removeprefix('tallystick: ')}")
    else:
        took = (time.monotonic() - began) * 1000
        safe = f", TLS ({settings.target.sslmode})" if context else ""
        user = f"{settings.target.user} in {settings.target.database}"
        yield Finding(about, True, f"target {at}: logged in as {user} in {took:.0f} ms{safe}")


async def _log_in(at: Target, context: ssl.SSLContext | None, seconds: float) -> None:
    """As a gateway does, and out again. Raises TargetDown."""
    ready = await connect(at, context, {}, seconds)
    ready.channel.write(_TERMINATE)
    ready.channel.close()


# --- notifications ------------------------------------------------------------------------


def _channel(settings: Notify, config: Config) -> Finding:
    """Its files, and whether it can be reached; nothing is sent: `tallystick notify test` sends."""
    about = f"notify {settings.name}"
    try:
        return Finding(about, True, asyncio.run(open_channel(settings, config.door, time.time).reach()))
    except ConfigInvalid as e:
        return Finding(about, False, str(e))
    except NotSent as e:
        return Finding(about, False, f"{e}; is its address right, and may this machine reach it?")
