"""`keys wrap` and `keys passphrase`, as people and scripts use them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from seal import keyfiles, wrapping
from tests.tallystick.test_cli import tallystick


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    keyfiles.init(tmp_path / "keys", "acme")
    return tmp_path / "keys"


def typed(arguments: list[str], *lines: str) -> tuple[int, str, str]:
    """At a terminal: each line once the one before was asked for. Exit code, stdout, and what the terminal shows."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "tallystick", *arguments],
        stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True, text=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    for line in lines:
        asked = len(shown)
        while b": " not in shown[asked:].replace(b"\r\n", b""):
            shown += os.read(ours, 1024)
        os.write(ours, line.encode() + b"\n")
    out, _ = done.communicate(timeout=60)
    while True:
        try:
            more = os.read(ours, 1024)
        except OSError:  # the other end is closed
            break
        shown += more
    os.close(ours)
    return done.returncode, out, shown.decode()


def test_keys_are_wrapped_by_a_secret_that_lies_elsewhere(keys: Path, tmp_path: Path) -> None:
    secret = tmp_path / "wrap"
    secret.write_text("s" * 44 + "\n")
    done = tallystick("keys", "wrap", "--dir", str(keys), "--secret", str(secret))
    assert done.returncode == 0
    assert "10 files were wrapped" in done.stdout
    assert keyfiles.unwrapped_files(keys) == []
    shown = tallystick("keys", "show", "--dir", str(keys))
    assert shown.returncode == 0, "what is public needs no secret"


def test_a_secret_beside_what_it_wraps_is_refused(keys: Path) -> None:
    (keys / "wrap").write_text("s" * 44)
    for arguments, why in (
        (("--secret", str(keys / "wrap")), "it is no secret"),
        (("--secret", str(keys / "none")), "it is no secret"),
        ((), "--secret: name the file"),
    ):
        done = tallystick("keys", "wrap", "--dir", str(keys), *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert why in done.stderr
    assert len(keyfiles.unwrapped_files(keys)) == 10, "and nothing was wrapped"


def test_a_reviewers_key_is_locked_at_a_terminal_and_the_passphrase_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "ann.key"
    code, out, shown = typed(
        ["keys", "reviewer", str(path), "--passphrase"], "short", "correct horse", "correct hors", "correct horse",
        "correct horse",
    )  # fmt: skip
    assert code == 0, shown
    assert out.startswith("ed25519:")
    assert "8 characters at least" in shown
    assert "not the same" in shown
    assert "horse" not in shown
    assert keyfiles.load_reviewer(path, "ann", lambda: "correct horse")
    code, _, shown = typed(["keys", "passphrase", str(path)], "correct horse", "battery staple", "battery staple")
    assert code == 0, shown
    assert keyfiles.load_reviewer(path, "ann", lambda: "battery staple")
    code, _, shown = typed(["keys", "passphrase", str(path)], "correct horse")
    assert (code, "this passphrase does not open it" in shown) == (2, True)


def test_where_there_is_no_terminal_nobody_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "ann.key"
    done = tallystick("keys", "reviewer", str(path), "--passphrase", stdin="correct horse\n")
    assert (done.returncode, path.exists()) == (2, False)
    assert "is asked for at a terminal" in done.stderr
    path.write_text(wrapping.lock(bytes(32), "correct horse"))
    path.chmod(0o600)
    done = tallystick("keys", "passphrase", str(path), stdin="correct horse\n")
    assert done.returncode == 2
    assert "is asked for at a terminal" in done.stderr


def test_enrolments_are_renewed_and_the_keys_stay(keys: Path) -> None:
    """A key is believed for a year; nothing that it signs later is read by anybody."""
    before = keyfiles.enrolled(keys)
    done = tallystick("keys", "renew", "--dir", str(keys))
    assert done.returncode == 0, done.stderr
    after = keyfiles.enrolled(keys)
    assert len(after.all) == 2 * len(before.all)
    end = max(e.until_us for e in before.all)
    assert keyfiles.ends_us(after, end - 1) > end
    for role in keyfiles.ROLES:
        late = max(e.until_us for e in after.all if e.role == role) - 1
        assert after.public(role, role, late) == keyfiles.load_signer(keys, role).public
    again = tallystick("keys", "renew", "--dir", str(keys))
    assert again.returncode != 0
    assert "renewed today" in again.stderr
