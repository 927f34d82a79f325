"""Requests as kubectl, Helm and controllers send them: what must be held, what must go through, what is unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import rules, signals
from policy.http import Request
from policy.kubernetes.effects import EFFECTS, read, read_attributes
from policy.kubernetes.marks import Mark
from policy.kubernetes.tables import table
from policy.requests import judge_request
from schemas.judging import Judgement, SessionFacts
from schemas.records import Band, Decision, Effect

RULES = rules.parse(rules.default_text())
FACTS = SessionFacts("ci", (), "cluster", "kubernetes", "production", "", "")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
PROD = "/api/v1/namespaces/prod"
DEPLOYMENTS = "/apis/apps/v1/namespaces/prod/deployments"


def request(method: str, target: str, body: Any = None, **headers: str) -> Request:
    path, _, query = target.partition("?")
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
    return Request(method, path, query, named, text.encode())


def judged(method: str, target: str, body: Any = None, **headers: str) -> Judgement:
    return judge_request(request(method, target, body, **headers), FACTS, RULES)


def pod(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "a:1", **(container or {})}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": containers, **spec}}


def deployment(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    template = {"template": {"metadata": {"labels": {"app": "a"}}, "spec": pod(container, **spec)["spec"]}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": template}


def binding(role: str, *subjects: str, kind: str = "ClusterRole") -> dict[str, Any]:
    named = [{"kind": "Group" if ":" in each else "User", "name": each} for each in subjects]
    return {"metadata": {"name": "b"}, "roleRef": {"kind": kind, "name": role}, "subjects": named}


def role(**rule: list[str]) -> dict[str, Any]:
    return {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], **rule}]}


SA = {"kind": "ServiceAccount", "name": "ci", "namespace": "prod"}
MERGE = "application/strategic-merge-patch+json"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

HIGH = [
    ("kubectl delete namespace", request("DELETE", PROD)),
    ("the same, its path percent-encoded", request("DELETE", "/api/v1/n%61mespaces/prod")),
    ("finalizers of a namespace cleared", request("PUT", PROD + "/finalize", {"spec": {"finalizers": []}})),
    ("kubectl exec, by POST (SPDY)", request("POST", PROD + "/pods/web-0/exec?command=sh&container=web&stdin=true")),
    ("kubectl exec, by GET (WebSocket), which looks like a read", request("GET", PROD + "/pods/web-0/exec?command=id")),
    ("exec with dryRun, which it does not look at", request("POST", PROD + "/pods/web-0/exec?command=sh&dryRun=All")),
    ("kubectl attach", request("POST", PROD + "/pods/web-0/attach?stdin=true")),
    ("kubectl port-forward", request("POST", PROD + "/pods/web-0/portforward")),
    ("port-forward by GET", request("GET", PROD + "/pods/web-0/portforward?ports=5432")),
    (
        "kubectl debug",
        request(
            "PATCH",
            PROD + "/pods/web-0/ephemeralcontainers",
            {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}},
            content_type=MERGE,
        ),
    ),
    ("kubectl get secret -o yaml", request("GET", PROD + "/secrets/db")),
    ("kubectl get secrets", request("GET", PROD + "/secrets?limit=500")),
    ("secrets watched by the old path", request("GET", "/api/v1/watch/namespaces/prod/secrets")),
    ("every secret of the cluster", request("GET", "/api/v1/secrets")),
    ("a dry run whose answer is the secret", request("PATCH", PROD + "/secrets/db?dryRun=All", {}, content_type=MERGE)),
    ("kubectl create token", request("POST", PROD + "/serviceaccounts/ci/token", {"spec": {"audiences": ["a"]}})),
    ("a token with dryRun", request("POST", PROD + "/serviceaccounts/ci/token?dryRun=All", {"spec": {}})),
    (
        "a token that does not expire, as a secret",
        request("POST", PROD + "/secrets", {"metadata": {"name": "t"}, "type": "kubernetes.io/service-account-token"}),
    ),
    (
        "kubectl create clusterrolebinding",
        request("POST", RBAC + "/clusterrolebindings", binding("cluster-admin", "bob")),
    ),
    (
        "a binding of an ordinary role",
        request("POST", RBAC + "/namespaces/prod/rolebindings", binding("x", "bob", kind="Role")),
    ),
    ("everybody may view", request("POST", RBAC + "/clusterrolebindings", binding("view", "system:unauthenticated"))),
    (
        "subjects patched into a binding whose role is not shown",
        request(
            "PATCH", RBAC + "/clusterrolebindings/b", {"subjects": [SA]}, content_type="application/merge-patch+json"
        ),
    ),
    ("a role with every verb", request("POST", RBAC + "/clusterroles", role(verbs=["*"], resources=["pods"]))),
    ("a role with every resource", request("POST", RBAC + "/clusterroles", role(verbs=["get"], resources=["*"]))),
    ("escalate", request("POST", RBAC + "/clusterroles", role(verbs=["escalate"], resources=["clusterroles"]))),
    ("impersonate", request("PUT", RBAC + "/clusterroles/r", role(verbs=["impersonate"], resources=["users"]))),
    (
        "a role that reads secrets",
        request("POST", RBAC + "/namespaces/prod/roles", role(verbs=["get"], resources=["secrets"])),
    ),
    (
        "a rule added to admin by its label",
        request(
            "POST",
            RBAC + "/clusterroles",
            {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}}, "rules": []},
        ),
    ),
    (
        "a verb patched into a role",
        request(
            "PATCH",
            RBAC + "/clusterroles/r",
            [{"op": "add", "path": "/rules/0/verbs/-", "value": "*"}],
            content_type="application/json-patch+json",
        ),
    ),
    ("kubectl --as", request("GET", PROD + "/pods", impersonate_user="alice")),
    (
        "--as-group system:masters",
        request("GET", PROD + "/pods", impersonate_user="a", impersonate_group="system:masters"),
    ),
    ("--as-uid and extra", request("GET", PROD + "/pods", impersonate_extra_scopes="x")),
    ("impersonation with a dry run", request("POST", PROD + "/configmaps?dryRun=All", {}, impersonate_user="alice")),
    ("headers of an authenticating proxy", request("GET", PROD + "/pods", x_remote_user="admin")),
    ("kubectl certificate approve", request("PUT", CSRS + "/bob/approval", {"status": {"conditions": []}})),
    ("a webhook", request("POST", WEBHOOKS, {"metadata": {"name": "w"}, "webhooks": []})),
    ("a webhook taken away", request("DELETE", WEBHOOKS + "/w")),
    ("an API group sent elsewhere", request("PUT", "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps", {})),
    (
        "a custom resource's kind deleted",
        request("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/certificates.cert-manager.io"),
    ),
    ("a privileged pod", request("POST", PROD + "/pods", pod({"securityContext": {"privileged": True}}))),
    (
        "one in YAML 1.1",
        request(
            "PATCH",
            DEPLOYMENTS + "/web",
            "spec: {template: {spec: {hostPID: yes}}}",
            content_type="application/apply-patch+yaml",
        ),
    ),
    (
        "one whose first hostPID a reader of the last key would not see",
        request("POST", PROD + "/pods", '{"spec": {"hostPID": true}, "spec": {"containers": [{"name": "a"}]}}'),
    ),
    (
        "hostPath in a deployment",
        request("POST", DEPLOYMENTS, deployment(volumes=[{"name": "h", "hostPath": {"path": "/"}}])),
    ),
    (
        "hostNetwork in a cron job",
        request(
            "POST",
            "/apis/batch/v1/namespaces/prod/cronjobs",
            {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"hostNetwork": True}}}}}},
        ),
    ),
    (
        "capabilities",
        request("POST", DEPLOYMENTS, deployment({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
    ),
    ("unconfined", request("POST", PROD + "/pods", pod(securityContext={"seccompProfile": {"type": "Unconfined"}}))),
    (
        "privileged by JSON patch",
        request(
            "PATCH",
            DEPLOYMENTS + "/web",
            [{"op": "add", "path": "/spec/template/spec/containers/0/securityContext/privileged", "value": True}],
            content_type="application/json-patch+json",
        ),
    ),
    (
        "a volume of a node's files",
        request("POST", "/api/v1/persistentvolumes", {"spec": {"hostPath": {"path": "/etc"}}}),
    ),
    ("the kubelet through the API server", request("GET", "/api/v1/nodes/a/proxy/run/prod/web-0/web")),
    ("kubectl delete pods --all, as a collection", request("DELETE", PROD + "/pods")),
    ("a collection with a selector", request("DELETE", PROD + "/configmaps?labelSelector=app%3Da")),
    ("a volume's claim deleted", request("DELETE", PROD + "/persistentvolumeclaims/data-db-0")),
    ("a deployment deleted in production", request("DELETE", DEPLOYMENTS + "/web")),
    (
        "dryRun in the query of a DELETE whose body says otherwise",
        request("DELETE", PROD + "?dryRun=All", {"kind": "DeleteOptions", "apiVersion": "v1"}),
    ),
    ("dryRun with a value the server refuses", request("DELETE", PROD + "?dryRun=all")),
    ("a node deleted", request("DELETE", "/api/v1/nodes/a")),
    (
        "pod security of a namespace lowered",
        request(
            "PATCH",
            PROD,
            {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}},
            content_type=MERGE,
        ),
    ),
    (
        "and taken away",
        request(
            "PATCH", PROD, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}, content_type=MERGE
        ),
    ),
    ("externalIPs", request("POST", PROD + "/services", {"spec": {"externalIPs": ["203.0.113.1"]}})),
    ("a network policy deleted", request("DELETE", "/apis/networking.k8s.io/v1/namespaces/prod/networkpolicies/deny")),
    ("the API server's logs", request("GET", "/logs/kube-apiserver.log")),
    ("its profile", request("GET", "/debug/pprof/heap")),
]

ALLOWED = [
    ("kubectl get pods", request("GET", PROD + "/pods?limit=500")),
    ("kubectl get pods -A -w", request("GET", "/api/v1/pods?watch=true")),
    ("kubectl get deploy web", request("GET", DEPLOYMENTS + "/web")),
    ("kubectl logs", request("GET", PROD + "/pods/web-0/log?follow=true")),
    ("kubectl top", request("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/prod/pods")),
    ("discovery", request("GET", "/apis?timeout=32s")),
    ("discovery of a group", request("GET", "/apis/apps/v1")),
    ("kubectl's schema", request("GET", "/openapi/v3/apis/apps/v1?hash=A1")),
    ("probes", request("GET", "/readyz/etcd")),
    ("kubectl auth can-i", request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {}})),
    ("kubectl apply of a new deployment", request("POST", DEPLOYMENTS + "?fieldManager=kubectl", deployment())),
    ("kubectl set image", request("PATCH", DEPLOYMENTS + "/web", deployment(), content_type=MERGE)),
    ("kubectl scale", request("PATCH", DEPLOYMENTS + "/web/scale", {"spec": {"replicas": 3}}, content_type=MERGE)),
    (
        "kubectl apply --server-side",
        request(
            "PATCH",
            DEPLOYMENTS + "/web?fieldManager=kubectl&force=false",
            "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 2}\n",
            content_type="application/apply-patch+yaml",
        ),
    ),
    (
        "a pod that drops everything and adds what the baseline allows",
        request(
            "POST",
            PROD + "/pods",
            pod(
                {
                    "securityContext": {
                        "privileged": False,
                        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                        "seccompProfile": {"type": "RuntimeDefault"},
                    }
                },
                hostPID=False,
            ),
        ),
    ),
    ("a config map that talks of hostPID", request("POST", PROD + "/configmaps", {"data": {"hostPID": "true"}})),
    ("a service", request("POST", PROD + "/services", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})),
    ("kubectl delete pod", request("DELETE", PROD + "/pods/web-0", {"kind": "DeleteOptions"})),
    (
        "kubectl rollout restart",
        request(
            "PATCH",
            DEPLOYMENTS + "/web",
            {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
            content_type=MERGE,
        ),
    ),
    ("a lease of leader election", request("PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/a", {})),
    ("an event", request("POST", PROD + "/events", {})),
    ("kubectl delete ns --dry-run=server", request("DELETE", PROD, {"kind": "DeleteOptions", "dryRun": ["All"]})),
    (
        "kubectl apply --dry-run=server of a binding",
        request("POST", RBAC + "/clusterrolebindings?dryRun=All", binding("cluster-admin", "bob")),
    ),
    (
        "a namespace made under a strict standard",
        request(
            "POST",
            "/api/v1/namespaces",
            {"metadata": {"name": "a", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
        ),
    ),
]

UNKNOWN = [
    ("a custom resource", request("GET", "/apis/cert-manager.io/v1/namespaces/prod/certificates")),
    ("a subresource nobody knows", request("GET", PROD + "/pods/web-0/shell")),
    ("a known subresource on another resource", request("POST", PROD + "/configmaps/a/exec")),
    ("a path nobody knows", request("GET", "/healthzz")),
    ("a change to a path that is no resource", request("POST", "/healthz")),
    (
        "a pod in protobuf",
        request("POST", PROD + "/pods", "k8s\0..", content_type="application/vnd.kubernetes.protobuf"),
    ),
    ("a compressed pod", request("POST", PROD + "/pods", pod(), content_encoding="gzip")),
    (
        "a verb patched into a rule whose resources are not shown",
        request(
            "PATCH",
            RBAC + "/clusterroles/r",
            [{"op": "add", "path": "/rules/0/verbs/-", "value": "create"}],
            content_type="application/json-patch+json",
        ),
    ),
    ("a role without a body", request("POST", RBAC + "/clusterroles")),
    (
        "a JSON patch that moves",
        request(
            "PATCH",
            DEPLOYMENTS + "/web",
            [{"op": "move", "from": "/metadata/annotations/a", "path": "/spec/template/spec/hostPID"}],
            content_type="application/json-patch+json",
        ),
    ),
    (
        "YAML with an alias",
        request("PATCH", DEPLOYMENTS + "/web", "a: &a {b: 1}\nc: *a\n", content_type="application/apply-patch+yaml"),
    ),
    ("two content types", Request("POST", PROD + "/pods", "", (("content-type", "a"), ("content-type", "b")), b"{}")),
    ("a body above the bound", request("POST", PROD + "/pods", json.dumps({"a": "x" * (1 << 20)}))),
    ("a body nested too deep", request("POST", PROD + "/pods", '{"a":' * 70 + "1" + "}" * 70)),
    ("nested beyond the stack", request("POST", PROD + "/pods", "[" * 200_000)),
    ("a service through the API server", request("GET", PROD + "/services/http:web:80/proxy/admin")),
    ("a cluster resource in a namespace", request("DELETE", "/api/v1/namespaces/prod/nodes/a")),
    ("a secret without a namespace", request("GET", "/api/v1/secrets/db")),
    ("a method that is no verb", request("PURGE", PROD + "/pods")),
    ("a group made to look like apps", request("GET", "/apis/apps.evil.io/v1/namespaces/prod/deployments")),
]


def ids(cases: list[tuple[str, Request]]) -> list[str]:
    return [each[0] for each in cases]


@pytest.mark.parametrize(("how", "sent"), HIGH, ids=ids(HIGH))
def test_what_must_be_held(how: str, sent: Request) -> None:
    found = judge_request(sent, FACTS, RULES)
    assert found.decision is Decision.HOLD
    assert found.score >= 70 or not found.complete


@pytest.mark.parametrize(("how", "sent"), ALLOWED, ids=ids(ALLOWED))
def test_ordinary_work_is_complete_and_goes_through(how: str, sent: Request) -> None:
    found = judge_request(sent, FACTS, RULES)
    assert (found.decision, found.complete, found.band) == (Decision.ALLOW, True, Band.LOW)


@pytest.mark.parametrize(("how", "sent"), UNKNOWN, ids=ids(UNKNOWN))
def test_unknown_is_said_and_never_low(how: str, sent: Request) -> None:
    found = judge_request(sent, FACTS, RULES)
    assert found.reason
    assert (found.complete, found.decision, found.read_only) == (False, Decision.HOLD, False)
    assert found.band is not Band.LOW


def test_effects_name_verb_and_object() -> None:
    found = judged("POST", PROD + "/pods/web-0/exec?command=sh")
    assert found.effects == (Effect("create", "pods/exec prod/web-0"),)
    assert found.writes == ("pods/exec prod/web-0",)
    assert judged("GET", "/api/v1/secrets").reads == ("secrets *",)
    assert judged("POST", DEPLOYMENTS, deployment()).writes == ("deployments.apps prod/web",)
    bound = judged("POST", RBAC + "/clusterrolebindings", binding("cluster-admin", "bob"))
    assert bound.effects[1] == Effect("bind", "clusterroles.rbac.authorization.k8s.io cluster-admin")
    assert bound.signals[0] == "PrivilegeEscalation:Kubernetes/AdminBinding"
    assert Effect("impersonate", "users alice") in judged("GET", PROD + "/pods", impersonate_user="alice").effects


def test_reads_are_read_only_and_connections_are_not() -> None:
    assert judged("GET", PROD + "/pods").read_only
    assert judged("DELETE", PROD, {"dryRun": ["All"]}).read_only
    assert not judged("GET", PROD + "/pods/a/exec?command=id").read_only
    assert not judged("POST", PROD + "/events", {}).read_only
    assert not judged("GET", PROD + "/pods", impersonate_user="a").read_only


def test_the_policy_names_harmless_custom_resources() -> None:
    allowed = frozenset(("kubernetes:certificates.cert-manager.io",))
    path = "/apis/cert-manager.io/v1/namespaces/prod/certificates"
    assert read(Request("GET", path), allowed).complete
    assert not read(Request("GET", path + "/a/renew"), allowed).complete
    assert not read(Request("GET", path.replace("certificates", "issuers")), allowed).complete
    assert Mark.DELETE_COLLECTION in read(Request("DELETE", path), allowed).marks


def test_attributes_are_judged_like_the_path() -> None:
    given = {"verb": "create", "group": "apps", "resource": "deployments", "namespace": "prod", "body": deployment()}
    assert read_attributes(given) == read(request("POST", DEPLOYMENTS, deployment()))
    assert read_attributes({"verb": "delete", "resource": "namespaces", "name": "prod"}) == read(
        Request("DELETE", PROD)
    )
    both = {"verb": "create", "resource": "pods/exec", "namespace": "prod", "name": "web-0"}
    assert read_attributes(both) == read(Request("POST", PROD + "/pods/web-0/exec"))
    assert not read_attributes({"verb": "explode", "resource": "pods"}).complete


def test_every_known_resource_has_a_meaning_for_every_verb() -> None:
    known = table()
    for kind in known.namespaced | known.cluster:
        for verb in EFFECTS & {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}:
            assert known.mark(verb, kind) is not None, (verb, kind)


def test_every_row_of_the_table_names_known_resources() -> None:
    known = table()
    kinds = known.namespaced | known.cluster | known.subresources | {"nodes/status"}
    rows = {kind for _, named, _ in known._marks for kind in named}
    assert rows | known.pods <= kinds


words = st.sampled_from(
    [
        "api",
        "apis",
        "v1",
        "namespaces",
        "prod",
        "pods",
        "secrets",
        "exec",
        "watch",
        "apps",
        "proxy",
        "%2e",
        "a%2Fb",
        "é",
    ]
)
paths = st.one_of(st.text(max_size=60), st.lists(words, max_size=9).map(lambda parts: "/" + "/".join(parts)))
methods = st.one_of(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), st.text(max_size=8))
kinds = st.sampled_from(["", "application/json", MERGE, "application/json-patch+json", "application/apply-patch+yaml"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "rules", "verbs", "roleRef", "subjects", "metadata", "labels", "op", "path", "capabilities"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
targets = st.one_of(
    paths, st.sampled_from([PROD, PROD + "/pods", RBAC + "/clusterroles", RBAC + "/clusterrolebindings/a"])
)


@given(methods, targets, st.text(max_size=30), kinds, values | st.binary(max_size=60))
def test_garbage_never_raises_and_unknown_is_never_low(
    method: str, path: str, query: str, kind: str, body: object
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = read(Request(method, path, query, (("content-type", kind),), content))
    assert {each.effect for each in found.effects} <= EFFECTS
    assert found.effects
    assert found.complete == (Mark.UNKNOWN not in found.marks)
    _, score = signals.weigh(found.marks, "test")
    assert found.complete or signals.band(score) is not Band.LOW


@given(
    st.dictionaries(
        st.sampled_from(["verb", "group", "resource", "namespace", "name", "query", "headers", "body"]), values
    )
)
def test_garbage_attributes_never_raise(given_: dict[str, Any]) -> None:
    assert read_attributes(given_).effects
