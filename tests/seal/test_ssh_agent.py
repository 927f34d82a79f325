"""Keys in a real ssh-agent, and in things that only listen like one."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from seal.sign import BadSignature, Domain, check
from seal.ssh_agent import AgentFailed, AgentKey, AgentSigner, keys
from tests.seal.agents import Agent, agent

__all__ = ["agent"]


def test_it_signs_with_a_key_that_stays_there(agent: Agent) -> None:
    agent.make("other", "ecdsa")
    agent.make("alice@laptop")
    (found,) = keys(agent.at)
    assert found.comment == "alice@laptop"
    assert found.fingerprint in agent.ssh_add("-l")
    signature = AgentSigner("alice", found.public, agent.at).sign(Domain.VOTE, b"m")
    check(found.public, Domain.VOTE, b"m", signature)
    for domain, message in ((Domain.VOTE, b"n"), (Domain.REVIEWER_REQUEST, b"m")):
        with pytest.raises(BadSignature):
            check(found.public, domain, message, signature)


def test_a_key_that_went_away_and_an_agent_that_is_locked_or_gone_are_said(agent: Agent, tmp_path: Path) -> None:
    agent.make("alice")
    (found,) = keys(agent.at)
    agent.ssh_add("-q", "-D")
    with pytest.raises(AgentFailed, match="no such key"):
        AgentSigner("alice", found.public, agent.at).sign(Domain.VOTE, b"m")
    assert keys(agent.at) == []
    with pytest.raises(AgentFailed, match="cannot be asked"):
        keys(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x05\x0c\0\0\0\x01",
        b"\0\0\0\x09\x0c\0\0\0\x01\xff\xff\xff\xff",
        b"\0\0\0\x64\x0c",
    ],
    ids=["nothing", "empty", "too long", "no key", "a key too long", "cut"],
)
def test_what_is_no_agent_is_said(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(AgentFailed), listening(tmp_path, answer) as at:
        keys(at)


def test_a_signature_of_another_is_not_taken(tmp_path: Path) -> None:
    body = b"\x0e" + _s(_s(b"ssh-ed25519") + _s(bytes(64)))
    with listening(tmp_path, _s(body)) as at, pytest.raises(AgentFailed, match="not a signature by that key"):
        AgentSigner("alice", AgentKey(b"k" * 32, "").public, at).sign(Domain.VOTE, b"m")


class listening:
    """A socket that answers one question with these bytes."""

    def __init__(self, folder: Path, answer: bytes) -> None:
        self.at, self._answer = str(folder / "false"), answer

    def __enter__(self) -> str:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(self.at)
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self.at

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(self._answer)

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()


def _s(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part
