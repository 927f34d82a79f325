"""Marks of Kubernetes requests: the closed list of what signals are made from; `signals.yaml` has a row each."""

from __future__ import annotations

from enum import StrEnum


class Mark(StrEnum):
    """Those that the table of resources gives stand there; the others are made by the code that reads bodies."""

    UNKNOWN = "k8s-unknown"

    READ = "k8s-read"
    LOG = "k8s-log"
    REVIEW = "k8s-review"  # asks who may do what
    SECRET_READ = "k8s-secret-read"  # noqa: S105
    SECRETS_LIST = "k8s-secrets-list"
    SECRETS_EVERYWHERE = "k8s-secrets-everywhere"
    SERVER_FILES = "k8s-server-files"

    CREATE = "k8s-create"
    CHANGE = "k8s-change"
    ORDINARY = "k8s-ordinary"
    SECRET_WRITE = "k8s-secret-write"  # noqa: S105
    SYSTEM_NAMESPACE = "k8s-system-namespace"

    DELETE = "k8s-delete"
    DELETE_ORDINARY = "k8s-delete-ordinary"
    DELETE_POD = "k8s-delete-pod"
    DELETE_DATA = "k8s-delete-data"
    DELETE_NAMESPACE = "k8s-delete-namespace"
    DELETE_DEFINITION = "k8s-delete-definition"
    DELETE_NODE = "k8s-delete-node"
    DELETE_COLLECTION = "k8s-delete-collection"
    EVICT = "k8s-evict"

    EXEC = "k8s-exec"
    DEBUG_CONTAINER = "k8s-debug-container"
    PORT_FORWARD = "k8s-port-forward"
    PROXY = "k8s-proxy"
    NODE_PROXY = "k8s-node-proxy"
    PRIVILEGED_POD = "k8s-privileged-pod"
    HOST_POD = "k8s-host-pod"
    HOST_VOLUME = "k8s-host-volume"  # a PersistentVolume on a node's own files

    ROLE = "k8s-role"
    ROLE_WILDCARD = "k8s-role-wildcard"
    ROLE_ESCALATES = "k8s-role-escalates"
    BINDING = "k8s-binding"
    BINDING_ADMIN = "k8s-binding-admin"
    BINDING_PUBLIC = "k8s-binding-public"
    REVOKE = "k8s-revoke"
    IMPERSONATE = "k8s-impersonate"
    TOKEN = "k8s-token"  # noqa: S105
    CSR = "k8s-csr"
    CSR_APPROVE = "k8s-csr-approve"
    TRUST = "k8s-trust"

    WEBHOOK = "k8s-webhook"
    API_SERVICE = "k8s-api-service"
    DEFINITION = "k8s-definition"
    GUARD_OFF = "k8s-guard-off"
    NODE = "k8s-node"
    SCHEDULING = "k8s-scheduling"
    LIMITS = "k8s-limits"
    RUNTIME = "k8s-runtime"

    EXPOSE = "k8s-expose"
    EXTERNAL_IP = "k8s-external-ip"
    REDIRECT = "k8s-redirect"
    NETWORK = "k8s-network"
