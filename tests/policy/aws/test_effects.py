"""Calls as boto3 makes them: what must be held, what must go through, what is unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import rules, signals
from policy.aws import commands
from policy.aws.effects import read, read_call
from policy.aws.marks import Mark
from policy.document import RulesInvalid
from policy.http import Request
from policy.requests import judge_request
from schemas.judging import Judgement, SessionFacts
from schemas.records import Band, Decision, Effect
from tests.policy.aws.sdk import sent

RULES = rules.parse(rules.default_text())
FACTS = SessionFacts("ci", (), "aws", "aws", "production", "", "")
ROLE = "arn:aws:iam::123456789012:role/app"
Call = tuple[str, str, dict[str, Any]]


def policy(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


ANYBODY = policy(Principal="*", Action="s3:GetObject", Resource="arn:aws:s3:::b/*")
EVERYTHING = policy(Action="*", Resource="*")
WORLD = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
HALF = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "128.0.0.0/1"}]}]
NO_BLOCK = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
ALL_USERS = {
    "Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"},
    "Permission": "READ",
}

HELD: list[tuple[Mark, Call]] = [
    # open to everybody
    (Mark.PUBLIC, ("s3", "PutBucketPolicy", {"Bucket": "b", "Policy": ANYBODY})),
    (Mark.PUBLIC, ("s3", "PutBucketAcl", {"Bucket": "b", "ACL": "public-read"})),
    (Mark.PUBLIC, ("s3", "PutObjectAcl", {"Bucket": "b", "Key": "k", "ACL": "public-read-write"})),
    (Mark.PUBLIC, ("s3", "PutBucketAcl", {"Bucket": "b", "AccessControlPolicy": {"Grants": [ALL_USERS]}})),
    (Mark.PUBLIC, ("s3", "PutBucketAcl", {"Bucket": "b", "GrantRead": f'uri="{ALL_USERS["Grantee"]["URI"]}"'})),
    (Mark.PUBLIC, ("s3", "PutObject", {"Bucket": "b", "Key": "k", "Body": b"x", "ACL": "public-read"})),
    (Mark.PUBLIC, ("s3", "PutPublicAccessBlock", {"Bucket": "b", "PublicAccessBlockConfiguration": NO_BLOCK})),
    (Mark.GUARD_OFF, ("s3", "DeletePublicAccessBlock", {"Bucket": "b"})),
    (Mark.PUBLIC, ("ec2", "AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "IpPermissions": WORLD})),
    (Mark.PUBLIC, ("ec2", "AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "IpPermissions": HALF})),
    (Mark.PUBLIC, ("ec2", "AuthorizeSecurityGroupIngress", {"GroupId": "sg-1", "CidrIp": "::/0"})),
    (Mark.PUBLIC, ("rds", "ModifyDBInstance", {"DBInstanceIdentifier": "d", "PubliclyAccessible": True})),
    (
        Mark.PUBLIC,
        (
            "ec2",
            "ModifySnapshotAttribute",
            {"SnapshotId": "snap-1", "CreateVolumePermission": {"Add": [{"Group": "all"}]}},
        ),
    ),
    (
        Mark.SHARED,
        (
            "ec2",
            "ModifySnapshotAttribute",
            {"SnapshotId": "snap-1", "CreateVolumePermission": {"Add": [{"UserId": "123456789012"}]}},
        ),
    ),
    (
        Mark.PUBLIC,
        ("ec2", "ModifyImageAttribute", {"ImageId": "ami-1", "LaunchPermission": {"Add": [{"Group": "all"}]}}),
    ),
    (
        Mark.PUBLIC,
        (
            "rds",
            "ModifyDBSnapshotAttribute",
            {"DBSnapshotIdentifier": "s", "AttributeName": "restore", "ValuesToAdd": ["all"]},
        ),
    ),
    (
        Mark.PUBLIC,
        ("kms", "PutKeyPolicy", {"KeyId": "k", "Policy": policy(Principal={"AWS": "*"}, Action="kms:*", Resource="*")}),
    ),
    (
        Mark.PUBLIC,
        (
            "sqs",
            "SetQueueAttributes",
            {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "Attributes": {"Policy": ANYBODY}},
        ),
    ),
    (
        Mark.PUBLIC,
        (
            "sns",
            "SetTopicAttributes",
            {"TopicArn": "arn:aws:sns:eu-west-1:1:t", "AttributeName": "Policy", "AttributeValue": ANYBODY},
        ),
    ),
    (
        Mark.PUBLIC,
        (
            "lambda",
            "AddPermission",
            {"FunctionName": "f", "StatementId": "s", "Principal": "*", "Action": "lambda:InvokeFunction"},
        ),
    ),
    (Mark.PUBLIC, ("lambda", "CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE"})),
    # credentials and rights
    (Mark.CREDENTIALS, ("iam", "CreateAccessKey", {"UserName": "bob"})),
    (Mark.CREDENTIALS, ("iam", "CreateLoginProfile", {"UserName": "bob", "Password": "x"})),
    (Mark.CREDENTIALS, ("sts", "AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "s"})),
    (Mark.CREDENTIALS, ("sts", "GetSessionToken", {})),
    (Mark.CREDENTIALS, ("sts", "GetFederationToken", {"Name": "n"})),
    (Mark.TRUST, ("iam", "UpdateAssumeRolePolicy", {"RoleName": "r", "PolicyDocument": ANYBODY})),
    (
        Mark.ADMIN,
        ("iam", "AttachUserPolicy", {"UserName": "bob", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ),
    (Mark.ADMIN, ("iam", "PutRolePolicy", {"RoleName": "r", "PolicyName": "p", "PolicyDocument": EVERYTHING})),
    (
        Mark.ADMIN,
        (
            "iam",
            "CreatePolicyVersion",
            {
                "PolicyArn": "arn:aws:iam::1:policy/p",
                "SetAsDefault": True,
                "PolicyDocument": policy(NotAction="s3:*", Resource="*"),
            },
        ),
    ),
    (Mark.PERMISSIONS, ("iam", "AddUserToGroup", {"GroupName": "g", "UserName": "bob"})),
    (Mark.PERMISSIONS, ("kms", "CreateGrant", {"KeyId": "k", "GranteePrincipal": ROLE, "Operations": ["Decrypt"]})),
    (Mark.SECRET, ("secretsmanager", "GetSecretValue", {"SecretId": "s"})),
    (Mark.SECRET, ("ssm", "GetParameter", {"Name": "p", "WithDecryption": True})),
    (Mark.GUARD_OFF, ("iam", "DeactivateMFADevice", {"UserName": "bob", "SerialNumber": "arn:aws:iam::1:mfa/bob"})),
    (Mark.GUARD_OFF, ("rds", "ModifyDBInstance", {"DBInstanceIdentifier": "d", "DeletionProtection": False})),
    # logging, encryption, backups
    (Mark.LOGGING_OFF, ("cloudtrail", "StopLogging", {"Name": "t"})),
    (Mark.LOGGING_OFF, ("cloudtrail", "DeleteTrail", {"Name": "t"})),
    (Mark.LOGGING_OFF, ("ec2", "DeleteFlowLogs", {"FlowLogIds": ["fl-1"]})),
    (Mark.LOGGING_OFF, ("guardduty", "DeleteDetector", {"DetectorId": "d"})),
    (Mark.LOGGING_OFF, ("cloudwatch", "DeleteAlarms", {"AlarmNames": ["a"]})),
    (Mark.ENCRYPTION_OFF, ("kms", "ScheduleKeyDeletion", {"KeyId": "k"})),
    (Mark.ENCRYPTION_OFF, ("ec2", "DisableEbsEncryptionByDefault", {})),
    (
        Mark.ENCRYPTION_OFF,
        (
            "rds",
            "CreateDBInstance",
            {"DBInstanceIdentifier": "d", "DBInstanceClass": "c", "Engine": "postgres", "StorageEncrypted": False},
        ),
    ),
    (Mark.BACKUP_OFF, ("backup", "DeleteRecoveryPoint", {"BackupVaultName": "v", "RecoveryPointArn": "arn:aws:x"})),
    (Mark.BACKUP_OFF, ("rds", "DeleteDBSnapshot", {"DBSnapshotIdentifier": "s"})),
    (Mark.BACKUP_OFF, ("rds", "ModifyDBInstance", {"DBInstanceIdentifier": "d", "BackupRetentionPeriod": 0})),
    (
        Mark.BACKUP_OFF,
        ("s3", "PutBucketVersioning", {"Bucket": "b", "VersioningConfiguration": {"Status": "Suspended"}}),
    ),
    (
        Mark.BACKUP_OFF,
        (
            "s3",
            "PutBucketLifecycleConfiguration",
            {
                "Bucket": "b",
                "LifecycleConfiguration": {
                    "Rules": [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
                },
            },
        ),
    ),
    # destruction
    (Mark.DELETE_DATA, ("s3", "DeleteBucket", {"Bucket": "b"})),
    (Mark.DELETE_DATA, ("s3", "DeleteObjects", {"Bucket": "b", "Delete": {"Objects": [{"Key": "a"}, {"Key": "c"}]}})),
    (Mark.DELETE_DATA, ("ec2", "TerminateInstances", {"InstanceIds": ["i-1", "i-2"]})),
    (Mark.DELETE_DATA, ("dynamodb", "DeleteTable", {"TableName": "t"})),
    (Mark.DELETE_DATA, ("rds", "DeleteDBInstance", {"DBInstanceIdentifier": "d", "SkipFinalSnapshot": True})),
    (Mark.DELETE, ("lambda", "DeleteFunction", {"FunctionName": "f"})),
    (Mark.DELETE, ("route53", "DeleteHealthCheck", {"HealthCheckId": "h"})),
    # execution, templates, cost
    (Mark.EXECUTION, ("ssm", "SendCommand", {"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-1"]})),
    (Mark.EXECUTION, ("ecs", "ExecuteCommand", {"cluster": "c", "task": "t", "command": "sh", "interactive": True})),
    (Mark.EXECUTION, ("lambda", "UpdateFunctionCode", {"FunctionName": "f", "ZipFile": b"PK"})),
    (Mark.TEMPLATE, ("cloudformation", "CreateStack", {"StackName": "s", "TemplateBody": "{}"})),
    (Mark.COMPUTE_MANY, ("ec2", "RunInstances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 100})),
    (
        Mark.COPY_OUT,
        (
            "rds",
            "StartExportTask",
            {
                "ExportTaskIdentifier": "e",
                "SourceArn": "arn:aws:rds:s",
                "S3BucketName": "b",
                "IamRoleArn": ROLE,
                "KmsKeyId": "k",
            },
        ),
    ),
]

ALLOWED: list[Call] = [
    ("s3", "ListBuckets", {}),
    ("s3", "ListObjectsV2", {"Bucket": "b", "Prefix": "p/"}),
    ("s3", "GetObject", {"Bucket": "b", "Key": "a/b c.txt"}),
    ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}),
    ("s3", "PutObject", {"Bucket": "b", "Key": "k", "Body": b'{"Statement": [{"Effect": "Allow", "Principal": "*"}]}'}),
    ("s3", "DeleteObject", {"Bucket": "b", "Key": "k"}),
    ("s3", "GetBucketPolicy", {"Bucket": "b"}),
    ("sts", "GetCallerIdentity", {}),
    ("ec2", "DescribeInstances", {"Filters": [{"Name": "ip-permission.cidr", "Values": ["0.0.0.0/0"]}]}),
    ("ec2", "RunInstances", {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 500, "DryRun": True}),
    ("ec2", "CreateTags", {"Resources": ["i-1"], "Tags": [{"Key": "a", "Value": "b"}]}),
    ("iam", "GetRole", {"RoleName": "r"}),
    ("iam", "SimulateCustomPolicy", {"PolicyInputList": [EVERYTHING], "ActionNames": ["s3:GetObject"]}),
    ("dynamodb", "PutItem", {"TableName": "t", "Item": {"id": {"S": "1"}}}),
    ("dynamodb", "Query", {"TableName": "t"}),
    ("sqs", "SendMessage", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "MessageBody": EVERYTHING[:9]}),
    ("sqs", "DeleteMessage", {"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/q", "ReceiptHandle": "r"}),
    ("lambda", "Invoke", {"FunctionName": "f", "Payload": b"{}"}),
    ("cloudwatch", "PutMetricData", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.5}]}),
    (
        "logs",
        "PutLogEvents",
        {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
    ),
    ("route53", "ListHostedZones", {}),
    ("ssm", "GetParameter", {"Name": "p"}),
    ("ecs", "UpdateService", {"service": "s", "taskDefinition": "t:2"}),
    ("autoscaling", "PutScalingPolicy", {"AutoScalingGroupName": "g", "PolicyName": "p"}),
]


def judged(call: Call, environment: str = "production") -> Judgement:
    facts = SessionFacts("ci", (), "aws", "aws", environment, "", "")
    return judge_request(sent(*call), facts, RULES)


def name(call: Call) -> str:
    return f"{call[0]}:{call[1]}"


@pytest.mark.parametrize(("mark", "call"), HELD, ids=[f"{mark.name.lower()} by {name(call)}" for mark, call in HELD])
def test_what_must_be_held(mark: Mark, call: Call) -> None:
    found = judged(call)
    assert signals.table()[mark].id in found.signals
    assert found.decision is Decision.HOLD
    assert found.score >= 70 or not found.complete


@pytest.mark.parametrize("call", ALLOWED, ids=name)
def test_ordinary_work_is_complete_and_goes_through(call: Call) -> None:
    found = judged(call)
    assert found.complete, found.reason
    assert (found.decision, found.band) == (Decision.ALLOW, Band.LOW)


@pytest.mark.parametrize(
    "policy_",
    [
        policy(Principal={"AWS": ROLE}, Action="s3:*", Resource="*"),
        policy(Principal="*", Action="s3:*", Resource="*", Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
        json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}),
    ],
)
def test_a_policy_for_somebody_is_not_public(policy_: str) -> None:
    found = judged(("s3", "PutBucketPolicy", {"Bucket": "b", "Policy": policy_}))
    assert found.signals == ("Access:AWS/Permissions",)


def test_effects_name_action_and_resource() -> None:
    assert judged(("iam", "CreateAccessKey", {"UserName": "bob"})).effects == (
        Effect("iam:CreateAccessKey", "user/bob"),
    )
    assert judged(("s3", "GetObject", {"Bucket": "b", "Key": "k"})).reads == ("arn:aws:s3:::b/k",)
    dotted = Request("GET", "/k", "", (("host", "a.s3.b.s3.eu-west-1.amazonaws.com"),))
    assert read(dotted).reads == ("arn:aws:s3:::a.s3.b/k",)
    copied = judged(("s3", "CopyObject", {"Bucket": "b", "Key": "k", "CopySource": "other/a b"}))
    assert copied.effects == (
        Effect("s3:CopyObject", "arn:aws:s3:::b/k"),
        Effect("s3:GetObject", "arn:aws:s3:::other/a b"),
    )
    objects = {"Bucket": "b", "Delete": {"Objects": [{"Key": "a"}, {"Key": "c"}]}}
    assert judged(("s3", "DeleteObjects", objects)).writes == ("arn:aws:s3:::b/a", "arn:aws:s3:::b/c")
    ended = judged(("ec2", "TerminateInstances", {"InstanceIds": ["i-1", "i-2"]}))
    assert [each.relation for each in ended.effects] == ["instance/i-1", "instance/i-2"]
    made = judged(("lambda", "CreateFunction", {"FunctionName": "f", "Role": ROLE, "Code": {"ZipFile": b"PK"}}))
    assert made.effects == (Effect("lambda:CreateFunction", "function/f"), Effect("iam:PassRole", ROLE))
    assert "PrivilegeEscalation:AWS/PassRole" in made.signals


def test_reads_are_read_only() -> None:
    assert judged(("s3", "ListBuckets", {})).read_only
    assert not judged(("s3", "PutObject", {"Bucket": "b", "Key": "k", "Body": b""})).read_only
    assert not judged(("sts", "GetSessionToken", {})).read_only


def test_the_environment_counts() -> None:
    call = ("lambda", "DeleteFunction", {"FunctionName": "f"})
    assert judged(call).decision is Decision.HOLD
    assert judged(call, "test").decision is Decision.ALLOW


IAM = (("host", "iam.amazonaws.com"), ("content-type", "application/x-www-form-urlencoded"))
SCOPE = (
    "authorization",
    "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0",
)
MONITORING = (("host", "monitoring.eu-west-1.amazonaws.com"),)
GRANITE = "GraniteServiceVersion20100801"
BUCKET = (("host", "b.s3.eu-west-1.amazonaws.com"),)

UNKNOWN = [
    ("no service", Request("GET", "/", "", (("host", "example.com"),))),
    ("an action that is not", Request("POST", "/", "", IAM, b"Action=CreateAccessKeys&Version=2010-05-08")),
    ("no action", Request("POST", "/", "", IAM, b"UserName=bob")),
    ("two actions", Request("POST", "/", "", IAM, b"Action=ListUsers&Action=CreateAccessKey&Version=2010-05-08")),
    (
        "one in the query and another in the body",
        Request("POST", "/", "Action=ListUsers", IAM, b"Action=CreateAccessKey&Version=2010-05-08"),
    ),
    (
        "a target for a service that has none",
        Request("POST", "/", "", (*IAM, ("x-amz-target", "X.ListUsers")), b"Action=CreateAccessKey"),
    ),
    ("a policy beside an ACL", Request("PUT", "/", "acl&policy", BUCKET)),
    ("a query that the action does not have", Request("GET", "/k", "torrents", BUCKET)),
    (
        "a signature of another kind",
        Request("POST", "/", "", (*IAM, ("authorization", "AWS A:0")), b"Action=ListUsers"),
    ),
    (
        "two signatures",
        Request("GET", "/", "X-Amz-Credential=A%2F20260101%2Fus-east-1%2Fs3%2Faws4_request", (*IAM, SCOPE)),
    ),
    (
        "a target beside the action, which IAM does not look at",
        Request("GET", "/", "Action=CreateAccessKey&Version=2010-05-08", (IAM[0], ("x-amz-target", "ListUsers"))),
    ),
    ("a target alone, for IAM, which has none", Request("POST", "/", "", (IAM[0], ("x-amz-target", "ListUsers")))),
    (
        "two protocols for CloudWatch, which has three",
        Request("POST", "/", "Action=DeleteAlarms", (*MONITORING, ("x-amz-target", f"{GRANITE}.ListMetrics")), b"{}"),
    ),
    (
        "and in its headers and body",
        Request(
            "POST",
            "/",
            "",
            (*MONITORING, IAM[1], ("x-amz-target", f"{GRANITE}.ListMetrics")),
            b"Action=DeleteAlarms&Version=2010-08-01",
        ),
    ),
    (
        "Smithy's path without its header",
        Request("POST", f"/service/{GRANITE}/operation/ListMetrics", "", MONITORING, b""),
    ),
    (
        "a policy that is not JSON",
        Request(
            "POST",
            "/",
            "",
            IAM,
            b"Action=PutRolePolicy&Version=2010-05-08&RoleName=r&PolicyName=p&PolicyDocument=%7B%22Statement%22",
        ),
    ),
    (
        "a body in another form",
        Request("POST", "/", "", (IAM[0], ("content-type", "multipart/form-data")), b"Action=x"),
    ),
    ("another version of the API", Request("POST", "/", "", IAM, b"Action=ListUsers&Version=1999-01-01")),
]


@pytest.mark.parametrize(("how", "request_"), UNKNOWN, ids=[each[0] for each in UNKNOWN])
def test_unknown_is_said_and_never_low(how: str, request_: Request) -> None:
    found = judge_request(request_, FACTS, RULES)
    assert found.reason
    assert (found.complete, found.decision, found.read_only) == (False, Decision.HOLD, False)
    assert found.band is not Band.LOW


def test_a_presigned_url_is_the_action_that_it_is_for() -> None:
    signed = "X-Amz-Credential=A%2F20260101%2Feu-west-1%2Fs3%2Faws4_request&X-Amz-Signature=0"
    got = read(Request("GET", "/b/k", signed, (("host", "localhost:9000"),)))
    assert got.effects == (Effect("s3:GetObject", "arn:aws:s3:::b/k"),)
    put = read(Request("PUT", "/b/k", f"{signed}&x-amz-acl=public-read", (("host", "localhost:9000"),)))
    assert Mark.PUBLIC in put.marks


def test_a_call_by_name_is_judged_like_the_request() -> None:
    by_name = read_call({"service": "iam", "action": "CreateAccessKey", "parameters": {"UserName": "bob"}})
    assert by_name == read(sent("iam", "CreateAccessKey", {"UserName": "bob"}))
    assert not read_call({"service": "iam", "action": "CreateAccessKeyz"}).complete
    assert not read_call({"service": "nosuch", "action": "X"}).complete
    assert read_call({"service": "elasticloadbalancing", "action": "CreateTargetGroup"}).complete


@pytest.mark.parametrize(
    ("line", "effect"),
    [
        ("aws iam create-access-key --user-name bob", Effect("iam:CreateAccessKey", "user/bob")),
        ("aws s3api delete-bucket --bucket b --region eu-west-1", Effect("s3:DeleteBucket", "arn:aws:s3:::b")),
        ("aws ec2 terminate-instances --instance-ids i-1 i-2", Effect("ec2:TerminateInstances", "instance/i-1")),
        ("GET https://b.s3.eu-west-1.amazonaws.com/?acl", Effect("s3:GetBucketAcl", "arn:aws:s3:::b")),
        (
            '{"service": "s3", "action": "DeleteBucket", "parameters": {"Bucket": "b"}}',
            Effect("s3:DeleteBucket", "arn:aws:s3:::b"),
        ),
        ("aws s3 rm s3://b --recursive", Effect("unknown")),
        ("aws iam", Effect("unknown")),
        ("aws iam create-access-key --user-name 'bob", Effect("unknown")),
        ("drop everything", Effect("unknown")),
    ],
)
def test_lines_of_explain(line: str, effect: Effect) -> None:
    found = commands.read(line)
    assert found.effects[0] == effect
    assert found.complete == (effect.effect != "unknown")


def test_a_policy_may_name_actions_and_not_mistyped_services() -> None:
    text = "rules: [{{name: a, when: 'command.effects.exists(e, e.effect == \"{}\")', then: deny}}]\notherwise: allow\n"
    with_rule = rules.parse(text.format("iam:CreateAccessKey"))
    found = judge_request(sent("iam", "CreateAccessKey", {"UserName": "bob"}), FACTS, with_rule)
    assert (found.decision, found.rule) == (Decision.DENY, "a")
    for wrong in ("iamm:CreateAccessKey", "iam:createAccessKey", "CreateAccessKey"):
        with pytest.raises(RulesInvalid):
            rules.parse(text.format(wrong))


words = st.text(max_size=20)
hosts = st.sampled_from(
    ["iam.amazonaws.com", "b.s3.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com", "sqs.amazonaws.com", ""]
)
bodies = st.one_of(
    st.binary(max_size=80),
    st.dictionaries(st.sampled_from(["Action", "Version", "PolicyDocument", "Policy", "DryRun"]), words).map(
        lambda given_: "&".join(f"{key}={value}" for key, value in given_.items()).encode()
    ),
)
headers = st.dictionaries(st.sampled_from(["authorization", "x-amz-target", "content-type", "x-amz-acl"]), words)


@given(st.sampled_from(["GET", "PUT", "POST", "DELETE", "X"]), st.text(max_size=30), words, hosts, headers, bodies)
def test_garbage_never_raises_and_unknown_is_never_low(
    method: str, path: str, query: str, host: str, extra: dict[str, str], body: bytes
) -> None:
    found = read(Request(method, "/" + path, query, (("host", host), *extra.items()), body))
    assert found.effects
    assert found.complete == (Mark.UNKNOWN not in found.marks)
    _, score = signals.weigh(found.marks, "test")
    assert found.complete or signals.band(score) is not Band.LOW


@given(st.text(max_size=60) | st.text(max_size=40).map(lambda rest: f"aws iam {rest}"))
def test_garbage_lines_never_raise(line: str) -> None:
    assert commands.read(line).effects
