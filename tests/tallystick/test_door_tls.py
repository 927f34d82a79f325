"""The approvals door over TLS: the real role, in a process of its own, and a reviewer's command."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from tallystick import setup
from tallystick.checking import findings
from tallystick.config import load
from tests.conftest import free_port
from tests.tallystick.deployment import tallystick


@dataclass
class Behind:
    """A deployment whose door has a certificate of `authority`; `ca` is that authority's own."""

    config: Path
    reviewer: Path
    authority: Path
    port: int

    def requests(self, *more: str, url: str = "") -> subprocess.CompletedProcess[str]:
        named = ("--url", url) if url else ()
        return tallystick("requests", "--key", str(self.reviewer), "--config", str(self.config), *named, *more)


def make(folder: Path) -> Behind:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "door.pem")
    port = free_port()
    made = setup.make(
        folder / "place", target="postgresql://app@127.0.0.1:1/orders", listen=f"127.0.0.1:{free_port()}",
        approvals=f"127.0.0.1:{port}", more=f'[approvals_tls]\ncert = "{folder}/door.pem"\nkey = "{folder}/door.pem"',
    )  # fmt: skip
    return Behind(made.config, made.reviewer_key, folder / "ca.pem", port)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """It runs."""
    place = make(tmp_path_factory.mktemp("door"))
    command = [sys.executable, "-m", "tallystick", "worker", "--steps", "approvals", "--config", str(place.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline().strip() == f"ready https://127.0.0.1:{place.port}"
        yield place
        worker.terminate()
        assert worker.wait(30) == 0


def test_a_reviewer_who_trusts_its_authority_reads_over_tls_and_nobody_in_the_clear(behind: Behind) -> None:
    done = behind.requests("--ca", str(behind.authority))
    assert (done.returncode, "not https" in done.stderr) == (0, False), done.stderr
    done = behind.requests("--ca", str(behind.authority), url=f"https://127.0.0.1:{behind.port}")
    assert done.returncode == 0, done.stderr
    plain = http.client.HTTPConnection("127.0.0.1", behind.port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/approvals")
        plain.getresponse()


def test_who_does_not_trust_its_authority_is_told_what_to_do(behind: Behind) -> None:
    assert "name the authority that made it with --ca" in behind.requests().stderr
    done = behind.requests("--ca", str(behind.config))
    assert (done.returncode, "not a file of certificates" in done.stderr) == (2, True)


def test_the_config_may_name_the_authority_and_check_knows_the_door(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_CA", str(behind.authority))
    assert behind.requests().returncode == 0
    monkeypatch.delenv("TALLYSTICK_CA")
    behind.config.write_text(
        behind.config.read_text().replace("[approvals_tls]", f'[approvals_tls]\nca = "{behind.authority}"')
    )
    assert behind.requests().returncode == 0
    said = {f.text: f.good for f in findings(load(behind.config)) if f.about == "approvals"}
    assert said == {
        f"reviewers reach it over TLS, at https://127.0.0.1:{behind.port}": True,
        f"127.0.0.1:{behind.port} is in use by us": True,
    }


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("cert", "approvals_tls: {} and its key cannot be loaded (FileNotFoundError)"),
        ("ca", "approvals_tls: {}: not a file of certificates (FileNotFoundError)"),
    ],
)
def test_a_file_that_is_not_there_is_said(tmp_path: Path, key: str, fault: str) -> None:
    behind = make(tmp_path)
    gone = behind.config.parent / "gone.pem"
    text = behind.config.read_text()
    lines = [line for line in text.splitlines() if not (key == "cert" and line.startswith("cert = "))]
    behind.config.write_text("\n".join(lines).replace("[approvals_tls]", f'[approvals_tls]\n{key} = "{gone}"'))
    assert fault.format(gone) in [f.text for f in findings(load(behind.config)) if not f.good]


def test_a_door_on_the_network_in_the_clear_is_a_finding(tmp_path: Path) -> None:
    made = setup.make(
        tmp_path / "place", target="postgresql://app@127.0.0.1:1/orders", listen=f"127.0.0.1:{free_port()}",
        approvals=f"0.0.0.0:{free_port()}",
    )  # fmt: skip
    assert [f.good for f in findings(load(made.config)) if "in the clear" in f.text] == [False]
    made.config.write_text('approvals_url = "https://door.example"\n' + made.config.read_text())
    assert not [f for f in findings(load(made.config)) if "in the clear" in f.text]
