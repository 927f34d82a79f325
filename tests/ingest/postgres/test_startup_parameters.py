"""Startup parameters: the harmless ones pass, and SET by the side door does not."""

from __future__ import annotations

import pytest

from ingest.postgres.startup_parameters import ParameterRefused, for_target, split_options


def test_what_real_drivers_send_passes() -> None:
    psql = {"user": "ci", "database": "orders", "application_name": "psql", "client_encoding": "UTF8"}
    assert for_target(psql, "orders") == {"application_name": "psql", "client_encoding": "UTF8"}
    asyncpg = {"user": "ci", "database": "orders", "client_encoding": "'utf-8'"}
    assert for_target(asyncpg, "orders") == {"client_encoding": "'utf-8'"}
    jdbc = {"user": "ci", "DateStyle": "ISO", "TimeZone": "UTC", "extra_float_digits": "2", "_pq_.x": "1"}
    assert for_target(jdbc, "orders") == {"DateStyle": "ISO", "TimeZone": "UTC", "extra_float_digits": "2"}


def test_options_pass_with_harmless_settings_only() -> None:
    options = r"-c statement_timeout=5s --lock-timeout=1s -csearch_path=a,\ b"
    assert split_options(options) == [("statement_timeout", "5s"), ("lock_timeout", "1s"), ("search_path", "a, b")]
    assert for_target({"options": options}, "orders") == {"options": options}


@pytest.mark.parametrize(
    "asked",
    [
        {"role": "admin"},  # SET ROLE by the side door
        {"ROLE": "admin"},
        {"session_authorization": "admin"},
        {"session_replication_role": "replica"},  # switches triggers off
        {"options": "-c role=admin"},
        {"options": "-crole=admin"},
        {"options": "--role=admin"},
        {"options": r"-c statement_timeout=1 -c rol\e=admin"},
        {"options": "-c statement_timeout=1\t--session-replication-role=replica"},
        {"options": "-O"},  # allows system table changes
        {"options": "-c"},
        {"options": "role=admin"},
        {"options": "--role"},
        {"local_preload_libraries": "x"},
        {"my.setting": "x"},
    ],
)
def test_anything_else_is_refused(asked: dict[str, str]) -> None:
    with pytest.raises(ParameterRefused) as e:
        for_target(asked, "orders")
    assert e.value.sqlstate == "42501"


@pytest.mark.parametrize(
    ("asked", "sqlstate"),
    [
        ({"database": "other"}, "3D000"),
        ({"replication": "database"}, "0A000"),
        ({"replication": "true"}, "0A000"),
        ({"client_encoding": "SJIS"}, "0A000"),
        ({"options": "-c client_encoding=latin1"}, "0A000"),
        ({"standard_conforming_strings": "off"}, "0A000"),
    ],
)
def test_what_cannot_be_served_says_which(asked: dict[str, str], sqlstate: str) -> None:
    with pytest.raises(ParameterRefused) as e:
        for_target(asked, "orders")
    assert e.value.sqlstate == sqlstate


def test_a_hostile_name_is_not_repeated() -> None:
    with pytest.raises(ParameterRefused, match="this one"):
        for_target({"4111 1111 1111 1111\n" * 9: "x"}, "orders")
