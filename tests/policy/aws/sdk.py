"""Requests as botocore makes them: serialised, routed and signed, and caught before they are sent.

sent("iam", "CreateAccessKey", {"UserName": "bob"}) -> Request
sample("iam", "CreateAccessKey")                       # the least parameters that the model wants
"""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config

from policy.http import Request

CONFIG = Config(retries={"total_max_attempts": 1}, parameter_validation=False, inject_host_prefix=True)


class Caught(BaseException):
    """Not an Exception, which botocore would take for a fault of the network."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        self.request = request


@cache
def session() -> Any:
    return botocore.session.Session()


@cache
def client(service: str) -> Any:
    made = session().create_client(
        service,
        region_name="eu-west-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        config=CONFIG,
    )
    made.meta.events.register("before-send", _catch)
    return made


def _catch(request: AWSPreparedRequest, **_: Any) -> None:
    raise Caught(request)


def sent(service: str, action: str, parameters: dict[str, Any]) -> Request:
    try:
        getattr(client(service), xform_name(action))(**parameters)
    except Caught as caught:
        return as_request(caught.request)
    raise AssertionError("nothing was sent")


def as_request(made: AWSPreparedRequest) -> Request:
    url = urlsplit(made.url)
    headers = [(name.lower(), v.decode() if isinstance(v, bytes) else str(v)) for name, v in made.headers.items()]
    if not any(name == "host" for name, _ in headers):
        headers.append(("host", url.netloc))
    body = made.body or b""
    if hasattr(body, "read"):
        body = body.read()
    body = body.encode() if isinstance(body, str) else bytes(body)
    return Request(made.method, url.path or "/", url.query, tuple(headers), body)


def sample(service: str, action: str) -> Request:
    shape = client(service).meta.service_model.operation_model(action).input_shape
    return sent(service, action, {} if shape is None else _structure(shape, 0))


def _structure(shape: Any, depth: int) -> dict[str, Any]:
    return {name: _value(shape.members[name], name, depth) for name in shape.required_members}


def _value(shape: Any, name: str, depth: int) -> Any:
    match shape.type_name:
        case "structure":
            return _structure(shape, depth + 1) if depth < 6 and not getattr(shape, "is_document_type", False) else {}
        case "list":
            return [_value(shape.member, name, depth + 1)]
        case "map":
            return {"k": _value(shape.value, name, depth + 1)}
        case "string":
            return shape.enum[0] if shape.enum else _text(name)
        case "boolean":
            return True
        case "timestamp":
            return "2026-01-01T00:00:00Z"
        case "blob":
            return b"x"
        case _:
            return 1


def _text(name: str) -> str:
    return "arn:aws:iam::123456789012:role/sample" if name.lower().endswith("arn") else "sample-name"
