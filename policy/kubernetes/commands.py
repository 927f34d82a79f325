"""A request to Kubernetes as one line of text, for `tallystick explain`.

DELETE /api/v1/namespaces/prod
POST /api/v1/namespaces/prod/pods {"kind": "Pod", ...}
{"method": "PATCH", "path": "/api/v1/nodes/a", "headers": {"Content-Type": ...}, "body": {...}}
{"verb": "delete", "group": "apps", "resource": "deployments", "namespace": "prod", "name": "web"}
"""

from __future__ import annotations

import json

from policy import http
from policy.found import Effects, Finding
from policy.http import Unreadable
from policy.kubernetes import effects
from policy.kubernetes.marks import Mark


def read(text: str, allowed: frozenset[str] = frozenset()) -> Effects:
    """Never raises: a line that is none of these is unknown."""
    try:
        if not text.lstrip().startswith("{"):
            return effects.read(http.from_line(text), allowed)
        given = json.loads(text)
        if "verb" in given:
            return effects.read_attributes(given, allowed)
        return effects.read(http.from_json(given), allowed)
    except (Unreadable, ValueError, RecursionError):
        found = Finding(Mark.UNKNOWN)
        found.unknown("not a request: METHOD path, or JSON with method and path, or with verb and resource")
        return found.answer()
