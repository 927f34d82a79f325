"""The directory of one recorder's journal: whose it is, who may write it, what the last boot left in it."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from bus import journal
from schemas.ids import RecorderId
from seal.segment import next_chain, sign_segment
from seal.sign import Signer

LAST_BEAT = "beats.last"
NOT_ALONE = "not-alone"
_SUFFIX = re.compile(r"[0-9a-f]{8}")


class RecorderTaken(RuntimeError):
    """Another process writes this journal."""


class NotAlone(RuntimeError):
    """Another recorder has this one's name. The next start takes a new one."""


@dataclass(frozen=True, slots=True)
class Left:
    """Where the boot before ended. boot -1, end (-1, -1): there was none."""

    boot: int
    epoch: int
    end: tuple[int, int]


def identity(name: str, root: Path) -> tuple[RecorderId, Path]:
    """The recorder of this name (`<gateway>.<worker>`) whose journal is under `root`, or a new one.

    A folder that registered a boot once and has no epoch file any more is a lost disk: a new recorder, since
    positions must never go back. So is one whose twin was met.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = [p for p in sorted(root.iterdir()) if p.name.startswith(name + ".") and _usable(p, name)]
    place = found[-1] if found else root / f"{name}.{secrets.token_hex(4)}"
    place.mkdir(mode=0o700, exist_ok=True)
    return RecorderId(place.name), place


def _usable(place: Path, name: str) -> bool:
    if not place.is_dir() or not _SUFFIX.fullmatch(place.name.removeprefix(name + ".")):
        return False
    if (place / NOT_ALONE).exists():
        return False
    return bool(journal.epochs(place)) or not (place / LAST_BEAT).exists()


def give_up(place: Path) -> None:
    """This folder's recorder has a twin: nobody writes it again. What is in it stays. Raises OSError."""
    (place / NOT_ALONE).touch(0o600)


def lock(place: Path) -> int:
    """A handle; the kernel gives the lock back when the process ends, however it ends. Raises RecorderTaken."""
    handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(handle)
        raise RecorderTaken(f"{place.name}: another process writes this journal; stop it first") from e
    return handle


def sign_what_is_left(place: Path, signer: Signer) -> Left:
    """Cuts a torn tail and signs, as found, the chunks that nobody signed. Raises JournalUnwritable, JournalDamaged."""
    tail = journal.recover(place)
    if tail is None:
        return Left(-1, -1, (-1, -1))
    facts = tail.facts
    before = (facts.prior_epoch, facts.prior_chunk)
    if tail.unsigned:
        prior = before if tail.unsigned_first == 0 else (facts.epoch, tail.unsigned_first - 1)
        header = replace(
            facts,
            first=tail.unsigned_first,
            last=tail.last_chunk,
            prior_epoch=prior[0],
            prior_chunk=prior[1],
            chain=next_chain(tail.chain, tail.unsigned),
            recovered=True,
        )
        journal.append_header(place, sign_segment(signer, header))
    return Left(facts.boot, facts.epoch, before if tail.last_chunk < 0 else (facts.epoch, tail.last_chunk))
