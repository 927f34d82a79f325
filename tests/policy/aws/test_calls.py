"""Every request that botocore makes is the action that it was made for."""

from __future__ import annotations

import pytest

from policy.aws import models
from policy.aws.calls import identify
from policy.http import Unreadable
from tests.policy.aws import sdk

SOME = ["s3", "iam", "sts", "dynamodb", "sqs", "kms", "cloudwatch", "lambda", "cloudtrail", "route53", "s3control"]
"""Of each protocol one, and those that matter most. Others in the long form."""


AT_OTHER_HOSTS = {
    "s3": {"ListDirectoryBuckets", "WriteGetObjectResponse"},
    "s3control": {
        "DeleteAccessPointScope",
        "GetAccessPointScope",
        "ListAccessPointsForDirectoryBuckets",
        "PutAccessPointScope",
    },
}
"""Signed for s3express or s3-object-lambda, which are no services of the SDK: these are unknown, and so held."""
REPLACED = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}


def wrong(service: str) -> list[str]:
    found = []
    for action in models.service(service).operations.keys() - AT_OTHER_HOSTS.get(service, set()):
        try:
            request = sdk.sample(service, action)
        except Exception as error:  # a sample that botocore itself does not take
            found.append(f"{action}: not sent, {type(error).__name__}: {error}"[:200])
            continue
        try:
            call = identify(request)
        except Unreadable as why:
            found.append(f"{action}: {why}: {request.method} {request.path}?{request.query}")
            continue
        if (call.service.prefix, call.action) != (models.prefix(models.names()[service]), REPLACED.get(action, action)):
            found.append(f"{action}: taken for {call.service.prefix}:{call.action}")
    return found


@pytest.mark.parametrize("service", SOME)
def test_every_action_of_a_service(service: str) -> None:
    assert wrong(service) == []


NOT_SAMPLED = frozenset(
    (
        "cloudsearchdomain",  # Search is sent as a form, which its model does not say
        "importexport",  # Signature Version 2
        "signin",  # some of it without a signature
        *("timestream-query", "timestream-write"),  # ask for their endpoint first
    )
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_action_of_every_other_service() -> None:
    """19,000 of them. Not sent are those that want a token, a stream over HTTP/2 or an ARN of their own kind."""
    found = []
    for service in sorted(models.names().keys() - set(SOME) - NOT_SAMPLED):
        found += [f"{service} {each}" for each in wrong(service) if ": not sent, " not in each]
        sdk.client.cache_clear()
    assert found == []
