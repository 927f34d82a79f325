"""Wrapped key files: what opens them and what does not, and that nothing is lost on the way."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from seal import keyfiles, wrapping
from seal.keyfiles import KeysUnusable
from seal.wrapping import CannotUnwrap

SECRET = b"x3Ts5xvJDqQ1lBvqO7h5b5rCn0kE1m2n3o4p5q6r7s8="
OTHER = b"y" * 44


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    keyfiles.init(tmp_path / "keys", "test")
    return tmp_path / "keys"


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the roles find it."""
    path = tmp_path / "wrap"
    path.write_bytes(SECRET + b"\n")
    monkeypatch.setenv(wrapping.NAMED_BY, str(path))
    return path


def everything(keys: Path) -> tuple[object, ...]:
    return (
        [keyfiles.load_signer(keys, role).public for role in keyfiles.ROLES],
        [keyfiles.load_state_key(keys, role) for role in keyfiles.ROLES],
        [keyfiles.load_secret(keys, purpose) for purpose in keyfiles.PURPOSES],
        keyfiles.load_masker(keys).privates,
    )


def test_wrapped_keys_are_the_same_keys_and_their_files_hold_none(keys: Path, secret: Path) -> None:
    before = everything(keys)
    seeds = {path.name: path.read_text().strip() for path in [*keys.glob("*.key"), *keys.glob("*.secret")]}
    root = seeds.pop("root.key")
    assert sorted(keyfiles.unwrapped_files(keys)) == sorted(seeds)
    assert keyfiles.wrap_all(keys, SECRET, None) == (len(seeds), len(seeds))
    assert everything(keys) == before
    assert keyfiles.unwrapped_files(keys) == []
    assert keyfiles.wrap_all(keys, SECRET, None) == (0, len(seeds)), "nothing is wrapped twice"
    for name, seed in seeds.items():
        assert seed not in (keys / name).read_text()
        assert base64.b64decode(seed) not in base64.b64decode((keys / name).read_text().partition(":")[2])
        assert (keys / name).stat().st_mode & 0o777 == 0o600
    assert (keys / "root.key").read_text().strip() == root, "a person's, who takes it away"
    assert [path.name for path in keys.glob(".*")] == []


def test_without_the_secret_or_with_another_nothing_opens(keys: Path, secret: Path) -> None:
    keyfiles.wrap_all(keys, SECRET, None)
    secret.write_bytes(OTHER)
    with pytest.raises(KeysUnusable, match=r"ledger\.key: this secret did not wrap it"):
        keyfiles.load_signer(keys, "ledger")
    secret.write_bytes(b"short")
    with pytest.raises(KeysUnusable, match="has 32 bytes to 64 KiB"):
        keyfiles.load_signer(keys, "ledger")
    secret.unlink()
    with pytest.raises(KeysUnusable, match="cannot be read"):
        keyfiles.load_signer(keys, "ledger")


