"""Who owes whom what: ALL protocol state after authentication is here.

The gateway and the transcript use this one machine, so they cannot disagree.
`client` is told every message sent towards the target, in order, and `server`
every message that came back. Rules (PostgreSQL, "Message Flow"):

1. Each client message but Flush, Terminate and copy data is owed an answer. Answers come in order.
2. Parse ends at 1, Bind at 2, Close at 3, Describe at T or n, Execute at C, I or s,
   Sync, Query and FunctionCall at Z. D, t, G, H, W, d, c, V do not end anything.
3. E in the extended protocol fails the oldest operation, and all after it up to the next Sync, Query and
   FunctionCall too, are skipped: they are never run. E within a Query fails it; its Z still comes.
4. N, S and A come at any time and belong to nobody. E when nothing is owed is the target's farewell.
5. While the target reads copy data, Sync and Flush are ignored by it; CopyDone or CopyFail ends that, and
   anything else is a fault. Outside of it, copy data is ignored. If the COPY fails, nobody can know how many
   of those Syncs it had read: a Z that nobody is owed may be one of theirs.
6. A Parse names a text only once ParseComplete was seen. Until then a Bind in the same sync group
   means that text for certain (if the Parse fails, the Bind is skipped); a Bind in a later group
   may mean any text the name may have by then: the *candidates*. The judge asks all of them.
7. A failed Parse of the unnamed statement destroys it; of a name that exists changes nothing.
   A Query destroys the unnamed statement. SQL PREPARE names live among the protocol's, and stay when
   their transaction rolls back; DECLARE names do not, so neither ever replaces a candidate.
9. The target compares the first 63 bytes of a name (NAMEDATALEN): so do we.
8. Portals end with their transaction.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Any

from wire.postgres.reader import RemoteFault

MOST_OWED = 65_536
"""A client that sends more without reading is refused, not served from endless memory."""

LONGEST_NAME = 63
"""Bytes of a statement's or portal's name that the target looks at (NAMEDATALEN - 1)."""


class Outcome(Enum):
    """What became of an operation."""

    OWED = "owed"
    DONE = "done"
    SUSPENDED = "suspended"
    FAILED = "failed"
    SKIPPED = "skipped"


class Operation:
    """One client message that is owed something. `tag` is the caller's own."""

    __slots__ = ("answered", "deallocates", "group", "kind", "name", "outcome", "portal", "prepares", "tag", "text")

    def __init__(self, kind: str, tag: Any, name: bytes, portal: bytes, text: bytes, group: int) -> None:
        self.kind = kind  # Q P B D E C S F, or c for the end of copy data
        self.tag = tag
        self.name = name  # statement (P, B, C of a statement) or portal (E)
        self.portal = portal  # of a Bind
        self.text = text  # of a Parse
        self.group = group
        self.outcome = Outcome.OWED
        self.answered = False  # something of the answer came
        self.prepares: tuple[tuple[bytes, bytes], ...] = ()
        self.deallocates: tuple[bytes, ...] = ()

    def __repr__(self) -> str:
        return f"Operation({self.kind}, {self.outcome.value})"


_ENDS = {"1": "P", "2": "B", "3": "C", "n": "D"}
_ASYNC = frozenset("NSA")
_CLIENT = frozenset("QPBDECSFHXdcf")
_DURING_COPY = frozenset("dcfHSX")
_INNER = frozenset("DtGHWdcV")
_NONE = object()


