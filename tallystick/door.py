"""A reviewer's, or a waiting job's, side of the approvals door (`stream/approvals_door.py`).

What the door answers is read strictly, and nothing of it is trusted to be printable.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from schemas.records import Vote
from seal.sign import Signer

TIMEOUT_S = 10.0
LARGEST_ANSWER = 16 * 1024 * 1024
REQUEST_ID = re.compile(r"req-[a-z2-7]{16}")


class DoorShut(RuntimeError):
    """The door cannot be reached, or what answers is not the door."""


class Refused(RuntimeError):
    """The door said no; the message has its words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asked:
    """All that a reviewer should know before saying yes or no."""

    id: str
    state: str
    subject: str
    target: str
    environment: str
    session: str
    command: Mapping[str, Any] | None  # masked; None where its text was erased
    effects: tuple[tuple[str, str], ...]
    effects_complete: bool
    score: int
    band: str
    signals: tuple[Mapping[str, str], ...]
    commitment: bytes
    rule: str
    groups: tuple[str, ...]
    quorum: int
    reason_required: bool
    opened_us: int
    expires_us: int
    waiting: int
    votes: tuple[tuple[str, str, str], ...]  # reviewer, choice, reason


class DoorClient:
    """`signer` is the reviewer's key, under their name in the policy; whoever only waits has none."""

    def __init__(self, url: str, signer: Signer | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self._url, self._signer = url.rstrip("/"), signer
        # trust_env: a proxy named in the environment must not see, nor answer, what a reviewer asks.
        self._http = httpx.Client(trust_env=False, timeout=TIMEOUT_S, transport=transport)

    def requests(self) -> list[dict[str, Any]]:
        """Summaries, the open ones first. Raises DoorShut, Refused."""
        found = self._get("/approvals")
        try:
            return [dict(one) for one in found["approvals"]]
        except (KeyError, TypeError, ValueError) as e:
            raise DoorShut("what answers there is not the approvals door") from e

    def request(self, request: str) -> dict[str, Any]:
        """Everything about one, as the door gave it. Raises DoorShut, Refused."""
        return self._get(f"/approvals/{request}")

    def state(self, request: str) -> str:
        """One word; needs no key. Raises DoorShut, Refused."""
        return str(self._get(f"/approvals/{request}/state", signed=False).get("state"))

    def vote(self, vote: Vote) -> None:
        """Raises DoorShut, Refused."""
        from stream.approvals_door import vote_json

        self._call("POST", f"/approvals/{vote.request}/votes", {}, vote_json(vote))

    def _get(self, path: str, *, signed: bool = True) -> dict[str, Any]:
        headers = {}
        if signed and self._signer is not None:
            from stream.approvals_door import authorization

            headers["Authorization"] = authorization(self._signer, "GET", path, int(time.time()))
        return self._call("GET", path, headers, None)

    def _call(self, method: str, path: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._url + path, headers=headers, json=body)
            plain = answer.json() if len(answer.content) <= LARGEST_ANSWER else None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
            raise DoorShut(f"{self._url}: cannot be reached ({type(e).__name__}); is `tallystick up` running?") from e
        except (ValueError, RecursionError) as e:
            raise DoorShut(f"{self._url}: what answers there is not the approvals door") from e
        if not isinstance(plain, dict):
            raise DoorShut(f"{self._url}: what answers there is not the approvals door")
        if answer.status_code >= 500:
            raise DoorShut(f"{self._url}: {plain.get('error')}")
        if answer.status_code >= 300:
            raise Refused(answer.status_code, str(plain.get("error")))
        return plain


def read_asked(plain: Mapping[str, Any], request: str) -> Asked:
    """Raises DoorShut where it is not the whole answer about that request."""
    try:
        rule, command = plain["rule"], plain["command"]
        asked = Asked(
            id=str(plain["id"]),
            state=str(plain["state"]),
            subject=str(plain["subject"]),
            target=str(plain["target"]),
            environment=str(plain["environment"]),
            session=str(plain["session"]),
            command=None if command is None else {"text": str(command["text"]), "params": list(command["params"])},
            effects=tuple((str(e["effect"]), str(e["relation"])) for e in plain["effects"]),
            effects_complete=plain["effects_complete"] is True,
            score=int(plain["score"]),
            band=str(plain["band"]),
            signals=tuple({str(k): str(v) for k, v in s.items()} for s in plain["signals"]),
            commitment=bytes.fromhex(plain["commitment"]),
            rule=str(rule["name"]),
            groups=tuple(map(str, rule["groups"])),
            quorum=int(rule["quorum"]),
            reason_required=rule["reason_required"] is not False,
            opened_us=int(plain["opened_us"]),
            expires_us=int(plain["expires_us"]),
            waiting=int(plain["waiting"]),
            votes=tuple((str(v["reviewer"]), str(v["choice"]), str(v["reason"])) for v in plain["votes"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise DoorShut("the door's answer is not a whole approval request: are both of one release?") from e
    if asked.id != request or len(asked.commitment) != 32:
        raise DoorShut("the door answered about another request")
    return asked


def exposed(url: str) -> bool:
    """Would what a reviewer sees go over a network in the clear?"""
    parts = urlsplit(url)
    return parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1")
