"""A real ssh-agent with keys of its own; a test that asks for one is skipped where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass
class Agent:
    folder: Path
    at: str

    def ssh_add(self, *arguments: str) -> str:
        done = subprocess.run(
            ["ssh-add", *arguments], capture_output=True, text=True, timeout=20, check=True, stdin=subprocess.DEVNULL,
            env={**os.environ, "SSH_AUTH_SOCK": self.at},
        )  # fmt: skip
        return done.stdout

    def make(self, name: str, kind: str = "ed25519", *more: str) -> None:
        path = self.folder / name
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(command, check=True, timeout=60)
        self.ssh_add("-q", *more, str(path))

    def take(self, seed: bytes, name: str) -> None:
        """An Ed25519 key of ours, as OpenSSH keeps one."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        kept = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(kept)
        subprocess.run(["ssh-keygen", "-q", "-c", "-P", "", "-C", name, "-f", str(path)], check=True, timeout=60)
        self.ssh_add("-q", str(path))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    if not shutil.which("ssh-agent"):
        pytest.skip("no ssh-agent on this machine")
    at = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(at)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Agent(tmp_path, str(at))
        process.terminate()
