"""The config is strict: a mistyped key stops the start instead of switching a control off."""

from pathlib import Path

import pytest

from tallystick.config import ConfigInvalid, load

GOOD = """
data = "d"
keys = "k"
policy = "policy.yaml"
[[gateway]]
name = "orders-db"
listen = "127.0.0.1:15432"
target = "postgresql://orders_app@db.internal:5432/orders"
[[gateway.identity]]
subject = "ci/deploy"
user = "ci"
verifier = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tallystick.toml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, GOOD))
    assert config.data == tmp_path / "d"
    assert config.store_dir == tmp_path / "data/ledger"
    assert config.gateway[0].listen.port == 15432


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("policy =", "polcy ="), "did you mean 'policy'"),
        (("listen =", "lissen ="), "did you mean 'listen'"),
        (("subject =", "subjet ="), "did you mean 'subject'"),
        (('keys = "k"', 'keys = "d/k"'), "lock and key"),
        (("127.0.0.1:15432", "127.0.0.1"), "must look like"),
        (("orders_app@", "orders_app:secret@"), "target_password_file"),
        (("postgresql://", "mysql://"), "must look like"),
        (('keys = "k"', 'keys = "k"\nbus = "kafka:h:1"'), 'bus: must be "local"'),
        (('keys = "k"', 'keys = "k"\nbus = "kafka://h"'), "look like"),
        (("[[gateway]]", "[kafka]\nmin_insync = 4\n[[gateway]]"), "nothing could ever be written"),
        (("[[gateway]]", '[kafka]\nuser = "u"\n[[gateway]]'), "go together"),
        (('data = "d"', "data = ["), "not TOML"),
    ],
)
def test_a_fault_is_named_with_what_to_do(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(ConfigInvalid, match=says) as caught:
        load(write(tmp_path, GOOD.replace(*change)))
    assert "secret" not in str(caught.value).replace("target_password_file", "")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="cannot be read"):
        load(tmp_path / "none.toml")
