"""One TOML file, read strictly: an unknown key stops the start and names the nearest known one.

Relative paths are taken from the config file's directory. Secrets are never in
the file: it names files that hold them.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from tallystick.notify.kinds import Kind

_SERVER = re.compile(r"[A-Za-z0-9._-]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")


class ConfigInvalid(ValueError):
    """The configuration cannot be used; the message says where and what to do."""


class Durability(StrEnum):
    BY_EFFECT = "by-effect"
    WRITE = "write"
    FSYNC = "fsync"


def _split_address(text: object) -> object:
    if isinstance(text, str):
        host, colon, port = text.rpartition(":")
        if colon and port.isdigit() and int(port) < 65536 and host:
            return Address(host=host.strip("[]"), port=int(port))
    raise ValueError('must look like "127.0.0.1:15432"')


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Address(Strict):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Listen = Annotated[Address, BeforeValidator(_split_address)]


class Identity(Strict):
    """A machine that may log in: its verified name, and how it proves itself."""

    subject: str
    user: str  # the name it logs in with
    verifier: str  # SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>; never the password
    claims: dict[str, str] = {}


class ClientTls(Strict):
    cert: Path
    key: Path
    required: bool = True


class DoorTls(Strict):
    """Of the approvals door."""

    cert: Path
    key: Path
    ca: Path | None = None  # whom a reviewer's program that reads this file trusts; else the system's authorities


class Hold(Strict):
    """Seconds that a risky command may wait on the wire."""

    wire_seconds: float = Field(default=300.0, gt=0, le=3600)
    lookup_seconds: float = Field(default=2.0, gt=0, le=30)  # in a used transaction: only for an approval that exists
    notice_seconds: float = Field(default=15.0, gt=0, le=300)


class Capture(Strict):
    """Bytes."""

    max_command: int = Field(default=1 << 20, ge=1024, le=16 << 20)
    max_response: int = Field(default=256 << 10, ge=0, le=256 << 10)


class Gateway(Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    protocol: Literal["postgres"] = "postgres"
    listen: Listen
    target: str
    target_password_file: Path | None = None
    target_ca: Path | None = None
    environment: str = "production"
    auth: Literal["static"] = "static"
    durability: Durability = Durability.BY_EFFECT
    tls: ClientTls | None = None
    hold: Hold = Hold()
    capture: Capture = Capture()
    ops: Listen | None = None  # this gateway's /healthz, /readyz and /metrics
    identity: list[Identity] = []

    @model_validator(mode="after")
    def _sane(self) -> Gateway:
        url = urlsplit(self.target)
        if url.scheme not in ("postgresql", "postgres") or not url.hostname or not url.username or not url.path[1:]:
            raise ValueError('target must look like "postgresql://user@host:5432/database"')
        if url.password:
            raise ValueError("put the target's password in a file and name it with target_password_file")
        users = [i.user for i in self.identity]
        if len(set(users)) != len(users):
            raise ValueError("two identities have the same user")
        return self


class Kafka(Strict):
    """How `bus = "kafka://…"` is reached. With `ca` it is TLS, with `user` SCRAM."""

    prefix: str = Field(default="tallystick", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")  # of topics and groups
    partitions: int = Field(default=4, ge=1, le=256)  # of the journal, for ever: so many mask workers can share it
    kept_hours: float = Field(default=72.0, ge=0.001, le=24 * 366)  # of what the ledger has; the rest never goes
    replication: int = Field(default=3, ge=1, le=7)
    min_insync: int = Field(default=2, ge=1, le=7)
    ca: Path | None = None
    cert: Path | None = None  # our own, where Kafka asks for one
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"

    @model_validator(mode="after")
    def _sane(self) -> Kafka:
        if self.min_insync > self.replication:
            raise ValueError("min_insync is more than replication: nothing could ever be written")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file go together")
        if bool(self.cert) != bool(self.key):
            raise ValueError("cert and key go together")
        return self


class Notify(Strict):
    """Where people are told of what happens. Its secrets are in files of their own, 0600."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")
    kind: Literal["webhook", "slack", "email"]
    on: list[Kind] = []  # none: all
    targets: list[str] = []  # names of gateways; these three choose among requests, and none is all
    groups: list[str] = []  # of reviewers, of whom the request needs one
    min_score: int = Field(default=0, ge=0, le=100)
    per_minute: int = Field(default=10, ge=1, le=600)  # messages; above it several notices go as one
    url_file: Path | None = None  # webhook, slack: the URL itself is a secret
    secret_file: Path | None = None  # webhook: what signs, one a line
    server: Listen | None = None  # email: host:port
    tls: Literal["starttls", "tls", "none"] = "starttls"  # email
    user: str = ""
    password_file: Path | None = None
    sender: str = Field(default="", pattern=r"^$|^[!-?A-~]+@[A-Za-z0-9.-]+$")
    to: list[Annotated[str, Field(pattern=r"^[!-?A-~]+@[A-Za-z0-9.-]+$")]] = Field(default=[], max_length=50)
    ca: Path | None = None  # whom to trust in place of the system's authorities
    insecure: bool = False  # plain text to another machine

    @model_validator(mode="after")
    def _sane(self) -> Notify:
        needed = {
            "webhook": ("url_file", "secret_file"),
            "slack": ("url_file",),
            "email": ("server", "sender", "to"),
        }
        own = {*needed[self.kind], *(("tls", "user", "password_file") if self.kind == "email" else ())}
        for key in needed[self.kind]:
            if not getattr(self, key):
                raise ValueError(f'kind "{self.kind}" needs {key}')
        of_others = {"url_file", "secret_file", "server", "tls", "user", "password_file", "sender", "to"} - own
        for key in sorted(of_others & self.model_fields_set):
            raise ValueError(f'kind "{self.kind}" has no {key}')
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file go together")
        return self


