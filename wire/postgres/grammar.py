"""PostgreSQL's own grammar, and the only module that imports postgast (PostgreSQL 18, libpg_query).

Gives trees, statement texts, the places of literals and the normalised text. It judges nothing and
keeps nothing; no error carries a word of the SQL. Sizes are bounded: text over `MAX_TEXT`, trees
over `MAX_TREE` bytes of JSON or deeper than `MAX_DEPTH` are refused.

One thing to know: libpg_query has no stack check, and `1+1+1...` of 130 kB overflows an 8 MB stack
and takes the process with it. So texts over `DIRECT_TEXT` are parsed on a thread of its own stack.

A tree is JSON as libpg_query prints it, since walking it is ten times cheaper in Python than walking
protobuf messages. A *node* is a dict of one key, its kind (`{"SelectStmt": {...}}`); some fields hold
the body alone (`relation`, `larg`, `typeName`), as PostgreSQL's own parsenodes.h does.
"""

from __future__ import annotations

import ctypes
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeAlias

from postgast import PgQueryError
from postgast import pg_query_pb2 as pb
from postgast import scan as _scan
from postgast.native import PgQueryParseResult, lib
from pydantic_core import from_json

Node: TypeAlias = dict[str, Any]
"""`{kind: body}`, or a body alone. Plain JSON: str, int, bool, list, dict."""

MAX_TEXT = 1 << 20  # bytes of UTF-8
MAX_TREE = 8 << 20  # bytes of JSON: about 100 MB of Python objects, for the moment of one judgement
MAX_DEPTH = 700  # levels of JSON, two an operator; json itself stops at Python's recursion limit, 1000
DIRECT_TEXT = 16 << 10  # 8k levels of the worst recursion need about 1 MB of stack
BIG_STACK = 512 << 20  # virtual; only what a text really needs is touched (67 MB seen at 1 MiB)

MOST_REREAD = 4 << 20  # characters, some 15 ms

# pg_query.h: PG_QUERY_PARSE_DEFAULT, and the modes plpgsql uses for its expressions and assignments.
MODE_SQL, MODE_EXPRESSION, MODE_ASSIGN1, MODE_ASSIGN2, MODE_ASSIGN3 = 0, 2, 3, 4, 5

lib.pg_query_parse_opts.argtypes = [ctypes.c_char_p, ctypes.c_int]
lib.pg_query_parse_opts.restype = PgQueryParseResult

_big_stack = threading.Lock()


