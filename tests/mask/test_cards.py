"""Card numbers: every network's, under every separator; and what only looks like one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask.normal import view
from mask.values.card import find, is_card, luhn

NUMBERS = {
    "Visa": "4111111111111111", "Visa of 13": "4222222222222", "Mastercard": "5555555555554444",
    "Mastercard of the 2 series": "2223003122003222", "American Express": "378282246310005",
    "Diners Club": "30569309025904", "Discover": "6011111111111117", "JCB": "3530111333300000",
    "UnionPay of 19": "6205500000000000004", "Maestro of 12": "501800000009",
}  # fmt: skip
SEPARATORS = {
    "spaces": " ", "dashes": "-", "dots": ".", "underlines": "_", "slashes": "/", "two spaces": "  ", "newline": "\n",
    "non-breaking hyphens": "\u2011", "en dashes": "\u2013", "minus signs": "\u2212", "no-break spaces": "\u00a0",
    "thin spaces": "\u2009", "zero width": "\u200b", "soft hyphens": "\u00ad", "middle dots": "\u00b7", "NUL": "\0",
}  # fmt: skip


def numbers(text: str) -> list[str]:
    return [each.value for each in find(view(text))]


def in_fours(number: str, separator: str) -> str:
    return separator.join(number[at : at + 4] for at in range(0, len(number), 4))


@pytest.mark.parametrize("network", NUMBERS)
def test_the_number_of_a_network(network: str) -> None:
    assert NUMBERS[network] in numbers(f"a {NUMBERS[network]}.")


@pytest.mark.parametrize("separator", SEPARATORS)
def test_separators(separator: str) -> None:
    written = in_fours("4111111111111111", SEPARATORS[separator])
    (found,) = list(find(view(f"(é {written} é)")))
    assert found.value == "4111111111111111"
    assert view(f"(é {written} é)").below(found.start, found.end) == (3, 3 + len(written))


@pytest.mark.parametrize("zero", ["\uff10", "\u0660", "\u0966", "\U0001d7ce", "\u2080"])
def test_digits_of_other_scripts(zero: str) -> None:
    assert numbers("".join(chr(ord(zero) + int(c)) for c in "4111111111111111")) == ["4111111111111111"]


AROUND = [
    ("a year before", "2026 4111 1111 1111 1111"),
    ("a date before", "2026-05-01 4111 1111 1111 1111"),
    ("an expiry behind", "4111 1111 1111 1111 12/29"),
    ("an expiry and a code behind", "4111111111111111 12 29 123"),
    ("a column before", "12,4111111111111111,7"),
    ("a column of fours", "12,4111 1111 1111 1111,7"),
    ("run together with digits", "99994111111111111111000"),
    ("letters on both sides", "x4111111111111111x"),
    ("brackets", "(4111)(1111)(1111)(1111)"),
]


@pytest.mark.parametrize(("what", "text"), AROUND)
def test_what_stands_around_hides_no_card(what: str, text: str) -> None:
    assert "4111111111111111" in numbers(text), what


NOT_CARDS = [
    "4111111111111112", "1234567890123456", "0000000000000000", "4111 1111 1111", "9111111111111111",
    "2024-05-01 10:22:33", "411a1111b1111c1111", "1,4,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "tok:card:4111",
]  # fmt: skip


@pytest.mark.parametrize("text", NOT_CARDS)
def test_what_is_no_card(text: str) -> None:
    assert numbers(text) == []


@given(st.text("0123456789", min_size=12, max_size=19))
def test_luhn_is_the_sum_of_the_standard(digits: str) -> None:
    total = 0
    for n, digit in enumerate(int(c) for c in reversed(digits)):
        total += digit if n % 2 == 0 else sum(divmod(2 * digit, 10))
    assert luhn(digits.encode()) == (total % 10 == 0)


CUTS = {
    **dict.fromkeys(SEPARATORS, (0, 4)),
    **dict.fromkeys(("spaces", "no-break spaces", "thin spaces"), (0, 1)),
    **dict.fromkeys(("dots", "middle dots"), (2, 4)),
    **dict.fromkeys(("newline", "two spaces"), (0, 0)),
}
"""How often a number may be cut anywhere: tables of plain numbers are full of the others."""


@given(st.integers(0, 10**9), st.sampled_from(sorted(NUMBERS)), st.sampled_from(sorted(SEPARATORS)))
def test_any_cut_of_a_number_is_found(seed: int, network: str, separator: str) -> None:
    chance, number = random.Random(seed), NUMBERS[network]
    cuts = sorted(chance.sample(range(1, len(number)), chance.randint(*CUTS[separator])))
    parts = [number[a:b] for a, b in zip([0, *cuts], [*cuts, len(number)], strict=True)]
    assert is_card(number.encode())
    assert number in numbers(SEPARATORS[separator].join(parts))


@pytest.mark.parametrize("separator", [name for name, cuts in CUTS.items() if cuts[1]])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_number_in_small_groups_alike_is_found(separator: str, size: int) -> None:
    number = NUMBERS["Visa"]
    written = SEPARATORS[separator].join(number[at : at + size] for at in range(0, 16, size))
    assert number in numbers(f"charge {written} now")


def test_plain_numbers_side_by_side_are_no_cards() -> None:
    chance = random.Random(7)
    for separator in (" ", "  ", "\t", "\n", ", ", ". "):
        table = separator.join(str(chance.randrange(10**4, 10**6)) for _ in range(5000))
        assert len(numbers(table)) <= 30, separator  # of 10,000 stretches of 12 to 19 digits
    assert not numbers(" ".join(f"{chance.uniform(-180, 180)}" for _ in range(5000)))
