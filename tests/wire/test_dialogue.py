"""The dialogue against a real PostgreSQL: it knows what each answer belongs to, and what a name means."""

import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.postgres import messages as m
from wire.postgres import startup
from wire.postgres.dialogue import Ahead, Dialogue, Operation, Outcome
from wire.postgres.reader import Reader, RemoteFault


class Talk:
    """A raw connection whose every message passes the dialogue under test."""

    def __init__(self, host: str, port: int, user: str) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.sendall(startup.startup((("user", user), ("database", "postgres"))))
        self.reader, self.queue, self.recorded = Reader(), [], b""  # type: ignore[var-annotated]
        while self._next()[0] != "Z":
            pass
        self.dialogue = Dialogue()

    def _next(self) -> tuple[str, bytes]:
        while not self.queue:
            data = self.socket.recv(65_536)
            assert data
            self.recorded += data
            self.queue += self.reader.feed(data)
        message = self.queue.pop(0)
        return chr(message.type), message.payload

    def send(self, *sent: bytes) -> list[Operation]:
        """Tells the dialogue, then the server."""
        made = [self.tell(one) for one in sent]
        self.socket.sendall(b"".join(sent))
        return [op for op in made if op is not None]

    def tell(self, raw: bytes) -> Operation | None:
        kind, payload = chr(raw[0]), raw[5:]
        if kind == "P":
            parsed = m.parse_parse(payload)
            return self.dialogue.client("P", name=parsed.name, text=parsed.text)
        if kind == "B":
            bound = m.parse_bind(payload)
            return self.dialogue.client("B", bound.statement, name=bound.statement, portal=bound.portal)
        if kind == "C":
            what, name = m.parse_named(payload)
            return self.dialogue.client("C", name=name, portal=b"P" + name if what == "P" else b"")
        if kind == "E":
            return self.dialogue.client("E", name=m.parse_execute(payload)[0])
        return self.dialogue.client(kind)

    def until_idle(self) -> list[str]:
        seen: list[str] = []
        while not self.dialogue.is_idle:
            kind, payload = self._next()
            self.dialogue.server(kind, payload)
            seen.append(kind)
        return seen

    def next(self) -> str:
        kind, payload = self._next()
        self.dialogue.server(kind, payload)
        return kind

    def take(self, last: str) -> None:
        """Read until a message of that type."""
        while True:
            kind, payload = self._next()
            self.dialogue.server(kind, payload)
            if kind == last:
                return


@pytest.fixture
def talk(postgres: object) -> Iterator[Talk]:
    made = Talk(postgres.host, postgres.port, postgres.superuser)  # type: ignore[attr-defined]
    yield made
    made.socket.close()


def outcomes(ops: list[Operation]) -> list[str]:
    return [op.outcome.value for op in ops]


def test_a_query_and_several_statements_and_none(talk: Talk) -> None:
    for text in (b"select 1", b"select 1; select 2", b"", b"select generate_series(1, 500)"):
        ops = talk.send(m.query(text))
        assert talk.until_idle()[-1] == "Z"
        assert outcomes(ops) == ["done"]
    ops = talk.send(m.query(b"select 1; select 1/0; select 2"))
    talk.until_idle()
    assert outcomes(ops) == ["failed"]


def test_an_error_in_a_pipeline_skips_to_sync_and_no_further(talk: Talk) -> None:
    ops = talk.send(
        m.parse(b"select 1"), m.bind(), m.execute(),
        m.parse(b"select 1/0::int"), m.bind(), m.describe("P"), m.execute(),
        m.parse(b"select 3", b"never"), m.SYNC, m.parse(b"select 4"), m.bind(), m.execute(), m.SYNC,
    )  # fmt: skip
    talk.until_idle()
    assert outcomes(ops)[:4] == ["done"] * 4
    assert set(outcomes(ops)[4:8]) == {"failed", "skipped"}
    assert outcomes(ops)[8:] == ["done"] * 5
    assert talk.dialogue.statement(b"never") == ()


def test_a_portal_is_suspended_and_goes_on_and_ends_with_its_transaction(talk: Talk) -> None:
    talk.send(m.query(b"begin"))
    talk.until_idle()
    assert talk.dialogue.transaction_status == "T"
    ops = talk.send(m.parse(b"select generate_series(1,5)", b"s"), m.bind(b"s", b"p"), m.execute(b"p", 2), m.SYNC)
    talk.until_idle()
    assert outcomes(ops) == ["done", "done", "suspended", "done"]
    assert talk.dialogue.portal(b"p") == b"s"
    ops = talk.send(m.execute(b"p", 0), m.SYNC, m.query(b"commit"))
    talk.until_idle()
    assert outcomes(ops) == ["done"] * 3
    assert talk.dialogue.portal(b"p") is None


