"""Raw exchanges become masked content (JSON) and the facts that a leaf may hold."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

from mask.copy_shape import Shape, shapes
from mask.fields import UNNAMED, Names
from mask.literals import parameter_names
from mask.replace import spliced
from mask.sql_origins import Origins
from schemas.records import Effect, Found, Result
from stream.exchange import RawExchange
from wire.generations import Generations
from wire.postgres import messages as m
from wire.postgres.blind import LONGEST, blind
from wire.postgres.free import free_places
from wire.postgres.grammar import normalise, parse
from wire.postgres.reader import RemoteFault
from wire.postgres.values import Unreadable, to_text

MOST_EFFECTS = 200
"""Effects and signals in a leaf; what is above is cut, and the last one says so."""
MOST_CONTENT = 3 * 1024 * 1024
"""Of one exchange, as JSON: a control character is six bytes in it. One message of the bus must hold it."""
MOST_TEXT = 16 * 1024
_MOST_NAME = 200
_PLAIN_FIELDS = ("S", "C")  # severity and code: no value can be in them
_TOLD_FIELDS = ("S", "C", "M", "D", "H", "W")  # of an error or notice: what a reader needs


class Counted(Protocol):
    @property
    def found(self) -> tuple[Found, ...]: ...
    @property
    def withheld(self) -> int: ...
    @property
    def failed(self) -> tuple[Found, ...]: ...


class Masked(Counted, Protocol):
    @property
    def text(self) -> Any: ...
    @property
    def hidden(self) -> tuple[tuple[str, str], ...]: ...


class Copied(Counted, Protocol):
    @property
    def rows(self) -> tuple[str, ...]: ...
    @property
    def cut(self) -> bool: ...


class Masker(Protocol):
    """What the pipeline asks of `mask.masker.Masker`, one a session."""

    def text(self, text: str, name: str | Names = "") -> Masked: ...
    def value(self, value: str | None, column: str | Names = "") -> Masked: ...
    def unreadable(self, raw: bytes) -> Masked: ...
    def speaks_of(self, text: str) -> bool: ...
    def sql(self, sql: str) -> Masked: ...
    def copied(self, shapes: tuple[Shape | None, ...], data: bytes, *, whole: bool) -> Copied: ...


_SHORTEST_SAID = 3
_LONGEST_SAID = 64  # bytes of a value that PostgreSQL quotes in a detail
MOST_SAID, MOST_SAID_LENGTH = 200, 16_384
"""Values of a command, and characters of them, that are looked for in its answer; of a command that hides more, no
error or notice is shown."""


def _said_again(hidden: Iterable[str]) -> re.Pattern[str] | None:
    """Each of these as PostgreSQL writes it: as it is, or as a constant; a long one cut."""
    said = {form for text in hidden if len(text) >= _SHORTEST_SAID for form in _forms(text)}
    longest_first = sorted(said, key=lambda form: (-len(form), form))
    words = (re.escape(form) + ("" if _is_cut(form) else r"(?!\w)") for form in longest_first)
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})") if said else None


def _forms(text: str) -> tuple[str, ...]:
    forms = (text, text.replace("'", "''"), text.replace("\\", "\\\\").replace("'", "''"))
    return (*forms, *(form.encode("utf-8", "replace")[:_LONGEST_SAID].decode("utf-8", "ignore") for form in forms))


def _is_cut(form: str) -> bool:
    return len(form.encode("utf-8", "replace")) > _LONGEST_SAID - 4


def _whole(hidden: Iterable[str], said: str) -> str:
    return next(text for text in hidden if said in _forms(text))


class Learned:
    """What is true in every session, under one version of the rules."""

    def __init__(self) -> None:
        self.clean: Generations[str, bool] = Generations(4096, 8 << 20)
        """Names that are left as they are."""
        self.columns: Generations[tuple[bytes, tuple[str, ...]], tuple[Names, ...]] = Generations(4096, 8 << 20)
        """By statement without its numbers, and what its answer calls its columns."""


@dataclass(slots=True)
class Masking:
    """One exchange's masking under way: counts what was found."""

    masker: Masker
    learned: Learned
    found: Counter[str] = field(default_factory=Counter)
    withheld: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Values withheld because of a fault, by what failed."""
    hides: bool = False
    """Whether a rule of the policy wants no value of this command on record."""
    hidden: dict[str, str] = field(default_factory=dict)
    """What of the command was hidden for its name alone, and by what: answers say it again where nothing names it."""
    _again: re.Pattern[str] | None = None
    _asked: bool = False
    _much: bool = False

    def asked(self) -> None:
        """The command is masked; its answer comes."""
        self._asked = True
        self._much = len(self.hidden) > MOST_SAID or sum(map(len, self.hidden)) > MOST_SAID_LENGTH
        if self.hidden and not self._much:
            self._again = _said_again(self.hidden)

    def _take(self, masked: Masked) -> str:
        self._count(masked)
        if not self._asked:
            self.hidden.update(masked.hidden)
        return str(masked.text)

    def _unsaid(self, text: str) -> str:
        """Without what was hidden before: errors, notices and plans quote the values of their command."""
        if self._again is None:
            return text
        found = self._again.finditer(text)
        return spliced(text, [(*each.span(), self.hidden[_whole(self.hidden, each[0])]) for each in found])

    def _count(self, masked: Counted) -> None:
        for found in masked.found:
            self.found[found.type] += found.count
        self.withheld += masked.withheld
        for failed in masked.failed:
            self.failed[failed.type] += failed.count

    def sql(self, text: bytes) -> str:
        """The command; where values are hidden without its constants and comments, `?` for each constant."""
        if self.hides:
            try:
                said = text.decode()
                parse(said)  # of what scans and no more, nobody can say which word is a constant
                normal = normalise(said)
            except ValueError:
                return self.withhold(text)
            self.withheld += normal.count("?")
            return self._take(self.masker.text(normal))
        return self._take(self.masker.sql(text.decode("utf-8", "replace")))

    def text(self, raw: bytes, names: Names = ()) -> str:
        if self._much:
            return self.withhold(raw)
        return self._take(self.masker.text(self._unsaid(raw.decode("utf-8", "replace")), names))

    def name(self, name: str) -> str:
        """Of a column, a relation, a tag: the same few again and again, and most with nothing in them to mask."""
        if self.learned.clean.get(name):
            return name
        masked = self.masker.text(name)
        if masked.text == name and len(name) <= _MOST_NAME:
            self.learned.clean.keep(name, True, len(name))
        return self._take(masked)[:_MOST_NAME]

    def value(self, raw: bytes | None, oid: int, form: int, column: Names) -> str | None:
        if raw is None:
            return None
        if self.hides:
            return self.withhold(raw)
        text = to_text(oid, form, raw)
        if isinstance(text, Unreadable):
            return self._take(self.masker.unreadable(raw))
        return self._take(self.masker.value(self._unsaid(text), column))

    def withhold(self, raw: bytes) -> str:
        return self._take(self.masker.unreadable(raw))

    def unnamed(self, raw: bytes | None, fault: str) -> str | None:
        """A value of which nobody can say what it is called, for a fault of ours."""
        if raw is None:
            return None
        self.failed[fault] += 1
        return self._take(self.masker.unreadable(raw))

    def copied(self, shapes: tuple[Shape | None, ...], data: bytes, whole: bool) -> Copied:
        masked = self.masker.copied(shapes, data, whole=whole)
        self._count(masked)
        return masked

    def columns(self, text: bytes, called: tuple[str, ...]) -> tuple[Names, ...]:
        """See `_columns`, which numbers in the text do not change. () where no name has a say."""
        said = "\n".join((text.decode("utf-8", "replace"), *called))
        if not self.masker.speaks_of(said):
            return ()
        key = (blind(text), called)
        names = self.learned.columns.get(key)
        if names is None:
            names = _columns(text, called)
            if len(text) <= LONGEST:
                self.learned.columns.keep(key, names, len(text) + sum(map(len, called)))
        return names

    def effects(self, effects: Iterable[Effect]) -> tuple[Effect, ...]:
        listed = [Effect(e.effect, self.name(e.relation)) for e in effects]
        if len(listed) > MOST_EFFECTS:
            return (*listed[: MOST_EFFECTS - 1], Effect("cut", f"{len(listed) - MOST_EFFECTS + 1} more"))
        return tuple(listed)

    def counts(self) -> tuple[Found, ...]:
        return tuple(Found(kind, count) for kind, count in sorted(self.found.items()))


def command(
    masking: Masking, text: bytes, binds: tuple[bytes | None, ...], formats: tuple[int, ...], oids: tuple[int, ...]
) -> dict[str, Any]:
    shown = {"text": masking.sql(text), "params": _params(masking, text, binds, formats, oids)}
    masking.asked()
    return shown


def free(masking: Masking, text: bytes) -> list[str]:
    """Which values an approval with any values leaves free."""
    try:
        return [masking.name(place) for place in free_places(text.decode())]
    except ValueError:  # the gateway read it; if this release cannot, nobody is told less than everything
        return ["every constant and parameter"]


def _params(
    masking: Masking, text: bytes, binds: tuple[bytes | None, ...], formats: tuple[int, ...], oids: tuple[int, ...]
) -> list[str | None]:
    try:
        names = _parameter_names(text) if binds else {}
    except Exception:  # noqa: BLE001  fails closed: without its name a value may be taken for harmless
        return [masking.unnamed(value, "sql_names") for value in binds]
    return [
        masking.value(
            value,
            oids[n] if n < len(oids) else 0,
            formats[n] if n < len(formats) else 0,
            names.get(n + 1, ()),
        )
        for n, value in enumerate(binds)
    ]


@lru_cache(maxsize=512)
def _parameter_names(text: bytes) -> dict[int, Names]:
    """What the statement calls `$1`, `$2` …: the columns that they go to or are compared with."""
    try:
        return parameter_names(parse(text.decode()))
    except ValueError:  # no SQL, or not UTF-8: then the value detectors alone look at it
        return {}


def answer(masking: Masking, raw: RawExchange) -> dict[str, Any]:
    columns = [masking.name(c.name.decode("utf-8", "replace")) for c in raw.columns]
    rows: list[list[str | None]] = []
    before: tuple[m.Column, ...] | None = None
    shown: list[tuple[int, int, Names | None]] = []  # of each column: type, format, names; the same for most rows
    for described, values in raw.rows:
        if described is not before or len(values) != len(shown):
            before, shown = described, _shown(masking, raw, described, len(values))
        rows.append([_value(masking, value, *how) for value, how in zip(values, shown, strict=True)])
    copied, cut = _copied(masking, raw)
    return {
        "columns": columns,
        "rows": rows,
        "copied": copied,
        "tag": tag(masking, raw),
        "error": told(masking, raw.error, copying=bool(raw.copied)) if raw.error else None,
        "notices": [told(masking, notice, copying=bool(raw.copied)) for notice in raw.notices],
        "excerpt": raw.partial or cut,
    }


def _copied(masking: Masking, raw: RawExchange) -> tuple[list[str], bool]:
    """The rows of every COPY that the target read or wrote, and whether some are not shown: what a client sends
    behind the COPY that failed, or behind the last one, the target passes over."""
    if not raw.copied:
        return [], False
    done = sum(each.startswith(b"COPY ") for each in raw.tags)
    found = raw.copies()
    shown: list[str] = []
    cut = any(found[done + 1 :])
    for nth, data in enumerate(found[: done + 1]):
        if masking.hides:
            shown.append(masking.withhold(data))
            continue
        whole = nth < done and raw.result is Result.EXECUTED and not raw.partial
        masked = masking.copied(_shapes_of(masking, raw.text), data, whole)
        shown += masked.rows
        cut = cut or masked.cut
    return shown, cut


def _shapes_of(masking: Masking, text: bytes) -> tuple[Shape | None, ...]:
    try:
        return _shapes(text)
    except Exception:  # noqa: BLE001  fails closed: of data without a shape nothing is shown
        masking.failed["copy_shape"] += 1
        return ()


@lru_cache(maxsize=512)
def _shapes(text: bytes) -> tuple[Shape | None, ...]:
    """Of each COPY in the text; () where nobody knows what the data are of, and then they are withheld."""
    try:
        return shapes(parse(text.decode()))
    except ValueError:  # no SQL, or not UTF-8
        return ()


def _value(masking: Masking, value: bytes | None, oid: int, form: int, names: Names | None) -> str | None:
    return masking.unnamed(value, "sql_origins") if names is None else masking.value(value, oid, form, names)


def _shown(
    masking: Masking, raw: RawExchange, described: tuple[m.Column, ...], count: int
) -> list[tuple[int, int, Names | None]]:
    """Of each column: its type, its format, its names; None where a fault leaves it without."""
    called = tuple(column.name.decode("utf-8", "replace") for column in described)
    called += ("",) * (count - len(called))  # who does not ask what they are called still reads them
    try:
        names: tuple[Names | None, ...] = masking.columns(raw.text, called)
    except Exception:  # noqa: BLE001  fails closed: an alias alone may say nothing of what is in a column
        names = (None,) * count
    found: list[tuple[int, int, Names | None]] = []
    for n in range(count):
        known = described[n] if n < len(described) else None
        oid = known.type_oid if known else 0
        found.append((oid, _result_format(raw, n, known), names[n] if n < len(names) else ()))
    return found


def _columns(text: bytes, called: tuple[str, ...]) -> tuple[Names, ...]:
    """All names of the columns of an answer: what they are called, and what they are made of. Of several commands
    in one text nobody says whose answer it is: then of each that it might be."""
    try:
        statements = parse(text.decode()).statements
    except ValueError:  # no SQL, or not UTF-8: only what it is called is known
        statements = ()
    of = [Origins(each) for each in statements]
    unread = () if of else (UNNAMED,)
    return tuple(
        tuple(dict.fromkeys(name for origins in of for name in origins.result(n, own))) or ((own,) if own else unread)
        for n, own in enumerate(called)
    )


def _result_format(raw: RawExchange, n: int, known: m.Column | None) -> int:
    """A statement's description says text whatever its Bind asked for: the Bind is believed."""
    asked = raw.result_formats
    if len(asked) == 1:
        return asked[0]
    if asked:
        return asked[n] if n < len(asked) else 1  # more columns than formats: not to be read as text
    return known.format if known else 0


