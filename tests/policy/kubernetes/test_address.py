"""Paths, cut as the API server cuts them (its own table of cases: k8s.io/apiserver, requestinfo_test.go)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.http import Unreadable
from policy.kubernetes.address import Address, locate

PODS = "/api/v1/namespaces/prod/pods"

CASES = [
    ("GET", "/api/v1/namespaces", Address("list", "", "namespaces")),
    ("GET", "/api/v1/namespaces/prod", Address("get", "", "namespaces", name="prod")),
    ("PUT", "/api/v1/namespaces/prod/finalize", Address("update", "", "namespaces", "finalize", name="prod")),
    ("GET", PODS, Address("list", "", "pods", namespace="prod")),
    ("GET", PODS + "/", Address("list", "", "pods", namespace="prod")),
    ("HEAD", PODS + "/a", Address("get", "", "pods", "", "prod", "a")),
    ("DELETE", PODS, Address("deletecollection", "", "pods", namespace="prod")),
    ("DELETE", PODS + "/a", Address("delete", "", "pods", "", "prod", "a")),
    ("POST", PODS + "/a/exec", Address("create", "", "pods", "exec", "prod", "a")),
    ("GET", PODS + "/a/proxy/x/y", Address("get", "", "pods", "proxy", "prod", "a", ("x", "y"))),
    ("GET", "/api/v1/watch/namespaces/prod/pods/a", Address("watch", "", "pods", "", "prod", "a")),
    ("GET", "/api/v1/pods", Address("list", "", "pods")),
    (
        "PATCH",
        "/apis/apps/v1/namespaces/a/deployments/b/scale",
        Address("patch", "apps", "deployments", "scale", "a", "b"),
    ),
    ("DELETE", "/api/v1/n%61mespaces/prod", Address("delete", "", "namespaces", name="prod")),
    ("GET", "/api/v1%2Fnamespaces/prod/secrets", Address("list", "", "secrets", namespace="prod")),
    ("GET", "/version", Address("get", "", "", path="/version")),
    ("GET", "/apis/apps/v1", Address("get", "", "", path="/apis/apps/v1")),
    ("GET", "/", Address("get", "", "", path="/")),
]


@pytest.mark.parametrize(("method", "path", "wanted"), CASES)
def test_cases(method: str, path: str, wanted: Address) -> None:
    assert locate(method, path) == wanted


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("OPTIONS", PODS),
        ("get", PODS),
        ("GET", "/api/v1/namespaces/prod/../kube-system/secrets"),
        ("GET", "/api/v1//secrets"),
        ("GET", "/api/v1/namespaces/%2e%2e/secrets"),
        ("GET", "/api/v1/proxy/namespaces/prod/pods/a"),
        ("DELETE", "/api/v1/watch/namespaces/prod/pods"),
        ("GET", "/api/v1/watch"),
        ("GET", "/api/v1/namespaces/a%00b/pods"),
        ("GET", "/api/v1/namespaces/%ff/pods"),
    ],
)
def test_what_no_server_takes_is_not_guessed(method: str, path: str) -> None:
    with pytest.raises(Unreadable):
        locate(method, path)


@given(st.text(max_size=12), st.text(max_size=80))
def test_any_text_is_an_address_or_unreadable(method: str, path: str) -> None:
    for each in (method, "GET"):
        try:
            locate(each, path)
        except Unreadable:
            pass
