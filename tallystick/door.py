"""A reviewer's, or a waiting job's, side of the approvals door (`stream/approvals_door.py`).

What it answers about a request is read in `asked.py`.
"""

from __future__ import annotations

import re
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from schemas.records import Suspended, Vote
from seal.sign import Signs
from tallystick.config import ConfigInvalid, DoorTls

TIMEOUT_S = 10.0
SIGNED_FOR_S = 60  # the door takes a signed request for five minutes
LARGEST_ANSWER = 16 * 1024 * 1024
REQUEST_ID = re.compile(r"req-[a-z2-7]{16}")


class DoorShut(RuntimeError):
    """The door cannot be reached, or what answers is not the door, or not of this release."""


class Refused(RuntimeError):
    """The door said no; the message has its words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class DoorClient:
    """`signer` is the reviewer's key, under their name in the policy; whoever only waits has none.

    `ca`: a PEM file of the authorities that may vouch for the door; None is the system's. Raises OSError where it
    cannot be read (ssl.SSLError is one).
    """

    def __init__(
        self,
        url: str,
        signer: Signs | None = None,
        transport: httpx.BaseTransport | None = None,
        ca: Path | None = None,
    ) -> None:
        self._url, self._signer = url.rstrip("/"), signer
        self._authorized: dict[str, tuple[str, int]] = {}
        trusted = ssl.create_default_context(cafile=ca)
        # trust_env: a proxy named in the environment must not see, nor answer, what a reviewer asks.
        self._http = httpx.Client(trust_env=False, timeout=TIMEOUT_S, transport=transport, verify=trusted)

    def requests(self) -> list[Any]:
        """Summaries as the door gave them, the open ones first. Raises DoorShut, Refused."""
        found = self._get("/approvals").get("approvals")
        if not isinstance(found, list):
            raise DoorShut(f"{self._url}: what answers there is not the approvals door")
        return found

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

    def resume(self, suspended: Suspended, vote: Vote) -> None:
        """Raises DoorShut, Refused."""
        from stream.resume_door import resume_json

        self._call("POST", f"/suspensions/{suspended.suspension}/votes", {}, resume_json(suspended, vote))

    def _get(self, path: str, *, signed: bool = True) -> dict[str, Any]:
        headers = {}
        if signed and self._signer is not None:
            headers["Authorization"] = self._authorization(path, self._signer)
        return self._call("GET", path, headers, None)

    def _authorization(self, path: str, signer: Signs) -> str:
        """The same for a while: whoever keeps the key may ask a person each time that it signs."""
        from stream.approvals_door import authorization

        made, at = self._authorized.get(path, ("", 0))
        now = int(time.time())
        if now - at > SIGNED_FOR_S:
            made = authorization(signer, "GET", path, now)
            self._authorized[path] = made, now
        return made

    def _call(self, method: str, path: str, headers: dict[str, str], body: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, self._url + path, headers=headers, json=body)
            plain = answer.json() if len(answer.content) <= LARGEST_ANSWER else None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as e:
            if "CERTIFICATE_VERIFY_FAILED" in str(e):
                words = "its certificate is not one to trust: name the authority that made it with --ca"
                raise DoorShut(f"{self._url}: {words}") from e
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


def server_context(tls: DoorTls) -> ssl.SSLContext:
    """Of the door itself. Raises ConfigInvalid."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # made so, it takes no notice of SSLKEYLOGFILE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except OSError as e:
        raise ConfigInvalid(f"approvals_tls: {tls.cert} and its key cannot be loaded ({type(e).__name__})") from e
    return context


def exposed(url: str) -> bool:
    """Would what a reviewer sees go over a network in the clear?"""
    parts = urlsplit(url)
    return parts.scheme != "https" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    return host in ("127.0.0.1", "localhost", "::1")