def test_copy_in_with_the_sync_that_the_server_ignores(talk: Talk) -> None:
    talk.send(m.query(b"create temp table c (a int)"))
    talk.until_idle()
    # libpq sends Sync behind Execute before it knows that this is a COPY; the target ignores that one.
    talk.send(m.parse(b"copy c from stdin"), m.bind(), m.execute(), m.SYNC)
    talk.take("G")
    assert talk.dialogue.copy_mode == "in"
    ops = talk.send(m.frame("d", b"1\n2\n"), m.frame("c"), m.SYNC)
    talk.until_idle()
    assert talk.dialogue.copy_mode == ""
    assert ops[-1].outcome is Outcome.DONE
    talk.send(m.query(b"copy c from stdin"))
    talk.take("G")
    talk.send(m.frame("f", b"changed my mind\0"))
    talk.until_idle()
    ops = talk.send(m.query(b"copy c to stdout"))
    assert talk.until_idle() == ["H", "d", "d", "c", "C", "Z"]
    assert outcomes(ops) == ["done"]


def test_copy_data_outside_of_copy_is_ignored(talk: Talk) -> None:
    talk.send(m.query(b"nonsense"), m.frame("d", b"1\tx\n"), m.frame("c"), m.query(b"select 7"))
    assert talk.until_idle()[-2:] == ["C", "Z"]


def test_a_name_means_its_text_only_once_that_is_certain(talk: Talk) -> None:
    d = talk.dialogue
    talk.send(m.parse(b"delete from t", b"p"))
    assert d.statement(b"p") == (b"delete from t",)  # same group: certain
    talk.send(m.SYNC)
    assert d.statement(b"p") == (b"delete from t",)  # a later group: the only candidate
    talk.until_idle()
    # The parse failed (no such table): the name does not exist.
    assert d.statement(b"p") == ()
    talk.send(m.parse(b"select 1", b"p"), m.SYNC)
    talk.until_idle()
    # A second Parse of the name will fail; until that is known a later group may mean either.
    talk.send(m.parse(b"select 2", b"p"), m.SYNC)
    assert d.statement(b"p") == (b"select 1", b"select 2")
    talk.until_idle()
    assert d.statement(b"p") == (b"select 1",)
    talk.send(m.close("S", b"p"), m.SYNC)
    talk.until_idle()
    assert d.statement(b"p") == ()


def test_a_failed_unnamed_parse_and_a_query_destroy_the_unnamed_statement(talk: Talk) -> None:
    talk.send(m.parse(b"select 1"), m.SYNC)
    talk.until_idle()
    assert talk.dialogue.statement(b"") == (b"select 1",)
    talk.send(m.parse(b"nonsense"), m.SYNC)
    talk.until_idle()
    assert talk.dialogue.statement(b"") == ()
    talk.send(m.parse(b"select 1"), m.SYNC, m.query(b"select 2"))
    talk.until_idle()
    assert talk.dialogue.statement(b"") == ()
    ops = talk.send(m.bind(), m.SYNC)
    talk.until_idle()
    assert outcomes(ops) == ["failed", "done"]


def test_sql_prepare_names_live_among_the_protocols(talk: Talk) -> None:
    d = talk.dialogue
    [op] = talk.send(m.query(b"prepare q as select 1"))
    d.note_sql_prepare(op, b"q", b"select 1")
    assert d.statement(b"q") == (b"select 1",)
    talk.until_idle()
    [op] = talk.send(m.query(b"prepare q as select 2"))
    d.note_sql_prepare(op, b"q", b"select 2")
    talk.until_idle()  # it failed: the name exists. Either text may be meant, to be safe
    assert d.statement(b"q") == (b"select 1", b"select 2")
    ops = talk.send(m.bind(b"q"), m.execute(), m.SYNC)
    talk.until_idle()
    assert outcomes(ops) == ["done"] * 3
    [op] = talk.send(m.query(b"deallocate all"))
    d.note_sql_deallocate(op, b"")
    talk.until_idle()
    assert d.statement(b"q") == ()


