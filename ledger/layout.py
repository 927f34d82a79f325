"""Every path of the store and of an exported log, in one place; no I/O."""

from __future__ import annotations

import re

TILE_WIDTH = 256
_BATCH = re.compile(r"([0-9]{20})\.avro")
_CHECKPOINT = re.compile(r"[0-9]{20}")
_SUCCESSOR = re.compile(r"[2-9]|[1-9][0-9]{1,8}")


def batch(shard: str, seq: int) -> str:
    return f"{shard}/batch/{seq:020d}.avro"


def batches(shard: str) -> str:
    return f"{shard}/batch/"


def checkpoint(shard: str, seq: int) -> str:
    return f"{shard}/checkpoint/{seq:020d}"


def checkpoints(shard: str) -> str:
    return f"{shard}/checkpoint/"


def batch_number(shard: str, key: str) -> int | None:
    """The seq that a key under `batches` names, or None for a key that is not ours."""
    found = _BATCH.fullmatch(key.removeprefix(batches(shard)))
    return int(found[1]) if found else None


def checkpoint_number(shard: str, key: str) -> int | None:
    """The same, under `checkpoints`."""
    name = key.removeprefix(checkpoints(shard))
    return int(name) if _CHECKPOINT.fullmatch(name) else None


def successor(first: str, number: int) -> str:
    """The name under which a shard goes on for the `number`th time; 1 is its first."""
    return first if number == 1 else f"{first}-{number}"


def successor_number(first: str, name: str) -> int | None:
    """The inverse; None for a name of another shard."""
    number = name.removeprefix(f"{first}-")
    if name == first:
        return 1
    return int(number) if number != name and _SUCCESSOR.fullmatch(number) else None


def tile_path(index: int) -> str:
    """C2SP tlog-tiles: a tile's number as x001/x234/067."""
    parts = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        parts.append(f"x{index % 1000:03d}")
    return "/".join(reversed(parts))


def tile(level: str, index: int, width: int) -> str:
    """`level` is a number or "entries"; a width of 256 is a full tile."""
    return f"tile/{level}/{tile_path(index)}" + ("" if width == TILE_WIDTH else f".p/{width}")


def tiles(size: int) -> list[tuple[str, int, int]]:
    """Every tile of a log of this size, as (level, index, width), entries first."""
    found = []
    for level in ("entries", *map(str, range(8))):
        below = size >> 8 * (0 if level == "entries" else int(level))
        found += [(level, n, TILE_WIDTH) for n in range(below // TILE_WIDTH)]
        if below % TILE_WIDTH:
            found.append((level, below // TILE_WIDTH, below % TILE_WIDTH))
    return found
