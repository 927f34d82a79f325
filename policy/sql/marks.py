"""Marks: the closed list of what the effects of a statement cannot say, and signals are made from.

`signals.yaml` has one row a mark; a test keeps the two equal.
"""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    # what is unknown
    UNKNOWN = "unknown"  # the judgement is not complete
    RUNS_TEXT = "runs-text"  # SQL given as a string, or dynamic SQL
    OTHER_SERVER = "other-server"

    # reading
    READS_ALL = "reads-all"  # no WHERE and no LIMIT on an ordinary table
    CROSS_JOIN = "cross-join"
    READS_CATALOG = "reads-catalog"
    READS_CREDENTIALS = "reads-credentials"
    READS_SAMPLES = "reads-samples"  # statistics, other sessions' statements
    LARGE_OBJECT = "large-object"
    COPY_OUT_TABLE = "copy-out-table"
    COPY_OUT_QUERY = "copy-out-query"

    # changing rows
    INSERT = "insert"
    COPY_IN = "copy-in"
    UPDATE = "update"
    UPDATE_ALL = "update-all"  # no WHERE, or one that is always true
    DELETE = "delete"
    DELETE_ALL = "delete-all"
    MERGE_DELETE = "merge-delete"
    HIDDEN_DELETE = "hidden-delete"  # under another top: a CTE, EXPLAIN ANALYZE, DO, after a read and `;`
    HIDDEN_WRITE = "hidden-write"
    TRUNCATE = "truncate"
    CATALOG_WRITE = "catalog-write"

    # changing structure
    CREATE = "create"
    CREATE_INDEX = "create-index"
    ALTER = "alter"
    ALTER_TYPE = "alter-type"
    RENAME = "rename"
    DROP_COLUMN = "drop-column"
    DROP_TABLE = "drop-table"
    DROP_SCHEMA = "drop-schema"
    DROP_DATABASE = "drop-database"
    DROP_OWNED = "drop-owned"
    DROP_OTHER = "drop-other"
    COMMENT = "comment"
    CODE = "code"  # functions, triggers, rules, operators, casts: text that runs later
    CODE_CHANGES = "code-changes"  # and that text changes something
    SHADOWS = "shadows"  # a name or search path that can take the place of a built-in

    # who may do what
    GRANT = "grant"
    REVOKE = "revoke"
    ROLE = "role"
    ROLE_CHANGE = "role-change"
    ROLE_BACK = "role-back"
    OWNER = "owner"
    GUARD_OFF = "guard-off"  # triggers, row security, policies, security labels
    SETTING = "setting"
    SETTING_STORED = "setting-stored"  # ALTER DATABASE/ROLE ... SET
    PARSING = "parsing"  # settings that change how text is read
    LOGGING = "logging"
    ALTER_SYSTEM = "alter-system"
    EXTENSION = "extension"
    LOADS_LIBRARY = "loads-library"
    FOREIGN = "foreign"  # servers, user mappings, subscriptions
    REPLICATION = "replication"

    # the server and its files
    FILE_ACCESS = "file-access"
    COPY_PROGRAM = "copy-program"
    SERVER_CONTROL = "server-control"
    FORGETS_STATISTICS = "forgets-statistics"

    # availability
    LOCKS_ROWS = "locks-rows"
    LOCKS_TABLE = "locks-table"
    ADVISORY_LOCK = "advisory-lock"
    REWRITES = "rewrites"  # VACUUM FULL, CLUSTER, REINDEX, REFRESH
    MAINTENANCE = "maintenance"
    STOPS_SESSION = "stops-session"
    SLEEP = "sleep"
    PREPARED_TRANSACTION = "prepared-transaction"
