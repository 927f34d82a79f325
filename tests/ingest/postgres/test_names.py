"""A Bind is judged by every text that its name may mean: nothing slips in under a name that meant something else.

Each test sends whole pipelines in one write, and the target's own log says what reached it.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from schemas.frames import FrameKind
from tests.ingest.postgres.wire_talk import errors, rows, say
from wire.postgres import messages as wire

GOOD = b"select count(*) from job_log"
EVIL = b"delete from job_log"
S = wire.SYNC


@pytest.fixture
def table(postgres: Any) -> Any:
    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop table if exists job_log; create table job_log (a int); insert into job_log values (1), (2)")
    return postgres


def run(name: bytes, portal: bytes = b"") -> bytes:
    return wire.bind(name, portal) + wire.execute(portal)


def prepared(text: bytes, name: bytes) -> bytes:
    return wire.parse(text, name) + run(name)


LONG = b"n" * 63
PIPELINES: dict[str, tuple[list[bytes], list[bytes]]] = {
    # name: (sent first and answered, then the one buffer that tries it)
    "the unnamed, parsed in a group of its own": ([prepared(GOOD, b""), S], [wire.parse(EVIL), S, run(b""), S]),
    "closed and parsed again, bound in the next group": (
        [prepared(GOOD, b"n"), S],
        [wire.close("S", b"n"), wire.parse(EVIL, b"n"), S, run(b"n"), S],
    ),
    "closed, and parsed again in the next group": (
        [prepared(GOOD, b"n"), S],
        [wire.close("S", b"n"), S, wire.parse(EVIL, b"n"), S, run(b"n"), S],
    ),
    "parsed again, which fails": ([wire.parse(EVIL, b"n"), S], [wire.parse(GOOD, b"n"), S, run(b"n"), S]),
    "parsed again behind an error, which is skipped": (
        [wire.parse(EVIL, b"n"), S],
        [wire.parse(b"nonsense"), wire.close("S", b"n"), wire.parse(GOOD, b"n"), S, run(b"n"), S],
    ),
    "new in an older group": ([], [wire.parse(EVIL, b"n"), S, prepared(GOOD, b""), S, run(b"n"), S]),
    "alike in 63 bytes, in one group": (
        [],
        [wire.parse(EVIL, LONG + b"x"), wire.parse(GOOD, LONG + b"y"), S, run(LONG + b"y"), S],
    ),
    "alike in 63 bytes, closed by its other name": (
        [wire.parse(GOOD, LONG + b"y"), S],
        [wire.close("S", LONG + b"x"), wire.parse(EVIL, LONG + b"x"), run(LONG + b"y"), S],
    ),
    "prepared by SQL, run by Bind": (
        [wire.parse(GOOD, b"n"), S],
        [prepared(b"deallocate n", b"d"), wire.parse(EVIL, b"n"), S, run(b"n"), S],
    ),
    "parsed, run by SQL in the same group": (
        [wire.parse(GOOD, b"n"), S],
        [wire.close("S", b"n"), wire.parse(EVIL, b"n"), wire.query(b"execute n"), S],
    ),
    "parsed, run by SQL in the next group": (
        [wire.parse(GOOD, b"n"), S],
        [wire.close("S", b"n"), wire.parse(EVIL, b"n"), S, wire.query(b"EXECUTE N")],
    ),
    "parsed under a long name, run by SQL": (
        [],
        [wire.parse(EVIL, LONG + b"x"), S, wire.query(b'execute "' + LONG + b'zzz"')],
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_of_a_delete_reaches_the_target_under_another_texts_name(bench: Any, table: Any, name: str) -> None:
    bench.grants.decide = lambda held: False
    before, tried = PIPELINES[name]
    with psycopg.connect(bench.url(), autocommit=True) as c:
        if before:
            assert errors(say(c, *before)) == []
        size = table.log_size()
        syncs = sum(p == S or p[:1] == b"Q" for p in tried)
        assert "42501" in errors(say(c, *tried, syncs=syncs))
        assert c.execute("select 1").fetchone() == (1,)
    assert rows(table) == 2
    ran = [line for line in table.log_since(size).splitlines() if "execute" in line or "statement:" in line]
    assert not any("delete from job_log" in line for line in ran), ran
    assert [h.text for h in bench.journal.of(FrameKind.HOLD)][-1:] != [GOOD.decode()]


def test_a_prepare_and_its_bind_in_one_group(bench: Any, table: Any) -> None:
    """The PREPARE was approved; what runs under its name is still asked about, whatever the name meant before."""
    bench.grants.decide = lambda held: held.text.startswith("prepare")
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, wire.parse(GOOD, b"n"), S)) == []
        tried = [prepared(b"deallocate n", b"d"), prepared(b"prepare n as delete from job_log", b"p"), run(b"n"), S]
        assert errors(say(c, *tried)) != []
    assert rows(table) == 2


def test_an_approved_execute_is_an_approval_of_the_text_behind_its_name(bench: Any, table: Any) -> None:
    """The same `execute n` over another text is another command: the first's grant does not release it."""
    import dataclasses

    first: list[Any] = []
    bench.grants.decide = lambda held: True

    def the_first(grant: Any) -> Any:
        first.append(grant)
        return dataclasses.replace(first[0], hold=grant.hold)

    execute = wire.query(b"execute n")
    with psycopg.connect(bench.url(), autocommit=True) as c:
        bench.grants.change = lambda grant: dataclasses.replace(grant, votes=())
        assert errors(say(c, wire.parse(b"delete from job_log where a = 1 or true", b"n"), S, execute, syncs=2))
        digests = [bench.journal.of(FrameKind.HOLD)[-1].match_key]
        assert errors(say(c, wire.close("S", b"n"), wire.parse(EVIL, b"n"), S, execute, syncs=2))
        digests.append(bench.journal.of(FrameKind.HOLD)[-1].match_key)
    assert digests[0] != digests[1]
    assert rows(table) == 2


