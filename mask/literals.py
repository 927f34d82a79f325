"""SQL: constants and comments masked by the grammar, so that what is left is still SQL that people read.

A constant is judged by the name that the statement gives it (a column, a setting, an option: `sql_names`),
then searched as text; bodies, and other strings that begin as a command does, as SQL again. What is clean stays
as it was written. Strings joined by `||` or by a line break are searched as one; a number that is written in
hexadecimal, and a name with escapes, as what it says. Names and operators are searched last, as text. What
PostgreSQL would not parse is withheld but for its first keyword: nobody can say which of it is a constant.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import pairwise

from mask import sql_bodies
from mask.fields import Names
from mask.kinds import Finding, Kind
from mask.replace import Counts, Replaced, replaced, spliced
from mask.search import SHORTEST, SHORTEST_WORD, Search, TooMuch
from mask.sql_calls import NAMING
from mask.sql_names import Named, named
from mask.tokens import WHOLE, Tokens, is_masked
from schemas.judging import FieldAction
from wire.postgres.blind import LONGEST, blind
from wire.postgres.grammar import LiteralKind, Span, Tree, Unparsable, literals, parse

DEPTH = 3  # bodies in bodies
_KEYWORDS = """
    abort alter analyze begin call checkpoint close cluster comment commit copy create deallocate declare delete
    discard do drop end execute explain fetch grant import insert listen load lock merge move notify prepare reassign
    refresh reindex release reset revoke rollback savepoint security select set show start table truncate unlisten
    update vacuum values with
"""
_IN_BODIES = "perform if for foreach while loop return raise execute case assert"
_FIRST = re.compile(r"\s*+([A-Za-z]{2,12})\b")
_JOINED = re.compile(r"(?:\s|\|\||--[^\n]*+\n)++")
_ARGUMENTS = re.compile(r"\s*+(?:,|\|\|)\s*+")
_CONCAT = re.compile(r"\b(?:concat|concat_ws|format|textcat)\s*+\(\s*+\Z", re.IGNORECASE)
_LONGEST_CALL = 40  # characters: longer only where somebody put blanks into it
_TAG = re.compile(r"\$[^$]*+\$")
_QUOTE = re.compile(r"()''|'(?:\s|--[^\n]*+\n)++'")  # the last goes on in another line
_QUOTE_OF_ESCAPES = re.compile(r"(\\[\\'])|" + _QUOTE.pattern[2:])
_ESCAPED = re.compile(r"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_UNICODE = re.compile(
    r"""U&(?:'((?:[^']++|''|'(?:\s|--[^\n]*+\n)++')*+)'|"((?:[^"]++|"")*+)")(.*)""", re.DOTALL | re.IGNORECASE
)
_UESCAPE = re.compile(r"\s*+uescape\s*+'.'", re.IGNORECASE | re.DOTALL)
_MARKED = re.compile("uescape", re.IGNORECASE)  # a name may have other escapes than backslashes
_POINT = re.compile(r"\.(?!\.)[0-9_]*+")
_BODY = re.compile(r"\s*+(?:([A-Za-z]++)|/\*|--|<<|[(;#])")
_SAID_OTHERWISE = re.compile("[A-Za-z_]")  # a number in another base, with an exponent, or in groups
_LARGEST = 256  # bits of a number in another base that is looked at: a card has 63
_PLACES = 60  # and decimal places of one with an exponent
_NO_DIGITS = re.compile(r"[^\W\d]++")
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def mask_sql(sql: str, search: Search, tokens: Tokens, counts: Counts) -> str:
    """Raises DetectorFailed, TooMuch; never Unparsable."""
    if search.plain.get(sql):
        return sql
    key = blind(sql.encode()) if sql.isascii() else b""
    if key and search.numeric.get(key):
        shown = _Statement(sql, [], Named(), search, tokens, counts).masked()
        if shown == sql and len(sql) <= LONGEST and key.endswith(sql.encode()):  # no number, so it will come again
            search.plain.keep(sql, True, len(sql))
        return shown
    try:
        tree = parse(sql)
        spans = literals(sql)
    except Unparsable:
        return _unparsed(sql, tokens, counts)
    names = named(tree) if spans and _asks(search, sql) else Named()
    statement = _Statement(sql, spans, names, search, tokens, counts)
    if 0 < len(key) <= LONGEST and statement.is_numeric():
        search.numeric.keep(key, True, len(key))
    return statement.masked()


