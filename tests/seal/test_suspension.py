"""A suspension is believed by its signature alone; a key directory of an earlier release gets the role's key."""

import dataclasses
import time
from pathlib import Path

import pytest

from schemas.ids import AlertId, SessionId, SuspensionId
from schemas.records import Scope, Suspended
from seal import keyfiles
from seal.keyfiles import KeysUnusable, NotEnrolled
from seal.sign import BadSignature
from seal.suspension import check_suspension, sign_suspension

NOW = time.time_ns() // 1000 + 3_600_000_000  # keys are good from a minute before they are made, and tests run long
SUSPENDED = Suspended(
    SuspensionId("sus-a"), AlertId("alr-a"), Scope.IDENTITY, "ci", SessionId("r/1/1"), "db", (), 1, 2, "v", "", b""
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    keyfiles.init(tmp_path / "keys", "test")
    return tmp_path / "keys"


@pytest.mark.parametrize(
    "change", [{"subject": "app"}, {"until_us": 3}, {"scope": Scope.SESSION}, {"caused_by": ("ann",)}], ids=str
)
def test_every_word_of_a_suspension_is_signed(keys: Path, change: dict[str, object]) -> None:
    signed = sign_suspension(keyfiles.load_signer(keys, "behaviour"), SUSPENDED)
    check_suspension(signed, keyfiles.enrolled(keys), NOW)
    with pytest.raises(BadSignature):
        check_suspension(dataclasses.replace(signed, **change), keyfiles.enrolled(keys), NOW)


@pytest.mark.parametrize("role", ["approvals", "pipeline", "gateway", "ledger"])
def test_no_other_role_can_suspend(keys: Path, role: str) -> None:
    with pytest.raises(NotEnrolled):
        check_suspension(sign_suspension(keyfiles.load_signer(keys, role), SUSPENDED), keyfiles.enrolled(keys), NOW)


def test_a_directory_of_an_earlier_release_gets_the_key_and_keeps_the_others(keys: Path, tmp_path: Path) -> None:
    for name in ("behaviour.key", "enrolled/behaviour.json"):
        (keys / name).unlink()
    before = {path: path.read_bytes() for path in keys.rglob("*.*")}
    keyfiles.init(tmp_path / "others", "other")
    with pytest.raises(KeysUnusable, match="not the root key"):
        keyfiles.add_role(keys, "behaviour", tmp_path / "others" / "root.key")
    keyfiles.add_role(keys, "behaviour", keys / "root.key")
    signed = sign_suspension(keyfiles.load_signer(keys, "behaviour"), SUSPENDED)
    check_suspension(signed, keyfiles.enrolled(keys), NOW + 1_000_000)
    assert before == {path: path.read_bytes() for path in before}
    with pytest.raises(KeysUnusable, match="never overwritten"):
        keyfiles.add_role(keys, "behaviour", keys / "root.key")


def test_state_is_sealed_with_a_key_of_that_role_alone(keys: Path) -> None:
    assert len({keyfiles.load_state_key(keys, role) for role in keyfiles.ROLES}) == len(keyfiles.ROLES)
