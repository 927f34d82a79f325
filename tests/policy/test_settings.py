"""Settings that matter, and those that every driver sets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from policy.sql.marks import Mark
from policy.sql.settings import mark_of

ROWS = [
    ("standard_conforming_strings", ["off"], Mark.PARSING),
    ("Standard_Conforming_Strings", ["FALSE"], Mark.PARSING),
    ("standard_conforming_strings", None, Mark.PARSING),
    ("standard_conforming_strings", ["ON"], Mark.SETTING),
    ("client_encoding", ["UTF8"], Mark.SETTING),
    ("client_encoding", ["SJIS"], Mark.PARSING),
    ("client_encoding", [], Mark.SETTING),
    ("backslash_quote", ["on"], Mark.PARSING),
    ("transform_null_equals", ["on"], Mark.PARSING),
    ("search_path", ["a", "b"], Mark.SETTING),
    ("search_path", [""], Mark.SETTING),
    ("search_path", ["pg_catalog", "evil"], Mark.SETTING),
    ("search_path", ["evil", "pg_catalog"], Mark.SHADOWS),
    ("search_path", ["evil, PG_CATALOG"], Mark.SHADOWS),
    ("search_path", ['evil, "pg_catalog"'], Mark.SHADOWS),
    ("search_path", None, Mark.SHADOWS),
    ("role", ["admin"], Mark.ROLE_CHANGE),
    ("role", None, Mark.ROLE_CHANGE),
    ("role", ["NONE"], Mark.ROLE_BACK),
    ("session_authorization", [], Mark.ROLE_BACK),
    ("session_replication_role", ["replica"], Mark.GUARD_OFF),
    ("session_replication_role", ["origin"], Mark.SETTING),
    ("log_statement", ["none"], Mark.LOGGING),
    ("pgaudit.log", ["none"], Mark.LOGGING),
    ("local_preload_libraries", ["x"], Mark.LOADS_LIBRARY),
    ("zero_damaged_pages", ["on"], Mark.GUARD_OFF),
    ("statement_timeout", ["0"], Mark.SETTING),
    ("app.user", None, Mark.SETTING),
]


@pytest.mark.parametrize(("name", "values", "mark"), ROWS)
def test_what_a_setting_means(name: str, values: Sequence[str] | None, mark: Mark) -> None:
    assert mark_of(name, values) is mark
