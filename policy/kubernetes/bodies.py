"""Bodies of Kubernetes requests: pods that reach their node, roles, bindings, and the little else that matters.

A patch shows a part of an object: what it shows is judged like the whole, and where the part that matters is not
shown, the answer is not complete.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from policy.found import Finding
from policy.http import Request, Unreadable, load_json, load_yaml
from policy.kubernetes.address import Address
from policy.kubernetes.marks import Mark
from policy.kubernetes.tables import table

_JSON_PATCH = "application/json-patch+json"
_APPLY = "application/apply-patch+yaml"
_YAML = frozenset((_APPLY, "application/yaml"))
_JSON = frozenset(("", "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json"))

_RBAC = ".rbac.authorization.k8s.io"
_AGGREGATES = "rbac.authorization.k8s.io/aggregate-to-"
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_ADMINS = frozenset(("cluster-admin", "admin", "edit"))
_EVERYBODY = frozenset(("system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts"))

# https://kubernetes.io/docs/concepts/security/rbac-good-practices/#privilege-escalation-risks
_ESCALATING_VERBS = frozenset(("escalate", "bind", "impersonate"))
_ESCALATING = frozenset(
    (
        *("secrets", "pods/exec", "pods/attach", "pods/ephemeralcontainers", "nodes/proxy", "serviceaccounts/token"),
        *("certificatesigningrequests/approval", "signers", "rolebindings", "clusterrolebindings", "roles"),
        *("clusterroles", "mutatingwebhookconfigurations", "validatingwebhookconfigurations", "apiservices"),
        *("*/exec", "*/attach", "*/proxy", "*/token", "*/approval", "*/ephemeralcontainers"),
    )
)

# https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline
_HOST_KEYS = frozenset(("hostPID", "hostIPC", "hostNetwork", "hostPath", "hostPort"))
_PRIVILEGE_FLAGS = frozenset(("privileged", "hostProcess"))
_PROFILES = frozenset(("seccompProfile", "appArmorProfile"))
_BASELINE_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)


class Body(NamedTuple):
    """`unread`: why `value` is None although there may be one. `partial`: a patch."""

    value: Any
    unread: str
    partial: bool

    @property
    def name(self) -> str:
        """What a new object is called; `generateName` is its beginning."""
        metadata = self.value.get("metadata") if isinstance(self.value, dict) else None
        if not isinstance(metadata, dict):
            return ""
        name = metadata.get("name") or metadata.get("generateName")
        return name if isinstance(name, str) and len(name) <= 253 and name.isprintable() else ""


def request(given: Mapping[str, Any]) -> Request:
    """Of a request by attributes. Raises Unreadable."""
    query, headers, body = given.get("query") or {}, given.get("headers") or {}, given.get("body")
    if not isinstance(headers, dict) or not isinstance(query, dict | str):
        raise Unreadable("query and headers are objects")
    text = query if isinstance(query, str) else urlencode(query, doseq=True)
    encoded = b"" if body is None else (body if isinstance(body, str) else json.dumps(body)).encode("utf-8", "replace")
    named = tuple((str(name).lower(), str(value)) for name, value in headers.items())
    if given.get("verb") == "patch" and not any(name == "content-type" for name, _ in named):
        kind = _JSON_PATCH if isinstance(body, list) else "application/merge-patch+json"
        named = (*named, ("content-type", kind))
    return Request("", "", text, named, encoded)


def read(sent: Request) -> Body:
    """Never raises: whether it must be known is the resource's matter."""
    if not sent.body:
        return Body(None, "there is no body", partial=False)
    try:
        kind = sent.header("content-type").partition(";")[0].strip().lower()
        partial = "patch" in kind
        if sent.header("content-encoding") not in ("", "identity"):
            return Body(None, "a compressed body is not read", partial)
        if kind == _JSON_PATCH:
            return Body(_expand(load_json(sent.body)), "", partial=True)
        if kind in _YAML:
            return Body(_json_or_yaml(sent.body), "", partial)
        if kind in _JSON:
            return Body(load_json(sent.body), "", partial)
    except Unreadable as why:
        return Body(None, str(why), partial=True)
    return Body(None, "a body that is neither JSON nor YAML is not read", partial=True)


def _json_or_yaml(body: bytes) -> Any:
    return load_json(body) if body.lstrip().startswith(b"{") else load_yaml(body)


def _expand(patch: Any) -> list[Any]:
    """RFC 6902: each operation as the fragment of an object that it writes. Raises Unreadable for copy and move."""
    if not isinstance(patch, list):
        raise Unreadable("a JSON patch is a list")
    fragments = []
    for each in patch:
        operation, path = (each.get("op"), each.get("path")) if isinstance(each, dict) else (None, None)
        if operation == "test":
            continue
        if operation not in ("add", "replace", "remove") or not isinstance(path, str):
            raise Unreadable("a JSON patch with an operation that is not read")
        parts = path.split("/")[1:]
        if len(parts) > 40:
            raise Unreadable("the body is nested too deep")
        fragment: Any = each.get("value")
        for part in reversed(parts):
            key = part.replace("~1", "/").replace("~0", "~")
            fragment = [fragment] if key == "-" or key.isdigit() else {key: fragment}
        fragments.append(fragment)
    return fragments