def _asks(search: Search, sql: str) -> bool:
    """Whether a name in this text may have a say."""
    fields = search.fields
    return fields.hides or fields.speaks_of(sql) or NAMING.search(sql) is not None or _MARKED.search(sql) is not None


def parameter_names(tree: Tree) -> dict[int, Names]:
    """What the statement calls its parameters: `$1` of `INSERT INTO t (ssn) VALUES ($1)` is "t.ssn"."""
    return named(tree).parameters


def _unparsed(sql: str, tokens: Tokens, counts: Counts) -> str:
    counts.withheld += 1
    first = _FIRST.match(sql)
    word = first[1].upper() + " " if first and first[1].lower() in _KEYWORDS.split() else ""
    return word + tokens.withheld(sql)


class _Statement:
    """One text under masking."""

    def __init__(
        self, sql: str, spans: list[Span], names: Named, search: Search, tokens: Tokens, counts: Counts, depth: int = 0
    ) -> None:
        self._sql, self._spans, self._names = sql, spans, names
        self._search, self._tokens, self._counts, self._depth = search, tokens, counts, depth

    def is_numeric(self) -> bool:
        """Every constant is a number that no rule speaks of: then the detectors alone have a say."""
        return all(
            span.kind is LiteralKind.NUMBER
            and not self._ruled(span)
            and not _SAID_OTHERWISE.search(self._sql, span.start, span.end)
            for span in self._spans
        )

    def masked(self) -> str:
        changed = [each for group in self._groups() for each in self._group(group)]
        done = {start for start, _, _ in changed}
        around = [(s.start, s.end) for s in self._spans if s.kind is not LiteralKind.NUMBER or s.start in done]
        rest = self._search.all(self._sql, names=False, around=around)
        self._counts.add(rest)
        changed += (self._rest(each) for each in rest)
        parts: list[str] = []
        at = 0
        for start, end, shown in sorted(changed):
            parts += (self._sql[at:start], shown)
            at = end
        return "".join((*parts, self._sql[at:]))

    def _rest(self, place: Replaced) -> tuple[int, int, str]:
        """In a name the token alone; numbers (`4111-1111-1111-1111`) become a string, with their points."""
        start, end, token = place.start, place.end, self._tokens.of(place.finding)
        if not self._sql[start].isdigit():
            return start, end, token
        if self._sql[start - 1 : start] == "." and self._sql[start - 2 : start - 1] != ".":
            start -= 1
        if point := _POINT.match(self._sql, end):
            end = point.end()
        return start, end, _quoted(token)

    def constants(self, across: list[Replaced]) -> str:
        """With what is found across their ends, and all those masked that it does not touch."""
        changed = [(each.start, each.end, self._tokens.of(each.finding)) for each in across]
        self._counts.add(across)
        ends = [each.end for each in across]
        for group in self._groups():
            nth = bisect_right(ends, group[0].start)
            if nth == len(across) or across[nth].start >= group[-1].end:
                changed += self._group(group)
        return spliced(self._sql, sorted(changed))

    def _groups(self) -> Iterator[list[Span]]:
        """Strings that the statement joins, together; all else one by one."""
        if not self._spans:
            return
        group = [self._spans[0]]
        joined = self._between(self._spans[0])
        for one, two in pairwise(self._spans):
            strings = one.kind is two.kind is LiteralKind.STRING
            if not (strings and joined.fullmatch(self._sql, one.end, two.start)):
                yield group
                group = []
                joined = self._between(two)
            group.append(two)
        yield group

    def _between(self, first: Span) -> re.Pattern[str]:
        """What joins strings from this one on."""
        before = self._sql[max(0, first.start - _LONGEST_CALL) : first.start]
        return _ARGUMENTS if before.rstrip().endswith("(") and _CONCAT.search(before) else _JOINED

    def _group(self, group: list[Span]) -> Iterator[tuple[int, int, str]]:
        start, end = group[0].start, group[-1].end
        if len(group) > 1:
            whole = "".join(content(self._sql[span.start : span.end]) for span in group)
            if not any(map(self._ruled, group)) and (shown := self._said(_quoted(whole), whole)) != _quoted(whole):
                yield start, end, shown
                return
        for span in group:
            written = self._sql[span.start : span.end]
            shown = self._literal(span, written)
            if shown != written:
                yield span.start, span.end, shown

    def _ruled(self, span: Span) -> bool:
        return self._search.fields.judge(self._names.constants.get(span.start, ())) is not None

    def _literal(self, span: Span, written: str) -> str:
        if span.kind is LiteralKind.COMMENT:
            return self._comment(written)
        if span.kind is LiteralKind.NAME:
            return self._name(written)
        text = written
        if span.kind is LiteralKind.STRING or _UNICODE.match(written):  # SET x = U&"…" is a setting
            text = content(written)
            if self._is_unclear(written, text):
                self._counts.withheld += 1
                return _quoted(self._tokens.withheld(text))
        dollars = written.startswith("$")
        if dollars:
            written = self._tagged(written, text)
        ruling = self._search.fields.judge(self._names.constants.get(span.start, ()))
        if ruling is not None and text:
            return self._by_rule(written, text, ruling.action, ruling.kind)
        if span.kind is LiteralKind.NUMBER:
            return self._number(written)
        return self._said(written, text, body=dollars)

    def _said(self, written: str, text: str, *, body: bool = False) -> str:
        if body or _is_command(text):
            if self._depth < DEPTH:
                return self._body(written, text)
            if _asks(self._search, text) and not is_masked(text):
                self._counts.withheld += 1
                return _quoted(self._tokens.withheld(text))
        return self._text(written, text)

    def _is_unclear(self, written: str, text: str) -> bool:
        """Something stands before the UESCAPE, or is read by who does not know of it: `U&'4111-1111…' UESCAPE '-'`."""
        match = _UNICODE.fullmatch(written)
        if match is None or not match[3]:
            return False
        if not _UESCAPE.fullmatch(match[3]):
            return True
        return bool(self._search.all(match[1] or match[2])) and not self._search.all(text)

    def _number(self, written: str) -> str:
        """Plain ones are searched with what stands around them."""
        if not _SAID_OTHERWISE.search(written):
            return written
        text = _value(written)
        places = self._search.all(text, names=False)
        self._counts.add(places)
        return _quoted(replaced(text, places, self._tokens)) if places else written

    def _name(self, written: str) -> str:
        text = content(written)
        if self._is_unclear(written, text):
            self._counts.withheld += 1
            return _as_name(self._tokens.withheld(text))
        places = self._search.all(text, names=False)
        self._counts.add(places)
        return _as_name(replaced(text, places, self._tokens)) if places else written

    def _tagged(self, written: str, text: str) -> str:
        """With another tag where this one tells something."""
        tag = _tag(written)[1:-1]
        if len(tag) < (SHORTEST_WORD if tag.isascii() and tag.isalnum() else SHORTEST):
            return written
        places = self._search.all(tag) or self._search.all(_NO_DIGITS.sub(" ", tag))
        self._counts.add(places)
        if not places:
            return written
        return _quoted(text) if self._depth or "$$" in text or text.endswith("$") else f"$${text}$$"

    def _by_rule(self, written: str, text: str, action: FieldAction, kind: Kind) -> str:
        if action is FieldAction.KEEP:
            places = self._search.secrets(text)
            self._counts.add(places)
            return _quoted(replaced(text, places, self._tokens)) if places else written
        if is_masked(text):
            return written
        one = Finding(0, len(text), kind, text, action is FieldAction.WITHHOLD)
        self._counts.add((Replaced(0, len(text), one, (kind,)),))
        self._counts.hidden[text] = shown = self._tokens.of(one)
        return _quoted(shown)

    def _text(self, written: str, text: str) -> str:
        places = self._search.all(text)
        if not places:
            return written
        self._counts.add(places)
        shown = replaced(text, places, self._tokens)
        return f"{_tag(written)}{shown}{_tag(written)}" if written.startswith("$") else _quoted(shown)

    def _comment(self, written: str) -> str:
        opening, text, closing = (written[:2], written[2:], "")
        if opening == "/*":
            text, closing = written[2:-2], "*/"
        places = self._search.all(text)
        self._counts.add(places)
        return opening + replaced(text, places, self._tokens) + closing

    def _body(self, written: str, text: str) -> str:
        """A body is most often plpgsql, which scans as SQL does; its constants are masked one by one, and
        by its names as far as SQL can read it. Text is text, though it scan: what is found in it may not be
        cut up by what SQL would take for numbers and comments."""
        try:
            spans = literals(text)
        except Unparsable:
            return self._text(written, text)
        spans = _without_masked(text, spans)
        dollars = written.startswith("$")
        found = self._search.all(text, names=not dollars)
        across = [each for each in found if not _in_one(each, spans)]
        try:
            names = _names_of(text, spans) if _asks(self._search, text) else Named()
        except TooMuch:
            if dollars:
                raise
            self._counts.withheld += 1  # it may be no command: a page of prose has many a `with`
            return _quoted(self._tokens.withheld(text))
        body = _Statement(text, spans, names, self._search, self._tokens, self._counts, self._depth + 1)
        inner = body.constants(across) if across else body.masked()
        if inner != text:
            tag = _tag(written)  # which may have stood in it as `\0024`
            written = f"{tag}{inner}{tag}" if dollars and tag not in f"{inner}$" else _quoted(inner)
        return written if dollars and not across else self._text(written, inner)  # it may be no command, after all