def test_a_role_that_is_not_given_the_secret_says_where_it_looks(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyfiles.wrap_all(keys, SECRET, None)
    monkeypatch.delenv(wrapping.NAMED_BY, raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(
        KeysUnusable, match=r"match\.secret: wrapped; give the secret as systemd credential tallystick-wr"
    ):
        keyfiles.load_secret(keys, "match")


def test_a_systemd_credential_is_found(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "tallystick-wrap").write_bytes(SECRET)
    monkeypatch.delenv(wrapping.NAMED_BY, raising=False)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    before = everything(keys)
    keyfiles.wrap_all(keys, SECRET, None)
    assert everything(keys) == before


def test_one_key_in_the_place_of_another_does_not_open(keys: Path, secret: Path) -> None:
    keyfiles.wrap_all(keys, SECRET, None)
    (keys / "ledger.key").write_bytes((keys / "gateway.key").read_bytes())
    with pytest.raises(KeysUnusable, match=r"ledger\.key: this secret did not wrap it"):
        keyfiles.load_signer(keys, "ledger")


def test_a_new_secret_takes_over_from_the_old_one_also_after_half_of_it(keys: Path, secret: Path) -> None:
    before = everything(keys)
    keyfiles.wrap_all(keys, SECRET, None)
    with pytest.raises(KeysUnusable, match="this secret did not wrap it"):
        keyfiles.wrap_all(keys, OTHER, None)
    assert everything(keys) == before, "and nothing was changed"
    (keys / "token.secret").write_text(wrapping.wrap(keyfiles.load_secret(keys, "token"), "token.secret", OTHER) + "\n")
    assert keyfiles.wrap_all(keys, OTHER, SECRET) == (9, 10)
    secret.write_bytes(OTHER)
    assert everything(keys) == before


def contents(keys: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in keys.iterdir() if path.is_file()}


def spoiled(keys: Path, how: str) -> None:
    path = keys / "ledger.key"
    match how:
        case "no key":
            path.write_text("none")
        case "not ASCII":
            path.write_bytes(b"\xff" * 44)
        case "others may read it":
            path.chmod(0o644)
        case "wrapped by another secret":
            path.write_text(wrapping.wrap(bytes(32), path.name, OTHER))


@pytest.mark.parametrize("how", ["no key", "not ASCII", "others may read it", "wrapped by another secret"])
def test_where_one_does_not_open_none_is_changed(keys: Path, how: str) -> None:
    spoiled(keys, how)
    before = contents(keys)
    with pytest.raises(KeysUnusable, match=r"ledger\.key"):
        keyfiles.wrap_all(keys, SECRET, None)
    assert contents(keys) == before


def test_what_is_not_a_roles_is_left_alone(keys: Path) -> None:
    keyfiles.new_reviewer(keys / "ann.key", "correct horse")
    (keys / "root-old.key").write_bytes((keys / "root.key").read_bytes())
    (keys / "x.key").mkdir()
    (keys / ".hidden.secret").write_bytes(b"\xff")
    (keys / "masker-lost.key").symlink_to("nowhere")
    others = {
        name: raw for name, raw in contents(keys).items() if name in ("ann.key", "root-old.key", ".hidden.secret")
    }
    assert keyfiles.wrap_all(keys, SECRET, None) == (10, 10)
    assert others.items() <= contents(keys).items()
    assert keyfiles.unwrapped_files(keys) == []


def test_a_directory_without_keys_is_not_called_wrapped(tmp_path: Path) -> None:
    with pytest.raises(KeysUnusable, match="no keys are here"):
        keyfiles.wrap_all(tmp_path, SECRET, None)


def test_a_link_is_refused_for_what_it_leads_to_would_stay_open(keys: Path, tmp_path: Path) -> None:
    (keys / "ledger.key").rename(tmp_path / "real.key")
    (keys / "ledger.key").symlink_to(tmp_path / "real.key")
    with pytest.raises(KeysUnusable, match="not a file but a link"):
        keyfiles.wrap_all(keys, SECRET, None)
    with pytest.raises(KeysUnusable, match="not a file but a link"):
        keyfiles.set_passphrase(keys / "ledger.key", lambda: "", lambda: "correct horse")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_whoever_wraps_them_the_files_stay_their_owners(keys: Path) -> None:
    for path in keys.glob("*.*"):
        os.chown(path, 65_534, 65_533, follow_symlinks=False)
    (keys / "gateway.key").chmod(0o400)
    keyfiles.wrap_all(keys, SECRET, None)
    for name in ("gateway.key", "ledger.key", "match.secret"):
        was = (keys / name).stat()
        assert (was.st_uid, was.st_gid) == (65_534, 65_533)
    assert (keys / "gateway.key").stat().st_mode & 0o777 == 0o400


def test_a_secret_is_a_file_that_can_be_read_again_and_of_any_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/zero"), tmp_path):
        with pytest.raises(CannotUnwrap):
            wrapping.read_secret(path)
    (tmp_path / "raw").write_bytes(b" " * 32)
    assert wrapping.read_secret(tmp_path / "raw") == b" " * 32


def test_a_passphrase_is_the_same_however_a_keyboard_composes_it() -> None:
    locked = wrapping.lock(bytes(32), "caf\u00e9 au lait")
    assert wrapping.unlock(locked, "cafe\u0301 au lait") == bytes(32)
    with pytest.raises(CannotUnwrap, match="no text"):
        wrapping.lock(bytes(32), "\udcff\udcff")


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_a_changed_character_is_found(keys: Path, secret: Path, place: int) -> None:
    keyfiles.wrap_all(keys, SECRET, None)
    path = keys / "content.secret"
    text = path.read_text().strip()
    changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    path.write_text(changed)
    with pytest.raises(KeysUnusable):
        keyfiles.load_secret(keys, "content")


def test_a_locked_key_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "ann.key"
    public = keyfiles.new_reviewer(path, "correct horse")
    ann = keyfiles.load_reviewer(path, "ann", lambda: "correct horse")
    assert public == "ed25519:" + base64.b64encode(ann.public).decode()
    with pytest.raises(KeysUnusable, match="this passphrase does not open it"):
        keyfiles.load_reviewer(path, "ann", lambda: "correct horsf")
    with pytest.raises(KeysUnusable, match="nobody can be asked"):
        keyfiles.load_reviewer(path, "ann")
    keyfiles.set_passphrase(path, lambda: "correct horse", lambda: "another one")
    assert keyfiles.load_reviewer(path, "ann", lambda: "another one").public == ann.public
    with pytest.raises(KeysUnusable):
        keyfiles.load_reviewer(path, "ann", lambda: "correct horse")


def test_a_key_without_a_passphrase_is_given_one_and_nobody_is_asked_for_none(tmp_path: Path) -> None:
    path = tmp_path / "ann.key"
    keyfiles.new_reviewer(path)
    before = keyfiles.load_reviewer(path, "ann", lambda: pytest.fail("asked")).public
    keyfiles.set_passphrase(path, lambda: pytest.fail("asked"), lambda: "correct horse")
    assert keyfiles.load_reviewer(path, "ann", lambda: "correct horse").public == before
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "passphrase1:3:262144:",
        "passphrase1:3:999999999:AAAA",
        "passphrase1:99999:262144:AAAA",
        "passphrase1:3:0:AAAA",
        "passphrase1:-1:64:AAAA",
        "passphrase1:x:64:AAAA",
        "passphrase1:AAAA",
        "passphrase1:3:64:é",
        "wrapped1:",
        "wrapped1:AAAA",
        "wrapped1:####",
    ],
)
def test_garbage_is_refused_and_takes_no_memory(tmp_path: Path, secret: Path, text: str) -> None:
    path = tmp_path / "ann.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeysUnusable):
        keyfiles.load_reviewer(path, "ann", lambda: "correct horse")


def test_where_the_work_of_a_passphrase_is_made_less_the_key_does_not_open() -> None:
    locked = wrapping.lock(bytes(32), "correct horse")
    assert wrapping.unlock(locked, "correct horse") == bytes(32)
    with pytest.raises(CannotUnwrap):
        wrapping.unlock(locked.replace(f":{wrapping.PASSES}:", ":1:", 1), "correct horse")
