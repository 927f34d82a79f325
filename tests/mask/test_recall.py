"""What is planted is found and nothing else is, by type: short forms of what `bench.masking_recall` measures at length.

Two seeds: one that was looked at while rules were written, one that was not.
"""

from __future__ import annotations

import functools
import re

import pytest

from mask.fields import Fields
from mask.search import Search
from mask.values.national import IDS, passes
from tests.mask import corpora
from tests.mask.corpora import CLEAN, HELD_OUT, KINDS, TUNED, Planted
from tests.mask.measure import Score, measure

SEARCH = Search(Fields())
SURE = {"card", "ssn", "iban", "email", "private_key", "aws_access_key", "aws_secret_key", "azure_key", "google_key"}
RECALL, PRECISION = 0.995, 0.98
OTHERS = 0.95
SIZE = 250_000
MAY_HOLD = {"code": {"password", "secret", "email"}, "logs": set(), "numbers": set(), "dump": set()}
"""Code has its authors' addresses, and `password = x`, a name that is to be masked."""


@functools.cache
def score(seed: int) -> Score:
    return measure(SEARCH, corpora.planted(seed, 40))


@pytest.mark.parametrize("seed", [TUNED, HELD_OUT])
@pytest.mark.parametrize("kind", KINDS)
def test_recall_and_precision(kind: str, seed: int) -> None:
    found = score(seed)
    assert found.planted[kind] == 40
    assert found.recall(kind) >= (RECALL if kind in SURE else OTHERS), [t for k, t in found.missed if k == kind]
    assert found.precision(kind) >= PRECISION, [t for k, t in found.alarms if k == kind]


@pytest.mark.parametrize("corpus", CLEAN)
def test_false_alarms_of_clean_text(corpus: str) -> None:
    """At most one in 100 kB of those types that the text may not hold."""
    found = measure(SEARCH, (Planted(text, ()) for text in CLEAN[corpus](SIZE, HELD_OUT)))
    alarms = [each for each in found.alarms if each[0] not in MAY_HOLD[corpus]]
    assert found.size >= SIZE
    assert len(alarms) <= SIZE // 100_000, alarms


def test_the_measure_counts_what_is_missed_and_what_is_false() -> None:
    known, missed = Planted("pay 4111111111111111", ((4, 20, "card"),)), Planted("pay 41", ((4, 6, "card"),))
    found = measure(SEARCH, (known, missed, Planted("a@b.co", ())))
    assert (found.recall("card"), found.false["email"], found.missed) == (0.5, 1, [("card", "pay 41")])


# --- examples of others -------------------------------------------------------------


def _covers(text: str, start: int, end: int) -> bool:
    return any(each.start <= start and end <= each.end for each in SEARCH.all(text, names=False))


def test_national_ids_are_those_of_python_stdnum() -> None:
    """Each that its documentation calls valid, near a general word; it takes more spellings than people write."""
    pytest.importorskip("stdnum")
    country = re.compile("[A-Z]{2} ")
    valid = [(name, country.sub("", number)) for name, number, valid in corpora.national_examples() if valid]
    missed = [each for each in valid if not _covers(f"personal code {each[1]}.", 14, 14 + len(each[1]))]
    assert len(valid) > 40
    assert len(missed) <= len(valid) * 0.1, missed


WIDER = {"kr_rrn": "no check digit is given out since 2020", "dk_cpr": "a date to come", "is_kennitala": "the 1800s"}


@pytest.mark.parametrize("name", corpora.STDNUM)
def test_check_digits_are_those_of_python_stdnum(name: str) -> None:
    """Of all numbers one digit away from an example the same ones pass."""
    pytest.importorskip("stdnum")
    ours = next(each for each in IDS if each.name == name)
    is_valid = corpora.stdnum(name).is_valid  # type: ignore[attr-defined]
    for number in corpora.neighbours(ours.example):
        assert passes(ours, number) == is_valid(number) or (name in WIDER and not is_valid(number)), number


@pytest.mark.parametrize(("nth", "before", "least"), [(1, "at ", 0.995), (2, "phone: ", OTHERS)])
def test_phone_numbers_of_all_regions(nth: int, before: str, least: float) -> None:
    """Written internationally anywhere, nationally behind a word."""
    pytest.importorskip("phonenumbers")
    numbers = [each[nth] for each in corpora.phone_examples()]
    missed = [number for number in numbers if not _covers(before + number, len(before), len(before) + len(number))]
    assert len(numbers) > 400
    assert len(missed) <= len(numbers) * (1 - least), missed
