"""Marks and signals are the same list, in every protocol."""

from __future__ import annotations

from enum import StrEnum
from importlib.resources import files

import pytest

from policy import signals
from policy.aws.marks import Mark as AwsMark
from policy.kubernetes.marks import Mark as KubernetesMark
from policy.sql.marks import Mark as SqlMark

ALL: dict[str, type[StrEnum]] = {"sql": SqlMark, "aws": AwsMark, "kubernetes": KubernetesMark}


def test_every_mark_has_one_signal_and_no_two_are_alike() -> None:
    assert signals.table().keys() == {mark for marks in ALL.values() for mark in marks}
    assert len(signals.table()) == sum(len(marks) for marks in ALL.values())


@pytest.mark.parametrize("room", ALL)
def test_every_mark_is_made_somewhere(room: str) -> None:
    lying = [path for path in files(f"policy.{room}").iterdir() if path.name not in ("marks.py", "signals.yaml")]
    text = "".join(path.read_text("utf-8") for path in lying if path.name.endswith((".py", ".yaml")))
    assert [m for m in ALL[room] if f"Mark.{m.name}" not in text and f"mark: {m.value}" not in text] == []
