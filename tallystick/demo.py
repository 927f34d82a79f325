"""The story of a stolen CI token, on a real PostgreSQL 18, through every part of Tallystick.

Re-enacts what happened at Salesloft Drift (a stolen token counts, reads, then deletes the
jobs that show it) and PocketOS (an unbounded delete by an automated identity). Nothing is
staged but the people: every command runs as its user would run it, in a process of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from tallystick import demo_data, demo_postgres, setup
from tallystick.backends import open_store
from tallystick.config import load
from tallystick.demo_stage import Up, files_with, run

MARK = ".tallystick-demo"
REQUEST = re.compile(r"req-[a-z2-7]{16}")
TOLD_S = 20
PEOPLE_S = 600


class DemoFailed(RuntimeError):
    """The story went otherwise than it should; the message says where."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What the deployment stands on, in the config's words; `folders` hold what its servers were told."""

    bus: str = "local"
    store: str = "file:data/ledger"
    more: str = ""
    folders: tuple[Path, ...] = ()


@dataclass(slots=True)
class Attempt:
    """One command of the thief's, in a thread: it may wait on the wire."""

    connection: psycopg.Connection[Any]
    sql: str
    request: str = ""
    outcome: str = ""
    told: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> Attempt:
        self.connection.add_notice_handler(self._notice)
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        found = REQUEST.search(notice.message_primary or "")
        if found and not self.told.is_set():
            self.request = found[0]
            self.told.set()

    def _run(self) -> None:
        try:
            with self.connection.cursor() as cursor:
                if self.sql.startswith("COPY"):
                    with cursor.copy(self.sql.encode()) as copy:
                        size = sum(len(part) for part in copy)
                    self.outcome = f"{size} bytes copied"
                else:
                    cursor.execute(self.sql.encode())
                    self.outcome = cursor.statusmessage or "done"
        except psycopg.Error as e:
            self.outcome = f"ERROR {e.sqlstate}: {e.diag.message_primary}"
        finally:
            self.connection.remove_notice_handler(self._notice)
            self.done.set()


