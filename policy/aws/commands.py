"""A request to AWS as one line of text, for `tallystick explain`.

aws iam create-access-key --user-name bob
{"service": "s3", "action": "DeleteBucket", "parameters": {"Bucket": "b"}}
{"method": "POST", "url": "https://iam.amazonaws.com/", "headers": {...}, "body": "Action=CreateAccessKey&..."}
GET https://b.s3.eu-west-1.amazonaws.com/?acl
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from policy import http
from policy.aws import effects, models
from policy.aws.marks import Mark
from policy.found import Effects, Finding
from policy.http import Unreadable

_UNKNOWN = "not a request: METHOD url, aws SERVICE ACTION, or JSON with method and url, or with service and action"
_ELSEWHERE = frozenset(("region", "profile", "output", "query", "no-cli-pager", "debug", "no-paginate"))
"""Options of the aws command that are about itself."""


def read(text: str, _: frozenset[str] = frozenset()) -> Effects:
    """Never raises: a line that is none of these is unknown."""
    try:
        if text.lstrip().startswith("{"):
            given = json.loads(text)
            return effects.read_call(given) if "service" in given else effects.read(http.from_json(given))
        if text.split(None, 1)[:1] == ["aws"]:
            return effects.read_call(_shell(text))
        return effects.read(http.from_line(text))
    except Unreadable as why:
        reason = str(why)
    except (ValueError, RecursionError):
        reason = _UNKNOWN
    found = Finding(Mark.UNKNOWN)
    found.unknown(reason if reason != "not a request" else _UNKNOWN)
    return found.answer()


def _shell(text: str) -> dict[str, Any]:
    """The aws command's own form. Its high-level commands (aws s3 rm) are several calls, and are not read."""
    _, *words = shlex.split(text)
    if len(words) < 2:
        raise Unreadable(_UNKNOWN)
    service, command, *rest = words
    service = {"s3api": "s3"}.get(service, "" if service == "s3" else service)
    known = {_hyphened(name): name for name in models.service(service).operations} if service else {}
    if command not in known:
        raise Unreadable("a command that is no single action of the service")
    parameters: dict[str, Any] = {}
    key = ""
    for word in rest:
        if word.startswith("--"):
            option, equals, value = word[2:].partition("=")
            key = "" if option in _ELSEWHERE else "".join(part.capitalize() for part in option.split("-"))
            if key:
                parameters[key] = value if equals else True
        elif key:
            before = parameters[key]
            value = _value(word)
            parameters[key] = value if before is True else [*(before if isinstance(before, list) else [before]), value]
    return {"service": service, "action": known[command], "parameters": parameters}


def _hyphened(name: str) -> str:
    from botocore import xform_name

    return str(xform_name(name, "-"))


def _value(word: str) -> Any:
    if word[:1] in ("{", "["):
        return http.load_json(word.encode())
    return word
