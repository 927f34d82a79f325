"""No value is left anywhere: planted by the hundred, of every type, in every encoding, on every surface.

Two looks. At rest: no file that the system wrote holds one, in any form. Opened as an auditor would open it: the
masked texts do not say one either, to a reader who undoes whatever encodings are left.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from ledger.reader import head
from mask.values import VALUES
from schemas.records import MaskingFailed
from tallystick.recorded import Content, open_log
from tests.mask import corpora
from tests.mask.test_everywhere import bare, readings
from tests.scenarios import planting, scanning, searching
from tests.scenarios.conftest import SHARD, Deployment, Make
from tests.scenarios.planting import Planted
from tests.scenarios.scanning import Find, Scanners, write_runs, write_texts
from tests.scenarios.searching import Needles
from tests.scenarios.surfaces import SURFACES, TABLES, Wire, bind, fits, wired
from tests.scenarios.test_chaos import Pgbench
from tests.scenarios.test_ops import until

SEED, SHORT = 20_261_125, 240
LONG, TURNS, STEP, A_SESSION = 5000, 3, 7, 250
SETTLES_S = 1200
full = pytest.mark.parametrize("backing", [pytest.param("full", marks=pytest.mark.full)], indirect=True)
HOLDS = "hold = {wire_seconds = 0.2, lookup_seconds = 0.2}"  # nobody answers


def _prepared(deployment: Deployment) -> str:
    """Tables, made behind the gateway's back; the way there."""
    straight = deployment.postgres.url(database="orders")
    with psycopg.connect(straight, autocommit=True) as db:
        db.execute(TABLES.encode())
    return straight


def _send(wire: Wire, values: list[Planted], first: int = 0) -> Counter[str]:
    """Each value on one surface, all surfaces in turn, with the next value that fits; how many went by each."""
    sent: Counter[str] = Counter()
    left = list(values)
    for nth in range(first, first + len(values)):
        surface = SURFACES[nth % len(SURFACES)]
        at = next((n for n, each in enumerate(left) if fits(surface, each.text)), None)
        if at is None:
            surface, at = bind, 0
        value = left.pop(at)
        try:
            surface(wire, value.text)
        except (psycopg.Error, AssertionError) as error:
            raise AssertionError(f"{surface.__name__} of {value!r}: {type(error).__name__} {error}") from error
        sent[surface.__name__] += 1
    return sent


class Shown(NamedTuple):
    """What of all entries can be read with the content keys, each once."""

    texts: list[str]  # masked
    facts: list[str]  # which are in the bundle too


def _shown(deployment: Deployment) -> Shown:
    log = open_log(deployment.made.config)
    texts: dict[str, None] = {}
    facts: list[str] = []
    for stored, entry in log.entries():
        content, masked = log.masked(stored, entry)
        assert content in (Content.SHOWN, Content.NONE)
        assert not isinstance(entry.body, MaskingFailed), entry.body
        texts |= dict.fromkeys(_strings(masked))
        facts.append(repr(entry.body))
    return Shown(list(texts), facts)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def said_in(texts: Iterable[str], values: list[Planted]) -> list[tuple[Planted, str]]:
    """Which values a reader who tries hard finds in these texts, and where."""
    by_secret = {planting.secret(each.value): each for each in values}
    by_needle = {each.value: each for each in values if not planting.secret(each.value)}
    secrets = Needles(said.encode() for said in by_secret if said)
    plain = Needles(said.encode() for said in by_needle)
    found = []
    for text in texts:
        for reading in readings(text):
            found += [(by_secret[said.decode()], text) for said in secrets.in_(bare(reading).encode())]
            found += [(by_needle[said.decode()], text) for said in plain.in_(reading.encode("utf-8", "replace"))]
    return found


@pytest.mark.timeout(240)
def test_values_on_every_surface_are_in_no_file_and_in_no_masked_text(deploy: Make) -> None:
    deployment = deploy(more_gateway=HOLDS)
    straight = _prepared(deployment)
    values = list(planting.planted(SEED, SHORT))
    deployment.up.start()
    with wired(deployment.url, straight) as wire:
        sent = _send(wire, values)
    assert all(sent[surface.__name__] for surface in SURFACES), sent
    deployment.up.kill()  # with files as they are in the middle of work
    assert searching.left(deployment, planting.all_needles(values)) == {}
    deployment.up.start()
    deployment.up.stop()
    shown = _shown(deployment)
    assert said_in(shown.texts + shown.facts, values) == []
    assert searching.left(deployment, planting.all_needles(values)) == {}