@dataclass(slots=True)
class Story:
    console: Console
    out: Path
    interactive: bool
    made: setup.Made
    url: str
    folders: tuple[Path, ...]

    # --- saying ----------------------------------------------------------------------

    def title(self, text: str) -> None:
        self.console.print(f"\n[bold]{text}[/bold]", soft_wrap=True)

    def line(self, text: str) -> None:
        self.console.print(f"  {text}", markup=False, soft_wrap=True)

    def tallystick(self, *arguments: str, most: int = 40) -> str:
        """Runs a command of ours and shows what it said. Raises DemoFailed where it failed."""
        shown = " ".join(a.replace(str(self.out), self.out.name) for a in arguments)
        self.console.print(f"  [dim]$ tallystick {shown}[/dim]", soft_wrap=True)
        result = run(*arguments)
        lines = (result.stdout + result.stderr).rstrip().splitlines()
        for text in lines[:most]:
            self.line(text[:160])
        if len(lines) > most:
            self.line(f"… {len(lines) - most} more lines")
        if result.returncode != 0:
            raise DemoFailed(f"tallystick {arguments[0]} ended with {result.returncode}")
        return result.stdout

    # --- the acts --------------------------------------------------------------------

    def deploy(self) -> None:
        self.title("1. The CI job deploys as usual (psycopg, through the gateway)")
        with psycopg.connect(self.url, application_name="deploy 41") as db:
            for statement in demo_data.MIGRATIONS:
                db.execute(statement)
            with db.cursor() as cursor:
                cursor.executemany(
                    "insert into support_cases (customer, body) values (%s, %s)", demo_data.support_cases()
                )
                cursor.executemany("insert into job_log (message) values (%s)", demo_data.job_log())
            db.commit()
            db.execute("update job_log set message = 'done' where id = 7")
            row = db.execute("select count(*) from job_log").fetchone()
            db.commit()
        self.line(
            f"{len(demo_data.MIGRATIONS)} migrations, {demo_data.CASES} support cases, job_log has {_one(row)} rows"
        )

    def steal(self) -> None:
        self.title("2. The same token, stolen: it looks around, and nothing stops a read, but all of it is recorded")
        db = psycopg.connect(self.url, application_name="psql", autocommit=True)
        with db:
            for sql in demo_data.LOOKS:
                rows = db.execute(sql).fetchall()
                self.line(f"{sql}  →  {len(rows)} row{'s' if len(rows) != 1 else ''}")
            self.title("3. It copies the table out: held on the wire, and a reviewer says no")
            self._held(db, "COPY support_cases TO STDOUT", approve=False, reason="nobody exports support cases from CI")
            self.title("4. It deletes the job log to hide: held; the reviewer lets this one through, once")
            self._held(db, "DELETE FROM job_log", approve=True, reason="log rotation, agreed with the team")
            self.title("5. The same DELETE again: the approval is used, so it is held again; the client gives up")
            again = Attempt(db, "DELETE FROM job_log").start()
            _wait(again.told, TOLD_S, "the second DELETE was not held")
            self.line(f"waits for {again.request}")
            db.cancel_safe()
            _wait(again.done, TOLD_S, "the cancelled DELETE did not end")
            self.line(again.outcome)
            left = db.execute("select count(*) from support_cases").fetchone()
            self.line(f"the same connection goes on: support_cases has {_one(left)} rows")

    def _held(self, db: psycopg.Connection[Any], sql: str, *, approve: bool, reason: str) -> None:
        attempt = Attempt(db, sql).start()
        _wait(attempt.told, TOLD_S, f"{sql} was not held")
        self.line(f"{sql}  →  waits for {attempt.request}")
        word = "approve" if approve else "deny"
        asked = ["--key", str(self.made.reviewer_key), "--config", str(self.made.config)]
        if self.interactive:
            self.line(f"in another terminal, from {Path.cwd()}:")
            self.line(f"    .venv/bin/tallystick {word} {attempt.request} --reason '{reason}' {' '.join(asked)}")
            _wait(attempt.done, PEOPLE_S, "nobody answered")
        else:
            _wait_for_request(attempt.request, asked)
            self.tallystick(word, attempt.request, "--reason", reason, *asked, "--name", "alice", "--yes")
            _wait(attempt.done, TOLD_S, f"{sql} was not answered")
        self.line(f"{sql}  →  {attempt.outcome}")

    def look_back(self) -> str:
        self.title("6. What the ledger holds")
        where = ("--config", str(self.made.config))
        self.tallystick("sessions", *where)
        listed = json.loads(run("sessions", "--json", *where).stdout.splitlines()[-1])
        self.title("7. One session, replayed: masked")
        self.tallystick("replay", str(listed["session"]), *where, most=36)
        return str(listed["session"])

    def prove(self) -> Path:
        self.title("8. The evidence bundle, and its check with nothing but the log's key")
        where = ("--config", str(self.made.config))
        bundle = self.out / "evidence.zip"
        vkey = self.out / "log.vkey"
        today = time.strftime("%Y-%m-%d", time.gmtime())
        self.tallystick("bundle", "--from", today, "--to", today, "--out", str(bundle), *where)
        self.tallystick("ledger", "export", str(self.out / "log"), *where)
        shutil.copy(self.out / "log" / "log.vkey", vkey)
        self.tallystick("verify", str(bundle), "--key", str(vkey))
        return bundle

    def tamper(self) -> None:
        self.title("9. Somebody with access to a copy changes the record")
        vkey = str(self.out / "log.vkey")
        copy = self.out / "tampered"
        for name, change, code in (("altered", _flip_a_byte, 10), ("removed", _remove_a_batch, 11)):
            self._copy_log(copy)
            self.line(change(copy))
            result = run("verify", str(copy), "--key", vkey)
            for text in (result.stdout + result.stderr).splitlines()[:6]:
                self.line(f"  {text[:160]}")
            shutil.rmtree(copy)
            if result.returncode != code:
                raise DemoFailed(f"verify said {result.returncode} of the {name} copy, not {code}")

    def _copy_log(self, to: Path) -> None:
        """The log as its store has it: files, or a bucket's objects."""
        store = open_store(load(self.made.config))
        for key in [*store.keys("0/batch/"), *store.keys("0/checkpoint/")]:
            path = to / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(store.get(key))

    def search(self) -> None:
        self.title("10. The planted secrets, searched for in everything that was written")
        needles = [needle.encode() for needle in demo_data.planted()]
        places = (self.out, *self.folders)
        found = files_with(needles, *places)
        count = sum(1 for place in places for p in place.rglob("*") if p.is_file())
        self.line(f"{len(needles)} values, {count} files: found in {len(found)}")
        if found:
            raise DemoFailed(f"a planted value lies in clear in {found[0]}")


