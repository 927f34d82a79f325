"""A column that the policy hides, and a value that its name hides, by whatever a client calls them, against a real
PostgreSQL: in no command and no answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest

from mask.masker import masker_for
from schemas.ids import SessionId
from schemas.judging import FieldAction, FieldRule
from schemas.records import CommandKind
from stream import content
from stream.exchange import RawExchange
from tallystick import demo_postgres
from tests.ingest.postgres.wire_talk import say
from wire.postgres import messages as m

HIDDEN = ("Bobtheredone", "hunter2plain", "4821")
MASKER = masker_for(b"t" * 32, [FieldRule("people.nick", FieldAction.TOKEN)])(SessionId("db.0.aaaaaaaa/0/1"))
TABLES = """
create table people (id int not null, nick text unique, password varchar(40) check (password <> 'hunter2plain'),
    pin int, doc jsonb);
alter table people disable trigger all;
create table brief (nick text);
"""
ROWS = """
insert into people values (1, 'Bobtheredone', 'other', null, '{"password": "hunter2plain"}')
"""

ANSWERED = [
    "select b from people as p(a, b)",
    "select b from (people p left join brief o on true) as j(a, b)",
    "select 0 as a, 'x' as b, '' as c, 0 as d, '{}'::jsonb as e union all select * from people",
    "with v(a, b) as (select * from people) select b from v",
    "select b from (select * from people) q(a, b)",
    "select mode() within group (order by nick) from people",
    "select percentile_disc(0) within group (order by nick) as z from people",
    "select (select q.* from (select nick as x from people) q) as z",
    "with d as (update people set id = id returning nick as n) select n from d",
    "with d(a, b) as (update people set id = id returning *) select b as n from d",
    "with d as (merge into people p using (select 1) s(one) on p.id = s.one when matched then update set id = 1 "
    "returning p.nick as z) select z from d",
    "with recursive t as (select nick, 1 as d from people union all select nick, d + 1 from t where d < 2) "
    "search depth first by nick set o select o from t",
    "with recursive t as (select nick, 1 as d from people union all select nick, d + 1 from t where d < 2) "
    "cycle nick set c using steps select steps from t",
    "select (p).nick as z from people p",
    "select nick(p) as z from people p",
    "select z from people p cross join lateral regexp_split_to_table(p.nick, 'zz') as z",
    "select regexp_split_to_table as z from people p, regexp_split_to_table(p.nick, 'zz')",
    "select jsonb_path_query(doc, '$.password') as z from people",
    "select json_value(doc, '$.password') as z from people",
    "select x from people, json_table(doc, '$' columns (x text path '$.password'))",
    "select set_config('app.password', 'hunter2plain', false)",
    "set app.password = 'hunter2plain'; select current_setting('app.password') as z",
    "explain select * from people where password = 'hunter2plain'",
    "explain verbose update people set nick = 'Bobtheredone'",
    "explain (verbose) insert into people (id, password) values (1, 'hunter2plain')",
    "insert into people (id, password) values (null, 'hunter2plain')",
    "insert into people (id, password) values (2, 'hunter2plain')",
    "update people set id = null",
    "insert into people (id, nick) values (3, 'Bobtheredone')",
    "insert into people (id, nick) select 3, nick from people",
    "insert into people (id, pin) values (1, 'hunter2plain')",
    "update people set password = 'hunter2plain' where pin = 'hunter2plain'",
    "update people set pin = -4821 where false",
    "with v as (values (1, 'Bobtheredone')) insert into people (id, nick) select * from v where false",
    "with v as (values (9, 'Bobtheredone')) insert into people (id, nick) table v on conflict do nothing",
    "prepare pp as insert into people (id, nick) values (9, $1) on conflict do nothing; execute pp('Bobtheredone')",
    "select id from people where starts_with(password, 'hunter2plain')",
]


@pytest.fixture(scope="module")
def db() -> Iterator[psycopg.Connection]:
    with demo_postgres.running() as postgres, psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(TABLES.encode())
        connection.execute(ROWS.encode())
        yield connection


def exchange(db: psycopg.Connection, text: bytes, *asked: bytes) -> RawExchange:
    raw = RawExchange(1, CommandKind.SIMPLE, text, 0)
    for each in say(db, *(asked or (m.query(text),))):
        match chr(each.type):
            case "T":
                raw.columns = m.parse_row_description(each.payload)
            case "D":
                raw.rows.append((raw.columns, m.parse_data_row(each.payload)))
            case "C":
                raw.tags.append(each.payload.rstrip(b"\0"))
            case "E":
                raw.error = each.payload
            case "N":
                raw.notices.append(each.payload)
    return raw


def shown(raw: RawExchange) -> str:
    masking = content.Masking(MASKER, content.Learned())
    command = content.command(masking, raw.text, raw.binds, raw.bind_formats, raw.param_oids)
    return json.dumps({"command": command, "answer": content.answer(masking, raw)})


@pytest.mark.parametrize("sql", ANSWERED)
def test_what_is_hidden_is_nowhere(db: psycopg.Connection, sql: str) -> None:
    raw = exchange(db, sql.encode())
    said = str([raw.text, raw.rows, raw.error, raw.notices])
    assert any(value in said for value in HIDDEN), "else there is nothing to hide"
    assert not [value for value in HIDDEN if value in shown(raw)]


@pytest.mark.parametrize("columns", ["nick", "nick as x", "*"])
def test_who_does_not_ask_for_names_still_has_them_hidden(db: psycopg.Connection, columns: str) -> None:
    text = f"select {columns} from people".encode()
    raw = exchange(db, text, m.parse(text), m.bind(), m.execute(), m.SYNC)
    assert b"Bobtheredone" in str(raw.rows).encode()
    assert "Bobtheredone" not in shown(raw)


def test_what_is_made_of_no_column_is_shown_though_nobody_asks_for_its_name(db: psycopg.Connection) -> None:
    text = b"select 'plain' from people"
    assert (
        "plain"
        in json.loads(shown(exchange(db, text, m.parse(text), m.bind(), m.execute(), m.SYNC)))["answer"]["rows"][0]
    )


@pytest.mark.parametrize("row", [b"hunter2plain\n", b"1\thunter2plain\n", b"1\t2\thunter2plain\n"])
def test_what_is_copied_is_hidden_in_the_error_that_quotes_it(db: psycopg.Connection, row: bytes) -> None:
    text = b"copy people (id, pin) from stdin"
    raw = exchange(db, text, m.query(text), m.frame("d", row), m.frame("c"))
    raw.copied = [row]
    assert b"hunter2plain" in raw.error
    assert "hunter2plain" not in shown(raw)
    assert "COPY people, line 1" in shown(raw)


def test_a_parameter_is_hidden_in_the_error_that_quotes_it(db: psycopg.Connection) -> None:
    text = b"insert into people (id, password) values (null, $1)"
    raw = exchange(db, text, m.parse(text), m.bind(values=(b"hunter2plain",)), m.execute(), m.SYNC)
    raw.binds, raw.bind_formats = (b"hunter2plain",), (0,)
    assert b"hunter2plain" in raw.error
    assert "hunter2plain" not in shown(raw)
    assert "not-null" in shown(raw)
