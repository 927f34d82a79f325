"""The models of AWS services, as far as naming an action and its parameters needs them. They are botocore's.

`services.yaml` says which service has which name in a signature, a host or a target; a service's own model is
read when it is first asked for, from the installed botocore and never from the user's folders.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from policy import package_yaml
from policy.http import Unreadable

_AT_OTHER_HOSTS = frozenset(("ListDirectoryBuckets",))
"""Shares method and path with another, and is told from it by its host alone (s3express-control), which is not read."""

_IAM_PREFIXES = {
    "IoTSecuredTunneling": "iot",
    "cloudcontrolapi": "cloudformation",
    "iotdata": "iot",
    "monitoring": "cloudwatch",
    "tagging": "tag",
}
"""Where the name in IAM policies is not the one in signatures."""


_ACTION = re.compile(r"[A-Z]\w*")


class Names(NamedTuple):
    signing: str
    endpoint: str
    target: str


@dataclass(frozen=True, slots=True)
class Operation:
    """`static`: keys and values of the query that belong to the address. `uri`, `query`, `headers`: where members
    stand, by the name on the wire. `body`: "fields", "text" (the whole body is the member `payload`) or "" (bytes)."""

    name: str
    method: str
    pattern: re.Pattern[str]
    literals: int
    static: tuple[tuple[str, str], ...]
    query: dict[str, str]
    headers: dict[str, str]
    header_prefixes: tuple[str, ...]
    any_query: bool
    needs_query: frozenset[str]
    needs_headers: frozenset[str]
    body: str
    payload: str
    deprecated: bool  # another has taken its place at the same address


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    prefix: str  # as in IAM policies
    version: str
    protocols: frozenset[str]
    operations: dict[str, Operation]

    @property
    def is_rest(self) -> bool:
        return not self.protocols.isdisjoint(("rest-json", "rest-xml"))


@cache
def names() -> dict[str, Names]:
    rows: dict[str, list[str]] = package_yaml.load("policy.aws", "services.yaml")
    return {name: Names(*row) for name, row in rows.items()}


def prefix(told: Names) -> str:
    """The service's name in IAM policies."""
    return _IAM_PREFIXES.get(told.signing, told.signing)


def is_action(text: str) -> bool:
    """Whether it may be an effect: `service:Action`, of a service that there is."""
    service_, colon, action = text.partition(":")
    return bool(colon) and _ACTION.fullmatch(action) is not None and service_ in _prefixes()


@cache
def by_signing() -> dict[str, tuple[str, ...]]:
    """Services by their name in signatures."""
    found: dict[str, tuple[str, ...]] = {}
    for name, told in names().items():
        found[told.signing] = (*found.get(told.signing, ()), name)
    return found


@cache
def _prefixes() -> frozenset[str]:
    return frozenset(prefix(told) for told in names().values())


@lru_cache(maxsize=64)
def service(name: str) -> Service:
    """Raises Unreadable where botocore is not installed or has no such service."""
    known = names().get(name)
    if known is None:
        raise Unreadable("a service that is not known")
    try:
        from botocore.exceptions import DataNotFoundError
        from botocore.loaders import Loader
    except ImportError:
        raise Unreadable('the models of AWS are not installed: pip install "tallystick[aws]"') from None
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    try:
        model: dict[str, Any] = loader.load_service_model(name, "service-2")
    except DataNotFoundError:
        raise Unreadable("a service that the installed botocore does not know") from None
    about = model["metadata"]
    rows = {key: row for key, row in model["operations"].items() if key not in _AT_OTHER_HOSTS}
    operations = {key: _operation(key, row, model["shapes"]) for key, row in rows.items()}
    protocols = frozenset((about["protocol"], *about.get("protocols", ())))
    return Service(name, prefix(known), about["apiVersion"], protocols, operations)


def _operation(action: str, row: dict[str, Any], shapes: dict[str, Any]) -> Operation:
    path, _, fixed = row.get("http", {}).get("requestUri", "/").partition("?")
    static = tuple((key, value) for key, _, value in (each.partition("=") for each in fixed.split("&") if each))
    shape: dict[str, Any] = shapes.get(row.get("input", {}).get("shape", ""), {})
    required = set(shape.get("required", ()))
    places: dict[str, dict[str, str]] = {"uri": {}, "querystring": {}, "header": {}}
    needs: dict[str, set[str]] = {"querystring": set(), "header": set()}
    prefixes, any_query = [], False
    for member, told in shape.get("members", {}).items():
        place, name = told.get("location", ""), told.get("locationName", member)
        if place == "headers":
            prefixes.append(name.lower())
        elif place == "querystring" and shapes[told["shape"]]["type"] == "map":
            any_query = True
        elif place in places:
            name = name.lower() if place == "header" else name
            places[place][name] = member
            if member in required and place in needs:
                needs[place].add(name)
    body, payload = _body(shape, shapes)
    return Operation(
        action,
        row.get("http", {}).get("method", "POST"),
        _pattern(path),
        sum(1 for part in path.split("/") if part and "{" not in part),
        static,
        places["querystring"],
        places["header"],
        tuple(prefixes),
        any_query,
        frozenset(needs["querystring"]),
        frozenset(needs["header"]),
        body,
        payload,
        row.get("deprecated", False),
    )


def _body(shape: dict[str, Any], shapes: dict[str, Any]) -> tuple[str, str]:
    payload = shape.get("payload", "")
    if not payload:
        return "fields", ""
    kind = shapes[shape["members"][payload]["shape"]]
    if kind["type"] in ("blob", "string"):
        return ("" if kind["type"] == "blob" else "text"), payload
    return "fields", payload


def _pattern(path: str) -> re.Pattern[str]:
    """`/{Bucket}/{Key+}`: a member takes one part of the path, with + all that follow."""
    made = ""
    for part in re.split(r"(\{[^{}]+\})", path.rstrip("/")):
        if part.startswith("{"):
            name = part.strip("{}").rstrip("+")
            made += f"(?P<{re.sub(r'[^0-9A-Za-z_]', '_', name)}>{'.+' if part.endswith('+}') else '[^/]+'})"
        else:
            made += re.escape(part)
    return re.compile(made + "/?", re.DOTALL)