def run_story(console: Console, out: Path, *, interactive: bool, behind: Behind = Behind()) -> int:
    """Exit code 0, or 1 where the story went wrong; says why."""
    try:
        _prepare(out)
        _play(console, out, behind, interactive=interactive)
    except (DemoFailed, setup.SetupRefused, RuntimeError, psycopg.Error) as e:
        console.print(f"\n[red]The demo failed:[/red] {e}", soft_wrap=True)
        console.print(f"Logs: {out / 'up.log'}", soft_wrap=True)
        return 1
    return 0


def _prepare(out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        if not (out / MARK).exists():
            raise DemoFailed(f"{out} is not empty and not of an earlier demo: name another folder with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _play(console: Console, out: Path, behind: Behind, *, interactive: bool) -> None:
    started = time.monotonic()
    console.print("Starting a real PostgreSQL 18, and tallystick up in front of it …")
    with demo_postgres.running(hba=demo_postgres.HBA.format(method="scram-sha-256")) as postgres:
        made, url = _deployment(postgres, out, behind)
        up = Up(made.config, out / "up.log")
        up.start()
        story = Story(console, out, interactive, made, url, behind.folders)
        try:
            for text in up.lines:
                story.line(text)
            story.deploy()
            story.steal()
        except BaseException:
            up.kill()
            raise
        up.stop()
        executed = postgres.log.read_text(errors="replace").count("DELETE FROM job_log")
    story.line(f"That DELETE, counted in the database's own log: {executed}")
    if executed != 1:
        raise DemoFailed("the approved DELETE did not run exactly once")
    story.look_back()
    bundle = story.prove()
    story.tamper()
    story.search()
    console.print(f"\n[green]Done in {time.monotonic() - started:.0f} s.[/green]")
    console.print(f"  the bundle    {bundle}   (unzip it and open index.html)", soft_wrap=True)
    console.print(f"  check it      tallystick verify {bundle} --key {out / 'log.vkey'}", soft_wrap=True)
    if not behind.folders:  # servers that end with the demo
        console.print(f"  go on         tallystick sessions --config {made.config}", soft_wrap=True)


def _deployment(postgres: demo_postgres.Postgres, out: Path, behind: Behind) -> tuple[setup.Made, str]:
    """The target's role and database, and a deployment in front of it."""
    password = setup.new_password()
    with psycopg.connect(host=str(postgres.home), port=postgres.port, user="postgres", autocommit=True) as db:
        db.execute(f"create role orders_app login password '{password}'".encode())
        db.execute("create database orders owner orders_app")
    secret = out / "target.password"
    setup.write_secret(secret, password)
    listen = f"127.0.0.1:{demo_postgres.free_port()}"
    made = setup.make(
        out,
        target=postgres.url("orders_app", "orders"),
        name="orders-db",
        listen=listen,
        approvals=f"127.0.0.1:{demo_postgres.free_port()}",
        deployment="demo",
        user="ci-deploy",
        reviewer="alice",
        bus=behind.bus,
        store=behind.store,
        more=f"batch_seconds = 1.0\n{behind.more}",
        more_gateway='target_password_file = "target.password"',
    )
    return made, f"postgresql://{made.user}:{made.password}@{listen}/orders"


def _wait(event: threading.Event, seconds: float, why: str) -> None:
    if not event.wait(seconds):
        raise DemoFailed(why)


def _wait_for_request(request: str, asked: list[str]) -> None:
    """The client hears of its hold before the approvals step does: until the door knows it."""
    end = time.monotonic() + TOLD_S
    while request not in run("requests", *asked, "--name", "alice").stdout:
        if time.monotonic() > end:
            raise DemoFailed(f"{request} did not reach the reviewers")


def _one(row: tuple[Any, ...] | None) -> Any:
    return row[0] if row else None


def _batches(ledger: Path) -> list[Path]:
    return sorted(ledger.rglob("batch/*.avro"))


def _flip_a_byte(ledger: Path) -> str:
    path = _batches(ledger)[1]
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return f"one bit of {path.name} is flipped in a copy; verify says:"


def _remove_a_batch(ledger: Path) -> str:
    path = _batches(ledger)[1]
    path.unlink()
    return f"{path.name} is removed in a copy; verify says:"
