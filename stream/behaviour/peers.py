"""What the identities of one class do: asked before one of them is called unusual. A row each part."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from policy.behaviour import Mark
from stream.behaviour.identity import VOLUMES, dumps
from stream.behaviour.seen import SharedSeen
from stream.behaviour.sketch import Sketch

SHARED = (Mark.TARGET, Mark.RELATION, Mark.STATEMENT, Mark.NETWORK, Mark.APPLICATION)
MOST_SHARED = 1500
"""Things of a kind, so that a row stays under 128 KiB."""
_MEMBERS, _VOLUMES = "members", "volumes"


@dataclass(slots=True)
class Peers:
    """`changed` names the rows to write."""

    shared: dict[str, SharedSeen] = field(
        default_factory=lambda: {name: SharedSeen(MOST_SHARED) for name in (*map(str, SHARED), _MEMBERS)}
    )
    sketches: dict[Mark, Sketch] = field(default_factory=lambda: {mark: Sketch() for mark in VOLUMES})
    changed: set[str] = field(default_factory=set)

    def others(self, mark: Mark, thing: str, who: str, day: int, forget: int) -> bool:
        return mark in SHARED and self.shared[mark].others(thing, who, day, forget)

    def note(self, mark: Mark, thing: str, who: str, day: int) -> None:
        if mark in SHARED and self.shared[mark].note(thing, who, day):
            self.changed.add(mark)

    def came(self, who: str, day: int) -> None:
        if self.shared[_MEMBERS].note(who, who, day):
            self.changed.add(_MEMBERS)

    def count(self, who: str) -> int:
        """How many others there are."""
        members = self.shared[_MEMBERS].doers
        return len(members) - (who in members)

    def hour_ended(self, mark: Mark, amount: int) -> None:
        self.sketches[mark].add(amount)
        self.changed.add(_VOLUMES)

    def most(self, mark: Mark) -> int:
        """The largest amount of an hour of any of them."""
        return self.sketches[mark].quantile(100)

    def row(self, part: str) -> bytes:
        if part == _VOLUMES:
            return dumps({m.value: {str(n): c for n, c in s.counts.items()} for m, s in self.sketches.items()})
        return dumps(self.shared[part].doers)

    def read(self, part: str, row: bytes) -> None:
        plain = json.loads(row)
        if part == _VOLUMES:
            self.sketches = {mark: Sketch({int(n): c for n, c in plain[mark.value].items()}) for mark in VOLUMES}
        else:
            self.shared[part] = SharedSeen(MOST_SHARED, plain)
