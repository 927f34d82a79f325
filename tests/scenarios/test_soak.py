"""No value is left anywhere: planted by the hundred, of every type, in every encoding, on every surface.

Two looks. At rest: no file that the system wrote holds one, in any form. Opened as an auditor would open it: the
masked texts do not say one either, to a reader who undoes whatever encodings are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from mask.values import VALUES
from schemas.records import MaskingFailed
from tallystick.recorded import Content, open_log
from tests.mask import corpora
from tests.mask.test_everywhere import bare, readings
from tests.scenarios import planting, searching
from tests.scenarios.conftest import Deployment, Make
from tests.scenarios.planting import Planted
from tests.scenarios.searching import Needles
from tests.scenarios.surfaces import SURFACES, TABLES, Wire, say, wired

SEED, SHORT = 20_261_125, 240
HOLDS = "hold = {wire_seconds = 0.2, lookup_seconds = 0.2}"  # nobody answers


def _prepared(deployment: Deployment) -> str:
    """Tables, made behind the gateway's back; the way there."""
    straight = deployment.postgres.url(database="orders")
    with psycopg.connect(straight, autocommit=True) as db:
        db.execute(TABLES.encode())
    return straight


def _send(wire: Wire, values: list[Planted]) -> Counter[str]:
    """Each value on one surface, all surfaces in turn; how many went by each."""
    sent: Counter[str] = Counter()
    for nth, each in enumerate(values):
        try:
            sent[say(wire, each.text, nth)] += 1
        except (psycopg.Error, AssertionError) as error:
            raise AssertionError(f"value {nth}, {each!r}: {type(error).__name__} {error}") from error
    assert all(sent[surface.__name__] for surface in SURFACES), sent
    return sent


def _shown(deployment: Deployment) -> list[str]:
    """All masked texts of all entries, opened with the content keys, and the facts themselves."""
    log = open_log(deployment.made.config)
    found: list[str] = []
    for stored, entry in log.entries():
        content, masked = log.masked(stored, entry)
        assert content in (Content.SHOWN, Content.NONE)
        assert not isinstance(entry.body, MaskingFailed), entry.body
        found += (repr(entry.body), *_strings(masked))
    return found


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


def said_in(texts: list[str], values: list[Planted]) -> list[tuple[Planted, str]]:
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
        _send(wire, values)
    deployment.up.kill()  # with files as they are in the middle of work
    assert searching.left(deployment, planting.all_needles(values)) == {}
    deployment.up.start()
    deployment.up.stop()
    assert said_in(_shown(deployment), values) == []
    assert searching.left(deployment, planting.all_needles(values)) == {}


def test_a_reader_finds_each_value_where_nothing_is_masked() -> None:
    for each in planting.planted(SEED, SHORT):
        assert said_in([each.text], [each]), each


def test_every_detector_has_values_planted() -> None:
    kinds = {each.kind for each in planting.planted(SEED, SHORT)}
    assert kinds == {*corpora.KINDS, *(each.name for each in VALUES)} - (planting.OF_CORPORA - {*corpora.KINDS})