@full
@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_an_hour_of_traffic_leaves_nothing_to_find(deploy: Make, tmp_path: Path) -> None:
    """5,000 values, each on three surfaces, beside plain traffic: as many commands as an hour has at five a second."""
    scanners = Scanners()
    deployment = deploy(more_gateway=HOLDS)
    straight = _prepared(deployment)
    seed = int(os.environ.get("TALLYSTICK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
    print(f"TALLYSTICK_SEED={seed}")
    values = list(planting.planted(seed, LONG))
    needles = planting.all_needles(values)
    with psycopg.connect(straight, autocommit=True) as db:
        db.execute("create table work (mark text, n int)")
    deployment.up.start(ready_s=120)
    sent: Counter[str] = Counter()
    with Pgbench(deployment, clients=2, a_second=15):
        for turn in range(TURNS):
            for at in range(0, LONG, A_SESSION):
                with wired(deployment.url, straight) as wire:
                    sent += _send(wire, values[at : at + A_SESSION], at + turn * STEP)
    print(f"{sent.total()} values were sent: {dict(sent)}")
    _recorded(deployment)
    deployment.up.kill()
    looks: dict[str, object] = {"at rest, killed": searching.left(deployment, needles)}
    _report(looks)
    deployment.up.start(ready_s=120)
    deployment.up.stop()
    shown = _opened(deployment)
    print(f"{len(shown.facts)} entries, {len(shown.texts)} masked texts")
    looks["said by what is masked"] = said_in(shown.texts + shown.facts, values)
    _report(looks)
    looks["at rest, with bundle and export"] = searching.left(deployment, needles)
    _report(looks)
    looks["scanned"] = [*_scanned(scanners, searching.files(deployment), shown.texts, tmp_path, needles)]
    _report(looks)
    assert not any(looks.values())


def _report(looks: dict[str, object]) -> None:
    """The last of them; a find does not end the test, which takes long: the looks after it may find more."""
    what, left = [*looks.items()][-1]
    print(f"{datetime.now():%H:%M:%S} {what}: {left}", flush=True)


def _recorded(deployment: Deployment) -> None:
    """Until the last command is in the ledger: those before it, by the same gateway, are then there too."""
    with psycopg.connect(deployment.url, autocommit=True) as db:
        db.execute("select 'the soak ends here'")
    store, read = deployment.store(), 0

    def last() -> bool:
        nonlocal read
        start, read = read, head(store, SHARD).size
        return any("the soak ends here" in text for _, text in deployment.commands(start=start, end=read))

    until(SETTLES_S, last)


def _opened(deployment: Deployment) -> Shown:
    """What an auditor gets: the bundle and the exported log, made here, whose files are searched with the others; and
    what can be read."""
    bundle = str(deployment.place / "evidence.zip")
    made = deployment.tallystick("bundle", "--from", "2020-01-01", "--to", "2099-01-01", "--out", bundle)
    assert made.returncode == 0, made.stderr
    exported = deployment.tallystick("ledger", "export", str(deployment.place / "log"))
    assert exported.returncode == 0, exported.stderr
    return _shown(deployment)


def _scanned(
    scanners: Scanners, files: Iterable[Path], shown: list[str], place: Path, needles: tuple[str, ...]
) -> Iterator[Find]:
    for what, write in (("at rest", partial(write_runs, files)), ("masked", partial(write_texts, shown))):
        folder = place / what.replace(" ", "-")
        folder.mkdir()
        print(f"{what}: {write(folder)} characters are scanned by {', '.join(scanners.scans)}")
        yield from scanning.leaks(scanners.find(folder), needles, folder)


@pytest.mark.full
@pytest.mark.slow
def test_each_scanner_finds_what_lies_open(tmp_path: Path) -> None:
    values = list(planting.planted(SEED, SHORT))
    open_file, folder = tmp_path / "open", tmp_path / "runs"
    open_file.write_bytes(b"\0\xff".join(each.text.encode("utf-8", "replace") for each in values))
    folder.mkdir()
    assert write_runs([open_file], folder)
    scanners = Scanners()
    found = scanning.leaks(scanners.find(folder), planting.all_needles(values), folder)
    assert {each.scanner for each in found} == set(scanners.scans)
    assert len({each.type for each in found}) > 7, found


def test_a_reader_finds_each_value_where_nothing_is_masked() -> None:
    for each in planting.planted(SEED, SHORT):
        assert said_in([each.text], [each]), each


def test_every_detector_has_values_planted() -> None:
    kinds = {each.kind for each in planting.planted(SEED, SHORT)}
    assert kinds == {*corpora.KINDS, *(each.name for each in VALUES)} - (planting.OF_CORPORA - {*corpora.KINDS})
