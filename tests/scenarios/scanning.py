"""What other people's scanners find in what the system wrote: detect-secrets and secretlint, and Presidio.

They read text, so each file, and what unpacks out of it, is written out as its printable runs, and so is what was
masked, opened. A find is a *leak* where it is a planted value, or of a type that is to be masked and not of our own
making (`OURS`). Random characters alone (entropy) are not asked for: the system's files are full of digests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.scenarios.searching import Needles, forms, layers
from tools import services

_RUNS = re.compile(rb"[\t\x20-\x7e]{11,}")
"""An SSN with its dashes, and longer: shorter runs come about by chance in what is sealed, an `IN@G0.Ca` among them."""
_PART = 1 << 20  # characters of a file, or a little more, so that several processes share a large one
_LONGEST, _OVERLAP = 1000, 200  # characters of a line: they search in lines, some not in linear time
NOT_BY_CHANCE = 20  # characters of a run
MASKED = "masked-"  # files of what was masked, opened, begin so
SCANS_S = 2 * 3600
_RULES = '{"rules": [{"id": "@secretlint/secretlint-rule-preset-recommend"}]}'


@dataclass(frozen=True, slots=True)
class Find:
    scanner: str
    type: str
    file: str
    text: str


UNMASKED = {"URL", "DATE_TIME", "IP_ADDRESS", "MEDICAL_LICENSE", "US_DRIVER_LICENSE", "US_BANK_NUMBER", "US_PASSPORT",
            "PERSON", "LOCATION", "NRP", "UUID"}  # fmt: skip
"""Of Presidio: what the mask leaves unless a name says what it is."""
OURS: dict[str, Callable[[Find], bool]] = {
    "a time; what is planted and begins so is known": lambda f: re.fullmatch("1[5-9][0-9]{11,17}", f.text) is not None,
    "by chance, where bytes follow a text; what is planted is known": lambda f: (
        f.type == "EMAIL_ADDRESS"
        and not f.file.startswith(MASKED)  # that is text, and nothing stands in it by chance
        and re.fullmatch("[^@]+@[A-Za-z0-9][.][A-Za-z]{2}", f.text) is not None
    ),
    "a token, or what is withheld": lambda f: re.search("tok:[a-z_]+:|withheld:[0-9]+", f.text) is not None,
}


class Scanners:
    """The three of them, or those that this machine has: what is missing is said, and fails where TALLYSTICK_REQUIRE
    names `scanners`."""

    def __init__(self) -> None:
        self.scans: dict[str, Callable[[Path], Iterator[Find]]] = {}
        try:
            python = services.scanners_python()
            for name in ("detect-secrets", "presidio"):
                self.scans[name] = lambda folder, name=name: _python(python, name, folder)  # type: ignore[misc]
        except services.Unavailable as error:
            _missing(error)
        try:
            words = services.secretlint()
            self.scans["secretlint"] = lambda folder: _secretlint(words, folder)
        except services.Unavailable as error:
            _missing(error)

    def find(self, folder: Path) -> Iterator[Find]:
        for scan in self.scans.values():
            yield from scan(folder)


def _missing(error: services.Unavailable) -> None:
    if "scanners" in os.environ.get("TALLYSTICK_REQUIRE", "").split(","):
        pytest.fail(str(error))
    print(f"not scanned with it: {error}")


def _python(python: Path, name: str, folder: Path) -> Iterator[Find]:
    said = _run([str(python), str(Path(__file__).with_name("other_scanners.py")), name, str(folder)], folder)
    for line in said.splitlines():
        found = json.loads(line)
        yield Find(name, found["type"], found["file"], found["text"])


def _secretlint(words: list[str], folder: Path) -> Iterator[Find]:
    home = Path(words[1]).parents[3]  # where its rules are
    said = folder.with_suffix(".json")  # what it prints into a pipe is cut
    options = ["--format", "json", "--output", str(said), "--secretlintrcJSON", _RULES]
    _run([*words, f"{folder}/**", *options], home, fine=(0, 1))
    for file in json.loads(said.read_text(encoding="utf-8")):
        for message in file["messages"]:
            start, end = message["range"]
            text = file["sourceContent"][start:end]
            yield Find("secretlint", message["messageId"], Path(file["filePath"]).name, text)


def _run(words: list[str], folder: Path, fine: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SCANS_S, check=False)
    assert done.returncode in fine, done.stderr[-2000:]
    return done.stdout


# --- what they read ------------------------------------------------------------------------


def write_runs(files: Iterable[Path], folder: Path) -> int:
    """The printable runs of each file, a line each; one that was in a file before is not written again. How many
    characters they are."""
    known: set[bytes] = set()
    size = 0
    for nth, path in enumerate(files):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:  # Kafka deletes what is covered
            continue
        lines = []
        for match in (match for layer in layers(raw) for match in _RUNS.finditer(layer)):
            if match[0] not in known:
                known.add(match[0])
                lines.append(match[0].decode())
        size += _write_parts(folder, f"{nth:05}-{path.name[:60]}", lines)
    return size


def write_texts(texts: Iterable[str], folder: Path) -> int:
    """Each text once."""
    return _write_parts(
        folder, MASKED.rstrip("-"), [line for text in dict.fromkeys(texts) for line in text.splitlines()]
    )


def _write_parts(folder: Path, name: str, lines: Iterable[str]) -> int:
    part: list[str] = []
    size = held = nth = 0
    for line in lines:
        part.append(line)
        held += len(line)
        if held > _PART:
            size += _write(folder / f"{name}-{nth:03}.txt", part)
            part, held, nth = [], 0, nth + 1
    return size + _write(folder / f"{name}-{nth:03}.txt", part)


def _write(path: Path, lines: Iterable[str]) -> int:
    text = "\n".join(piece for line in lines for piece in _pieces(line))
    if text:
        path.write_text(text, encoding="utf-8", errors="replace")
    return len(text)


def _pieces(line: str) -> Iterator[str]:
    for at in range(0, max(1, len(line) - _OVERLAP), _LONGEST - _OVERLAP):
        yield line[at : at + _LONGEST]


# --- what they say -------------------------------------------------------------------------


def leaks(finds: Iterable[Find], values: tuple[str, ...], folder: Path) -> list[Find]:
    """Prints how many there are of each type, and gives those that should not be there. `folder`: what was scanned."""
    planted = Needles(way for value in values for way in forms(value))
    counts: Counter[tuple[str, str, str]] = Counter()
    found = []
    for each in finds:
        why = _harmless(each) or _by_chance(each, folder)
        if any(planted.in_(each.text.encode())):
            why = ""
        counts[each.scanner, each.type, why or "LEAK"] += 1
        if not why:
            found.append(each)
    for (scanner, kind, why), count in sorted(counts.items()):
        print(f"{scanner:15} {kind:30} {count:6}  {why}")
    return found


def _harmless(find: Find) -> str:
    """Why it may be there."""
    if find.type in UNMASKED:
        return "of a type that is not masked"
    return next((why for why, ours in OURS.items() if ours(find)), "")


def _by_chance(find: Find, folder: Path) -> str:
    """Sealed bytes are as random, and of a hundred megabytes of them some thousand runs are eleven characters or more:
    about one soak in fifteen has an `IsKa@u60.Dk` among these. No run of twenty comes about so."""
    if find.type != "EMAIL_ADDRESS" or find.file.startswith(MASKED):
        return ""
    runs = [run for run in (folder / find.file).read_text(encoding="utf-8").splitlines() if find.text in run]
    if not runs or max(map(len, runs)) >= NOT_BY_CHANCE:
        return ""
    return "by chance, alone among sealed bytes; what is planted is known"