class Dialogue:
    def __init__(self) -> None:
        self._owed: deque[Operation] = deque()
        self._group = 0
        self._skipping = False
        self._copy_in = False
        self._spare_syncs = 0  # rule 5: Syncs sent during COPY that may be answered after all
        self._statements: dict[bytes, tuple[bytes, ...]] = {}
        self._portals: dict[bytes, Any] = {}
        self.transaction_status = "I"
        self.copy_mode = ""  # "", "in", "out", "both"

    def __repr__(self) -> str:
        return f"Dialogue({self.transaction_status}, {len(self._owed)} owed)"

    @property
    def is_idle(self) -> bool:
        return not self._owed

    @property
    def open_syncs(self) -> int:
        """ReadyForQuery that the target still owes."""
        return sum(1 for op in self._owed if op.kind in "QSF")

    def next(self, most: int) -> Iterator[Operation]:
        """The first that are owed something."""
        return islice(self._owed, most)

    @property
    def owed(self) -> tuple[Operation, ...]:
        return tuple(self._owed)

    # --- what the client sends ---------------------------------------------------

    def client(
        self, kind: str, tag: Any = None, name: bytes = b"", portal: bytes = b"", text: bytes = b""
    ) -> Operation | None:
        """A message goes to the target. Gives the operation that is owed an answer, or None."""
        if kind not in _CLIENT or (self._copy_in and kind not in _DURING_COPY):
            raise RemoteFault(f"the client sent {kind!r} where it may not")
        if kind in "HXd":
            return None
        if self._copy_in:
            if kind == "S":
                self._spare_syncs += 1
                self._group += 1  # if it counts after all, what came before it is certain no more
            else:
                self._copy_in = False
            return None
        if kind in "cf":
            if not self._owed:
                return None
            kind = "c"
        if len(self._owed) >= MOST_OWED:
            raise RemoteFault(f"more than {MOST_OWED} messages without an answer")
        # A Close of a portal is told as portal=b"P" + name.
        if name or portal:
            name, portal = name[:LONGEST_NAME], portal[: LONGEST_NAME + (kind in "CD")]
        made = Operation(kind, tag, name, portal, text, self._group)
        self._owed.append(made)
        if kind in "QSF":
            self._group += 1
        return made

    def note_sql_prepare(self, operation: Operation, name: bytes, text: bytes) -> None:
        """This operation runs PREPARE name AS text (rule 7)."""
        operation.prepares += ((name[:LONGEST_NAME], text),)

    def note_sql_deallocate(self, operation: Operation, name: bytes) -> None:
        """This operation runs DEALLOCATE; b"" means all."""
        operation.deallocates += (name[:LONGEST_NAME],)

    # --- names ----------------------------------------------------------------------

    def statement(self, name: bytes, *, behind_sync: bool = False) -> tuple[bytes, ...]:
        """Every text that a Bind (or EXECUTE) of `name`, sent now, may run; () if none is known (rule 6).

        `behind_sync`: it is sent behind a Sync that this machine was not told yet, so no Parse is certain.
        """
        name = name[:LONGEST_NAME]
        known = self._statements.get(name, ())
        if not self._owed:
            return known
        group = -1 if behind_sync else self._group
        found = list(known)
        for op in self._owed:
            if op.kind == "P" and op.name == name:
                found = [op.text] if op.group == group else [*found, op.text]
            if op.prepares:
                found += [text for prepared, text in op.prepares if prepared == name]
        return tuple(dict.fromkeys(found))

    def portal(self, name: bytes) -> Any:
        """The tag of the Bind that an Execute of `name`, sent now, runs; None if no Bind made it."""
        found = self.portals(name)
        return found[-1] if found else None

    def portals(self, name: bytes, *, behind_sync: bool = False) -> tuple[Any, ...]:
        """The tags of all Binds whose portal an Execute of `name`, sent now, may run; the likeliest last."""
        name = name[:LONGEST_NAME]
        known = self._portals.get(name, _NONE)
        found = [] if known is _NONE else [known]
        group = -1 if behind_sync else self._group
        for op in self._owed:
            if op.kind == "B" and op.portal == name:
                found = [op.tag] if op.group == group else [*found, op.tag]
        return tuple(found)

    def forget_portals(self) -> None:
        """What ran may have closed them, and declared a cursor under a name of theirs."""
        self._portals.clear()

    # --- what the target sends ------------------------------------------------------

    def server(self, kind: str, payload: bytes = b"") -> Operation | None:
        """A message came back. Gives the operation it belongs to (look at its outcome), None if to nobody.

        `payload` is needed for ReadyForQuery only. Raises RemoteFault where it fits nothing owed.
        """
        if kind in _ASYNC:
            return None
        if kind == "Z":
            return self._ready(payload)
        if not self._owed or self._skipping:
            if kind == "E":
                return None  # rule 4; while skipping the target is silent but for its farewell
            raise RemoteFault(f"the target sent {kind!r} when it owed no answer")
        head = self._owed[0]
        head.answered = True
        if kind == "E":
            self._error(head)
        elif kind in _INNER:
            self._inner(head, kind)
        elif head.kind == "Q":
            if kind not in "TCIn":
                raise RemoteFault(f"the target sent {kind!r} as an answer to a Query")
            if self.copy_mode:
                self._copy_ended()
        else:
            self._ends(head, kind)
        return head

    def _inner(self, head: Operation, kind: str) -> None:
        if head.kind not in "QEDF":
            raise RemoteFault(f"the target sent {kind!r} as an answer to {head.kind!r}")
        if kind in "GHW":
            self.copy_mode = {"G": "in", "H": "out", "W": "both"}[kind]
            if kind != "H":
                self._ignore_syncs()

    def _copy_ended(self) -> None:
        """Without an error: every Sync before the end of its data was ignored."""
        self.copy_mode, self._copy_in, self._spare_syncs = "", False, 0

    def _ends(self, head: Operation, kind: str) -> None:
        expected = _ENDS.get(kind) or ("D" if kind == "T" else "E")
        if head.kind != expected or kind not in "123nTCIs":
            raise RemoteFault(f"the target sent {kind!r} as an answer to {head.kind!r}")
        self._owed.popleft()
        head.outcome = Outcome.SUSPENDED if kind == "s" else Outcome.DONE
        if self.copy_mode:
            self._copy_ended()
        self._learn(head)
        self._settle()

    def _ignore_syncs(self) -> None:
        """Rule 5: those already sent before the end of the copy data are not answered. That end is this COPY's."""
        kept: deque[Operation] = deque([self._owed.popleft()])
        ended = False
        for op in self._owed:
            if ended or op.kind not in "Sc":
                kept.append(op)
            elif op.kind == "c":
                ended = True
            else:
                op.outcome = Outcome.SKIPPED
                self._spare_syncs += 1
        self._owed, self._copy_in = kept, not ended

    def _settle(self) -> None:
        """The end of copy data is owed nothing: it goes once all before it was answered."""
        while self._owed and self._owed[0].kind == "c":
            self._owed.popleft()

    def _error(self, head: Operation) -> None:
        head.outcome = Outcome.FAILED
        self.copy_mode = ""
        self._copy_in = False
        if head.kind in "QSF":
            return  # its Z comes (a Sync fails when the commit it makes fails)
        self._skipping = True
        if head.kind == "P" and not head.name:
            self._statements.pop(b"", None)

    def _ready(self, payload: bytes) -> Operation | None:
        if payload not in (b"I", b"T", b"E"):
            raise RemoteFault("ReadyForQuery names no transaction status")
        op = self._ended_by_ready()
        self._skipping = False
        self.copy_mode = ""
        self.transaction_status = payload.decode()
        if op is not None:
            if op.outcome is Outcome.OWED:
                op.outcome = Outcome.DONE
            if op.kind == "Q":
                self._statements.pop(b"", None)
            self._learn(op)
        if self.transaction_status == "I":
            self._portals.clear()
        self._settle()
        return op

    def _ended_by_ready(self) -> Operation | None:
        """What this ReadyForQuery is the end of; None for a Sync sent while a COPY failed (rule 5)."""
        enders = "S" if self._skipping else "QSF"
        if self._spare_syncs and not self._next_ends(enders):
            self._spare_syncs -= 1
            if self._skipping and self._owed:
                self._owed.popleft()  # the COPY that failed
            return None
        while self._owed:
            op = self._owed.popleft()
            if op.kind in enders:
                return op
            if op.kind != "c" and not self._skipping:
                raise RemoteFault(f"ReadyForQuery, and {op.kind!r} has no answer")
            if op.outcome is Outcome.OWED:
                op.outcome = Outcome.SKIPPED
            self._learn(op)
        raise RemoteFault("ReadyForQuery, and nobody asked")

    def _next_ends(self, enders: str) -> bool:
        """Whether the next operation, behind the one that failed and ends of copy data, is owed this.

        A Query or FunctionCall is answered by something else first.
        """
        rest = [op for op in self._owed if op.kind != "c" and not (self._skipping and op.outcome is Outcome.FAILED)]
        return bool(rest) and rest[0].kind in enders and (rest[0].kind == "S" or rest[0].answered)

    def _learn(self, op: Operation) -> None:
        """What a finished operation means for names."""
        if op.kind == "D" or op.kind == "S":
            return
        done = op.outcome in (Outcome.DONE, Outcome.SUSPENDED)
        if done and op.kind == "P":
            self._statements[op.name] = (op.text,)
        elif done and op.kind == "B":
            self._portals[op.portal] = op.tag
        elif done and op.kind == "C":
            if op.portal:
                self._portals.pop(op.portal[1:], None)
            else:
                self._statements.pop(op.name, None)
        if op.outcome is Outcome.SKIPPED or not (op.prepares or op.deallocates):
            return
        for name in op.deallocates if done else ():
            if name:
                self._statements.pop(name, None)
            else:
                self._statements.clear()
        for name, text in op.prepares:
            self._statements[name] = tuple(dict.fromkeys((*self._statements.get(name, ()), text)))


