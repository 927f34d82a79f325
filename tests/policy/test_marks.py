"""Marks and signals are the same list."""

from __future__ import annotations

from pathlib import Path

from policy import signals
from policy.sql import marks
from policy.sql.marks import Mark

SQL = Path(marks.__file__).parent


def test_every_mark_has_one_signal() -> None:
    assert signals.table().keys() == set(Mark)


def test_every_mark_is_made_somewhere() -> None:
    text = "".join(path.read_text("utf-8") for path in SQL.glob("*.py") if path.name != "marks.py")
    table = (SQL / "functions.yaml").read_text("utf-8")
    assert [m for m in Mark if f"Mark.{m.name}" not in text and f"mark: {m.value}" not in table] == []
