"""What does this request to a Kubernetes API server do?

    read(Request("DELETE", "/api/v1/namespaces/prod")) -> Effects

An effect is a verb of RBAC and what it is done with: `delete` of `namespaces prod`, `create` of `pods/exec prod/web-0`,
`bind` of `clusterroles.rbac.authorization.k8s.io cluster-admin`, `impersonate` of `users alice`.

Rules:
1. Verb, resource, namespace and name are cut from the path as the API server does it (`address.py`).
2. What is not in the table of resources is unknown. So is a body that must be read and cannot be.
3. A dry run changes nothing, but it answers with the object, runs nothing else, and still impersonates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policy.found import Effects, Finding
from policy.http import Request, Unreadable, load_json
from policy.kubernetes import bodies
from policy.kubernetes.address import Address, locate
from policy.kubernetes.bodies import Body
from policy.kubernetes.marks import Mark
from policy.kubernetes.tables import MAKES, READS, REMOVES, VERBS, table

EFFECTS = VERBS | {"bind", "impersonate", "unknown"}
ALLOWED = "kubernetes:"
"""Before the name of a harmless custom resource under `functions.allow`."""

_IMPERSONATES = {"impersonate-user": "users", "impersonate-group": "groups", "impersonate-uid": "uids"}
_EXTRA = "impersonate-extra-"
_PROXIED = "x-remote-"  # what an authenticating proxy says; only the API server's own proxy may
_CONNECTS = frozenset(("pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"))
_CALLS = frozenset(("pods/proxy", "services/proxy", "nodes/proxy"))
_EVERYWHERE = frozenset(("status", "scale"))
_OWN_REVIEWS = ".authorization.k8s.io"
_SYSTEM = frozenset(("kube-system", "kube-public", "kube-node-lease"))
_LOOKS = frozenset(("/logs", "/debug"))


def read(request: Request, allowed: frozenset[str] = frozenset()) -> Effects:
    """Never raises: what cannot be understood is unknown."""
    found = Finding(Mark.UNKNOWN)
    try:
        _impersonation(found, request)
        _request(found, locate(request.method, request.path), request, allowed)
    except Unreadable as why:
        found.unknown(str(why))
    return found.answer()


def read_attributes(given: Mapping[str, Any], allowed: frozenset[str] = frozenset()) -> Effects:
    """Of {verb, group, resource, subresource, namespace, name, query, headers, body}, as an audit log names them."""
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    verb, group, resource, subresource, namespace, name = [str(given.get(key) or "") for key in keys]
    found = Finding(Mark.UNKNOWN)
    if verb not in VERBS:
        found.unknown("a verb that Kubernetes does not have")
        return found.answer()
    if "/" in resource and not subresource:  # as in RBAC: pods/exec
        resource, _, subresource = resource.partition("/")
    address = Address(verb, group, resource, subresource, namespace, name)
    if address.resource == "namespaces":
        address = address._replace(name=address.name or address.namespace, namespace="")
    try:
        request = bodies.request(given)
        _impersonation(found, request)
        _resource(found, address, request, allowed)
    except Unreadable as why:
        found.unknown(str(why))
    return found.answer()


def _impersonation(found: Finding, request: Request) -> None:
    for name, value in request.headers:
        what = _IMPERSONATES.get(name)
        if what is None and name.startswith((_EXTRA, _PROXIED)):
            what = "userextras" if name.startswith(_EXTRA) else "users"
        if what is not None:
            found.write("impersonate", f"{what} {value.strip()}")
            found.marks.add(Mark.IMPERSONATE)
            if value.strip() == "system:masters":
                found.marks.add(Mark.BINDING_ADMIN)


def _request(found: Finding, address: Address, request: Request, allowed: frozenset[str]) -> None:
    if address.resource:
        _resource(found, address, request, allowed)
        return
    path = address.path
    if address.verb != "get":
        raise Unreadable("a change to a path that is no resource")
    found.read("get", path)
    first = "/" + path.split("/")[1]
    if path == "/" or _is_known_path(path):
        found.marks.add(Mark.READ)
    elif first in _LOOKS:
        found.marks.add(Mark.SERVER_FILES)
    else:
        found.unknown("a path that is not known")


def _is_known_path(path: str) -> bool:
    """/healthz/etcd belongs to /healthz; /apis/apps/v1 is a list of resources."""
    return any(path == known or path.startswith(known + "/") for known in table().paths)


def _resource(found: Finding, address: Address, request: Request, allowed: frozenset[str]) -> None:
    """Names the effect first, so that a later `Unreadable` leaves it named."""
    kind, verb = address.kind, address.verb
    dry = _is_dry(address, request)
    body = bodies.read(request) if verb in MAKES and not dry else Body(None, "", partial=False)
    relation = address.relation(body.name if verb == "create" and not address.subresource else "")
    if dry or (verb in READS and kind not in _CONNECTS):
        found.read(verb, relation)
    else:
        found.write(verb, relation)
    custom = _check_known(found, address, allowed)
    mark = table().mark(verb, kind) if not dry else _dry_mark(address)
    if mark is not None:
        found.marks.add(mark)
    if mark is Mark.SECRETS_LIST and not address.namespace:
        found.marks.add(Mark.SECRETS_EVERYWHERE)
    if kind in _CALLS:
        found.unknown("what the called program does is not known here")
    if dry or custom or verb in READS:
        return
    if address.namespace in _SYSTEM and mark not in (Mark.ORDINARY, Mark.REVIEW):
        found.marks.add(Mark.SYSTEM_NAMESPACE)
    if verb in MAKES:
        bodies.judge(found, address, body)


def _check_known(found: Finding, address: Address, allowed: frozenset[str]) -> bool:
    """Whether it is a custom resource that the policy allows."""
    known = table()
    whole = address._replace(subresource="").kind
    if whole not in known.namespaced and whole not in known.cluster:
        plain = not address.subresource or address.subresource in _EVERYWHERE
        if plain and ALLOWED + whole in allowed:
            return True
        raise Unreadable("a resource that is not known: name it under functions.allow if it is harmless")
    if address.subresource and address.kind not in known.subresources and address.subresource not in _EVERYWHERE:
        raise Unreadable("a subresource that is not known")
    if address.rest and address.kind not in _CALLS:
        raise Unreadable("a path that goes on behind its subresource")
    if whole in known.cluster and address.namespace:
        raise Unreadable("a namespace for a resource that has none")
    if whole not in known.cluster and not address.namespace and not _is_wide(address):
        raise Unreadable("no namespace for a resource that has one")
    if not address.name and address.verb not in ("list", "watch", "create", "deletecollection"):
        raise Unreadable("no name for what is done to one object")
    return False


def _is_wide(address: Address) -> bool:
    """Over all namespaces; a review of access carries its namespace in its body."""
    return address.verb in ("list", "watch") or address.kind.endswith(_OWN_REVIEWS)


def _is_dry(address: Address, request: Request) -> bool:
    """`dryRun=All` and nothing else. With a body, DELETE looks at the body alone (DeleteOptions), so both must say it;
    what opens a connection or makes a token does not look at it."""
    if address.verb in READS or address.kind in _CONNECTS or address.kind == "serviceaccounts/token":
        return False
    told = [value for key, value in request.parameters() if key == "dryRun"]
    if address.verb in REMOVES and request.body:
        options = load_json(request.body)
        told = options.get("dryRun", []) if isinstance(options, dict) else []
    return isinstance(told, list) and bool(told) and all(value == "All" for value in told)


def _dry_mark(address: Address) -> Mark:
    """Its answer is the object as it would be: of a secret that there is, its values."""
    return Mark.SECRET_READ if address.resource == "secrets" and address.verb != "create" else Mark.READ
