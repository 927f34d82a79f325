"""What identities do in weeks, for the behaviour step: made of a seed, entry by entry, in the order of time."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from schemas.codec import encode
from schemas.ids import START, Position, RecorderId, SessionId, journal_source
from schemas.records import (
    Band,
    Claim,
    CloseReason,
    CommandKind,
    Decision,
    Effect,
    Event,
    EventBatch,
    Exchange,
    LeafBody,
    LedgerEntry,
    Result,
    SessionClosed,
    SessionOpened,
)
from seal.event_batch import sign_batch
from seal.sign import Signer

RECORDER = RecorderId("db.0.0a0b0c0d")
SOURCE = journal_source(RECORDER)
MONDAY_US = 1_767_571_200_000_000  # 2026-01-05T00:00:00Z, a Monday
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US


@dataclass
class Does:
    """Makes entries; sessions are numbered."""

    opened: int = 0
    numbers: dict[SessionId, int] = field(default_factory=dict)

    def open(
        self,
        at_us: int,
        subject: str,
        address: str = "10.0.0.9:40000",
        target: str = "orders-db",
        application: str = "",
        claims: tuple[Claim, ...] = (),
        method: str = "oidc",
    ) -> SessionOpened:
        self.opened += 1
        session = SessionId(f"{RECORDER}/1/{self.opened}")
        self.numbers[session] = 0
        return SessionOpened(
            session, subject, method, claims, target, "postgres", "production", "orders", "orders_app", address, "", "",
            application, "3.0", "v", at_us,
        )  # fmt: skip

    def command(
        self,
        at_us: int,
        session: SessionId,
        relation: str,
        effect: str = "select",
        rows: int = 1,
        statement: str = "",
        result: Result = Result.EXECUTED,
        hold: str | None = None,
    ) -> Exchange:
        self.numbers[session] += 1
        fingerprint = hashlib.sha256(f"{effect} {relation} {statement}".encode()).digest()
        effects = (Effect(effect, relation),) if relation else ()
        return Exchange(
            session, self.numbers[session], CommandKind.SIMPLE, at_us, at_us + 1500, result, "", "", fingerprint,
            effects, True, 0, Band.LOW, (), Decision.ALLOW, "", hold, rows, rows * 80, False, (), 0, "v", "e", b"",
        )  # fmt: skip

    def close(self, at_us: int, session: SessionId) -> SessionClosed:
        return SessionClosed(session, CloseReason.CLIENT, self.numbers.pop(session), at_us)


@dataclass
class Log:
    """Signed messages of `events`, as the pipeline writes them; offsets from 0."""

    signer: Signer
    messages: list[bytes] = field(default_factory=list)
    at: Position = START

    def add(self, *bodies: LeafBody) -> bytes:
        """One message of these."""
        major = self.at.major + 1
        events = []
        for n, body in enumerate(bodies):
            entry = LedgerEntry(SOURCE, Position(major, 0, n), time_of(body), body=body)
            events.append(Event(encode(entry), b""))
        last = Position(major, 0, len(bodies))
        batch = EventBatch(SOURCE, RECORDER, self.at, last, tuple(events), "", b"")
        self.at = last
        self.messages.append(encode(sign_batch(self.signer, batch)))
        return self.messages[-1]


def time_of(body: LeafBody) -> int:
    for name in ("opened_us", "started_us", "closed_us", "at_us"):
        if hasattr(body, name):
            return int(getattr(body, name))
    raise TypeError(type(body))


Timed = tuple[int, LeafBody]


@dataclass
class Weeks:
    """A CI job a push, a nightly job, an app with three replicas by day and by night, an analyst; weeks of it."""

    seed: int
    weeks: int
    does: Does = field(default_factory=Does)

    def entries(self) -> list[Timed]:
        found: list[Timed] = []
        for who in (self._ci, self._nightly, self._app, self._analyst, self._monthly):
            found += who(random.Random(f"{self.seed}/{who.__name__}"))
        return sorted(found, key=lambda timed: timed[0])

    def _days(self) -> Iterator[tuple[int, int, bool]]:
        """(number, its beginning, whether it is a working day)."""
        for day in range(7 * self.weeks):
            yield day, MONDAY_US + day * DAY_US, day % 7 < 5

    def _session(self, at_us: int, rng: random.Random, subject: str, commands: list[tuple[str, str, int, str]],
                 pause_s: float, **opening: Any) -> list[Timed]:  # fmt: skip
        opened = self.does.open(at_us, subject, **opening)
        found: list[Timed] = [(at_us, opened)]
        for effect, relation, rows, statement in commands:
            at_us += int((0.01 + rng.expovariate(1 / pause_s)) * SECOND_US)
            found.append((at_us, self.does.command(at_us, opened.session, relation, effect, rows, statement)))
        at_us += SECOND_US
        return [*found, (at_us, self.does.close(at_us, opened.session))]

    def _ci(self, rng: random.Random) -> list[Timed]:
        """Pushes come in working hours; each runs tests' migrations; a release a week brings something new."""
        found: list[Timed] = []
        for day, begins_us, works in self._days():
            release = day // 7
            for _ in range(rng.randint(6, 14) if works else rng.randint(0, 1)):
                hour = min(21.0, max(6.5, rng.gauss(13.5, 3.0)))
                at_us = begins_us + int(hour * HOUR_US)
                ran = [("select", "public.schema_migrations", 40, "list")]
                ran += [("insert", f"public.{table}", 1, f"seed {n}") for n, table in enumerate(CI_TABLES)]
                ran += [("select", f"public.{rng.choice(CI_TABLES)}", rng.randint(1, 60), f"check {rng.randint(0, 30)}")
                        for _ in range(rng.randint(20, 60))]  # fmt: skip
                if day % 7 == 1 and release >= 1:  # Tuesday's release
                    ran += [("create", f"public.feature_{LETTERS[release % 26]}", 0, "new"),
                            ("insert", f"public.feature_{LETTERS[release % 26]}", 1, "new")]  # fmt: skip
                run = (Claim("run_id", str(self.does.opened)),)
                address = f"{rng.choice(CI_NETWORKS)}.{rng.randint(2, 250)}:40000"
                found += self._session(at_us, rng, "ci/deploy", ran, 0.3, application="psql", claims=run,
                                       address=address)  # fmt: skip
        return found

    def _nightly(self, rng: random.Random) -> list[Timed]:
        """At 02:10 to the minute; what it reads grows a little every day."""
        found: list[Timed] = []
        for day, begins_us, _ in self._days():
            at_us = begins_us + 2 * HOUR_US + 600 * SECOND_US + rng.randint(0, 90) * SECOND_US
            rows = int(20_000 * (1 + day / 100) * rng.uniform(0.9, 1.1))
            ran = [("select", "public.orders", rows, "export"), ("insert", f"audit.exports_{day}", 1, "log")]
            found += self._session(at_us, rng, "cron/nightly", ran, 20, address="10.3.0.7:50000")
        return found

    def _app(self, rng: random.Random) -> list[Timed]:
        """A session an hour and replica, busier by day; three times a month more than usual."""
        found: list[Timed] = []
        for _, begins_us, works in self._days():
            sale = rng.random() < 0.1
            for hour in range(24):
                busy = (2 + 10 * max(0, 1 - abs(hour - 14) / 8)) * (1.0 if works else 0.6) * (2.0 if sale else 1.0)
                for replica in range(3):
                    n = max(1, int(rng.gauss(busy, busy / 4)))
                    ran = [("select", f"public.{rng.choice(APP_TABLES)}", rng.randint(1, 20), f"q{rng.randint(0, 39)}")
                           for _ in range(n)]  # fmt: skip
                    ran += [("update", "public.orders", 1, "pay")]
                    at_us = begins_us + hour * HOUR_US + rng.randint(0, 600) * SECOND_US
                    found += self._session(at_us, rng, "app/shop", ran, 30, application="shop",
                                           address=f"10.1.{replica}.5:40000")  # fmt: skip
        return found

    def _analyst(self, rng: random.Random) -> list[Timed]:
        """Writes her own SQL on working days, from the office or the home network, now and then on another table."""
        found: list[Timed] = []
        for _, begins_us, works in self._days():
            if not works or rng.random() < 0.15:
                continue
            network = "10.9.0.20" if rng.random() < 0.6 else "192.168.7.3"
            for at in sorted(rng.uniform(8.5, 17.5) for _ in range(rng.randint(1, 3))):
                ran = [("select", _table(rng), int(rng.paretovariate(1.1) * 30), f"adhoc {rng.random()}")
                       for _ in range(rng.randint(3, 15))]  # fmt: skip
                found += self._session(begins_us + int(at * HOUR_US), rng, "people/ana", ran, 60,
                                       application="DBeaver", address=f"{network}:51000")  # fmt: skip
        return found

    def _monthly(self, rng: random.Random) -> list[Timed]:
        """On the first of four weeks, whatever day that is."""
        found: list[Timed] = []
        for day, begins_us, _ in self._days():
            if day % 28 == 3:
                ran = [("select", "public.invoices", rng.randint(4000, 5000), "report")]
                found += self._session(begins_us + 6 * HOUR_US, rng, "cron/monthly", ran, 5, address="10.3.0.7:50001")
        return found