def test_a_held_bind_shows_the_text_that_it_runs(bench: Any, table: Any) -> None:
    """Two texts were possible when it came; the target's answers say which, and that one is asked about."""
    bench.grants.decide = lambda held: True
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, wire.parse(GOOD, b"n"), S)) == []
        tried = [wire.close("S", b"n"), wire.parse(EVIL, b"n"), S, run(b"n"), S]
        assert errors(say(c, *tried, syncs=2)) == []
    assert [h.text for h in bench.journal.of(FrameKind.HOLD)] == [EVIL.decode()]
    assert rows(table) == 0


def test_a_name_that_is_in_doubt_runs_if_all_that_it_may_mean_is_allowed(bench: Any, table: Any) -> None:
    with psycopg.connect(bench.url(), autocommit=True) as c:
        said = say(c, wire.parse(GOOD, b"n"), S, wire.parse(b"select 7", b"n"), S, run(b"n"), S, syncs=3)
    assert errors(said) == ["42P05"]
    assert [m.payload[6:] for m in said if m.type == 0x44] == [b"2"]
    assert not bench.journal.of(FrameKind.HOLD)


def test_execute_of_a_declared_cursor_is_a_barrier(bench: Any, table: Any) -> None:
    """DECLARE ran nothing yet; Execute of its portal changes the setting under which the next text is read."""
    evil = rb"select '\'' , count(*) from job_log --'"
    bench.grants.decide = lambda held: "standard_conforming" in held.text
    cursor = b"declare c cursor for select set_config('standard_conforming_strings', 'off', false)"
    with psycopg.connect(bench.url(), autocommit=True) as c:
        assert errors(say(c, wire.query(b"begin"))) == []
        assert errors(say(c, wire.query(cursor))) == []
        tried = [wire.execute(b"c"), wire.parse(evil), run(b""), S]
        assert errors(say(c, *tried)) == ["0A000"]


def test_names_beyond_ascii_on_a_target_that_cuts_them_elsewhere_are_held(bench: Any, postgres: Any) -> None:
    """In LATIN1 these two are two names (their 63 bytes are more letters): ours may not be taken for one."""
    import dataclasses

    with psycopg.connect(postgres.url(), autocommit=True) as c:
        c.execute("drop database if exists latin")
        c.execute("create database latin encoding latin1 locale 'C' template template0")
        with psycopg.connect(postgres.url(database="latin"), autocommit=True) as d:
            d.execute("create table job_log (a int); insert into job_log values (1), (2)")
    bench.grants.decide = lambda held: False
    gateway = bench.running.gateway
    target = dataclasses.replace(gateway.settings.target, database="latin")
    gateway.settings = dataclasses.replace(gateway.settings, target=target)
    gateway._door._settings = gateway.settings
    first, second = ("é" * 40 + "1").encode(), ("é" * 40 + "2").encode()
    with psycopg.connect(bench.url(database="latin"), autocommit=True) as c:
        c.execute("set client_encoding = 'UTF8'")
        said = say(c, wire.parse(EVIL, first), S, wire.parse(GOOD, second), S, run(first), S, syncs=3)
        assert errors(said)
    with psycopg.connect(postgres.url(database="latin")) as d:
        assert d.execute("select count(*) from job_log").fetchone() == (2,)
