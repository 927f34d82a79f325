"""Marks of requests to AWS: the closed list of what signals are made from; `signals.yaml` has a row each."""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    """The first are the levels of access; `actions.yaml` gives most of the others, `exposure.py` the rest."""

    UNKNOWN = "aws-unknown"

    LIST = "aws-list"
    READ = "aws-read"
    TAGGING = "aws-tagging"
    WRITE = "aws-write"
    PERMISSIONS = "aws-permissions"

    CREDENTIALS = "aws-credentials"
    SECRET = "aws-secret"  # noqa: S105
    TOKEN = "aws-token"  # noqa: S105
    TRUST = "aws-trust"
    ADMIN = "aws-admin"
    PASS_ROLE = "aws-pass-role"  # noqa: S105
    GUARD_OFF = "aws-guard-off"
    LOGGING_OFF = "aws-logging-off"
    ENCRYPTION_OFF = "aws-encryption-off"
    EXECUTION = "aws-execution"
    TEMPLATE = "aws-template"

    PUBLIC = "aws-public"
    SHARED = "aws-shared"
    COPY_OUT = "aws-copy-out"
    ROUTE = "aws-route"

    DELETE = "aws-delete"
    DELETE_ONE = "aws-delete-one"
    DELETE_DATA = "aws-delete-data"
    BACKUP_OFF = "aws-backup-off"

    COMPUTE = "aws-compute"
    COMPUTE_MANY = "aws-compute-many"
    STOPS = "aws-stops"
