"""SSNs, addresses, IBANs: what is one, what is none."""

from __future__ import annotations

import pytest

from mask.normal import view
from mask.values import personal

SSNS = [
    ("536-90-4399", ["536904399"]), ("536 90 4399", ["536904399"]), ("536.90.4399", ["536904399"]),
    ("536\u201190\u20114399", ["536904399"]), ("ssn 536904399", ["536904399"]), ("SSN: 536-904399", ["536-904399"]),
    ("social security no. is 536904399", ["536904399"]), ("912-70-1234", ["912701234"]),
    ("536904399", []), ("000-12-3456", []), ("666-12-3456", []), ("900-12-3456", []), ("536-00-4399", []),
    ("536-90-0000", []), ("536-90.4399", []), ("1536-90-4399", []), ("536-90-43990", []), ("2024-05-01", []),
]  # fmt: skip
ADDRESSES = [
    ("bob@example.com", ["bob@example.com"]), ("<bob.smith+x@mail.example.co.uk>", ["bob.smith+x@mail.example.co.uk"]),
    ("mailto:bob@example.com?x", ["bob@example.com"]), ("bob\uff20example.com", ["bob@example.com"]),
    ("björn@exämple.se", ["bjorn@example.se"]), ("a@b.co,c@d.co", ["a@b.co", "c@d.co"]),
    ("@bob", []), ("bob@localhost", []), ("a @ b.com", []), ("1@2.3", []), ("x@", []), ("v1@1.2.3", []),
]  # fmt: skip
IBANS = [
    ("GB82 WEST 1234 5698 7654 32", ["GB82WEST12345698765432"]), ("DE89370400440532013000", ["DE89370400440532013000"]),
    ("de89 3704 0044 0532 0130 00", ["DE89370400440532013000"]), ("ibanNL91ABNA0417164300", ["NL91ABNA0417164300"]),
    ("GB82-WEST-1234-5698-7654-32", ["GB82WEST12345698765432"]),
    ("GB83 WEST 1234 5698 7654 32", []), ("XX82 WEST 1234 5698 7654 32", []), ("GB82 WEST 1234 5698", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "values"), SSNS)
def test_ssn(text: str, values: list[str]) -> None:
    assert (
        list(
            dict.fromkeys(each.value for each in [*personal.find_ssn(view(text)), *personal.find_named_ssn(view(text))])
        )
        == values
    )


@pytest.mark.parametrize(("text", "values"), ADDRESSES)
def test_address(text: str, values: list[str]) -> None:
    assert [each.value for each in personal.find_email(view(text))] == values


@pytest.mark.parametrize(("text", "values"), IBANS)
def test_iban(text: str, values: list[str]) -> None:
    assert [each.value for each in personal.find_iban(view(text))] == values
