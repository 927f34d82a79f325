"""What parameters make of a call: open to everybody, rights to everything, backups off, roles handed on.

Keys are compared without case and by their last part: `IpPermissions.1.IpRanges.1.CidrIp` and `cidrIp` are one. Values
that are policies (JSON with a Statement) are read wherever they stand.

Sources: https://docs.aws.amazon.com/securityhub/latest/userguide/fsbp-standard.html (what should not be public or
unencrypted) and https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from policy.aws.levels import Level
from policy.aws.marks import Mark
from policy.aws.parameters import Parameters
from policy.found import Finding
from policy.http import Unreadable, load_json

_FALSE = frozenset(("false", "0", "disabled", "suspended", "none"))
_CIDRS = frozenset(("cidrip", "cidripv6", "cidripv4", "cidrblock", "ipv6cidrblock", "publicaccesscidrs", "cidr"))
_OPEN_NETWORKS = frozenset(
    (
        *("ec2:AuthorizeSecurityGroupIngress", "ec2:ModifySecurityGroupRules", "ec2:CreateNetworkAclEntry"),
        *("ec2:ReplaceNetworkAclEntry", "ec2:ModifyManagedPrefixList", "rds:AuthorizeDBSecurityGroupIngress"),
        *("redshift:AuthorizeClusterSecurityGroupIngress", "elasticache:AuthorizeCacheSecurityGroupIngress"),
        *("lightsail:OpenInstancePublicPorts", "lightsail:PutInstancePublicPorts", "eks:CreateCluster"),
        "eks:UpdateClusterConfig",
    )
)
_WIDE = {4: 7, 6: 15}
"""A network with a prefix no longer than this is everybody: two halves of the world are the world."""

_PUBLIC_WHEN_TRUE = frozenset(("publiclyaccessible", "mappubliciponlaunch", "associatepublicipaddress"))
_BLOCKS = frozenset(("blockpublicacls", "ignorepublicacls", "blockpublicpolicy", "restrictpublicbuckets"))
_ACLS = frozenset(("acl", "accesscontrollist", "x-amz-acl", "cannedacl"))
_PUBLIC_ACLS = frozenset(("public-read", "public-read-write", "authenticated-read"))
_ALL_USERS = ("/groups/global/allusers", "/groups/global/authenticatedusers")
_SHARING = frozenset(
    (
        *("ec2:ModifySnapshotAttribute", "ec2:ModifyImageAttribute", "ec2:ModifyFpgaImageAttribute"),
        *("rds:ModifyDBSnapshotAttribute", "rds:ModifyDBClusterSnapshotAttribute", "ssm:ModifyDocumentPermission"),
        *("redshift:AuthorizeSnapshotAccess", "redshift:AuthorizeDataShare"),
    )
)
_PRINCIPALS = frozenset(("principal", "awsaccountid", "awsaccountids", "accountid", "granteeprincipal"))
_ENCRYPTION = frozenset(
    (
        *("encrypted", "storageencrypted", "atrestencryptionenabled", "transitencryptionenabled", "encryptionatrest"),
        *("enableencryption", "encryptionenabled", "sseenabled", "sqsmanagedsseenabled", "enforcehttps"),
    )
)
_GUARDS = frozenset(
    ("deletionprotection", "deletionprotectionenabled", "disableapitermination", "enableterminationprotection")
)
_LOGS = frozenset(
    ("islogging", "enablelogfilevalidation", "ismultiregiontrail", "includeglobalserviceevents", "enablelogging")
)
_NO_BACKUPS = frozenset(
    (
        *(("backupretentionperiod", "0"), ("automatedsnapshotretentionperiod", "0"), ("skipfinalsnapshot", "true")),
        *(("pointintimerecoveryenabled", "false"), ("mfadelete", "disabled"), ("deleteautomatedbackups", "true")),
    )
)
_ADMIN_POLICIES = re.compile(
    r"arn:aws[\w-]*:iam::aws:policy/(?:job-function/)?"
    r"(?:AdministratorAccess\S*|IAMFullAccess|PowerUserAccess|SystemAdministrator|AWSOrganizationsFullAccess)"
)
_ROLE = re.compile(r"arn:aws[\w-]*:iam::\d*:(?:role|instance-profile)/\S+")
_COUNTS = frozenset(("maxcount", "desiredcapacity", "targetcapacity", "desiredcount", "instancecount", "count"))
_MANY = 20
_LARGEST_NUMBER = 12  # digits


def judge(found: Finding, action: str, level: Level, parameters: Parameters) -> None:
    """Adds marks, and effects of `iam:PassRole`. Raises Unreadable for a policy that is not JSON."""
    changes = level not in (Level.LIST, Level.READ)
    for path, value in parameters:
        key = _last(path)
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).strip()
        if not changes:
            if key == "withdecryption" and text.lower() == "true":
                found.marks.add(Mark.SECRET)
            continue
        for document in _policies(key, text):
            _policy(found, document)
        _open(found, action, key, text)
        _weaker(found, action, key, text)
        if _ROLE.fullmatch(text) and action.partition(":")[0] not in ("iam", "sts"):
            found.write("iam:PassRole", text)
            found.marks.add(Mark.PASS_ROLE)
        if _ADMIN_POLICIES.fullmatch(text):
            found.marks.add(Mark.ADMIN)
        if Mark.COMPUTE in found.marks and key in _COUNTS and text.isdigit() and _number(text) >= _MANY:
            found.marks.add(Mark.COMPUTE_MANY)


def _open(found: Finding, action: str, key: str, text: str) -> None:
    """To everybody, or to another account."""
    low = text.lower()
    public = (
        (key in _CIDRS and action in _OPEN_NETWORKS and _is_everybody(text))
        or (key in _PUBLIC_WHEN_TRUE and low == "true")
        or (key in _BLOCKS and low in _FALSE)
        or (key in _ACLS and low in _PUBLIC_ACLS)
        or any(group in low for group in _ALL_USERS)
        or (key in _PRINCIPALS and low == "*")
        or (key == "authtype" and low == "none" and "FunctionUrl" in action)
        or (action in _SHARING and low == "all")
        or (action == "ec2:ModifyVpcBlockPublicAccessOptions" and low == "off")
    )
    if public:
        found.marks.add(Mark.PUBLIC)
    if action in _SHARING:
        found.marks.add(Mark.SHARED)


def _weaker(found: Finding, action: str, key: str, text: str) -> None:
    """Something that protects is switched off."""
    low = text.lower()
    if low in _FALSE:
        if key in _ENCRYPTION:
            found.marks.add(Mark.ENCRYPTION_OFF)
        elif key in _LOGS:
            found.marks.add(Mark.LOGGING_OFF)
        elif key in _GUARDS:
            found.marks.add(Mark.GUARD_OFF)
    if (key, low) in _NO_BACKUPS or (action == "s3:PutBucketVersioning" and low == "suspended"):
        found.marks.add(Mark.BACKUP_OFF)
    if action == "ec2:ModifyInstanceAttribute" and key == "userdata":
        found.marks.add(Mark.EXECUTION)


def _last(path: str) -> str:
    """Its last part that is no number, without `member`, `Item` and `Value` of lists, in lower case."""
    parts = [part for part in path.lower().split(".") if not part.isdigit()]
    while len(parts) > 1 and parts[-1] in ("member", "item", "value", "values"):
        parts.pop()
    return parts[-1] if parts else ""


def _number(text: str) -> int:
    return int(text) if len(text) <= _LARGEST_NUMBER else _MANY


def _is_everybody(text: str) -> bool:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return network.prefixlen <= _WIDE[network.version]


def _policies(key: str, text: str) -> Iterator[dict[str, Any]]:
    """IAM has them percent-encoded at times."""
    named = key.endswith(("policy", "policydocument", "policytext"))
    plain = unquote(text) if text[:3].lower() == "%7b" else text
    if not plain.startswith("{") or not (named or "statement" in plain.lower()):
        return
    try:
        found = load_json(plain.encode("utf-8", "replace"))
    except Unreadable:
        raise Unreadable("a policy that cannot be read") from None
    if isinstance(found, dict):
        yield {str(name).lower(): value for name, value in found.items()}


def _policy(found: Finding, document: dict[str, Any]) -> None:
    statements = document.get("statement", [])
    for each in statements if isinstance(statements, list) else [statements]:
        if not isinstance(each, dict):
            raise Unreadable("a policy that cannot be read")
        statement = {str(name).lower(): value for name, value in each.items()}
        if str(statement.get("effect", "Allow")).lower() != "allow":
            continue
        if _is_anybody(statement):
            found.marks.add(Mark.PUBLIC)
        if "principal" not in statement and "notprincipal" not in statement and _is_everything(statement):
            found.marks.add(Mark.ADMIN)


def _is_anybody(statement: dict[str, Any]) -> bool:
    """A condition may narrow it; which ones do is not told apart, so one that is there is believed."""
    if statement.get("condition"):
        return False
    principal = statement.get("principal")
    named = list(principal.values()) if isinstance(principal, dict) else [principal]
    return "notprincipal" in statement or any("*" in _texts(each) for each in named)


def _is_everything(statement: dict[str, Any]) -> bool:
    wide = any(each in ("*", "*:*", "iam:*", "sts:*", "organizations:*") for each in _texts(statement.get("action")))
    return ("notaction" in statement or wide) and (
        "notresource" in statement or any(each == "*" for each in _texts(statement.get("resource", "*")))
    )


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