class Config(Strict):
    data: Path = Path("data")
    keys: Path = Path("keys")
    bus: str = "local"  # or "kafka://host:9092,host:9092"
    kafka: Kafka = Kafka()
    store: str = "file:data/ledger"  # or "s3://bucket?endpoint=https://host", see ledger/s3_settings.py
    policy: Path = Path("policy.yaml")
    approvals: Listen = Address(host="127.0.0.1", port=7480)
    approvals_url: str = ""  # how people reach the approvals door, if not at its address
    approvals_tls: DoorTls | None = None
    ops: Listen | None = None  # /healthz, /readyz, /metrics of the ledger; the workers take the next
    # ports, a gateway has a key of its own
    batch_seconds: float = Field(default=10.0, ge=0.05, le=60)
    gateway: list[Gateway] = []
    notify: list[Notify] = Field(default=[], max_length=16)

    @model_validator(mode="after")
    def _names(self) -> Config:
        names = [n.name for n in self.notify]
        if len(set(names)) != len(names):
            raise ValueError("two [[notify]] have the same name")
        return self

    @property
    def door(self) -> str:
        """The URL at which people and waiting jobs find the approvals door."""
        if self.approvals_url:
            return self.approvals_url
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.approvals.host, self.approvals.host)  # noqa: S104
        host = f"[{here}]" if ":" in here else here
        return f"http{'s' * bool(self.approvals_tls)}://{host}:{self.approvals.port}"

    @property
    def kafka_servers(self) -> tuple[str, ...]:
        """None: the embedded bus."""
        return tuple(self.bus.removeprefix("kafka://").split(",")) if self.bus.startswith("kafka://") else ()

    @property
    def store_dir(self) -> Path | None:
        """None: an object store."""
        return Path(self.store.removeprefix("file:")) if self.store.startswith("file:") else None

    @property
    def journal(self) -> Path:
        """One folder a recorder."""
        return self.data / "journal"

    @property
    def content_keys(self) -> Path:
        """The file of content keys, wrapped; the one store that forgets."""
        return self.data / "content.db"

    def ops_at(self, nth: int) -> Address | None:
        return None if self.ops is None else Address(host=self.ops.host, port=self.ops.port + nth)

    def the_gateway(self, name: str | None) -> Gateway:
        """The gateway of that name, or the only one."""
        chosen = [g for g in self.gateway if name in (None, g.name)]
        if len(chosen) != 1:
            known = ", ".join(g.name for g in self.gateway) or "none"
            raise ConfigInvalid(f"say which gateway with --name; the config has: {known}")
        return chosen[0]


def load(path: Path) -> Config:
    """Raises ConfigInvalid with one line a fault."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigInvalid(f"{path}: cannot be read ({e.strerror}); make one with: tallystick init") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigInvalid(f"{path}: not TOML: {e}") from e
    try:
        config = Config.model_validate(raw)
    except ValidationError as e:
        raise ConfigInvalid("\n".join(f"{path}: {_explain(fault)}" for fault in e.errors(include_url=False))) from e
    return _absolute(config, path.resolve().parent, path)


def _explain(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] != "extra_forbidden":
        return f"{where}: {fault['msg']}"
    nearest = difflib.get_close_matches(str(fault["loc"][-1]), _known_keys(fault["loc"]), n=1)
    return f"{where}: unknown key" + (f"; did you mean {nearest[0]!r}?" if nearest else "")


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, BaseModel)]
        if inner:
            model = inner[0]
    return list(model.model_fields)


def _absolute(config: Config, base: Path, path: Path) -> Config:
    if config.bus != "local" and not (config.kafka_servers and all(map(_SERVER.fullmatch, config.kafka_servers))):
        raise ConfigInvalid(f'{path}: bus: must be "local" or look like "kafka://host:9092,host:9092"')

    def at(p: Path) -> Path:
        return (base / p).resolve()

    def maybe(p: Path | None) -> Path | None:
        return at(p) if p else None

    data, keys = at(config.data), at(config.keys)
    if keys.is_relative_to(data) or data.is_relative_to(keys):
        raise ConfigInvalid(f"{path}: keys and data must not lie in one another: lock and key in one folder")
    gateways = [
        g.model_copy(
            update={
                "target_password_file": maybe(g.target_password_file),
                "target_ca": maybe(g.target_ca),
                "tls": g.tls.model_copy(update={"cert": at(g.tls.cert), "key": at(g.tls.key)}) if g.tls else None,
            }
        )
        for g in config.gateway
    ]
    notify = [
        n.model_copy(update={key: maybe(getattr(n, key)) for key in ("url_file", "secret_file", "password_file", "ca")})
        for n in config.notify
    ]
    door = config.approvals_tls
    return config.model_copy(
        update={
            "approvals_tls": DoorTls(cert=at(door.cert), key=at(door.key), ca=maybe(door.ca)) if door else None,
            "data": data,
            "keys": keys,
            "policy": at(config.policy),
            "store": f"file:{at(config.store_dir)}" if config.store_dir else config.store,
            "kafka": config.kafka.model_copy(
                update={name: maybe(getattr(config.kafka, name)) for name in ("ca", "cert", "key", "password_file")}
            ),
            "gateway": gateways,
            "notify": notify,
        }
    )
