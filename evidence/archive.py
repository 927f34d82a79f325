"""The bundle's zip: stored, in one order, with one date, so that every byte of it has one right value.

Reading takes any bytes. Parts are not compressed, so no bomb is possible; names are only
keys of a dictionary and never paths. `pack(unpack(data)) == data` is what `same` checks:
it covers the bytes that no part's digest covers.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST = 1024 * 1024 * 1024
_DATE = (1980, 1, 1, 0, 0, 0)
_LOCAL = 30  # bytes of a local header before name and extra field


class NotAZip(ValueError):
    """The bytes are no zip file, or its directory is damaged."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    parts: dict[str, bytes]
    twice: tuple[str, ...]  # names that are there more than once
    packed: tuple[str, ...]  # names of compressed parts: not read


def pack(parts: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as zipped:
        for name, data in sorted(parts.items()):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o644 << 16
            zipped.writestr(info, data)
    return out.getvalue()


def unpack(data: bytes) -> Unpacked:
    """Raises NotAZip. A part with a wrong CRC is given as it is: its digest will tell."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as zipped:
            infos = zipped.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, EOFError, OverflowError) as e:
        raise NotAZip("the zip's directory cannot be read") from e
    parts: dict[str, bytes] = {}
    twice, packed = [], []
    used = 0
    for info in infos:
        if info.filename in parts:
            twice.append(info.filename)
        elif info.compress_type != zipfile.ZIP_STORED:
            packed.append(info.filename)
        else:
            start = info.header_offset + _LOCAL + len(info.orig_filename.encode("utf-8", "replace"))
            end = start + info.file_size
            inside = 0 <= start <= end <= len(data)
            used += end - start if inside else 0
            if used > len(data):  # before it is copied: a few bytes of directory could ask for all of it again
                raise NotAZip("parts of the zip overlap")
            parts[info.filename] = data[start:end] if inside else b""
    return Unpacked(parts, tuple(twice), tuple(packed))


def same(unpacked: Unpacked, data: bytes) -> bool:
    """Is the file byte for byte what `pack` makes of its parts?"""
    try:
        return pack(unpacked.parts) == data
    except (ValueError, struct.error, OverflowError):
        return False
