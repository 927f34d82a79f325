"""`then: mask` where a command's text is not what it seems, or is not known: no value is on record all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mask.masker import masker_for
from policy.history import agreement
from policy.rules import Rules, parse
from schemas.codec import decode
from schemas.judging import SessionFacts
from schemas.records import Exchange
from seal import content
from seal.content import ContentKeys
from stream.pipeline import Tools
from stream.places import exchange_place
from tests.stream.test_pipeline import READY, SESSION, batches, client, content_keys, context, server, whole
from wire.postgres import messages as m

__all__ = ["content_keys"]

ASKS = '"staff" in command.reads || "staff" in command.writes'
RULES = parse(f"rules:\n  - {{name: staff, when: '{ASKS}', then: mask}}\notherwise: allow\n")
FREEZE = parse(
    "rules: [{name: f, when: '\"freeze\" in context', then: allow}]\notherwise: allow\n"
    "context: [{name: freeze, from: '1960-01-01', until: '2100-01-01', percent: 300}]"
)
READS = b"SELECT n FROM staff"
SYNC = m.frame("S", b"")
ROW = m.frame("D", b"\0\1" + (9).to_bytes(4, "big") + b"plainword")
DONE = m.frame("C", b"SELECT 1\0") + READY
IN_BLOCK = m.ready_for_query("T")
NOTICE = m.frame("N", b"SNOTICE\0C00000\0Mplainword is there\0\0")
OPENED = [
    client(m.query(b"BEGIN; DECLARE c CURSOR FOR " + READS)),
    server(m.frame("C", b"BEGIN\0") + m.frame("C", b"DECLARE CURSOR\0") + IN_BLOCK),
]


def bind(portal: bytes, statement: bytes) -> bytes:
    return m.frame("B", portal + b"\0" + statement + b"\0" + b"\0\0" + b"\0\0" + b"\0\0")


def execute(portal: bytes, rows: int = 0) -> bytes:
    return m.frame("E", portal + b"\0" + rows.to_bytes(4, "big"))


def prepare(name: bytes, text: bytes) -> bytes:
    return m.frame("P", name + b"\0" + text + b"\0\0\0")


def simple(text: bytes) -> list[Any]:
    return [client(m.query(text)), server(ROW + DONE)]


SAID: dict[str, list[Any]] = {
    "a quote too many": simple(b"INSERT INTO staff VALUES ('O'plainword', 'D'Arcy')"),
    "not UTF-8": simple(b"SELECT 'plainword', '\xe9' FROM staff"),
    "no SQL": simple(b"SELECT 'x' FROM staff WHERE n = 'x' AND plainword = 1 FOO plainword"),
    "a cursor's portal": [*OPENED, client(execute(b"c") + SYNC), server(ROW + m.frame("C", b"SELECT 1\0") + IN_BLOCK)],
    "a cursor that a statement has the name of": [
        client(prepare(b"c", b"SELECT 1") + SYNC),
        server(m.frame("1", b"") + READY),
        *OPENED,
        client(m.query(b"FETCH ALL FROM c")),
        server(ROW + m.frame("C", b"FETCH 1\0") + IN_BLOCK),
    ],
    "prepared out of sight": [
        client(m.query(b"PREPARE s AS " + READS)),
        server(m.frame("C", b"PREPARE\0") + READY),
        client(bind(b"", b"s") + execute(b"") + SYNC),
        server(m.frame("2", b"") + ROW + DONE),
    ],
    "prepared anew": [
        client(prepare(b"s", b"SELECT 1") + SYNC),
        server(m.frame("1", b"") + READY),
        client(m.query(b"DEALLOCATE s; PREPARE s AS " + READS)),
        server(m.frame("C", b"DEALLOCATE\0") + m.frame("C", b"PREPARE\0") + READY),
        *simple(b"EXECUTE s"),
    ],
    "a Parse that failed": [
        client(prepare(b"s", READS) + SYNC),
        server(m.frame("1", b"") + READY),
        client(prepare(b"s", b"SELECT 1") + SYNC),
        server(m.frame("E", b"SERROR\0C42P05\0Mexists\0\0") + READY),
        client(bind(b"", b"s") + execute(b"") + SYNC),
        server(m.frame("2", b"") + ROW + DONE),
    ],
    "a long portal": [
        client(prepare(b"", READS) + bind(b"p" * 70, b"") + execute(b"p" * 70, 1) + execute(b"p" * 63) + SYNC),
        server(m.frame("1", b"") + m.frame("2", b"") + ROW + m.frame("s", b"") + ROW + DONE),
    ],
    "a function call": [
        client(m.frame("F", (1234).to_bytes(4, "big") + b"\0\0\0\1" + (9).to_bytes(4, "big") + b"plainword\0\0")),
        server(NOTICE + m.frame("E", b"SERROR\0C23505\0Mplainword exists\0\0") + READY),
    ],
    "a notice behind a Bind of another": [
        client(
            prepare(b"", b"SELECT 1") + bind(b"a", b"") + prepare(b"", READS) + bind(b"b", b"") + execute(b"b") + SYNC
        ),
        server(2 * (m.frame("1", b"") + m.frame("2", b"")) + NOTICE + DONE),
    ],
}


async def told(
    bus: Any, journal: Any, tools: Tools, keys: Path, store: ContentKeys, rules: Rules, frames: list[Any]
) -> list[tuple[Exchange, Any]]:
    await journal.publish(bus, [context(rules.version), *frames])
    await whole(bus, journal, replace(tools, rules=rules, masker=masker_for(b"t" * 32)), keys, store, {})
    key = store.get(SESSION)
    return [
        (body, json.loads(content.decrypt(key, exchange_place(SESSION, body.number), event.content)))
        for batch in batches(bus)
        for event in batch.events
        for body in [decode(event.leaf).body]
        if isinstance(body, Exchange)
    ]


@pytest.mark.parametrize("name", SAID)
async def test_no_value_is_on_record(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys, name: str
) -> None:
    found = await told(bus, journal, tools, keys, content_keys, RULES, SAID[name])
    assert found
    assert "plainword" not in str(found)


async def test_the_next_rows_of_something_unknown_score_as_unknown_and_do_so_again(
    bus: Any, journal: Any, tools: Tools, keys: Path, content_keys: ContentKeys
) -> None:
    frames = [client(execute(b"c") + SYNC), server(ROW + m.frame("C", b"SELECT 1\0") + IN_BLOCK)]
    ((body, _),) = await told(bus, journal, tools, keys, content_keys, FREEZE, frames)
    assert not body.effects_complete
    assert body.score >= 40
    facts = SessionFacts("ci", (), "db", "postgres", "production", "orders", "app")
    assert agreement(facts, body, FREEZE).value == "same"
