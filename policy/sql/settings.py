"""Settings whose change matters to judging, to guards or to the record. By SET, RESET or set_config."""

from __future__ import annotations

from collections.abc import Sequence

from policy.sql.marks import Mark

_TRUE = frozenset(("on", "true", "t", "tr", "tru", "yes", "ye", "y", "1"))
_UTF8 = frozenset(("utf8", "utf-8", "unicode"))
_LIBRARIES = frozenset(
    ("dynamic_library_path", "local_preload_libraries", "session_preload_libraries", "shared_preload_libraries")
)
_GUARDS = frozenset(
    (
        "allow_system_table_mods",
        "fsync",
        "ignore_checksum_failure",
        "ignore_invalid_pages",
        "ignore_system_indexes",
        "lo_compat_privileges",
        "zero_damaged_pages",
    )
)
_ROLES = frozenset(("role", "session_authorization"))


def mark_of(name: str, values: Sequence[str] | None) -> Mark:
    """What setting `name` to `values` means; None = a value that is not in the text (worst case),
    an empty sequence = back to the default."""
    name = name.lower()
    if name in _ROLES:
        back = values is not None and (not values or values[0].lower() in ("none", "default"))
        return Mark.ROLE_BACK if back else Mark.ROLE_CHANGE
    if values is not None and not values:
        return Mark.SETTING
    value = None if values is None else values[0].strip().lower()
    if name in _GUARDS:
        return Mark.GUARD_OFF
    if name in _LIBRARIES:
        return Mark.LOADS_LIBRARY
    if name.startswith(("log_", "pgaudit.", "auto_explain.", "track_", "logging_")):
        return Mark.LOGGING
    if name == "session_replication_role":  # replica: no triggers, no foreign keys
        return Mark.SETTING if value == "origin" else Mark.GUARD_OFF
    if name == "event_triggers":
        return Mark.SETTING if value in _TRUE else Mark.GUARD_OFF
    if name == "standard_conforming_strings":
        return Mark.SETTING if value in _TRUE else Mark.PARSING
    if name == "client_encoding":
        return Mark.SETTING if value in _UTF8 else Mark.PARSING
    if name == "backslash_quote":
        return Mark.SETTING if value in ("safe_encoding", "off", "false", "no", "0") else Mark.PARSING
    if name == "transform_null_equals":
        return Mark.PARSING if value is None or value in _TRUE else Mark.SETTING
    if name == "search_path":
        return Mark.SHADOWS if values is None or _shadows(values) else Mark.SETTING
    return Mark.SETTING


def _shadows(path: Sequence[str]) -> bool:
    """pg_catalog is searched first unless the path says where; then what stands before it wins."""
    names = [part.strip().strip('"').lower() for one in path for part in one.split(",")]
    return "pg_catalog" in names[1:]