def tag(masking: Masking, raw: RawExchange) -> str:
    return masking.name(b"; ".join(raw.tags).decode("utf-8", "replace"))


def told(masking: Masking, payload: bytes, *, copying: bool = False) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse, masked; positions and internals are dropped. `copying`: it may
    quote what is copied, a value or a whole row."""
    try:
        fields = m.parse_fields(payload).fields
    except RemoteFault:
        return {}
    wanted = _PLAIN_FIELDS if masking.hides else _TOLD_FIELDS
    said = dict(fields)
    if copying:
        fields = tuple((name, _QUOTED.sub(lambda each: b'"%b"' % masking.withhold(each[1]).encode(), value)
                        if name in "MW" else value) for name, value in fields)  # fmt: skip
    if said.get("C") in _OF_A_ROW and "D" in wanted:
        return {name: _of_a_row(masking, said, name, value) for name, value in fields if name in wanted}
    return {name: masking.text(value) for name, value in fields if name in wanted}


_QUOTED = re.compile(rb'(?<=: )"(.*)"', re.DOTALL)
_OF_A_ROW = frozenset((b"23502", b"23503", b"23505", b"23514", b"23P01"))
"""Constraints that fail: their detail is a row, or `Key (a, b)=(1, x)`, in any language."""


def _of_a_row(masking: Masking, said: dict[str, bytes], field: str, value: bytes) -> str:
    """A row's values have no names, and are hidden; a key's have those of its columns. Two keys, as an exclusion
    constraint names them, are hidden whole: values may look like what divides them."""
    if field != "D" or b"(" not in value:
        return masking.text(value)
    named, divider, rest = value.partition(b")=(")
    if said["C"] == b"23514" or not divider or divider in rest:
        return masking.withhold(value)
    before, _, key = named.partition(b"(")
    values, _, behind = rest.rpartition(b")")
    table = said.get("t", b"").decode("utf-8", "replace")
    columns = [column.strip(' "') for column in key.decode("utf-8", "replace").split(",")]
    if len(columns) > _MOST_KEYED:
        return masking.withhold(value)
    names = tuple(f"{table}.{column}" for column in columns)
    shown = masking.text(values, names).encode()
    return masking.text(b"%b(%b)=(%b)%b" % (before, key, shown, behind))


_MOST_KEYED = 32
"""Columns of an index: PostgreSQL's own limit."""


def bounded(masking: Masking, content: dict[str, Any]) -> bytes:
    """At most MOST_CONTENT: what is above is withheld, and counted; the answer first, then the end of the command."""
    raw = as_bytes(content)
    if len(raw) <= MOST_CONTENT:
        return raw
    masking.withheld += 1
    if "answer" in content:
        kept = content["answer"] | {"rows": [], "copied": [], "notices": [], "excerpt": True}
        content = content | {"answer": kept}
        raw = as_bytes(content)
    if len(raw) > MOST_CONTENT:
        text = content["command"]["text"]
        shown = f"{text[:MOST_TEXT]} withheld:{len(text) - MOST_TEXT}" if len(text) > MOST_TEXT else text
        raw = as_bytes(content | {"command": {"text": shown, "params": []}})
    return raw


_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def as_bytes(content: dict[str, Any]) -> bytes:
    return _JSON.encode(content).encode("utf-8", "replace")
