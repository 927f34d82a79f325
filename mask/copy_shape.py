"""The shape of a COPY as its statement says it: columns by name, format, delimiter, marks (PostgreSQL, "COPY").

Both syntaxes, `WITH (FORMAT csv, HEADER)` and the old `WITH CSV HEADER`: the grammar makes one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from mask.fields import UNNAMED, Names
from mask.sql_origins import Origins, output_names, relation
from wire.postgres.grammar import Node, Statement, Tree, strings, unwrap

MOST_COLUMNS = 1664
"""PostgreSQL's MaxTupleAttributeNumber: no row has more fields."""
_NO_DELIMITER_OF_TEXT = frozenset(b"\\.abcdefghijklmnopqrstuvwxyz0123456789\r\n")
_OFF = frozenset(("false", "off", "0"))


class Format(StrEnum):
    TEXT = "text"
    CSV = "csv"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class Shape:
    """`names`: what the columns are called, in order; () where the statement does not say them all. `origins`: all
    names of each, its own among them. `unnamed`: those of a column of which only the table is known."""

    names: tuple[str, ...] = ()
    format: Format = Format.TEXT
    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    quote: bytes = b'"'
    escape: bytes = b'"'
    header: bool = False
    origins: tuple[Names, ...] = ()
    unnamed: Names = (UNNAMED,)


def shapes(tree: Tree) -> tuple[Shape | None, ...]:
    """Of each COPY from or to the client, in order. None for one that PostgreSQL 18 refuses: should a target
    run it nevertheless, its data is in no format that we know."""
    return tuple(_shape(each) for each in tree.statements if each.kind == "CopyStmt" and _with_client(each.body))


def _with_client(body: Node) -> bool:
    return "filename" not in body and not body.get("is_program")


def _shape(statement: Statement) -> Shape | None:
    body = statement.body
    options = {each["DefElem"].get("defname", ""): _said(each["DefElem"]) for each in body.get("options", ())}
    try:
        form = Format(options.get("format", "text"))
    except ValueError:
        return None
    csv = form is Format.CSV
    quote = options.get("quote", '"')
    names = output_names({"CopyStmt": body}) if "query" in body else strings(body.get("attlist", ()))
    shape = Shape(
        names=names,
        origins=tuple(_origins(statement, names)),
        unnamed=tuple(f"{table}.{UNNAMED}" for table in _tables(statement)) or (UNNAMED,),
        format=form,
        delimiter=options.get("delimiter", "," if csv else "\t").encode(),
        null=options.get("null", "" if csv else "\\N").encode(),
        quote=quote.encode(),
        escape=options.get("escape", quote).encode(),
        header="header" in options and options["header"].lower() not in _OFF and form is not Format.BINARY,
    )
    return shape if _sound(shape) else None


def _tables(statement: Statement) -> tuple[str, ...]:
    if "query" in statement.body:
        return Origins(statement).relations
    return (relation(statement.body.get("relation", {})),)


def _origins(statement: Statement, names: tuple[str, ...]) -> Iterator[Names]:
    if "query" in statement.body:
        origins = Origins(statement)
        yield from (origins.result(n, name) for n, name in enumerate(names))
    else:
        table = relation(statement.body.get("relation", {}))
        yield from ((f"{table}.{name}",) for name in names)


def _said(option: Node) -> str:
    """What an option is set to; one that is only named is on."""
    kind, body = unwrap(option.get("arg", {"Boolean": {"boolval": True}}))
    if kind == "Boolean":
        return "true" if body.get("boolval") else "false"
    return str(body.get("ival", 0)) if kind == "Integer" else str(body.get("sval", ""))


def _sound(shape: Shape) -> bool:
    marks = (shape.delimiter, shape.quote, shape.escape)
    if any(len(mark) != 1 or mark in b"\r\n" for mark in marks) or len(shape.names) > MOST_COLUMNS:
        return False
    if shape.format is Format.CSV:
        return shape.delimiter != shape.quote
    return shape.delimiter[0] not in _NO_DELIMITER_OF_TEXT
