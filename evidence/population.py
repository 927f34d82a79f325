"""The whole population, counted from ledger entries alone. Pure: an auditor counts again and must get the same.

One row a recorder and boot. `boot` is -1 for what names no boot (a gap in a journal).
Counts are of entries given; what beats say was opened stands beside what the ledger holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.ids import SessionId, Source
from schemas.records import (
    Beat,
    Boot,
    CloseReason,
    CommandKind,
    Exchange,
    Gap,
    LeafBody,
    LedgerEntry,
    Result,
    SessionClosed,
    SessionOpened,
    Undecoded,
)

NO_BOOT = -1


@dataclass(frozen=True, slots=True)
class Row:
    """`complete`: opened and closed here, not cut, every command counted at the close is an exchange here."""

    recorder: str
    boot: int
    opened: int
    closed: int
    cut: int
    complete: int
    executed: int
    failed: int
    refused: int
    unknown: int
    gaps: int
    undecoded: int
    beat_opened: int  # by the newest beat, since the boot; -1 where there is none
    beat_closed: int
    farewell: bool
    opened_before: int = 0  # entries of this boot that are older than those given

    @property
    def unledgered(self) -> int:
        """Sessions that beats counted and the entries do not hold."""
        return max(0, self.beat_opened - self.opened - self.opened_before)


@dataclass(slots=True)
class _Boot:
    before: set[SessionId] = field(default_factory=set)
    opened: set[SessionId] = field(default_factory=set)
    closed: dict[SessionId, SessionClosed] = field(default_factory=dict)
    commands: dict[SessionId, set[int]] = field(default_factory=dict)
    results: dict[Result, int] = field(default_factory=dict)
    gaps: int = 0
    undecoded: int = 0
    beat: Beat | None = None
    farewell: bool = False

    def row(self, recorder: str, boot: int) -> Row:
        cut = sum(c.reason is CloseReason.CUT for c in self.closed.values())
        complete = sum(
            s in self.opened and c.reason is not CloseReason.CUT and len(self.commands.get(s, ())) == c.commands
            for s, c in self.closed.items()
        )
        return Row(
            recorder=recorder,
            boot=boot,
            opened=len(self.opened),
            closed=len(self.closed),
            cut=cut,
            complete=complete,
            executed=self.results.get(Result.EXECUTED, 0),
            failed=self.results.get(Result.FAILED, 0),
            refused=self.results.get(Result.REFUSED, 0),
            unknown=self.results.get(Result.UNKNOWN, 0),
            gaps=self.gaps,
            undecoded=self.undecoded,
            beat_opened=self.beat.opened if self.beat else -1,
            beat_closed=self.beat.closed if self.beat else -1,
            farewell=self.farewell,
            opened_before=len(self.before),
        )


def count(entries: Iterable[LedgerEntry], before: Iterable[LedgerEntry] = ()) -> tuple[Row, ...]:
    """By recorder, then boot. A beat counts from the boot on, so sessions that were opened `before` count with it."""
    boots: dict[tuple[str, int], _Boot] = {}
    for entry in entries:
        key = _whose(entry)
        if key is not None:
            _add(boots.setdefault(key, _Boot()), entry)
    for entry in before:
        key = _whose(entry) if isinstance(entry.body, SessionOpened) else None
        if key in boots and isinstance(entry.body, SessionOpened):
            boots[key].before.add(entry.body.session)
    return tuple(found.row(*key) for key, found in sorted(boots.items()))


def holes(log: Iterable[LeafBody], closed: Iterable[LeafBody]) -> dict[SessionId, str]:
    """Of sessions that were `closed` and not cut: which of their commands the whole log does not have."""
    ends = {b.session: b for b in closed if isinstance(b, SessionClosed) and b.reason is not CloseReason.CUT}
    numbers: dict[SessionId, set[int]] = {session: set() for session in ends}
    commands: dict[SessionId, set[int]] = {session: set() for session in ends}
    for body in log:
        if isinstance(body, Exchange) and body.session in ends:
            numbers[body.session].add(body.number)
            if body.kind is not CommandKind.RESUME:
                commands[body.session].add(body.number)
    found = {}
    for session, end in ends.items():
        last, known = max(numbers[session], default=0), len(commands[session])
        missing = next((n for n in range(1, last + 1) if n not in numbers[session]), None)
        if missing is not None:
            found[session] = f"command {missing} of the session is not in the log"
        elif known != end.commands:
            found[session] = f"{end.commands} commands were counted at its end, and {known} are in the log"
    return found


def _whose(entry: LedgerEntry) -> tuple[str, int] | None:
    body = entry.body
    if isinstance(body, SessionOpened | SessionClosed | Exchange):
        return _of_session(body.session)
    if isinstance(body, Beat | Boot):
        return body.recorder, body.boot
    if isinstance(body, Gap):
        boot = max(body.before.major, NO_BOOT) if body.missing_source.startswith("beats:") else NO_BOOT
        return _of_source(body.missing_source), boot
    if isinstance(body, Undecoded):
        return _of_session(body.session) if body.session else (_of_source(entry.source), NO_BOOT)
    return None


def _of_session(session: SessionId) -> tuple[str, int]:
    recorder, _, rest = session.rpartition("/")[0].rpartition("/")
    return (recorder, int(rest)) if rest.isdecimal() and len(rest) < 19 else (session, NO_BOOT)


def _of_source(source: Source) -> str:
    return source.rpartition(":")[2]


def _add(to: _Boot, entry: LedgerEntry) -> None:
    body = entry.body
    if isinstance(body, SessionOpened):
        to.opened.add(body.session)
    elif isinstance(body, SessionClosed):
        to.closed[body.session] = body
    elif isinstance(body, Exchange):
        if body.kind is not CommandKind.RESUME:  # more of an earlier command's rows: the close does not count it
            to.commands.setdefault(body.session, set()).add(body.number)
        to.results[body.result] = to.results.get(body.result, 0) + 1
    elif isinstance(body, Gap):
        to.gaps += 1
    elif isinstance(body, Undecoded):
        to.undecoded += 1
    elif isinstance(body, Beat):
        to.farewell = to.farewell or body.farewell
        if to.beat is None or body.number > to.beat.number:
            to.beat = body
