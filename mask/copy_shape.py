"""The shape of a COPY as its statement says it: columns by name, format, delimiter, marks (PostgreSQL, "COPY").

Both syntaxes, `WITH (FORMAT csv, HEADER)` and the old `WITH CSV HEADER`: the grammar makes one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wire.postgres.grammar import Node, Tree, strings, unwrap, walk

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
    """`names`: of the columns, in order; () where the statement does not say them all."""

    names: tuple[str, ...] = ()
    format: Format = Format.TEXT
    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    quote: bytes = b'"'
    escape: bytes = b'"'
    header: bool = False


def shapes(tree: Tree) -> tuple[Shape | None, ...]:
    """Of each COPY from or to the client, in order. None for one that PostgreSQL 18 refuses: should a target
    run it nevertheless, its data is in no format that we know."""
    return tuple(_shape(each.body) for each in tree.statements if each.kind == "CopyStmt" and _with_client(each.body))


def _with_client(body: Node) -> bool:
    return "filename" not in body and not body.get("is_program")


def _shape(body: Node) -> Shape | None:
    options = {each["DefElem"].get("defname", ""): _said(each["DefElem"]) for each in body.get("options", ())}
    try:
        form = Format(options.get("format", "text"))
    except ValueError:
        return None
    csv = form is Format.CSV
    quote = options.get("quote", '"')
    shape = Shape(
        names=_names(body),
        format=form,
        delimiter=options.get("delimiter", "," if csv else "\t").encode(),
        null=options.get("null", "" if csv else "\\N").encode(),
        quote=quote.encode(),
        escape=options.get("escape", quote).encode(),
        header="header" in options and options["header"].lower() not in _OFF and form is not Format.BINARY,
    )
    return shape if _sound(shape) else None


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


def _names(body: Node) -> tuple[str, ...]:
    return _targets(body["query"]) if "query" in body else strings(body.get("attlist", ()))


def _targets(query: Node) -> tuple[str, ...]:
    """What a query calls its columns; () where a `*` stands for some of them."""
    _, body = unwrap(query)
    while "larg" in body:  # UNION: the first names them
        body = body["larg"]
    if "valuesLists" in body:
        return tuple(f"column{n}" for n, _ in enumerate(body["valuesLists"][0]["List"].get("items", ()), 1))
    listed = body["targetList"] if query.keys() == {"SelectStmt"} and "targetList" in body else _returned(body)
    names: list[str] = []
    for each in listed:
        target = each.get("ResTarget", {})
        value = target.get("val", {})
        if _is_star(value):
            return ()
        names.append(target.get("name") or _called(value))
    return tuple(names)


def _returned(body: Node) -> list[Node]:
    listed: list[Node] = body.get("returningClause", {}).get("exprs", [])
    return listed


def _is_star(value: Node) -> bool:
    last = value.get("ColumnRef", {}).get("fields") or value.get("A_Indirection", {}).get("indirection") or [{}]
    return "A_Star" in last[-1]


def _called(value: Node) -> str:
    """A column keeps its name through whatever is made of it alone, `lower(ssn)`, `ssn || ''`: PostgreSQL calls
    these by the function, but what is in them is the column's."""
    while "TypeCast" in value:
        value = value["TypeCast"].get("arg", {})
    if names := strings(value.get("A_Indirection", {}).get("indirection", ())):
        return names[-1]
    if value.get("SubLink", {}).get("subLinkType") == "EXPR_SUBLINK":
        return (_targets(value["SubLink"]["subselect"]) or ("",))[0]
    columns = {strings(body.get("fields", ()))[-1:] for kind, body in walk(value) if kind == "ColumnRef"}
    return "".join(columns.pop()) if len(columns) == 1 else ""
