"""Bad input of every kind at the port: a clear error or silence, and the gateway goes on."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from ingest.settings import Admission, ClientTls


def talk(bench: Any, data: bytes, wait: float = 1.0) -> bytes:
    with socket.create_connection((bench.running.host, bench.running.port), timeout=wait) as s:
        got = b""
        try:
            s.sendall(data)
            while part := s.recv(65536):
                got += part
        except (TimeoutError, ConnectionError):
            pass
        return got


def alive(bench: Any) -> None:
    with psycopg.connect(bench.url()) as c:
        assert c.execute("select 1").fetchone() == (1,)


def test_random_bytes(bench: Any) -> None:
    chance = random.Random(1)
    for _ in range(20):
        talk(bench, chance.randbytes(chance.randrange(1, 3000)), 0.05)
    alive(bench)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">II", 0x3FFFFFFF, 3 << 16),  # a 1 GiB startup packet
        struct.pack(">II", 4, 0),
        struct.pack(">II", 9, 3 << 16) + b"x",
        struct.pack(">II", 8, 80877103) + b"SELECT",  # bytes behind an SSLRequest
        struct.pack(">II", 8, 2 << 16),
    ],
)
def test_a_startup_that_cannot_be_gets_one_fatal_error(bench: Any, data: bytes) -> None:
    assert b"FATAL" in talk(bench, data)
    alive(bench)


def test_half_a_startup_packet_ends_at_the_deadline(make_bench: Any) -> None:
    bench = make_bench(admission=Admission(login_seconds=0.2))
    assert b"57P05" in talk(bench, struct.pack(">II", 100, 3 << 16), 3)
    alive(bench)


def test_too_many_logins_at_once_are_turned_away(make_bench: Any) -> None:
    bench = make_bench(admission=Admission(unauthenticated=3))
    waiting = [socket.create_connection((bench.running.host, bench.running.port)) for _ in range(3)]
    assert b"53300" in talk(bench, b"\0\0")
    for s in waiting:
        s.close()


@pytest.mark.parametrize("data", [b"Z\0\0\0\4", b"S\0\0\0\0", b"D\x3f\xff\xff\xff", b"B\0\0\0\6xx", b"P\0\0\0\6xx"])
def test_a_fault_after_login_ends_the_session_only(bench: Any, data: bytes) -> None:
    import os

    with psycopg.connect(bench.url(), autocommit=True) as c:
        os.write(c.pgconn.socket, data)
        with pytest.raises(psycopg.OperationalError):
            c.execute("select 1")
    alive(bench)


def test_tls_from_the_client_with_channel_binding_and_direct(make_bench: Any, tmp_path: Path) -> None:
    ca = trustme.CA()
    cert = ca.issue_cert("localhost", "127.0.0.1")
    (tmp_path / "cert").write_bytes(b"".join(b.bytes() for b in cert.cert_chain_pems))
    (tmp_path / "key").write_bytes(cert.private_key_pem.bytes())
    (tmp_path / "ca").write_bytes(ca.cert_pem.bytes())
    bench = make_bench(tls=ClientTls(tmp_path / "cert", tmp_path / "key"))
    extra = f"?sslmode=verify-full&sslrootcert={tmp_path / 'ca'}&channel_binding=require"
    with psycopg.connect(bench.url(extra=extra)) as c:
        assert c.execute("select repeat('x', 1000000)").fetchone() is not None
        assert c.pgconn.ssl_in_use
    with psycopg.connect(bench.url(extra=extra + "&sslnegotiation=direct")) as c:
        assert c.execute("select 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="TLS connections only"):
        psycopg.connect(bench.url(extra="?sslmode=disable"))
    plain = ssl.create_default_context(cafile=str(tmp_path / "ca"))  # direct TLS, but no ALPN
    raw = socket.create_connection((bench.running.host, bench.running.port), timeout=2)
    with raw, plain.wrap_socket(raw, server_hostname="localhost") as t:
        assert b"ALPN" in t.recv(4096)
