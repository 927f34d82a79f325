"""The access level of an action: list, read, tagging, write or permissions management.

The levels are those of AWS's Service Authorization Reference. They are derived from the name, since an API's verbs
say it in all but a few cases; `actions.yaml` has these by name. Rules, the first that fits:
1. Beginning with Tag, Untag, or a change of ...Tags, ...Tagging: tagging.
2. Beginning with a verb that only reads, after Batch or Admin: list for List, read for the others.
3. About policies, permissions, grants, ACLs, roles, access keys, sharing: permissions management; but not a policy
   of scaling, caching and the like.
4. Anything else: write. A read taken for a write is rated a little too high, never too low.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from __future__ import annotations

import re
from enum import StrEnum


class Level(StrEnum):
    LIST = "list"
    READ = "read"
    TAGGING = "tagging"
    WRITE = "write"
    PERMISSIONS = "permissions management"


_TAGS = re.compile(
    r"(?:Un)?[Tt]ag(?:[A-Z].*)?|(?:Add|Remove|Create|CreateOrUpdate|Delete|Put|Change|Update|Set)(?:\w*[a-z])?"
    r"(?:Tags(?:To\w+|From\w+|For\w+)?|Tagging)"
)
_LISTS = re.compile(r"(?:Admin|Batch)?List(?![a-z])")
_READS = re.compile(
    r"(?:Admin|Batch)?(?:Get|Describe|Search|Query|Scan|Select|Head|Lookup|View|Filter|Count|Estimate|Is|Simulate)(?![a-z])"
)
_PERMISSIONS = re.compile(
    r"Polic(?:y|ies)|Permissions?(?![a-z])|AccessKey|LoginProfile|Grants?(?![a-z])|Acl(?![a-z])|Roles?(?![a-z])"
    r"|ResourceShare|PublicAccessBlock|BlockPublicAccess|MFADevice|InstanceProfile|AuthorizeSecurityGroup"
)
_OTHER_POLICIES = re.compile(
    r"(?:Scaling|Lifecycle|Cache|OriginRequest|ResponseHeaders|ContinuousDeployment|Scheduling|Stickiness|Ipam|Metering"
    r"|TransitGateway|Backup|Termination|Retention|Routing|Traffic|Firewall|Migration|LoadBalancer|Health|Sampling)Polic"
    r"|LoadBalancerPolic|AutomatedReasoningPolic|IpamRoutingPolic|TransitGatewayPolic|PolicyGeneration|NetworkAcl"
)


def by_name(action: str) -> Level:
    """Of an action that `actions.yaml` says nothing else of."""
    if _TAGS.fullmatch(action):
        return Level.TAGGING
    if _LISTS.match(action):
        return Level.LIST
    if _READS.match(action):
        return Level.READ
    if _PERMISSIONS.search(action) and not _OTHER_POLICIES.search(action):
        return Level.PERMISSIONS
    return Level.WRITE
