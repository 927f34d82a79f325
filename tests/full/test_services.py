"""`python -m tools.services`: what it says and leaves behind, and how it refuses what is missing or altered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools import services
from tools.services import Kafka, Minio

pytestmark = pytest.mark.timeout(300)  # a JVM or two start in a test, on a machine that may be busy

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m tools.services` with these arguments and this environment; ended with the test."""
    begun: list[subprocess.Popen[str]] = []

    def run(*servers: str, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tools.services", *servers]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment or None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def where(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


def listens(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as s:
        return s.connect_ex((host, int(port))) == 0


def silent_within(address: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while listens(address) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not listens(address)


def test_says_where_both_are_and_takes_everything_away_at_sigterm(kafka: Kafka, minio: Minio, start: Start) -> None:
    process = start("kafka", "minio")
    said = where(process)
    credentials = Path(said["credentials"])
    assert (listens(said["kafka"]), listens(said["minio"])) == (True, True)
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    assert [line.partition("=")[0] for line in credentials.read_text().splitlines()] == [
        "MINIO_ROOT_USER",
        "MINIO_ROOT_PASSWORD",
    ]
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert (listens(said["kafka"]), listens(said["minio"])) == (False, False)
    assert not credentials.parent.exists()


def test_no_server_outlives_a_killed_owner(minio: Minio, start: Start) -> None:
    process = start("minio")
    said = where(process)
    process.kill()
    assert silent_within(said["minio"], 30)
    shutil.rmtree(Path(said["credentials"]).parent)


def test_a_jar_with_one_changed_byte_is_refused(kafka: Kafka, tmp_path: Path, start: Start) -> None:
    jars = services.kafka_jars()
    copy = shutil.copytree(jars, tmp_path / "services" / jars.name)
    jar = copy / "kafka_2.13-4.1.2.jar"
    content = bytearray(jar.read_bytes())
    content[len(content) // 2] ^= 1
    jar.write_bytes(content)
    process = start("kafka", PATH=os.environ["PATH"], TALLYSTICK_CACHE=str(tmp_path))
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err == f"kafka: {jar.name} has other bytes: refused; remove {copy} to fetch it again\n"


def test_only_makes_what_is_asked_for(kafka: Kafka, minio: Minio, start: Start) -> None:
    """They are made already: nothing is said, and nothing runs that would keep the process from ending."""
    process = start("--only-make", "kafka", "minio", **os.environ)
    assert process.communicate(timeout=120) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("option", [(), ("--only-make",)], ids=["run", "only make"])
@pytest.mark.parametrize("server", ["kafka", "minio"])
def test_says_in_one_line_what_is_missing(server: str, option: tuple[str, ...], tmp_path: Path, start: Start) -> None:
    (tmp_path / "bin").mkdir()
    process = start(*option, server, PATH=str(tmp_path / "bin"), TALLYSTICK_CACHE=str(tmp_path))
    out, err = process.communicate()
    line = {
        "kafka": "kafka: needs java 17+ and mvn; not found: java, mvn",
        "minio": "minio: needs go 1.25+; not found: go",
    }
    assert (process.returncode, out, err.splitlines()[-1]) == (1, "", line[server])


REFUSED = """\
go: downloading github.com/minio/minio v1
verifying github.com/minio/minio@v1: checksum mismatch
SECURITY ERROR
For more information, see 'go help module-auth'.
"""


def test_says_in_one_line_why_a_build_failed(tmp_path: Path, start: Start) -> None:
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\ncat >&2 <<"END"\n{REFUSED}END\nexit 1\n')
    go.chmod(0o755)
    process = start("minio", PATH=f"{tmp_path}:/usr/bin:/bin", TALLYSTICK_CACHE=str(tmp_path))
    line = "minio: go failed with 1: verifying github.com/minio/minio@v1: checksum mismatch"
    assert process.communicate()[1].splitlines()[-1] == line


def test_refuses_a_java_that_is_too_old(kafka: Kafka, tmp_path: Path, start: Start) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    old.chmod(0o755)
    process = start("kafka", PATH=f"{tmp_path}:/usr/bin:/bin", TALLYSTICK_CACHE=str(services.kafka_jars().parents[1]))
    assert process.communicate() == ("", 'kafka: needs java 17+; found: openjdk version "11.0.2" 2019-01-15\n')


@pytest.mark.parametrize(
    ("required", "code", "outcome"), [("", 0, "1 skipped"), ("kafka,minio", 1, "1 error")], ids=["optional", "required"]
)
def test_a_missing_server_skips_a_test_unless_it_is_required(
    tmp_path: Path, required: str, code: int, outcome: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-q", "-k", "its_password",
         "tests/full/test_minio_server.py"],
        cwd=ROOT, env={"PATH": str(tmp_path), "TALLYSTICK_CACHE": str(tmp_path), "TALLYSTICK_REQUIRE": required},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, outcome in done.stdout) == (code, True)
    assert "minio: needs go 1.25+; not found: go" in done.stdout
