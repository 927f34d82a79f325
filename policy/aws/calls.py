"""Which action of which service a request is, and with what parameters.

    identify(request) -> Call(service, "DeleteBucket", (("Bucket", "b"),))

A request that fits no action, or two, or has a part that its action does not know, is Unreadable: AWS may read
it as another than we would.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from policy.aws import models
from policy.aws.models import Operation, Service
from policy.aws.parameters import Parameters, of_cbor, of_form, of_json, of_xml
from policy.http import Request, Unreadable, pairs

_SCOPE = re.compile(r"Credential=[^/,\s]+/(?:\d{8})/(?:[^/,\s]*/)?([A-Za-z0-9.-]+)/aws4_request")
_QUERY_SCOPE = re.compile(r"[^/]+/\d{8}/(?:[^/]*/)?([A-Za-z0-9.-]+)/aws4_request")
_AWS = re.compile(r"(?P<labels>.+)\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")
_S3_LABEL = re.compile(r"s3(?:[.-].*)?|s3-accesspoint.*")
_SIGNATURE = frozenset(
    f"x-amz-{word}"
    for word in (
        *("algorithm", "credential", "date", "expires", "signedheaders", "signature", "security-token"),
        *("content-sha256", "user-agent"),
    )
)
_RPC = re.compile(r"/service/(\w+)/operation/(\w+)")
_FORM = "application/x-www-form-urlencoded"


class Call(NamedTuple):
    service: Service
    action: str
    parameters: Parameters


def identify(request: Request) -> Call:
    """Raises Unreadable."""
    found = [call for each in _services(request) if (call := _call(each, request)) is not None]
    if not found:
        raise Unreadable("a request that is no action of the service")
    if len({(each.service.prefix, each.action) for each in found}) > 1:
        raise Unreadable("a request that fits two actions")
    return found[0]


def _services(request: Request) -> list[Service]:
    """By the name in the signature, which AWS checks; the host tells those apart that share one."""
    signed = _signing_name(request)
    host = request.header("host").partition(":")[0].lower()
    labels = m["labels"].split(".") if (m := _AWS.fullmatch(host)) else []
    known = models.names()
    candidates = models.by_signing().get(signed, ()) if signed else tuple(known)
    near = tuple(name for name in candidates if _is_at(known[name].endpoint, labels))
    candidates = (near or candidates) if signed else near
    if not candidates:
        raise Unreadable("neither signature nor host name a known service of AWS")
    return [models.service(name) for name in candidates]


def _signing_name(request: Request) -> str:
    told = set()
    authorization = request.header("authorization")
    if authorization:
        told |= set(_SCOPE.findall(authorization)) or {"?"}
    for key, value in request.parameters():
        if key.lower() == "x-amz-credential":
            told.add(m[1] if (m := _QUERY_SCOPE.fullmatch(value)) else "?")
    if len(told) > 1 or told == {"?"}:
        raise Unreadable("a signature that is not AWS's Signature Version 4")
    return told.pop() if told else ""


def _is_at(endpoint: str, labels: list[str]) -> bool:
    wanted = endpoint.split(".")
    if endpoint == "s3":
        return any(_S3_LABEL.fullmatch(label) and not label.startswith("s3-control") for label in labels)
    return any(labels[at : at + len(wanted)] == wanted for at in range(len(labels)))


def _call(service: Service, request: Request) -> Call | None:
    """None where it is no action of this service. A service may speak several protocols: what says one of them must
    say nothing of another, since which of two AWS believes is not known."""
    if service.is_rest:
        return _rest(service, request)
    target, rpc = request.header("x-amz-target"), request.header("smithy-protocol")
    if not target and not rpc:
        return _form(service, request)
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if (target and rpc) or any(key.lower() not in _SIGNATURE for key, _ in request.parameters()):
        raise Unreadable("two protocols in one request")
    if rpc:
        at = _RPC.fullmatch(request.path)
        if rpc != "rpc-v2-cbor" or at is None or kind not in ("", "application/cbor"):
            raise Unreadable("a protocol that is not read")
        action, known, read = at[2], "smithy-rpc-v2-cbor" in service.protocols, of_cbor
    else:
        prefix, _, action = target.rpartition(".")
        known, read = bool(prefix) and prefix == models.names()[service.name].target, of_json
        if kind == _FORM:
            raise Unreadable("two protocols in one request")
    return Call(service, action, read(request.body)) if known and action in service.operations else None


def _form(service: Service, request: Request) -> Call | None:
    """The query protocols: `Action` in the body's form or in the query, not in both."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if request.body and kind not in ("", _FORM):
        return None
    given = [each for each in request.parameters() if each[0].lower() not in _SIGNATURE]
    try:
        given += pairs(request.body.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unreadable("a form that is not UTF-8") from None
    fields = of_form(given)
    told = dict(fields)
    action, version = str(told.get("Action", "")), told.get("Version", service.version)
    if action not in service.operations or version != service.version:
        return None
    return Call(service, action, tuple(each for each in fields if each[0] not in ("Action", "Version")))


def _rest(service: Service, request: Request) -> Call | None:
    path = _bucket_in_path(request) if service.name == "s3" else request.path
    query, headers = _query_and_headers(request)
    fits = []
    for operation in service.operations.values():
        if operation.method != request.method and not (operation.method == "GET" and request.method == "HEAD"):
            continue
        at = operation.pattern.fullmatch(path or "/")
        if at is not None and _is_asked(operation, query, headers):
            fits.append((_rank(operation, request.method), operation, at))
    if not fits:
        return None
    fits.sort(key=lambda each: each[0], reverse=True)
    rank, operation, at = fits[0]
    if len(fits) > 1 and fits[1][0] == rank:
        raise Unreadable("a request that fits two actions")
    told: list[tuple[str, object]] = [(name, unquote(value)) for name, value in at.groupdict().items()]
    told += _members(operation, query, headers)
    return Call(service, operation.name, (*told, *_fields(service, operation, request)))


def _rank(operation: Operation, method: str) -> tuple[bool, int, int, int, bool]:
    """Of actions that fit, the one that says most of the request is meant."""
    needs = len(operation.needs_query) + len(operation.needs_headers)
    return operation.method == method, len(operation.static), operation.literals, needs, not operation.deprecated


def _is_asked(operation: Operation, query: dict[str, str], headers: dict[str, str]) -> bool:
    static = all(query.get(key) == value for key, value in operation.static)
    return static and operation.needs_query <= query.keys() and operation.needs_headers <= headers.keys()


def _query_and_headers(request: Request) -> tuple[dict[str, str], dict[str, str]]:
    """A presigned URL may have headers in its query. Each once: of two, AWS may take the other."""
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name in headers and name.startswith("x-amz-"):
            raise Unreadable("a header that is there twice")
        headers[name] = value.strip()
    for key, value in request.parameters():
        name = key.lower()
        if name in _SIGNATURE or key == "x-id":
            continue
        place = headers if name.startswith("x-amz-") else query
        if (name if place is headers else key) in place:
            return _several(request)
        place[name if place is headers else key] = value
    return query, headers


def _several(request: Request) -> tuple[dict[str, str], dict[str, str]]:
    """Lists in a query repeat their key (tagKeys=a&tagKeys=b): the values are joined, which names them all."""
    query: dict[str, str] = {}
    for key, value in request.parameters():
        name = key.lower()
        if name.startswith("x-amz-") and name not in _SIGNATURE:
            raise Unreadable("a header in the query that is there twice")
        if name not in _SIGNATURE and key != "x-id":
            query[key] = f"{query[key]},{value}" if key in query else value
    return query, {name: value.strip() for name, value in request.headers}


def _members(operation: Operation, query: dict[str, str], headers: dict[str, str]) -> list[tuple[str, object]]:
    static = {key for key, _ in operation.static}
    told: list[tuple[str, object]] = []
    for key, value in query.items():
        if key in operation.query:
            told.append((operation.query[key], value))
        elif key not in static and not operation.any_query:
            raise Unreadable("a query that the action does not have")
    told += [(operation.headers[name], value) for name, value in headers.items() if name in operation.headers]
    return told


def _fields(service: Service, operation: Operation, request: Request) -> Parameters:
    if not request.body or not operation.body:
        return ()
    if operation.body == "text":
        try:
            return ((operation.payload, request.body.decode("utf-8")),)
        except UnicodeDecodeError:
            raise Unreadable("a body that is not UTF-8") from None
    return of_xml(request.body) if "rest-xml" in service.protocols else of_json(request.body)


def _bucket_in_path(request: Request) -> str:
    """`bucket.s3.eu-west-1.amazonaws.com/key` is `/bucket/key`; another host has it in the path already."""
    host = request.header("host").partition(":")[0].lower()
    labels = m["labels"].split(".") if (m := _AWS.fullmatch(host)) else []
    for at in range(len(labels) - 1, 0, -1):  # the last one: a bucket's name may have dots, and such a part
        if _S3_LABEL.fullmatch(labels[at]):
            return "/" + ".".join(labels[:at]) + (request.path if request.path != "/" else "")
    return request.path
