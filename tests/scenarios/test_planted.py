"""No cleartext at rest: planted values go through every surface, and are found in no file that we wrote."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import psycopg
import pytest
import zstandard

from tests.scenarios import searching
from tests.scenarios.conftest import Deployment, Make
from tests.scenarios.test_ops import until

CARD, CARD_SPACED, SSN = "4012888888881881", "5105 1051 0510 5100", "536-90-4399"
EMAIL, IBAN = "maria.keller@customer-mail.example", "DE89370400440532013000"
AWS, AWS_SECRET = "AKIAQ7ZKXNRM3TDWLB5E", "pQ8xV2mN7cR4tY1wE9zK3hJ6gF5dS0aLbXqWuTnM"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk"
KEY = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v6VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----"
PASSWORD = "hunter2-correct-horse"
BARE = SSN.replace("-", "")  # known by the name of its column alone
PLANTED = (CARD, CARD_SPACED, SSN, BARE, EMAIL, IBAN, AWS, AWS_SECRET, JWT, KEY, PASSWORD)


def text() -> str:
    return f"card {CARD} or {CARD_SPACED}, ssn {SSN}, {EMAIL}, {IBAN}, aws {AWS} secret {AWS_SECRET}, {JWT}\n{PEM}"


PACKED = base64.b64encode(gzip.compress(text().encode(), mtime=0)).decode()


def _traffic(deployment: Deployment) -> None:
    """Every way a value may pass: literal, bind, row, COPY, JSON, encoded, error, notice, names, held command."""
    url = deployment.url + f"?application_name={CARD}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("create table people (id int, name text, ssn text, note text, doc jsonb, raw bytea)")
        db.execute(f"insert into people (id, note) values (1, $t${text()}$t$)".encode())
        db.execute("insert into people (id, note) values (2, %s)", (text(),))
        db.execute("insert into people (id, ssn) values (3, %s)", (BARE,), binary=True)
        db.execute("insert into people (id, doc) values (4, %s)", (json.dumps({"ssn": SSN, "deep": [{"pan": CARD}]}),))
        db.execute("insert into people (id, raw) values (5, %b)", (text().encode(),))
        db.execute("insert into people (id, note) values (6, %s)", (base64.b64encode(text().encode()).decode(),))
        db.execute("insert into people (id, note) values (7, %s)", (text().encode().hex(),))
        db.execute(
            "insert into people (id, note) values (8, %s)",
            (base64.b64encode(gzip.compress(text().encode(), mtime=0)).decode(),),
        )
        assert len(db.execute("select * from people order by id").fetchall()) == 8
        assert len(db.execute("select * from people where id > %s", (0,), binary=True).fetchall()) == 8
        with db.cursor() as cursor, cursor.copy("copy people (id, note) from stdin") as copy:
            copy.write_row((9, text().replace("\n", " ")))
        _copies(db)
        for bad in (
            f"select '{SSN}x'::int",
            f'select * from "{CARD}"',
            f"select {CARD}::int2",
            f"this is no sql {CARD} '{AWS}'",
            f"-- {EMAIL}\nselect 1 / 0",
        ):
            with pytest.raises(psycopg.Error):
                db.execute(bad.encode())
        db.execute(f'select 1 as "{EMAIL}"'.encode())
        db.execute(f"select {CARD} as n".encode())
        db.execute(f'listen "{AWS}"'.encode())
    _held(deployment, f"alter role postgres password '{PASSWORD}'")
    _held(deployment, f"delete from people where note = '{CARD}' or true")
    _held(deployment, f"do $$ begin delete from people where ssn = '{SSN}' or true; end $$")


def _copies(db: psycopg.Connection) -> None:
    """In and out, in each format; a client may split rows wherever it likes."""
    into = "copy people (id, ssn, note) from stdin"
    with db.cursor() as cursor:
        with cursor.copy(into) as copy:
            copy.write_row((10, BARE, text()))
        with cursor.copy(f"{into} (format csv)") as copy:
            row = f'11,{BARE},"{text()}"\n'.encode()
            for start in range(0, len(row), 7):
                copy.write(row[start : start + 7])
        with cursor.copy(f"{into} (format binary)") as copy:
            copy.set_types(["int4", "text", "text"])
            copy.write_row((12, BARE, text()))
        assert db.execute("select count(*) from people where ssn = %s", (BARE,)).fetchone() == (4,)
        for options in ("format text", "format csv, header", "format binary"):
            with cursor.copy(f"copy (select id, ssn, note from people where id > 9) to stdout ({options})") as copy:
                assert BARE.encode() in b"".join(copy)


def _held(deployment: Deployment, sql: str) -> None:
    """Held, and taken back by its client."""
    with psycopg.connect(deployment.url, autocommit=True) as db:
        told = threading.Event()
        db.add_notice_handler(lambda notice: told.set())

        def cancel() -> None:
            assert told.wait(20)
            db.cancel_safe()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(psycopg.Error):
            db.execute(sql.encode())
        thread.join(20)
        assert told.is_set()


def _wrong_password(deployment: Deployment) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(deployment.url.replace(deployment.made.password, PASSWORD))


@pytest.mark.timeout(240)
def test_planted_values_are_in_no_file(deploy: Make) -> None:
    deployment = deploy(more_gateway="hold = {wire_seconds = 1.5, lookup_seconds = 1.0}")
    up = deployment.up
    up.start()
    _traffic(deployment)
    _wrong_password(deployment)
    up.kill()  # with state tables, journals and WAL files as they are in the middle of work
    left = searching.left(deployment, PLANTED)
    assert left == {}, left
    up.start()
    _traffic_again(deployment)
    up.stop()
    bundle = deployment.place / "evidence.zip"
    made = deployment.tallystick("bundle", "--from", "2020-01-01", "--to", "2099-01-01", "--out", str(bundle))
    assert made.returncode == 0, made.stderr
    exported = deployment.tallystick("ledger", "export", str(deployment.place / "log"))
    assert exported.returncode == 0, exported.stderr
    shown = "".join(deployment.tallystick("replay", name).stdout for name in _sessions(deployment))
    (deployment.place / "shown.txt").write_text(shown)
    left = searching.left(deployment, PLANTED)
    assert left == {}, left
    assert "tok:card:" in shown, "what was masked is shown as a token"
    assert "create table people" in shown, "and what is harmless can be read"


def _traffic_again(deployment: Deployment) -> None:
    with psycopg.connect(deployment.url, autocommit=True) as db:
        db.execute("select * from people")


def _sessions(deployment: Deployment) -> list[str]:
    said = deployment.tallystick("sessions", "--json").stdout
    return [json.loads(line)["session"] for line in said.splitlines()]


DUMPS = """
import os, resource, signal, sys
card = sys.stdin.read()
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
os.kill(os.getpid(), signal.SIGABRT)
"""


def _dumps_are_found(where: Path) -> bool:
    """Whether a process that does not harden itself leaves a core file here, with what it knew."""
    subprocess.run([sys.executable, "-c", DUMPS], input=CARD, text=True, check=False, cwd=where)
    cores = list(where.iterdir())
    found = bool(cores) and CARD in searching.found_in(cores[0], PLANTED)
    for core in cores:
        core.unlink()
    return found


@pytest.mark.timeout(400)
def test_a_death_that_would_dump_core_leaves_no_value(
    deploy: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each role dies of a signal that dumps core while it knows a named statement with a card number in it."""
    where = tmp_path / "here"
    where.mkdir()
    monkeypatch.chdir(where)  # where the roles are started: a core file lies where its process stands
    if not _dumps_are_found(where):
        pytest.skip("no core file is written here, whoever dies (see /proc/sys/kernel/core_pattern and ulimit -H -c)")
    deployment = deploy()
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # the roles inherit it
    try:
        deployment.up.start(ready_s=120)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(deployment.url) as db:  # its gateway dies
        for _ in range(2):
            db.execute(f"select '{CARD}' as card, %s as ssn, '{text()}' as note".encode(), (SSN,), prepare=True)
        until(60, lambda: any("tok:card:" in said for _, said in deployment.commands()))
        roles = deployment.roles()
        assert len(roles) == 6
        for number, pid in zip(itertools.cycle((signal.SIGABRT, signal.SIGSEGV)), roles.values(), strict=False):
            os.kill(pid, number)
        until(60, lambda: not {*roles.values()} & {*deployment.roles().values()})
    deployment.up.kill()
    assert list(where.iterdir()) == []
    left = searching.left(deployment, PLANTED)
    assert left == {}, left


