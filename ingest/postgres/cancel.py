"""Cancelling: our own keys, and passing a cancel on with the target's.

A client never sees the target's key. The process number that we give has the
worker's number in its top byte, so that a worker can tell whose session a
CancelRequest means (it comes on a new connection, to any worker). Secrets are
random: 4 bytes for protocol 3.0, 32 for 3.2.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from ingest.postgres.channel import Channel
from ingest.settings import Target

CANCEL_CODE = (1234 << 16) | 5678
SSL_REQUEST = (8).to_bytes(4, "big") + ((1234 << 16) | 5679).to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class CancelKey:
    process: int
    secret: bytes = field(repr=False)


class CancelKeys:
    """The keys of one worker's open sessions, each with what a cancel by it does."""

    def __init__(self, worker: int) -> None:
        if not 0 <= worker < 128:
            raise ValueError("worker numbers are 0 to 127")
        self._worker = worker
        self._known: dict[int, tuple[bytes, Callable[[], None]]] = {}

    def issue(self, cancel: Callable[[], None], *, long: bool) -> CancelKey:
        """A fresh key; `long` for protocol 3.2. `cancel` is called when somebody shows it."""
        while True:
            process = self._worker << 24 | secrets.randbelow(1 << 24)
            if process and process not in self._known:
                break
        secret = secrets.token_bytes(32 if long else 4)
        self._known[process] = (secret, cancel)
        return CancelKey(process, secret)

    def withdraw(self, key: CancelKey) -> None:
        self._known.pop(key.process, None)

    def use(self, process: int, secret: bytes) -> bool:
        """Whether this was a key of ours; if so its session was told. Compared in constant time."""
        known, cancel = self._known.get(process, (b"", _nobody))
        if not hmac.compare_digest(known, secret) or not known:
            return False
        cancel()
        return True


def _nobody() -> None:
    """The cancel of a key that does not exist."""


async def pass_on(target: Target, tls: ssl.SSLContext | None, key: CancelKey, seconds: float) -> None:
    """Cancel at the target, on a new connection. The protocol has no answer: nor has this (asked is all we know)."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(seconds):
        _, channel = await loop.create_connection(Channel, target.host, target.port)
        try:
            if tls is not None:
                channel.write(SSL_REQUEST)
                if await channel.read(1) != b"S":
                    return
                channel.take(1)
                await channel.start_tls(tls, server_side=False, hostname=target.host)
            length = 12 + len(key.secret)
            parts = (length, CANCEL_CODE, key.process)
            channel.write(b"".join(p.to_bytes(4, "big") for p in parts) + key.secret)
        finally:
            channel.close()
