"""The first packets of a connection, which have no type byte: SSLRequest, GSSENCRequest,
CancelRequest, StartupMessage (protocol 3.0 to 3.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from wire.postgres.reader import RemoteFault

LARGEST = 10_000
"""PostgreSQL's own bound on a startup packet (MAX_STARTUP_PACKET_LENGTH)."""

_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
NEWEST_MINOR = 2
LONGEST_KEY = 256


@dataclass(frozen=True, slots=True)
class SslRequest:
    pass


@dataclass(frozen=True, slots=True)
class GssEncRequest:
    pass


@dataclass(frozen=True, slots=True)
class CancelRequest:
    pid: int
    key: bytes  # 4 bytes in protocol 3.0, up to 256 in 3.2

    def __repr__(self) -> str:
        return f"CancelRequest({self.pid}, …)"


@dataclass(frozen=True, slots=True)
class StartupMessage:
    minor: int
    parameters: tuple[tuple[str, str], ...]  # in order; names are not repeated

    def get(self, name: str, default: str = "") -> str:
        return dict(self.parameters).get(name, default)

    @property
    def protocol_options(self) -> tuple[str, ...]:
        """Names that begin with `_pq_.`: a server names those it does not know in NegotiateProtocolVersion."""
        return tuple(name for name, _ in self.parameters if name.startswith("_pq_."))

    def __repr__(self) -> str:
        return f"StartupMessage(3.{self.minor}, {len(self.parameters)} parameters)"


First = SslRequest | GssEncRequest | CancelRequest | StartupMessage


def read_first(buffer: bytes) -> tuple[First, int] | None:
    """The packet at the buffer's start and how long it is, or None if it is not whole. Raises RemoteFault.

    Bytes behind an SSLRequest or GSSENCRequest are a fault: a man in the middle could have put
    them before the handshake (CVE-2021-23214).
    """
    if len(buffer) < 4:
        return None
    (length,) = struct.unpack_from(">I", buffer)
    if not 8 <= length <= LARGEST:
        raise RemoteFault(f"a startup packet of {length} bytes")
    if len(buffer) < length:
        return None
    (code,) = struct.unpack_from(">I", buffer, 4)
    body = buffer[8:length]
    if code in (_SSL, _GSS):
        if body or len(buffer) > length:
            raise RemoteFault("bytes behind a request for encryption")
        return (SslRequest() if code == _SSL else GssEncRequest()), length
    if code == _CANCEL:
        if not 8 <= len(body) <= 4 + LONGEST_KEY:
            raise RemoteFault("a cancel request with a key of impossible length")
        return CancelRequest(struct.unpack_from(">I", body)[0], body[4:]), length
    if code >> 16 != 3:
        raise RemoteFault(f"protocol {code >> 16}.{code & 0xFFFF}; this is protocol 3")
    return StartupMessage(code & 0xFFFF, _parameters(body)), length


def _parameters(body: bytes) -> tuple[tuple[str, str], ...]:
    if not body.endswith(b"\0"):
        raise RemoteFault("the startup packet does not end with a zero byte")
    words = body[:-1].split(b"\0")
    if words.pop() != b"" or len(words) % 2:
        raise RemoteFault("the startup packet's parameters are not pairs")
    try:
        texts = [w.decode("utf-8") for w in words]
    except UnicodeDecodeError as e:
        raise RemoteFault("the startup packet is not UTF-8") from e
    names = texts[::2]
    if "" in names or len(set(names)) != len(names):
        raise RemoteFault("the startup packet names a parameter twice, or none")
    return tuple(zip(names, texts[1::2], strict=True))


def startup(parameters: tuple[tuple[str, str], ...], minor: int = 0) -> bytes:
    body = b"".join(n.encode() + b"\0" + v.encode() + b"\0" for n, v in parameters) + b"\0"
    return struct.pack(">II", len(body) + 8, 3 << 16 | minor) + body


def ssl_request() -> bytes:
    return struct.pack(">II", 8, _SSL)


def cancel_request(pid: int, key: bytes) -> bytes:
    return struct.pack(">III", 12 + len(key), _CANCEL, pid) + key
