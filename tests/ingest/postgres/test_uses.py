"""When an approval comes back, seen from the target: only where nothing is left of what ran."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from approvals.grants import MOST_USES
from ingest.postgres.uses import UsedRequests
from schemas.frames import FrameKind
from schemas.ids import ApprovalId
from schemas.records import HeldCommand, Over
from tests.ingest.postgres.wire_talk import errors, rows, say
from wire.postgres import messages as wire

DELETE = "delete from job_log"
REQUEST = ApprovalId("req-aaaaaaaaaaaaaaaa")


@pytest.fixture
def table(postgres: Any) -> Iterator[Any]:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute(
            "drop table if exists refers; drop table if exists job_log; create table job_log (a int primary key); "
            "insert into job_log values (1), (2); create table refers (a int references job_log (a))"
        )
    yield postgres
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists refers; drop table if exists hits; drop table job_log")


def whys(bench: Any) -> list[str]:
    return [gone.why for gone in bench.journal.of(FrameKind.GONE)]


def said(c: Any, *sent: bytes) -> list[str]:
    return errors(say(c, *sent))


def simple(*texts: str) -> list[bytes]:
    return [wire.query(text.encode()) for text in texts]


P, B, E, S = wire.parse(DELETE.encode()), wire.bind(), wire.execute(), wire.SYNC
OTHER = [wire.parse(b"select 1/0"), wire.bind(), wire.execute()]
COMMIT = [wire.parse(b"commit"), wire.bind(), wire.execute()]
BEGIN = [wire.parse(b"begin"), wire.bind(), wire.execute()]

ENDS = [
    ("committed by itself", [simple(DELETE)], Over.KEPT),
    ("committed by itself, extended", [[P, B, E, S]], Over.KEPT),
    ("committed", [simple("begin"), simple(DELETE), simple("commit")], Over.KEPT),
    ("end", [simple("begin"), simple(DELETE), simple("end")], Over.KEPT),
    ("rolled back", [simple("begin"), simple(DELETE), simple("rollback")], Over.UNDONE),
    ("aborted", [simple("begin"), simple(DELETE), simple("select 1/0"), simple("rollback")], Over.UNDONE),
    ("a commit that fails", [simple("begin"), simple(DELETE), simple("select 1/0"), simple("commit")], Over.UNDONE),
    ("committed and chained", [simple("begin"), simple(DELETE), simple("commit and chain")], Over.KEPT),
    ("committed, and another begun", [simple("begin"), simple(DELETE), simple("commit; begin")], Over.KEPT),
    ("rolled back, another committed", [simple("begin"), simple(DELETE), simple("rollback; begin"), simple("commit")],
     Over.KEPT),  # an undone that is not told is safe
    ("to a savepoint, then committed",
     [simple("begin"), simple("savepoint s"), simple(DELETE), simple("rollback to s"), simple("commit")], Over.KEPT),
    ("in one pipeline", [[*BEGIN, P, B, E, *COMMIT, S]], Over.KEPT),
    ("in one pipeline that fails in a block", [[*BEGIN, P, B, E, *OTHER, *COMMIT, S], simple("rollback")], Over.UNDONE),
    ("with another that fails, outside of a block", [[P, B, E, *OTHER, S]], Over.KEPT),  # undone, but not for certain
    ("alone, and it fails", [simple("drop table job_log")], Over.UNDONE),
    ("gives rows", [simple("begin"), simple(DELETE + " returning a"), simple("rollback")], Over.KEPT),
    ("may do anything", [simple("begin"), simple("do $$ begin delete from job_log; end $$"), simple("rollback")],
     Over.KEPT),
    ("two in one text", [simple("begin"), simple("delete from job_log; delete from job_log"), simple("rollback")],
     Over.KEPT),
    ("prepared", [simple("begin"), simple(DELETE), simple("prepare transaction 'x'")], None),  # the server has none: E
]  # fmt: skip


@pytest.mark.parametrize(("sent", "why"), [(s, w) for _, s, w in ENDS], ids=[n for n, _, _ in ENDS])
def test_what_became_of_it(bench: Any, table: Any, sent: list[list[bytes]], why: Over | None) -> None:
    bench.grants.decide = lambda held: True
    with psycopg.connect(bench.url(), autocommit=True) as c:
        for group in sent:
            say(c, *group)
        if why is not None:
            assert whys(bench) == [why]
    assert len(bench.journal.of(FrameKind.RELEASED)) == 1
    if why is Over.UNDONE:
        assert rows(table) == 2
    assert len(whys(bench)) == 1, "one word a release"


def test_a_deferred_constraint_undoes_it_at_the_end(bench: Any, table: Any) -> None:
    with psycopg.connect(table.url(), autocommit=True) as c:
        c.execute("alter table refers alter constraint refers_a_fkey deferrable initially deferred")
        c.execute("insert into refers values (1)")
    bench.grants.decide = lambda held: True
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert said(c, P, B, E, S) == ["23503"]
    assert (whys(bench), rows(table)) == ([Over.UNDONE], 2)


@pytest.mark.parametrize(("block", "why"), [(True, Over.UNDONE), (False, Over.KEPT)], ids=["in a block", "outside"])
def test_a_client_that_leaves(bench: Any, table: Any, block: bool, why: Over) -> None:
    bench.grants.decide = lambda held: True
    with psycopg.connect(bench.url(), autocommit=not block) as c:
        c.execute(DELETE)
        c.pgconn.finish()
    deadline = threading.Event()
    while not whys(bench):
        assert not deadline.wait(0.01)
    assert whys(bench) == [why]


def again(bench: Any, first: list[Any]) -> None:
    """Every later grant is the first one again, for what is held now."""

    def same(grant: Any) -> Any:
        first.append(grant)
        return dataclasses.replace(first[0], hold=grant.hold)

    bench.grants.decide, bench.grants.change = (lambda held: True), same


def test_undone_it_is_released_again_but_not_for_ever(bench: Any, table: Any) -> None:
    again(bench, [])
    with psycopg.connect(bench.url()) as c:
        for _ in range(MOST_USES):
            assert c.execute(DELETE).rowcount == 2
            c.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="used before"):
            c.execute(DELETE)
    assert rows(table) == 2
    assert whys(bench) == [*[Over.UNDONE] * MOST_USES, Over.UNVERIFIED]


def test_kept_it_is_never_released_again(bench: Any, table: Any) -> None:
    again(bench, [])
    with psycopg.connect(bench.url()) as c:
        assert c.execute(DELETE).rowcount == 2
        c.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="used before"):
            c.execute(DELETE)


def test_two_grants_on_one_approval_at_the_same_instant_release_once(bench: Any, table: Any) -> None:
    """As a taken-over approvals role might send them: both are checked before either is written down."""
    with psycopg.connect(table.url(), autocommit=True) as c:
        c.execute("create table if not exists hits (n int); truncate hits; insert into hits values (0)")
    held: list[HeldCommand] = []
    both = threading.Event()

    def decide(one: HeldCommand) -> None:
        held.append(one)
        if len(held) == 2:
            both.set()

    bench.grants.decide = decide
    again_first: list[Any] = []
    failed: list[str] = []

    def run() -> None:
        with psycopg.connect(bench.url(), autocommit=True) as c:
            try:
                c.execute("update hits set n = n + 1")
            except psycopg.Error as e:
                failed.append(str(e))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert both.wait(5)
    bench.grants.change = lambda g: (
        again_first.append(g) or dataclasses.replace(again_first[0], hold=g.hold)  # type: ignore[func-returns-value]
    )
    for one in held:
        bench.grants.answer(one, True)
    for thread in threads:
        thread.join(10)
    with psycopg.connect(table.url()) as c:
        assert c.execute("select n from hits").fetchone() == (1,)
    [said_no] = failed
    assert "used before" in said_no


def test_what_was_released_is_known_after_a_restart(tmp_path: Path) -> None:
    uses = UsedRequests(tmp_path / "used")
    uses.release(REQUEST)
    uses.write(REQUEST)
    assert not UsedRequests(tmp_path / "used").may_release(REQUEST)
    uses.undone(REQUEST)
    for n in range(2, MOST_USES + 1):
        uses = UsedRequests(tmp_path / "used")
        assert uses.may_release(REQUEST), n
        uses.release(REQUEST)
        uses.write(REQUEST)
        uses.undone(REQUEST)
    assert not UsedRequests(tmp_path / "used").may_release(REQUEST)


def test_each_use_of_a_standing_approval_is_known_after_a_restart(tmp_path: Path) -> None:
    uses = UsedRequests(tmp_path / "used")
    for number in (1, 2):
        uses.release(REQUEST, number)
        uses.write(REQUEST, number)
    uses.undone(REQUEST, 1)
    again = UsedRequests(tmp_path / "used")
    assert [again.may_release(REQUEST, number) for number in (1, 2, 3)] == [True, False, True]
