"""What is said of one record, and how names and times are written in it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.ids import Position
from tallystick.notify.kinds import Kind
from tallystick.recorded import iso
from tallystick.visible import unambiguous

LONGEST_NAME = 200
"""Characters of a name in a text."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of one record. `about` names the request; "" for none."""

    kind: Kind
    title: str
    lines: tuple[tuple[str, str], ...] = ()  # label and value, as people read them
    facts: Mapping[str, Any] = field(default_factory=dict)  # the same for programs: JSON
    about: str = ""
    target: str = ""  # these three are what a channel may choose by; where there is no target, it may not
    groups: tuple[str, ...] = ()
    score: int = 0


def shown(name: str) -> str:
    """Whoever wrote a name may not write our words."""
    text = unambiguous(name)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…"


def when(at_us: int) -> str:
    """To the second."""
    return iso(at_us)[:19] + "Z"


def place(at: Position) -> str:
    return ".".join(map(str, at))