def misuses(weeks: Weeks) -> dict[str, list[Timed]]:
    """What should be found, or is known not to be; each on a Wednesday of the last week, beside all that is usual."""
    does, rng = weeks.does, random.Random(f"{weeks.seed}/misuse")
    wednesday_us = MONDAY_US + (7 * weeks.weeks - 5) * DAY_US
    token = (Claim("run_id", "stolen"),)

    def acts(hour: float, subject: str, *ran: tuple[str, str, int, str], **opening: Any) -> list[Timed]:
        return weeks._session(wednesday_us + int(hour * HOUR_US), rng, subject, list(ran), 0.5, **opening)

    ordinary = [("select", "public.orders", 5, f"check {n}") for n in range(5)]
    usual_ci = {"application": "psql", "address": "10.20.1.9:40000"}
    woken = [(MONDAY_US + day * DAY_US + 10 * HOUR_US, does.open(MONDAY_US + day * DAY_US + 10 * HOUR_US, "cron/old"))
             for day in range(5)]  # fmt: skip
    return {
        "CI's credential: new table, new hour, new network": acts(
            3.2, "ci/deploy", ("select", "public.payment_methods", 900, "all"), application="psql",
            address="185.4.5.6:40000"),
        "CI's credential: all customers, from where CI runs, by day": acts(
            11, "ci/deploy", ("select", "public.customers", 400_000, "all"), **usual_ci),
        "app's credential: all orders, from the app's network, by day": acts(
            14.1, "app/shop", ("select", "public.orders", 2_000_000, "all"), application="shop",
            address="10.1.1.5:40000"),
        "a run's token used a second time, from another network": [
            *acts(13, "ci/deploy", *ordinary, claims=token, **usual_ci),
            *acts(13.3, "ci/deploy", *ordinary, claims=token, application="psql", address="185.4.5.6:40000")],
        "an identity unused for weeks, for one small read": [
            *woken, *acts(11, "cron/old", ("select", "public.orders", 3, "peek"))],
        "nightly job's credential: three times as many rows": acts(
            2.3, "cron/nightly", ("select", "public.orders", 60_000, "export"), address="10.3.0.7:50000"),
        "analyst's credential: one table new to her, few rows, by day": acts(
            10, "people/ana", ("select", "hr.salaries", 40, "peek"), application="DBeaver", address="10.9.0.20:51000"),
    }  # fmt: skip


LETTERS = "abcdefghijklmnopqrstuvwxyz"
CI_TABLES = ("orders", "customers", "products", "carts", "coupons")
CI_NETWORKS = ("10.20.1", "10.20.2", "10.20.3")
APP_TABLES = ("orders", "customers", "products", "carts", "stock", "sessions")
ANALYST_TABLES = ("orders", "customers", "products", "carts", "stock", "coupons", "returns", "regions", "campaigns")


def _table(rng: random.Random) -> str:
    """Mostly the same few."""
    return f"public.{ANALYST_TABLES[min(len(ANALYST_TABLES) - 1, int(rng.expovariate(0.6)))]}"