def _is_command(text: str) -> bool:
    """Whether it begins as one, or as a body: whoever gives it to DO or EXECUTE need not quote it with dollars."""
    first = _BODY.match(text)
    return first is not None and (not first[1] or first[1].lower() in _COMMANDS)


_COMMANDS = frozenset((*_KEYWORDS.split(), *_IN_BODIES.split()))


def _value(written: str) -> str:
    """The digits of a number that is not written as such; it alone where nobody would read another out of it."""
    plain = written.replace("_", "")
    base = {"0x": 16, "0o": 8, "0b": 2}.get(plain[:2].lower())
    if base is not None:
        whole = int(plain[2:] or "0", base)
        return str(whole) if whole.bit_length() <= _LARGEST else written
    try:
        number = Decimal(plain)
    except InvalidOperation:
        return written
    return format(number, "f") if abs(number.adjusted()) <= _PLACES else plain


def _without_masked(text: str, spans: list[Span]) -> list[Span]:
    """Without the number in `withheld:7:…` where that stands in no constant."""
    masked = [match.span() for match in WHOLE.finditer(text)]
    if not masked:
        return spans
    starts = [start for start, _ in masked]
    places = [bisect_right(starts, span.start) - 1 for span in spans]
    return [span for nth, span in zip(places, spans, strict=True) if nth < 0 or masked[nth][1] < span.end]


