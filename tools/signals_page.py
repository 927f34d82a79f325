"""Writes docs/signals.md out of the tables of signals, for developers: `python -m tools.signals_page`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from policy import behaviour
from policy.signals import Signal, table

PAGE = Path(__file__).parent.parent / "docs" / "signals.md"

HEAD = """# Signals

<!-- Made by `python -m tools.signals_page` of the signals.yaml of each protocol and of policy/behaviour.yaml. -->

Why a command is rated as it is. The worst signal of each axis counts, the axes add up, at most to 100: 0-39 is low,
40-69 medium, 70-89 high, 90-100 critical. "60, 75" is 60 points, and 75 where the environment begins with `prod`.
`tallystick explain` says which a command has, and what they add up to.
"""
LATER = """
## Behaviour

What is unusual for an identity: looked at afterwards, so it alerts and suspends but holds nothing (docs/policy.md,
`behaviour`). These points add up over a day, in which they fade.
"""


def page() -> str:
    by_protocol = groupby(table().values(), key=lambda signal: signal.id.partition(":")[2].partition("/")[0])
    parts = [HEAD]
    for protocol, signals in by_protocol:
        parts.append(f"\n## {protocol}\n")
        for axis, rows in groupby(sorted(signals, key=lambda s: s.axis), key=lambda s: s.axis):
            worst_first = sorted(rows, key=lambda s: (-s.production, s.id))
            parts.append(f"\n### {axis.value}\n\n" + _table(_row(signal) for signal in worst_first))
    unusual = (
        f"| `{s.id}` | {s.points} | {s.reason} | {s.instead} | {s.false_positives} |"
        for s in behaviour.table().values()
    )
    return "".join([*parts, LATER, "\n", _table(unusual)])


def _table(rows: Iterable[str]) -> str:
    return "\n".join(["| signal | points | why | instead | may be wrong |", "|---|---|---|---|---|", *rows]) + "\n"


def _row(signal: Signal) -> str:
    points = f"{signal.points}, {signal.production}" if signal.production != signal.points else str(signal.points)
    cells = (f"[`{signal.id}`]({signal.reference})", points, signal.reason, signal.instead, signal.false_positives)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
