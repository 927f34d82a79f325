"""A deployment whose keys are wrapped: it works beside the secret, and what lies on its disk opens nothing."""

from __future__ import annotations

import base64
from pathlib import Path

import psycopg
import pytest

from seal import keyfiles, wrapping
from tallystick.demo_stage import run
from tests.scenarios import searching
from tests.scenarios.conftest import Make


@pytest.mark.parametrize("backing", ["embedded"], indirect=True)
def test_every_role_opens_wrapped_keys_and_no_file_holds_one(
    deploy: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy()
    keys, secret = deployment.place / "keys", tmp_path / "wrap"
    secret.write_bytes(base64.b64encode(bytes(range(32))))
    seeds = [path.read_text().strip() for path in (keys / name for name in keyfiles.unwrapped_files(keys))]
    assert len(seeds) == 10
    (keys / "root.key").unlink()  # taken to a safe place
    assert deployment.tallystick("check").returncode == 0
    wrapped = run("keys", "wrap", "--dir", str(keys), "--secret", str(secret))
    assert wrapped.returncode == 0, wrapped.stderr
    refused = deployment.tallystick("check")
    assert refused.returncode == 2
    assert "ledger.key: wrapped; give the secret" in refused.stderr
    monkeypatch.setenv(wrapping.NAMED_BY, str(secret))
    checked = deployment.tallystick("check")
    assert (checked.returncode, "unwrapped" in checked.stdout) == (0, False), checked.stderr
    deployment.up.start()
    with psycopg.connect(deployment.url, autocommit=True) as db:
        db.execute("select 'said under wrapped keys'")
    deployment.up.stop()
    assert any("said under wrapped keys" in text for _, text in deployment.commands())
    assert deployment.verify().code == 0
    assert searching.left(deployment, tuple(seeds)) == {}