def _avro() -> bytes:
    import fastavro

    out = io.BytesIO()
    schema = {"type": "record", "name": "R", "fields": [{"name": "b", "type": "bytes"}]}
    fastavro.writer(out, schema, [{"b": b"xx" + CARD.encode()}], codec="zstandard")
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("inner", b"a" * 100 + CARD.encode())
    return out.getvalue()


HIDDEN = {  # by name: two workers that collect these in different seconds must see the same tests
    "raw": CARD.encode(),
    "base64": b"x" + base64.b64encode(b"zz" + CARD.encode() + b"q"),
    "base64 one byte off": b"x" + base64.b64encode(b"z" + CARD.encode()),
    "hex": CARD.encode().hex().encode(),
    "zstd": b"noise" + zstandard.compress(b"a" * 50 + CARD.encode()),
    "gzip": b"noise" + gzip.compress(CARD.encode(), mtime=0),
    "avro": _avro(),
    "zip": _zip(),
}


@pytest.mark.parametrize("form", HIDDEN)
def test_the_search_would_find_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "f").write_bytes(HIDDEN[form])
    assert searching.found_in(tmp_path / "f", PLANTED) == [CARD]


def test_the_search_finds_nothing_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"4012888888881880" + bytes(range(256)) * 10)
    assert searching.found_in(tmp_path / "f", PLANTED) == []
