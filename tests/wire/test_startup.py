"""The first packets, whole and hostile."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.postgres import startup
from wire.postgres.reader import RemoteFault

PACKET = startup.startup((("user", "ci"), ("database", "orders"), ("_pq_.x", "1")), minor=2)


def test_a_startup_packet_is_read_whole_or_not_at_all() -> None:
    for at in range(len(PACKET)):
        assert startup.read_first(PACKET[:at]) is None
    found = startup.read_first(PACKET + b"Q")
    assert found is not None
    assert found[1] == len(PACKET)
    assert isinstance(found[0], startup.StartupMessage)
    assert (found[0].minor, found[0].get("user"), found[0].protocol_options) == (2, "ci", ("_pq_.x",))


def test_requests_for_encryption_and_cancel() -> None:
    assert startup.read_first(startup.ssl_request()) == (startup.SslRequest(), 8)
    for key in (b"abcd", b"k" * 32, b"k" * 256):
        found = startup.read_first(startup.cancel_request(7, key))
        assert found is not None
        assert found[0] == startup.CancelRequest(7, key)


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (startup.ssl_request() + b"\0", "behind a request"),
        (struct.pack(">II", 7, 0), "7 bytes"),
        (struct.pack(">I", 1 << 30), "bytes"),
        (struct.pack(">II", 8, 2 << 16), "protocol 2.0"),
        (struct.pack(">II", 9, 3 << 16) + b"x", "zero byte"),
        (startup.startup((("user", "a"), ("user", "b"))), "twice"),
        (startup.cancel_request(1, b"k" * 257), "impossible length"),
        (startup.cancel_request(1, b"abc"), "impossible length"),
    ],
)
def test_a_bad_first_packet_is_named(packet: bytes, says: str) -> None:
    with pytest.raises(RemoteFault, match=says):
        startup.read_first(packet)


@given(st.binary(max_size=80))
def test_random_bytes_are_nothing_but_a_fault(data: bytes) -> None:
    for body in (data, struct.pack(">II", 8 + len(data), 3 << 16) + data):
        try:
            startup.read_first(body)
        except RemoteFault as e:
            assert len(str(e)) < 100
