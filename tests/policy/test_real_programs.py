"""The default policy is usable: what drivers, psql, ORMs and pgbench send by themselves passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from schemas.judging import Judgement
from schemas.records import Band, Decision

Judge = Callable[..., Judgement]

PROGRAMS: dict[str, list[str]] = yaml.safe_load(Path(__file__).with_name("real_programs.yaml").read_text("utf-8"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_everything_it_sends_is_allowed_and_understood(judged: Judge, program: str) -> None:
    stopped = []
    for sql in PROGRAMS[program]:
        found = judged(sql, named="SELECT 1", P_0="SELECT 1")
        if found.decision is not Decision.ALLOW or not found.complete or found.score >= 70:
            stopped.append((found.reason, found.signals, sql))
    assert stopped == []


def test_what_psql_shows_of_credentials_is_held(judged: Judge) -> None:
    for sql in ("SELECT subconninfo FROM pg_catalog.pg_subscription", "SELECT um.umoptions FROM pg_user_mappings um"):
        assert judged(sql).band is not Band.LOW
        assert judged(sql).decision is Decision.HOLD


def test_pgbench_without_n_is_held_at_its_truncate(judged: Judge) -> None:
    assert judged("truncate pgbench_history").decision is Decision.HOLD


def test_ordinary_reads_stay_low_and_read_only(judged: Judge) -> None:
    for sql in ("SELECT * FROM support_cases", "SELECT count(*) FROM t JOIN u USING (id)", "TABLE t", "SHOW timezone"):
        found = judged(sql)
        assert (found.band, found.read_only) == (Band.LOW, True)
