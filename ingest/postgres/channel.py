"""One TCP connection, with TLS inside it where it was asked for.

Bytes go to `deliver` once it is set (the relay's hot path); before that they
wait in a small inbox that login reads by `read`. The channel knows nothing of
PostgreSQL. A peer that does not read makes `on_full` come, then `on_drained`;
who owns the channel stops reading elsewhere meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

INBOX_LIMIT = 64 << 10
"""Bytes that wait for login; more stops reading until they were taken."""

HIGH_WATER = 256 << 10
"""Bytes not yet sent, above which the other side is not read."""


class ChannelLost(ConnectionError):
    """The other side is gone."""


def _nothing() -> None:
    """Until an owner says otherwise."""


class Channel(asyncio.Protocol):
    def __init__(self, accepted: Callable[[Channel], None] | None = None) -> None:
        self._accepted = accepted
        self.deliver: Callable[[bytes], None] | None = None
        self.on_lost: Callable[[], None] = _nothing
        self.on_full: Callable[[], None] = _nothing
        self.on_drained: Callable[[], None] = _nothing
        self.lost = False
        self.full = False
        self.peer = ""
        self._inbox = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._reasons_paused: set[str] = set()

    # --- asyncio.Protocol ---------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one, without being a subclass
        self.write: Callable[[bytes], None] = self.transport.write
        self.transport.set_write_buffer_limits(high=HIGH_WATER, low=HIGH_WATER // 4)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "")
        if self._accepted is not None:
            self._accepted(self)

    def data_received(self, data: bytes) -> None:
        if self._tls is not None:
            self._incoming.write(data)
            data = self._open()
            if not data:
                return
        if self.deliver is not None:
            self.deliver(data)
            return
        self._inbox += data
        if len(self._inbox) > INBOX_LIMIT:
            self.pause("inbox")
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._ended = True
        self._wake()
        self.on_lost()

    def pause_writing(self) -> None:
        self.full = True
        self.on_full()

    def resume_writing(self) -> None:
        self.full = False
        self.on_drained()

    # --- reading ------------------------------------------------------------

    async def read(self, least: int) -> bytes:
        """Everything that has come, once it is `least` bytes or more. Raises ChannelLost at the end before that."""
        while len(self._inbox) < least:
            if self._ended:
                raise ChannelLost("the connection ended")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return bytes(self._inbox)

    def take(self, count: int) -> None:
        """The first `count` bytes of the inbox are done with."""
        del self._inbox[:count]
        if len(self._inbox) <= INBOX_LIMIT:
            self.resume("inbox")

    def flow_to(self, deliver: Callable[[bytes], None]) -> None:
        """From now on bytes go to `deliver`, first those that wait."""
        self.deliver = deliver
        waiting, self._inbox = bytes(self._inbox), bytearray()
        self.resume("inbox")
        if waiting:
            deliver(waiting)

    def pause(self, reason: str) -> None:
        """Stop reading. Each reason is lifted by its own `resume`."""
        if not self._reasons_paused and not self.lost:
            self.transport.pause_reading()
        self._reasons_paused.add(reason)

    def resume(self, reason: str) -> None:
        if reason not in self._reasons_paused:
            return
        self._reasons_paused.discard(reason)
        if not self._reasons_paused and not self.lost:
            self.transport.resume_reading()

    # --- ending -------------------------------------------------------------

    def close(self) -> None:
        """What was written still goes out."""
        if self.lost or self.transport.is_closing():
            return
        if self._tls is not None:
            with contextlib.suppress(ssl.SSLError, ValueError):
                self._tls.unwrap()
            self._send_outgoing()
        self.transport.close()

    def abort(self) -> None:
        if not self.lost:
            self.transport.abort()

    # --- TLS ----------------------------------------------------------------

    @property
    def tls_version(self) -> str:
        return (self._tls.version() or "") if self._tls else ""

    @property
    def alpn(self) -> str:
        return (self._tls.selected_alpn_protocol() or "") if self._tls else ""

    def peer_certificate(self) -> bytes:
        """DER, or b"" where there is none."""
        return (self._tls.getpeercert(binary_form=True) or b"") if self._tls else b""

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None) -> None:
        """The handshake, beginning with the inbox's bytes. Raises ssl.SSLError, ChannelLost."""
        waiting, self._inbox = bytes(self._inbox), bytearray()
        self.resume("inbox")
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=hostname)
        # Until the handshake is through, data_received only stores: the bytes are moved over here.
        self._incoming.write(waiting)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._send_outgoing()
                self._incoming.write(await self.read(1))
                self.take(len(self._inbox))
            except ssl.SSLError:
                self._send_outgoing()  # the alert that says why
                raise
        self._send_outgoing()
        self._tls = tls
        self.write = self._seal
        early = self._open()
        if early:
            self._inbox += early

    def _seal(self, data: bytes) -> None:
        assert self._tls is not None  # noqa: S101
        self._tls.write(data)
        self._send_outgoing()

    def _open(self) -> bytes:
        """The plain bytes of what came. A broken record ends the connection."""
        assert self._tls is not None  # noqa: S101
        parts = []
        try:
            while True:
                part = self._tls.read(1 << 18)
                if not part:
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            # close_notify (SSLZeroReturnError) or a record that does not authenticate: nothing more will come.
            self._ended = True
            self._wake()
            self.transport.close()
        if self._outgoing.pending:
            self._send_outgoing()
        return b"".join(parts)

    def _send_outgoing(self) -> None:
        data = self._outgoing.read()
        if data and not self.lost:
            self.transport.write(data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
