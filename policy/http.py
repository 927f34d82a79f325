"""An HTTP request as the judge is given it, and its body read within bounds.

    from_json({"method": "DELETE", "path": "/api/v1/nodes/a", "headers": {}, "body": {}}) -> Request

The body is read as the server reads it, or not at all: JSON with a key twice (Go keeps parts of both), a second
document or an alias in YAML, bytes that are not UTF-8, too much or too deep are `Unreadable`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import yaml

MAX_BODY = 1 << 20
MAX_YAML = 1 << 16  # PyYAML takes microseconds a byte
MAX_DEPTH = 64
MAX_PARAMETERS = 1000


class Unreadable(ValueError):
    """Why a request, or a part of it, is not understood."""


class Request(NamedTuple):
    """`path` is as sent, percent-encoded and without the query; names of headers are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """ "" where there is none; Unreadable where it is there twice, since who reads which is not known."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise Unreadable(f"the header {name} is there twice")
        return values[0].strip() if values else ""

    def parameters(self) -> tuple[tuple[str, str], ...]:
        return pairs(self.query)


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """Of a query string or a form. Unreadable where there are too many, or bytes that are not UTF-8."""
    try:
        found = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise Unreadable("a query or form with too many fields, or not in UTF-8") from None
    return tuple(found)


def from_json(given: dict[str, Any]) -> Request:
    """`body` is text, or what JSON it is; `path` (or `url`) may have a query and a host. Unreadable if not so."""
    method, target = given.get("method"), given.get("path", given.get("url"))
    headers, body = given.get("headers", {}), given.get("body", "")
    if not isinstance(method, str) or not isinstance(target, str) or not isinstance(headers, dict):
        raise Unreadable("a request is {method, path, headers, body}")
    host = ""
    if "://" in target.partition("?")[0]:
        host, slash, rest = target.partition("://")[2].partition("/")
        host, question, query = host.partition("?")
        target = f"/{question}{query}" if question else slash + rest
    named = [(str(name).lower(), str(value)) for name, value in headers.items()]
    if host and not any(name == "host" for name, _ in named):
        named.append(("host", host))
    path, _, query = target.partition("?")
    text = body if isinstance(body, str) else json.dumps(body)
    return Request(method, path or "/", query, tuple(named), text.encode("utf-8", "surrogatepass"))


def from_line(line: str) -> Request:
    """`METHOD path`, and a JSON body behind it if there is one."""
    method, _, rest = line.strip().partition(" ")
    path, _, body = rest.strip().partition(" ")
    if not (method.isascii() and method.isalpha() and method.isupper() and path.startswith(("/", "http"))):
        raise Unreadable("not a request")
    return from_json({"method": method, "path": path, "body": body})


def load_json(body: bytes) -> Any:
    """Raises Unreadable."""
    if len(body) > MAX_BODY:
        raise Unreadable(f"a body of {len(body)} bytes; {MAX_BODY} at most are read")
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_no_key_twice)
    except (UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
        raise Unreadable(f"the body is not JSON ({type(error).__name__})") from None
    return _shallow(found)


def load_yaml(body: bytes) -> Any:
    """One document without anchors or tags. Raises Unreadable."""
    if len(body) > MAX_YAML:
        raise Unreadable(f"a YAML body of {len(body)} bytes; {MAX_YAML} at most are read")
    try:
        for event in yaml.parse(body.decode("utf-8"), Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) is not None or getattr(event, "tag", None) not in (None, "!"):
                raise Unreadable("YAML with anchors or tags")
        loader = yaml.SafeLoader(body.decode("utf-8"))
        node = loader.get_single_node()
        _no_yaml_key_twice(node)
        found = None if node is None else loader.construct_document(node)
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise Unreadable(str(error) if isinstance(error, Unreadable) else "the body is not YAML") from None
    return _shallow(found)


def _no_key_twice(found: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(found)
    if len(made) < len(found):
        raise Unreadable("a key is there twice in one object")
    return made


def _no_yaml_key_twice(node: yaml.Node | None) -> None:
    stack = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, yaml.MappingNode):
            keys = [key.value for key, _ in each.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(each.value) or "<<" in keys:
                raise Unreadable("a key is there twice in one object")
            stack.extend(value for _, value in each.value)
        elif isinstance(each, yaml.SequenceNode):
            stack.extend(each.value)


def _shallow(found: Any) -> Any:
    """Everything that walks a body may use the stack: its depth is bounded here."""
    stack = [(found, 0)]
    while stack:
        each, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise Unreadable("the body is nested too deep")
        if isinstance(each, dict):
            stack.extend((value, depth + 1) for value in each.values())
        elif isinstance(each, list):
            stack.extend((value, depth + 1) for value in each)
    return found
