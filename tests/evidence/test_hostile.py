"""Whatever lies there, a verifier ends soon, in little memory, with an exit code that says what is wrong."""

import base64
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import zstandard

from evidence import archive
from evidence.outcome import Code
from evidence.verify import verify
from ledger import container, layout
from ledger.batch import _MARK, decode
from ledger.export import export
from ledger.note import VerifierKey
from ledger.store import FileStore
from ledger.writer import Writer
from tests.evidence.test_verify import bodies, bundle, ledger

ONE = f"batches/{1:020d}.avro"
ROOT = Path(__file__).parents[2]


def remade(raw: bytes, edit: Callable[[dict[str, Any]], None]) -> bytes:
    """A batch file whose metadata says something else, well framed."""
    found = container.read(raw, 4)
    said = json.loads(found.metadata["tallystick.batch"])
    edit(said)
    found.metadata["tallystick.batch"] = json.dumps(said, separators=(",", ":")).encode()
    return framed(found.metadata, found.sync, [(b.count, b.packed) for b in found.blocks])


def framed(metadata: dict[str, bytes], sync: bytes, blocks: list[tuple[int, bytes]]) -> bytes:
    out = [container.MAGIC, container.long(len(metadata))]
    for key, value in metadata.items():
        out += [container.prefixed(key.encode()), container.prefixed(value)]
    out += [container.long(0), sync]
    for count, packed in blocks:
        out += [container.long(count), container.prefixed(packed), sync]
    return b"".join(out)


def bomb(raw: bytes, blocks: int, size: int) -> bytes:
    """A batch whose every entry has content that packs to nothing, with every mark made right."""
    found = container.read(raw, 4)
    leaf = decode(raw).items[0].leaf
    content = bytes(size)
    packed = zstandard.ZstdCompressor().compress(leaf[10:] + container.prefixed(content))
    said = json.loads(found.metadata["tallystick.batch"])
    said["count"] = blocks
    mark = _MARK.pack(len(leaf), crc32(content, crc32(leaf)))
    found.metadata["tallystick.batch"] = json.dumps(said, separators=(",", ":")).encode()
    found.metadata["tallystick.leaves"] = base64.b64encode(mark * blocks)
    return framed(found.metadata, found.sync, [(1, packed)] * blocks)


def overlapping(size: int, parts: int) -> bytes:
    """A zip with one part of `size`, which its directory names `parts` times."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr("a", bytes(size))
    raw = out.getvalue()
    end = raw.rindex(b"PK\x05\x06")
    (start,) = struct.unpack_from("<I", raw, end + 16)
    directory = bytearray()
    for n in range(parts):
        name = f"{n:06d}".encode()
        directory += raw[start : start + 28] + struct.pack("<H", len(name)) + raw[start + 30 : start + 46] + name
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, parts, parts, len(directory), start, 0)
    return raw[:start] + bytes(directory) + last


def surrogate(said: dict[str, Any]) -> None:
    said["shard"] = "\ud800"


def far(said: dict[str, Any]) -> None:
    said["first"] = 10**4300 - 1
    said["before"] = ["00" * 32] * said["first"].bit_count()


@pytest.mark.parametrize("edit", [surrogate, far])
def test_metadata_that_no_text_can_hold_is_altered(tmp_path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    tried = tmp_path / "b.zip"
    tried.write_bytes(archive.pack(parts | {ONE: remade(parts[ONE], edit)}))
    assert verify(tried, w.key).code is Code.ALTERED
    batch = tmp_path / "ledger" / layout.batch("0", 1)
    batch.unlink()
    batch.write_bytes(remade(parts[ONE], edit))
    assert verify(tmp_path / "ledger", w.key).code is Code.ALTERED


def in_little_memory(path: Path, key: VerifierKey) -> int:
    """`tallystick verify` in a process that may have 600 MB; its exit code."""
    program = f"""
import resource, sys
sys.path.insert(0, {str(ROOT)!r})
resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
from pathlib import Path
from evidence.verify import verify
from ledger.note import parse_vkey
sys.exit(int(verify(Path({str(path)!r}), parse_vkey({str(key)!r})).code))
"""
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode


def test_a_small_bundle_does_not_become_large(tmp_path: Path) -> None:
    made, w = bundle(tmp_path, bodies())
    parts = archive.unpack(made).parts
    tried = tmp_path / "b.zip"
    tried.write_bytes(archive.pack(parts | {ONE: bomb(parts[ONE], 24, 60 << 20)}))
    assert tried.stat().st_size < 1 << 20
    assert in_little_memory(tried, w.key) == Code.ALTERED
    tried.write_bytes(overlapping(4 << 20, 2_000))
    assert in_little_memory(tried, w.key) == Code.ALTERED


def test_a_file_of_holes_in_a_store_is_not_read_whole(tmp_path: Path) -> None:
    w = ledger(tmp_path / "l", bodies())
    batch = tmp_path / "l" / layout.batch("0", 1)
    batch.chmod(0o644)
    os.truncate(batch, 1 << 40)
    assert in_little_memory(tmp_path / "l", w.key) == Code.ALTERED


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Writer]:
    w = ledger(tmp_path / "l", bodies())
    export(FileStore(tmp_path / "l"), "0", w.key, tmp_path / "x")
    return tmp_path / "x", w


def soon(path: Path, key: VerifierKey) -> Code:
    """In a process that is given up after a while."""
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from evidence.verify import verify
from ledger.note import parse_vkey
sys.exit(int(verify(Path({str(path)!r}), parse_vkey({str(key)!r})).code))
"""
    return Code(subprocess.run([sys.executable, "-c", program], check=False, timeout=20).returncode)


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(exported: tuple[Path, Writer], tmp_path: Path) -> None:
    out, w = exported
    shutil.copytree(out, tmp_path / "y")
    tile = tmp_path / "y" / layout.tile("0", 0, len(bodies()))
    tile.unlink()
    os.mkfifo(tile)
    assert soon(tmp_path / "y", w.key) is Code.MISSING
    batch = tmp_path / "l" / layout.batch("0", 1)
    batch.unlink()
    os.mkfifo(batch)
    assert soon(tmp_path / "l", w.key) is Code.CANNOT
    (out / "log.vkey").unlink()
    os.mkfifo(out / "log.vkey")
    assert soon(out, w.key) is Code.EXTRA


def test_folders_in_folders_are_walked(exported: tuple[Path, Writer]) -> None:
    out, w = exported
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(out)
        for _ in range(1200):
            os.mkdir("a")
            os.chdir("a")
        Path("planted").touch()
    finally:
        os.fchdir(here)
        os.close(here)
    try:
        assert verify(out, w.key).code is Code.EXTRA
    finally:
        subprocess.run(["rm", "-rf", str(out)], check=True)  # rmtree calls itself, too