class Ahead:
    """What names will mean behind messages that were read but not sent: the dialogue is told only what is sent.

    The judge asks about a whole read buffer before its first byte goes on, so it
    reads names here, and tells this of each message as it passes it. The rules
    are the dialogue's: within a group the last Parse is certain, behind it each
    is a candidate; a Close or DEALLOCATE may fail and so removes nothing; a PREPARE only adds.
    """

    __slots__ = ("_dialogue", "_here", "_maybe", "_portals_here", "_portals_maybe", "_synced", "_used")

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self._here: dict[bytes, tuple[bytes, ...]] = {}
        self._maybe: dict[bytes, tuple[bytes, ...]] = {}
        self._portals_here: dict[bytes, tuple[Any, ...]] = {}
        self._portals_maybe: dict[bytes, tuple[Any, ...]] = {}
        self._synced = self._used = False

    def reset(self) -> None:
        """The dialogue was told of all."""
        if self._used:
            self._here.clear()
            self._maybe.clear()
            self._portals_here.clear()
            self._portals_maybe.clear()
            self._synced = self._used = False

    def parse(self, name: bytes, text: bytes) -> None:
        self._used = True
        name = name[:LONGEST_NAME]
        self._here[name] = (*self._here.get(name, ()), text)

    def bind(self, portal: bytes, tag: Any) -> None:
        self._used = True
        portal = portal[:LONGEST_NAME]
        self._portals_here[portal] = (*self._portals_here.get(portal, ()), tag)

    def prepare(self, name: bytes, text: bytes) -> None:
        """PREPARE name AS text may run behind here, or not: whatever comes between, this is a candidate."""
        self._used = True
        name = name[:LONGEST_NAME]
        self._maybe[name] = (*self._maybe.get(name, ()), text)

    def group_ends(self) -> None:
        """Behind a Sync or Query: what is certain now, is a candidate then."""
        self._synced = self._used = True
        for name, texts in self._here.items():
            self._maybe[name] = (*self._maybe.get(name, ()), *texts)
        for name, tags in self._portals_here.items():
            self._portals_maybe[name] = (*self._portals_maybe.get(name, ()), *tags)
        self._here, self._portals_here = {}, {}

    def statement(self, name: bytes) -> tuple[bytes, ...]:
        """Every text that a Bind (or EXECUTE) of `name` may run behind all that was told here."""
        name = name[:LONGEST_NAME]
        here = self._here.get(name)
        certain = here[-1:] if here else self._dialogue.statement(name, behind_sync=self._synced)
        maybe = self._maybe.get(name)
        return tuple(dict.fromkeys((*certain, *maybe))) if maybe else certain

    def portals(self, name: bytes) -> tuple[Any, ...]:
        """The tags of all Binds whose portal an Execute of `name` may run; () if none of them is known."""
        name = name[:LONGEST_NAME]
        here = self._portals_here.get(name)
        if here:
            return here[-1:]
        return (*self._dialogue.portals(name, behind_sync=self._synced), *self._portals_maybe.get(name, ()))
