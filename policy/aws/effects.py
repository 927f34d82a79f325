"""What does this request to an AWS API do?

    read(Request("POST", "/", "", (("host", "iam.amazonaws.com"), ...), b"Action=CreateAccessKey&UserName=bob&..."))

An effect is `service:Action` and the resource, by its ARN or name: `iam:CreateAccessKey` of `user/bob`. Services are
named as in IAM policies, actions as in the API and in CloudTrail; a role that is handed on is `iam:PassRole` besides.

Rules:
1. The action is identified (`calls.py`) or unknown; its level of access is a mark, what it is besides another.
2. Parameters are read for what makes a change dangerous (`exposure.py`); a policy that cannot be read is unknown.
3. What the action leads to elsewhere is not followed: templates, state machines and queries are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from policy.aws import calls, exposure, models, tables
from policy.aws.calls import Call
from policy.aws.levels import Level
from policy.aws.marks import Mark
from policy.aws.parameters import Parameters, leaves
from policy.found import Effects, Finding
from policy.http import Request, Unreadable

_LEVELS = {
    Level.LIST: Mark.LIST,
    Level.READ: Mark.READ,
    Level.TAGGING: Mark.TAGGING,
    Level.WRITE: Mark.WRITE,
    Level.PERMISSIONS: Mark.PERMISSIONS,
}
_READS = frozenset((Level.LIST, Level.READ))
_DELETES = re.compile(
    r"(?:Batch)?(?:Delete|Terminate|Purge|Destroy|Deregister|Remove|Close|Deprovision|Wipe|Erase)(?![a-z])"
)
_STOPS = re.compile(r"(?:Batch)?(?:Stop|Reboot|Failover|Pause|Suspend|Disable|Detach|Drain|Restart)(?![a-z])")
_IDENTIFIER = re.compile(r"(\w+?)(Arn|ARN|arn|Name|name|Ids?|ID|id|Identifier|identifier|Urls?|URL)")
_NOT_NAMES = re.compile(
    r"(?i)(?:request|client.*|idempotency|.*token|host|region|policy|policyset|attribute|.*version|statement"
    r"|content|sid|owner|account.*|session.*|.*session|kms.*|mastr.*|display)"
)
_DRY = "DryRun"


def read(request: Request, _: frozenset[str] = frozenset()) -> Effects:
    """Never raises: what cannot be identified is unknown."""
    found = Finding(Mark.UNKNOWN)
    try:
        _call(found, calls.identify(request))
    except Unreadable as why:
        found.unknown(str(why))
    return found.answer()


def read_call(given: Mapping[str, Any]) -> Effects:
    """Of {service, action, parameters}: the service by its name in the SDK or in IAM policies."""
    found = Finding(Mark.UNKNOWN)
    name, action, parameters = given.get("service"), given.get("action"), given.get("parameters") or {}
    try:
        if not isinstance(name, str) or not isinstance(action, str) or not isinstance(parameters, dict):
            raise Unreadable("a call is {service, action, parameters}")
        _call(found, Call(_named(name, action), action, leaves(parameters)))
    except Unreadable as why:
        found.unknown(str(why))
    return found.answer()


def _named(name: str, action: str) -> models.Service:
    """Several services of the SDK may share a name of IAM: the first that has the action."""
    known = models.names()
    wanted = [name] if name in known else [each for each, told in known.items() if models.prefix(told) == name]
    for each in wanted:
        service = models.service(each)
        if action in service.operations:
            return service
    raise Unreadable("an action that is not known")


def _call(found: Finding, call: Call) -> None:
    """Names the effect first, so that a later `Unreadable` leaves it named."""
    action = f"{call.service.prefix}:{call.action}"
    level = tables.level(action)
    dry = call.service.prefix == "ec2" and _is_dry(call.parameters)
    name = found.read if level in _READS or dry else found.write
    resources = list(_resources(call)) or [""]
    for resource in resources:
        name(action, resource)
    source = dict(call.parameters).get("CopySource")
    if call.service.prefix == "s3" and isinstance(source, str):  # /bucket/key, percent-encoded
        found.read("s3:GetObject", f"arn:aws:s3:::{unquote(source.partition('?')[0]).lstrip('/')}")
    if dry:  # EC2 says whether it would be allowed, and does nothing
        found.marks.add(Mark.READ)
        return
    found.marks.add(_LEVELS[level])
    mark = tables.mark(action)
    if mark is None and level not in _READS:
        mark = Mark.DELETE if _DELETES.match(call.action) else Mark.STOPS if _STOPS.match(call.action) else None
    if mark is Mark.DELETE and level is Level.TAGGING:
        mark = None
    if mark is not None:
        found.marks.add(mark)
    if mark is Mark.TEMPLATE:
        found.unknown("what a template or state machine does is not read")
    exposure.judge(found, action, level, call.parameters)


def _is_dry(parameters: Parameters) -> bool:
    return [value for key, value in parameters if key == _DRY] in (["true"], [True])


def _resources(call: Call) -> Iterator[str]:
    """Top-level parameters that name something, each value of a list. ARNs as they are; `UserName` is user/..."""
    told = dict(call.parameters)
    bucket = told.get("Bucket")
    if call.service.prefix == "s3" and isinstance(bucket, str):
        keys = [value for path, value in call.parameters if path == "Key" or re.fullmatch(r"Delete\..*Key", path)]
        base = bucket if bucket.startswith("arn:") else f"arn:aws:s3:::{bucket}"
        yield from (f"{base}/{key}" for key in keys) if keys else (base,)
        return
    seen = set()
    for path, value in call.parameters:
        first = path.partition(".")[0]
        if not isinstance(value, str) or not value or len(value) > 2048:
            continue
        named = _IDENTIFIER.fullmatch(first)
        deep = path.count(".") > 2
        if deep or named is None or (_NOT_NAMES.fullmatch(named[1]) and not value.startswith("arn:")):
            continue
        kind = named[1].rstrip("_").lower()
        name = value if value.startswith("arn:") else f"{kind}/{value}"
        if name not in seen:
            seen.add(name)
            yield name
