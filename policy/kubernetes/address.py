"""Which resource a path means, as the API server itself cuts it.

    locate("POST", "/api/v1/namespaces/prod/pods/web-0/exec")
        == Address("create", "", "pods", "exec", "prod", "web-0")

Follows `RequestInfoFactory.NewRequestInfo` of k8s.io/apiserver (pkg/endpoints/request/requestinfo.go).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from policy.http import Unreadable

_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_NAMESPACE_PARTS = frozenset(("status", "finalize"))
_VERSION = re.compile(r"v[1-9][0-9]*(?:(?:alpha|beta)[1-9][0-9]*)?")
_PLAIN = re.compile(r"[^\x00-\x20\x7f\\]{1,253}")


class Address(NamedTuple):
    """`resource` is "" for a path that is no resource; `rest` are the path's parts behind the subresource."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()
    path: str = ""

    @property
    def kind(self) -> str:
        """`deployments.apps`, `pods/exec`: what the tables name."""
        full = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{full}/{self.subresource}" if self.subresource else full

    def relation(self, name: str = "") -> str:
        """`pods/exec prod/web-0`; `*` where no one is named."""
        one = name or self.name or "*"
        return f"{self.kind} {self.namespace}/{one}" if self.namespace != "" else f"{self.kind} {one}"


def locate(method: str, path: str) -> Address:
    """Raises Unreadable for what no API server takes for a resource or a known kind of path."""
    verb = _VERBS.get(method)
    if verb is None:
        raise Unreadable("a method that Kubernetes has no verb for")
    parts = _parts(path)
    if len(parts) >= 3 and parts[0] == "api" and _VERSION.fullmatch(parts[1]):
        return _resource(verb, "", parts[2:])
    if len(parts) >= 4 and parts[0] == "apis" and _VERSION.fullmatch(parts[2]):
        return _resource(verb, parts[1], parts[3:])
    return Address(verb, "", "", path="/" + "/".join(parts))


def _parts(path: str) -> list[str]:
    """Decoded first, then cut: `%2F` separates, as in Go's URL.Path."""
    try:
        parts = unquote(path, errors="strict").strip("/").split("/")
    except UnicodeDecodeError:
        raise Unreadable("a path that is not UTF-8") from None
    if parts == [""]:
        return []
    if any(part in (".", "..") or not _PLAIN.fullmatch(part) for part in parts):
        raise Unreadable("a path with empty, dotted or odd parts")
    return parts


def _resource(verb: str, group: str, parts: list[str]) -> Address:
    if parts[0] == "proxy":
        raise Unreadable("the old proxy path")
    watched = parts[0] == "watch"
    if watched:
        if verb != "get" or len(parts) == 1:
            raise Unreadable("a watch path that is not read")
        parts = parts[1:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_PARTS:
            parts = parts[2:]
    resource, name, subresource, *rest = (*parts, "", "") if len(parts) < 3 else parts
    if watched:
        verb = "watch"
    elif not name:
        verb = {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    if resource == "namespaces":
        namespace = ""  # the namespace itself: its name says which
    return Address(verb, group, resource, subresource, namespace, name, tuple(p for p in rest if p))
