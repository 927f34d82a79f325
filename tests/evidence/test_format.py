"""Bundles of one format hold the same for ever, and one of another format is not called altered."""

from __future__ import annotations

import hashlib
from pathlib import Path

from evidence import archive
from evidence.bundle import FORMAT, Made
from evidence.outcome import Code
from evidence.verify import verify
from tests.evidence.test_verify import bodies, bundle, code, signed

HOLDS = "748984930e6ad71da39f4f78f420344f18824e92695a1948f9eab44dfdbe4cc1"
"""Digest of all that a verifier makes again of one small log, in format 1. Where it changes, auditors' verifiers of the
release before would call good bundles altered: raise FORMAT, and put the new digest here. Another log, in `bodies`,
changes it too."""


def test_what_a_format_holds_does_not_change(tmp_path: Path) -> None:
    made, _ = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    digest = hashlib.sha256()
    for name, data in sorted(parts.items()):
        if not name.startswith(("batches/", "manifest.json")):  # batches are zipped by a library
            digest.update(b"%s\0%d\0" % (name.encode(), len(data)) + data)
    assert FORMAT == 1
    assert digest.hexdigest() == HOLDS


def test_a_bundle_of_another_format_is_said_to_be_one(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts | {"population.csv": b"made otherwise"}
    assert code(tmp_path, signed(parts, w), w) is Code.ALTERED
    newer = signed(parts, w, Made(FORMAT + 1, "0.3.0"))
    assert code(tmp_path, newer, w) is Code.CANNOT
    (found,) = verify(tmp_path / "tried.zip", w.key).findings
    assert "'0.3.0' in format 2" in found.what


def test_nobody_changes_which_release_made_a_bundle(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    for before, after in ((b'"format": 1', b'"format": 2'), (b'"release": ""', b'"release": "0.3.0"')):
        assert before in parts["manifest.json"]
        changed = parts | {"manifest.json": parts["manifest.json"].replace(before, after)}
        assert code(tmp_path, archive.pack(changed), w) is Code.ALTERED