def _in_one(place: Replaced, spans: list[Span]) -> bool:
    nth = bisect_right(spans, place.start, key=lambda span: span.start) - 1
    return nth >= 0 and place.end <= spans[nth].end


def _names_of(text: str, spans: list[Span]) -> Named:
    try:
        return named(parse(text))
    except Unparsable:
        return sql_bodies.names(text, spans)


def _tag(written: str) -> str:
    match = _TAG.match(written)
    return match[0] if match else "$$"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _as_name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def content(written: str) -> str:
    """What a string constant or name says (PostgreSQL, section 4.1.2), near enough to be searched."""
    first = written[:1].lower()
    if first == "$":
        tag = len(_tag(written))
        return written[tag:-tag]
    if match := _UNICODE.fullmatch(written):
        string, name, said = match.groups()
        text = _unquoted(string) if name is None else name.replace('""', '"')
        return _escapes(said[-2] if said else "\\").sub(
            lambda match: _character(int(match[1] or match[2], 16)) if match[3] is None else match[3], text
        )
    quote = written.find("'")
    text = written[quote + 1 : -1]
    return _ESCAPED.sub(_unescape, _unquoted(text, _QUOTE_OF_ESCAPES)) if first == "e" else _unquoted(text)


def _unquoted(text: str, quote: re.Pattern[str] = _QUOTE) -> str:
    return quote.sub(lambda match: match[1] or ("'" if match[0] == "''" else ""), text)


@lru_cache(maxsize=16)
def _escapes(mark: str) -> re.Pattern[str]:
    each = re.escape(mark)
    return re.compile(rf"{each}(?:\+([0-9A-Fa-f]{{6}})|([0-9A-Fa-f]{{4}})|({each}))")


def _unescape(match: re.Match[str]) -> str:
    octal, *hexadecimal, letter = match.groups()
    if letter:
        return _LETTERS.get(letter, letter)
    code = int(octal, 8) if octal else int(next(filter(None, hexadecimal)), 16)
    return _character(code)


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 else " "