class Unparsable(ValueError):
    """The grammar does not take this text. `position`: a character in it, or -1. Never any text."""

    def __init__(self, why: str, position: int = -1) -> None:
        super().__init__(f"{why} at character {position}" if position >= 0 else why)
        self.position = position


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text; `start` and `end` are characters in it."""

    kind: str  # "SelectStmt"
    body: Node
    start: int
    end: int

    def __repr__(self) -> str:
        return f"Statement({self.kind}, {self.end - self.start} characters)"


@dataclass(frozen=True, slots=True)
class Tree:
    statements: tuple[Statement, ...]
    text: str

    def texts(self) -> tuple[str, ...]:
        return tuple(self.text[s.start : s.end].strip() for s in self.statements)

    def __repr__(self) -> str:
        return f"Tree({len(self.statements)} statements, {len(self.text)} characters)"


class LiteralKind(StrEnum):
    STRING = "string"  # '...', E'...', U&'...', $tag$...$tag$, B'...', X'...'
    NUMBER = "number"
    COMMENT = "comment"
    SETTING = "setting"  # an unquoted value of SET
    NAME = "name"  # U&"...": the one name that is written in other letters than it has


@dataclass(frozen=True, slots=True)
class Span:
    """A literal, quotes and all, and the UESCAPE that is said of it; characters of the original text."""

    start: int
    end: int
    kind: LiteralKind


@lru_cache(maxsize=1)  # judge and masker ask for the same one, one after the other
def parse(sql: str, mode: int = MODE_SQL) -> Tree:
    """The tree of `sql`, with no statement for an empty text; nobody changes it. Raises Unparsable."""
    raw = _encoded(sql)
    printed = _print_tree(raw, mode) if len(raw) <= DIRECT_TEXT else _on_big_stack(lambda: _print_tree(raw, mode))
    if len(printed) > MAX_TREE:
        raise Unparsable("statement too large to judge")
    try:
        tree = from_json(printed)
    except ValueError:  # nested deeper than it goes, or broken: json says which
        try:
            tree = json.loads(printed)
        except (RecursionError, UnicodeDecodeError, json.JSONDecodeError):
            raise Unparsable("statement nested too deep or not UTF-8") from None
    if len(printed) > 8 * MAX_DEPTH:  # a level takes more than 8 bytes
        _check_depth(tree)
    ascii_only = len(raw) == len(sql)
    found = []
    for each in tree["stmts"]:
        if "stmt" not in each:
            continue
        start = each.get("stmt_location", 0)
        end = start + each["stmt_len"] if each.get("stmt_len") else len(raw)
        if not ascii_only:
            start, end = len(raw[:start].decode()), len(raw[:end].decode())
        ((kind, body),) = each["stmt"].items()
        found.append(Statement(kind, body, start, end))
    return Tree(tuple(found), sql)


def parse_plpgsql(statement: str) -> Any:
    """What is known of the body of one `DO` or `CREATE FUNCTION ... LANGUAGE plpgsql`, as JSON:
    nested dicts of `PLpgSQL_...`. Raises Unparsable, also for bodies that libpg_query cannot read
    (arrays of row types)."""
    raw = _encoded(statement)
    printed = _print_plpgsql(raw) if len(raw) <= DIRECT_TEXT else _on_big_stack(lambda: _print_plpgsql(raw))
    if len(printed) > MAX_TREE:
        raise Unparsable("function body too large to judge")
    try:
        return json.loads(_UNCLOSED.sub(_closed, printed) if b"{}}" in printed else printed)
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError):
        raise Unparsable("function body cannot be read") from None


# A trigger's TG_ variables are printed as `{}}`, which behind `[` or `,` is no JSON, outside of strings.
_UNCLOSED = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[,]\{\}\}')


def _closed(found: re.Match[bytes]) -> bytes:
    return found[0] if found[0].startswith(b'"') else found[0][:-1]


def split(sql: str) -> tuple[str, ...]:
    """The statements of a text, without what divides them. Raises Unparsable."""
    return parse(sql).texts()


def unwrap(node: Node) -> tuple[str, Node]:
    """(kind, body) of a wrapped node; ("", node) of a bare body."""
    if len(node) == 1:
        ((kind, body),) = node.items()
        if kind[0].isupper():
            return kind, body
    return "", node


def walk(node: Any) -> Iterator[tuple[str, Node]]:
    """Every node below and with `node`, as (kind, body), parents first; "" for bare bodies."""
    stack = [node]
    while stack:
        here = stack.pop()
        if here.__class__ is list:
            stack.extend(reversed(here))
        elif here.__class__ is dict:
            kind, body = unwrap(here)
            yield kind, body
            stack.extend(reversed([v for v in body.values() if v.__class__ is dict or v.__class__ is list]))


def strings(nodes: Sequence[Node]) -> tuple[str, ...]:
    """The texts of a list of String nodes, as in the name of a function: ("pg_catalog", "lower")."""
    return tuple(node["String"].get("sval", "") for node in nodes if "String" in node)


def constant(node: Node) -> str | None:
    """The text of a string, number or boolean constant, casts of it included; None for anything else."""
    while "TypeCast" in node:
        node = node["TypeCast"].get("arg", {})
    const = node.get("A_Const")
    if const is None or const.get("isnull"):
        return None
    if "sval" in const:
        return str(const["sval"].get("sval", ""))
    if "ival" in const:
        return str(const["ival"].get("ival", 0))
    if "fval" in const:
        return str(const["fval"].get("fval", ""))
    if "boolval" in const:
        return "true" if const["boolval"].get("boolval") else "false"
    return None


def uncast(node: Node) -> str | None:
    """As `constant`, but only where no cast can make another text of it: 'role_x'::varchar(4) is 'role'."""
    while "TypeCast" in node:
        kind = node["TypeCast"].get("typeName", {})
        names = strings(kind.get("names", ()))
        if names not in (("text",), ("pg_catalog", "text")) or "arrayBounds" in kind:
            return None
        node = node["TypeCast"].get("arg", {})
    return constant(node)


_plain = re.compile(r"[a-z_][a-z0-9_]*").fullmatch


def quoted(*parts: str) -> str:
    """A dotted name as PostgreSQL reads it back: parts are quoted where they must be."""
    return ".".join([p if _plain(p) else '"' + p.replace('"', '""') + '"' for p in parts if p])


_STRINGS = frozenset((pb.SCONST, pb.USCONST, pb.BCONST, pb.XCONST))
_NUMBERS = frozenset((pb.ICONST, pb.FCONST))
_ESCAPED = frozenset((pb.USCONST, pb.UIDENT))
_COMMENTS = frozenset((pb.SQL_COMMENT, pb.C_COMMENT))
_KINDS = (
    dict.fromkeys(_STRINGS, LiteralKind.STRING)
    | dict.fromkeys(_NUMBERS, LiteralKind.NUMBER)
    | dict.fromkeys(_COMMENTS, LiteralKind.COMMENT)
)
_SETS_OF = frozenset((pb.SYSTEM_P, pb.ROLE, pb.USER, pb.DATABASE, pb.FUNCTION, pb.PROCEDURE, pb.ROUTINE))


def literals(sql: str) -> list[Span]:
    """Every constant and comment, in order: strings of whatever statement (a password, a file name, a
    program, a NOTIFY payload are strings to the scanner), numbers, the unquoted values of SET, and
    names with escapes. Comments within a `U&'...' UESCAPE '!'` are part of it.
    Works on text that scans but does not parse. Raises Unparsable."""
    raw = _encoded(sql)
    found: list[tuple[int, int, LiteralKind]] = []
    settings = _SettingValues()
    escaped, said = -1, False  # which of them may have an UESCAPE, and whether it has
    for token in _tokens(raw, sql):
        which = token.token
        kind = _KINDS.get(which)
        if kind is not LiteralKind.COMMENT and settings.takes(token) and kind is None:
            kind = LiteralKind.SETTING
        if which == pb.UIDENT and kind is None:
            kind = LiteralKind.NAME
        if escaped >= 0 and kind is not LiteralKind.COMMENT:
            if which == pb.UESCAPE and not said:
                said = True
                continue
            if said and which == pb.SCONST:
                start, _, kind = found[escaped]
                del found[escaped:]
                found.append((start, token.end, kind))
                escaped, said = -1, False
                continue
            escaped, said = -1, False
        if which in _ESCAPED:
            escaped = len(found)
        if kind is not None:
            found.append((token.start, token.end, kind))
    if len(raw) == len(sql):
        return [Span(*one) for one in found]
    return _in_characters(raw, found)


def normalise(sql: str) -> str:
    """The text with every constant as `?`, comments dropped, unquoted words in lower case, one space
    between tokens. Equal normalised texts parse to equal trees but for their constants.
    Raises Unparsable."""
    return " ".join([word or "?" for word in words(sql)])


def words(sql: str) -> list[str]:
    """The tokens of the normalised text, "" for each constant. Raises Unparsable."""
    raw = _encoded(sql)
    settings = _SettingValues()
    found = []
    for token in _tokens(raw, sql):
        if token.token in _COMMENTS:
            continue
        if token.token in _KINDS or settings.takes(token):
            found.append("")
            continue
        word = raw[token.start : token.end].decode()
        found.append(word if word.startswith('"') else _folded(word))
    return found


def _folded(word: str) -> str:
    """As PostgreSQL folds in UTF-8 databases: ASCII only."""
    return word.lower() if word.isascii() else "".join(c.lower() if c.isascii() else c for c in word)


class _SettingValues:
    """Follows tokens and says which are values: those behind `TO` or `=` of SET, up to the `;`."""

    def __init__(self) -> None:
        self._first = self._second = 0
        self._set = self._value = False

    def takes(self, token: pb.ScanToken) -> bool:
        which = token.token
        if which == pb.ASCII_59:
            self.__init__()  # type: ignore[misc]
            return False
        if self._value:
            return which not in (pb.ASCII_44, pb.DEFAULT)
        if not self._first:
            self._first = which
        elif not self._second:
            self._second = which
        if which == pb.SET:
            self._set = self._first == pb.SET or (self._first == pb.ALTER and self._second in _SETS_OF)
        elif self._set and which in (pb.TO, pb.ASCII_61):
            self._value = True
        return False


def _in_characters(raw: bytes, found: list[tuple[int, int, LiteralKind]]) -> list[Span]:
    spans, at, characters = [], 0, 0
    for start, end, kind in found:
        first = characters + len(raw[at:start].decode())
        characters = first + len(raw[start:end].decode())
        at = end
        spans.append(Span(first, characters, kind))
    return spans


def _encoded(sql: str) -> bytes:
    try:
        raw = sql.encode()
    except UnicodeEncodeError:
        raise Unparsable("text is not Unicode") from None
    if len(raw) > MAX_TEXT:
        raise Unparsable(f"text over {MAX_TEXT} bytes")
    if b"\0" in raw:  # C would stop reading here, and judge less than there is
        raise Unparsable("a zero byte", sql.index("\0"))
    if (raw.count(b"/*") > _FEW or b"++" in raw or b"+-" in raw) and _reread(raw) > MOST_REREAD:
        raise Unparsable("comments or signs among too many operators")
    return raw


_FEW = 8
_OPERATORS = re.compile(rb"[-~!@#^&|`?+*/%<>=]{64,}")


def _reread(raw: bytes) -> int:
    """Characters that PostgreSQL's scanner reads again: at each `/*` it reads to the end of the operators' characters
    that it stands in, and goes back (scan.l, xcstart), and at each `+` and `-` of them that end in such (operator).
    A megabyte of `/*` took it a quarter of an hour, 64 KB of `+` half a minute."""
    return sum(len(run) * (run.count(b"/*") + 2 * run.count(b"+")) for run in _OPERATORS.findall(raw))


def _position(raw: bytes, cursor: int) -> int:
    """libpg_query counts bytes from 1, 0 for unknown."""
    return len(raw[: cursor - 1].decode(errors="ignore")) if cursor > 0 else -1


def _print_tree(raw: bytes, mode: int) -> bytes:
    result = lib.pg_query_parse_opts(raw, mode)
    try:
        if result.error:
            raise Unparsable("not PostgreSQL's grammar", _position(raw, result.error.contents.cursorpos))
        if b"could not dump" in (result.stderr_buffer or b""):  # a node is left out: less than there is
            raise Unparsable("a tree that cannot be printed whole")
        return bytes(result.parse_tree)
    finally:
        lib.pg_query_free_parse_result(result)


def _print_plpgsql(raw: bytes) -> bytes:
    result = lib.pg_query_parse_plpgsql(raw)
    try:
        if result.error:
            raise Unparsable("not plpgsql's grammar")
        return bytes(result.plpgsql_funcs)
    finally:
        lib.pg_query_free_plpgsql_parse_result(result)


def _tokens(raw: bytes, sql: str) -> Sequence[pb.ScanToken]:
    try:
        found: Sequence[pb.ScanToken] = _scan(sql).tokens
        return found
    except PgQueryError as error:
        raise Unparsable("not PostgreSQL's tokens", _position(raw, error.cursorpos)) from None


def _check_depth(tree: Any) -> None:
    """Refuses by depth alone, so that the answer does not depend on the caller's stack."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for here in level:
            below += here.values() if here.__class__ is dict else here
        level = [v for v in below if v.__class__ is dict or v.__class__ is list]
        if not level:
            return
    raise Unparsable("statement nested too deep")


def _on_big_stack(work: Callable[[], bytes]) -> bytes:
    """Runs `work` on a thread with a stack that 1 MiB of anything cannot overflow."""
    done: list[bytes] = []
    failed: list[Unparsable] = []

    def run() -> None:
        try:
            done.append(work())
        except Unparsable as error:
            failed.append(error)
        except MemoryError:
            failed.append(Unparsable("no memory for a large statement"))

    thread = threading.Thread(target=run, name="grammar")
    with _big_stack:
        usual = threading.stack_size(BIG_STACK)
        try:
            thread.start()
        except RuntimeError:
            raise Unparsable("no memory for a large statement") from None
        finally:
            threading.stack_size(usual)
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
