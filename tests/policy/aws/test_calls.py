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