def judge(found: Finding, address: Address, body: Body) -> None:
    """Adds what the body of a create, update or patch says."""
    part = _PARTS.get(address.kind, _pods if address.kind in table().pods else None)
    if part is None:
        return
    if not isinstance(body.value, dict | list):
        found.unknown(body.unread or "the body is not an object")
        return
    for value in body.value if isinstance(body.value, list) else [body.value]:
        part(found, value, body.partial)


def _pods(found: Finding, value: Any, _: bool) -> None:
    """Anywhere in it: templates stand at different depths, and what is called like this rarely means less."""
    for key, each in _members(value):
        if each is None or each is False:
            continue
        if key in _HOST_KEYS and each != 0:
            found.marks.add(Mark.HOST_POD)
        elif key in _PRIVILEGE_FLAGS or _is_beyond_baseline(key, each):
            found.marks.add(Mark.PRIVILEGED_POD)


def _is_beyond_baseline(key: str, value: Any) -> bool:
    if key == "capabilities":
        added = value.get("add") if isinstance(value, dict) else value
        return added is not None and not (isinstance(added, list) and _strings(added) <= _BASELINE_CAPABILITIES)
    if key == "procMount":
        return bool(value != "Default")
    return key in _PROFILES and _text(value, "type") == "Unconfined"


def _role(found: Finding, value: Any, partial: bool) -> None:
    if not isinstance(value, dict):
        return found.unknown("a role that is not read")
    labels = value.get("metadata", {}).get("labels") if isinstance(value.get("metadata"), dict) else None
    if "aggregationRule" in value or (isinstance(labels, dict) and any(str(n).startswith(_AGGREGATES) for n in labels)):
        found.marks.add(Mark.ROLE_ESCALATES)
    rules = value.get("rules") or []
    for rule in rules if isinstance(rules, list) else [rules]:
        if not isinstance(rule, dict):
            found.unknown("a rule that is not read")
            continue
        verbs = _strings(rule.get("verbs"))
        resources = {each.lower() for each in _strings(rule.get("resources"))}
        if partial and not (verbs and (resources or "nonResourceURLs" in rule)):
            found.unknown("a patch that shows a part of a rule")
        if "*" in verbs or "*" in resources or "*/*" in resources or "*" in _strings(rule.get("nonResourceURLs")):
            found.marks.add(Mark.ROLE_WILDCARD)
        if verbs & _ESCALATING_VERBS or resources & _ESCALATING:
            found.marks.add(Mark.ROLE_ESCALATES)
    return None


def _binding(found: Finding, value: Any, partial: bool) -> None:
    if not isinstance(value, dict):
        return found.unknown("a binding that is not read")
    role = value.get("roleRef")
    name, kind = _text(role, "name"), _text(role, "kind")
    if name:
        found.write("bind", f"{'roles' if kind == 'Role' else 'clusterroles'}{_RBAC} {name}")
        if name in _ADMINS or name.startswith("system:"):
            found.marks.add(Mark.BINDING_ADMIN)
    elif partial and "subjects" not in value:
        return None  # labels and the like
    else:
        found.unknown("the role that is bound is not in the body")
    subjects = value.get("subjects") or []
    for each in subjects if isinstance(subjects, list) else [subjects]:
        subject = _text(each, "name")
        if subject in _EVERYBODY:
            found.marks.add(Mark.BINDING_PUBLIC)
        elif subject == "system:masters":
            found.marks.add(Mark.BINDING_ADMIN)
    return None


def _service(found: Finding, value: Any, _: bool) -> None:
    for key, each in _members(value):
        if key == "externalIPs" and each:
            found.marks.add(Mark.EXTERNAL_IP)
        elif key == "type" and each in ("LoadBalancer", "NodePort"):
            found.marks.add(Mark.EXPOSE)


def _volume(found: Finding, value: Any, _: bool) -> None:
    if any(key in ("hostPath", "local") for key, _ in _members(value)):
        found.marks.add(Mark.HOST_VOLUME)


def _namespace(found: Finding, value: Any, partial: bool) -> None:
    """A new namespace may say any level; one that is changed says a weaker one, or takes it away."""
    levels = [each for key, each in _members(value) if key.startswith(_POD_SECURITY)]
    if "privileged" in levels or (partial and any(each not in ("restricted", "baseline") for each in levels)):
        found.marks.add(Mark.GUARD_OFF)


def _secret(found: Finding, value: Any, _: bool) -> None:
    """https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets"""
    if _text(value, "type") == "kubernetes.io/service-account-token":
        found.marks.add(Mark.TOKEN)


_PARTS: dict[str, Callable[[Finding, Any, bool], None]] = {
    "services": _service,
    "persistentvolumes": _volume,
    "namespaces": _namespace,
    "secrets": _secret,
    f"roles{_RBAC}": _role,
    f"clusterroles{_RBAC}": _role,
    f"rolebindings{_RBAC}": _binding,
    f"clusterrolebindings{_RBAC}": _binding,
}


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    stack = [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            for key, inner in each.items():
                yield str(key), inner
                stack.append(inner)
        elif isinstance(each, list):
            stack.extend(each)


def _strings(value: Any) -> set[str]:
    values = value if isinstance(value, list) else [value]
    return {each for each in values if isinstance(each, str)}


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""