def test_what_the_target_skips_is_not_taken_for_done_be_it_a_query(talk: Talk) -> None:
    ops = talk.send(m.parse(b"nonsense"), m.query(b"select 77"), m.SYNC, m.query(b"select 1"))
    assert talk.until_idle() == ["E", "Z", "T", "D", "C", "Z"]
    assert outcomes(ops) == ["failed", "skipped", "done", "done"]


def test_names_that_are_equal_in_63_bytes_are_one_name(talk: Talk) -> None:
    long = b"a" * 63
    talk.send(m.parse(b"select 'evil'", long + b"x"), m.SYNC)
    talk.until_idle()
    talk.send(m.parse(b"select 'good'", long + b"y"), m.SYNC)
    assert talk.dialogue.statement(long + b"y") == (b"select 'evil'", b"select 'good'")
    talk.until_idle()
    assert talk.dialogue.statement(long + b"z") == (b"select 'evil'",)
    ops = talk.send(m.bind(long + b"z"), m.execute(), m.SYNC)
    talk.until_idle()
    assert outcomes(ops) == ["done"] * 3


def test_a_cursor_does_not_hide_the_statement_of_its_name(talk: Talk) -> None:
    talk.send(m.parse(b"select 'evil'", b"k"), m.SYNC)
    talk.until_idle()
    [op] = talk.send(m.query(b"declare k cursor with hold for select 1"))
    talk.dialogue.note_sql_prepare(op, b"k", b"select 1")
    talk.until_idle()
    assert b"select 'evil'" in talk.dialogue.statement(b"k")


def test_a_copy_that_fails_before_it_reads_answers_the_sync_after_all(talk: Talk) -> None:
    talk.send(
        m.query(
            b"create temp table f (a int); create function pg_temp.no() returns trigger language plpgsql as "
            b"'begin raise exception ''no''; end'; create trigger t before insert on f for each statement "
            b"execute function pg_temp.no()"
        )
    )
    talk.until_idle()
    copy = (m.parse(b"copy f from stdin"), m.bind(), m.execute(), m.SYNC)
    ops = talk.send(*copy, m.frame("c"), m.SYNC, m.query(b"select 1"))
    seen = [talk.next() for _ in range(9)]
    assert seen == ["1", "2", "G", "E", "Z", "Z", "T", "D", "C"]
    talk.take("Z")
    assert talk.dialogue.is_idle
    assert outcomes(ops)[-1] == "done"
    talk.send(*copy)
    assert [talk.next() for _ in range(5)] == ["1", "2", "G", "E", "Z"]
    assert talk.dialogue.is_idle
    talk.send(m.query(b"select 1"))
    assert talk.until_idle() == ["T", "D", "C", "Z"]


def test_the_second_copy_of_a_query_waits_for_its_own_end(talk: Talk) -> None:
    talk.send(m.query(b"create temp table g (a int)"))
    talk.until_idle()
    talk.send(m.query(b"copy g from stdin; copy g from stdin"))
    talk.take("G")
    talk.send(m.frame("c"))
    talk.take("G")
    assert talk.send(m.SYNC) == []
    talk.send(m.frame("c"))
    assert talk.until_idle() == ["C", "Z"]


def test_a_client_that_sends_commands_as_copy_data_is_a_fault() -> None:
    dialogue = Dialogue()
    dialogue.client("Q")
    dialogue.server("G")
    for kind in "QPBDECFp":
        with pytest.raises(RemoteFault):
            dialogue.client(kind)


def test_a_recorded_dialogue_is_the_same_wherever_it_is_split(talk: Talk) -> None:
    talk.send(m.query(b"create temp table r (a int); insert into r values (1), (null); select * from r; nonsense"))
    talk.until_idle()
    talk.send(m.query(b"do 'begin raise notice ''x''; end'"), m.query(b"copy (select 1) to stdout"), m.query(b""))
    talk.send(
        m.parse(b"select $1::int", b"r"), m.describe("S", b"r"), m.bind(b"r", values=(b"5",)), m.execute(), m.SYNC
    )
    talk.until_idle()
    whole = Reader().feed(talk.recorded)
    assert {chr(r.type) for r in whole} >= set("RSKZTDCNEIH12t")
    for at in range(len(talk.recorded) + 1):
        reader = Reader()
        assert reader.feed(talk.recorded[:at]) + reader.feed(talk.recorded[at:]) == whole


