"""The tables of functions: complete enough to work with, and nothing dangerous in the harmless one."""

from __future__ import annotations

from importlib.resources import files
from typing import Protocol

import psycopg
import pytest
import yaml

from policy.sql.effects import EFFECTS
from policy.sql.functions import table


class Postgres(Protocol):
    def url(self) -> str: ...


EVERY_DAY = """
    count sum avg min max now lower upper length substring btrim extract date_trunc to_char array_agg string_agg
    json_agg jsonb_build_object jsonb_set row_number rank lag generate_series unnest current_setting pg_get_viewdef
    format_type obj_description version current_database gen_random_uuid random row_to_json to_tsvector regexp_replace
    concat_ws pg_backend_pid has_table_privilege regclass
"""
NEVER_HARMLESS = """
    set_config pg_read_file pg_read_binary_file pg_ls_dir pg_stat_file lo_import lo_export lo_unlink query_to_xml
    cursor_to_xml table_to_xml schema_to_xml database_to_xml ts_stat ts_rewrite pg_terminate_backend pg_reload_conf
    pg_cancel_backend nextval setval pg_notify pg_sleep pg_advisory_lock pg_switch_wal pg_promote dblink dblink_exec
    pg_logical_slot_get_changes pg_drop_replication_slot pg_stat_reset pg_import_system_collations lo_put lowrite
    binary_upgrade_set_next_pg_type_oid plpgsql_call_handler pg_logical_emit_message pg_restore_relation_stats
"""


@pytest.mark.parametrize("name", EVERY_DAY.split())
def test_everyday_functions_are_harmless(name: str) -> None:
    assert name in table().harmless


@pytest.mark.parametrize("name", NEVER_HARMLESS.split())
def test_functions_that_do_something_are_not(name: str) -> None:
    assert name not in table().harmless


def test_the_table_is_well_formed() -> None:
    known = table()
    assert not known.harmless & known.effects.keys()
    assert {row.effect for row in known.effects.values()} <= EFFECTS
    assert all(row.complete or row.effect == "unknown" for row in known.effects.values())
    assert {"=", "<>", "||", "->>", "@>", "~~"} <= known.operators


def test_nothing_volatile_is_in_the_generated_table(postgres: Postgres) -> None:
    """Volatile functions may do anything: the harmless ones are chosen by hand, one by one."""
    generated = yaml.safe_load(files("policy.sql").joinpath("functions_pg18.yaml").read_text("utf-8"))
    volatile = "SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v'"
    with psycopg.connect(postgres.url()) as connection:
        names = {name for (name,) in connection.execute(volatile)}
    assert len(names) > 200
    assert not names & set(generated["functions"].split())
