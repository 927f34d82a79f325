"""SCRAM: the RFC's own example, libpq's empty name, and every way not to get in."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ingest.postgres import scram
from ingest.postgres.scram import PLAIN, PLUS, ScramRefused, ScramServer, Verifier

PASSWORD = "correct horse"
VERIFIER = Verifier.of(PASSWORD, b"0123456789abcdef")


class Client:
    """The client's half, written from RFC 5802 so that it shares nothing with ours."""

    def __init__(self, password: str = PASSWORD, user: str = "", flag: str = "n", end_point: bytes = b"") -> None:
        self.password, self.flag, self.end_point = password, flag, end_point
        self.bare = f"n={user},r=clientnonce"

    def first(self) -> bytes:
        return f"{self.flag},,{self.bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        nonce, salt, iterations = (p[2:] for p in server_first.decode().split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), base64.b64decode(salt), int(iterations))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        binding = base64.b64encode(f"{self.flag},,".encode() + self.end_point).decode()
        without = f"c={binding},r={nonce}"
        auth = f"{self.bare},{server_first.decode()},{without}".encode()
        signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
        self.expected = b"v=" + base64.b64encode(
            hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), auth, "sha256")
        )
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True))).decode()
        return f"{without},p={proof}".encode()


def run(client: Client, mechanism: str = PLAIN, end_point: bytes = b"", verifier: Verifier = VERIFIER) -> bytes:
    server = ScramServer(verifier, mechanism, end_point)
    return server.final(client.final(server.first(client.first())))


@pytest.mark.parametrize("user", ["", "deploy"])
def test_the_right_password_gets_in_and_sees_our_proof(user: str) -> None:
    client = Client(user=user)
    assert run(client) == client.expected


def test_rfc_7677_example(monkeypatch: pytest.MonkeyPatch) -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    server = ScramServer(Verifier.of("pencil", salt), PLAIN, b"")
    monkeypatch.setattr(scram.base64, "b64encode", _rfc_nonce(base64.b64encode))
    first = server.first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    assert first == b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = server.final(
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert final == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def _rfc_nonce(real):
    """The example's server nonce in place of a random one (18 random bytes are what is encoded for it)."""
    return lambda raw: b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" if len(raw) == 18 else real(raw)


def test_a_verifier_reads_back() -> None:
    assert Verifier.parse(str(VERIFIER)) == VERIFIER


@pytest.mark.parametrize(
    "text", ["", "secret", "md5abc", "SCRAM-SHA-256$4096:x", "SCRAM-SHA-256$4096:AA==$AA==:AA==", "a$b:c$d:e"]
)
def test_what_is_no_verifier_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="verifier"):
        Verifier.parse(text)


def test_channel_binding_holds_and_a_wrong_one_does_not() -> None:
    flag = "p=tls-server-end-point"
    client = Client(flag=flag, end_point=b"E" * 32)
    assert run(client, PLUS, b"E" * 32) == client.expected
    with pytest.raises(ScramRefused, match="binding"):
        run(Client(flag=flag, end_point=b"M" * 32), PLUS, b"E" * 32)


@pytest.mark.parametrize(
    ("client", "mechanism", "end_point", "why"),
    [
        (Client("wrong"), PLAIN, b"", "password does not match"),
        (Client(flag="y"), PLAIN, b"E" * 32, "thinks"),  # somebody stripped -PLUS from our offer
        (Client(flag="n"), PLUS, b"E" * 32, "binding type"),
        (Client(flag="p=tls-unique"), PLUS, b"E" * 32, "binding type"),
        (Client(flag="p=tls-server-end-point"), PLAIN, b"", "malformed"),
    ],
)
def test_ways_not_to_get_in(client: Client, mechanism: str, end_point: bytes, why: str) -> None:
    with pytest.raises(ScramRefused, match=why):
        run(client, mechanism, end_point)


def test_a_user_that_does_not_exist_never_gets_in_and_always_shows_the_same_salt() -> None:
    mock = [Verifier.mock(b"seed of this name" * 2, 4096) for _ in range(2)]
    assert mock[0].salt == mock[1].salt
    with pytest.raises(ScramRefused, match="password does not match"):
        run(Client(), verifier=mock[0])


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=u",
        b"n,,n=u,r=",
        b"n,a=x,n=u,r=x",
        b"n,,m=x,n=u,r=x",
        b"n,,r=x,n=u",
        b"n,,\xff",
        b"x" * 5000,
    ],
)
def test_a_malformed_first_message_is_refused(first: bytes) -> None:
    with pytest.raises(ScramRefused):
        ScramServer(VERIFIER, PLAIN, b"").first(first)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[:-8],
        lambda m: m.replace(b"r=", b"r=x"),
        lambda m: b"",
        lambda m: b"c=biws",
        lambda m: m + b",p=",
        lambda m: b"p=" + m,
        lambda m: b"y" * 5000,
    ],
)
def test_a_changed_final_message_is_refused(change) -> None:
    client = Client()
    server = ScramServer(VERIFIER, PLAIN, b"")
    final = client.final(server.first(client.first()))
    with pytest.raises(ScramRefused):
        server.final(change(final))