def test_the_commit_that_a_sync_makes_may_fail(talk: Talk) -> None:
    talk.send(m.query(b"create temp table u (a int unique deferrable initially deferred); insert into u values (1)"))
    talk.until_idle()
    ops = talk.send(m.parse(b"insert into u values (1)"), m.bind(), m.execute(), m.SYNC, m.query(b"select 1"))
    talk.until_idle()
    assert outcomes(ops) == ["done", "done", "done", "failed", "done"]


@given(st.lists(st.sampled_from("12345CDEGHIKNRSTVWZcdnstvA"), max_size=12), st.sampled_from(["", "Q", "PBES", "S"]))
def test_a_target_that_talks_nonsense_is_a_fault_and_nothing_else(kinds: list[str], asked: str) -> None:
    dialogue = Dialogue()
    for kind in asked:
        dialogue.client(kind)
    try:
        for kind in kinds:
            dialogue.server(kind, b"I")
    except RemoteFault as e:
        assert len(str(e)) < 100


def test_a_client_that_never_reads_is_bounded() -> None:
    dialogue = Dialogue()
    with pytest.raises(RemoteFault, match="without an answer"):
        for _ in range(70_000):
            dialogue.client("S")


_LONG = b"n" * 63


def _steps(chance: random.Random) -> list[tuple[str, bytes, int]]:
    """One buffer. Two names that are one, mostly, so that a Parse often fails and a Bind often finds something."""
    made: list[tuple[str, bytes, int]] = []
    for _ in range(chance.randint(3, 10)):
        kind = chance.choice(["P", "P", "P", "B", "B", "S", "S", "S", "C", "prepare", "deallocate", "nonsense", "bad"])
        name = chance.choice([_LONG + b"x", _LONG + b"y", b""]) if kind in "PBC" else _LONG
        made.append((kind, name, chance.choice(b"abcdef")))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_what_a_bind_runs_is_among_what_was_foreseen(talk: Talk, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        _foresee(talk, [_steps(chance) for _ in range(chance.randint(1, 3))])


def _foresee(talk: Talk, buffers: list[list[tuple[str, bytes, int]]]) -> None:
    """Each buffer is looked through before any of it is sent, and the next one before the last is answered."""
    dialogue = talk.dialogue
    for buffer in buffers:
        ahead, sent = Ahead(dialogue), list[tuple[str, bytes, bytes, Any]]()
        for kind, name, letter in buffer:
            text = b"select '%c'" % letter
            if kind == "P":
                ahead.parse(name, text)
                sent.append(("P", name, m.parse(text, name), ()))
            elif kind == "B":
                sent += [("B", name, m.bind(name), ()), ("E", b"", m.execute(), ahead.statement(name))]
            elif kind == "C":
                sent.append(("C", name, m.close("S", name), ()))
            elif kind == "bad":
                sent.append(("P", b"", m.parse(b"nonsense"), ()))
                ahead.parse(b"", b"nonsense")
            elif kind == "S":
                ahead.group_ends()
                sent.append(("S", b"", m.SYNC, ()))
            else:
                sql = kind.encode() if kind == "nonsense" else kind.encode() + b" " + name
                if kind == "prepare":
                    sql += b" as " + text
                    ahead.prepare(name, text)
                ahead.group_ends()
                sent.append(("Q", name if kind != "nonsense" else b"", m.query(sql), (kind, text)))
        for kind, name, raw, tag in sent:
            op = dialogue.client(
                kind, tag, name=name if kind in "PBC" else b"", text=m.parse_parse(raw[5:]).text if kind == "P" else b""
            )
            if kind == "Q" and op is not None and tag[0] == "prepare":
                dialogue.note_sql_prepare(op, name, tag[1])
            elif kind == "Q" and op is not None and tag[0] == "deallocate":
                dialogue.note_sql_deallocate(op, name)
        talk.socket.sendall(b"".join(raw for _, _, raw, _ in sent))
    talk.send(m.SYNC)
    while not dialogue.is_idle:
        kind, payload = talk._next()
        op = dialogue.server(kind, payload)
        if kind == "D" and op is not None and op.kind == "E":
            [value] = m.parse_data_row(payload)
            assert b"select '%s'" % (value or b"") in op.tag
    talk.send(m.query(b"deallocate all"))
    dialogue.note_sql_deallocate(dialogue.owed[-1], b"")
    talk.until_idle()
