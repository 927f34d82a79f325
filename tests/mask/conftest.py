"""Planted values of every kind, made by published algorithms and examples; none is anybody's."""

from __future__ import annotations

from mask.masker import Masker, masker_for
from schemas.ids import SessionId

SECRET = b"\x07" * 32
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAvGz7kF0zYcL1tR2sQpXb\nWm9uZXkgaXMgbm90IGV2ZXJ5dGhpbmc\n"
    "-----END RSA PRIVATE KEY-----"
)
JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"

PLANTED = {
    "card": ("4111111111111111", "card"),
    "card in fours": ("4111 1111 1111 1111", "card"),
    "card of American Express": ("3782-822463-10005", "card"),
    "ssn": ("536-90-4399", "ssn"),
    "e-mail": ("bob.smith@example.com", "email"),
    "iban": ("GB82 WEST 1234 5698 7654 32", "iban"),
    "jwt": (JWT, "jwt"),
    "aws access key": ("AKIAIOSFODNN7EXAMPLE", "aws_access_key"),
    "aws secret": ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_key"),
    "private key": (PEM, "private_key"),
    "github": ("ghp_" + "a1B2" * 9, "github_token"),
}
"""By name: text that holds a value, and the kind that must be found."""


def session(name: str = "orders.0.aa/1/1", secret: bytes = SECRET) -> Masker:
    return masker_for(secret)(SessionId(name))


def core(text: str) -> str:
    """What must not be left of a planted text: its longest word of letters and digits."""
    return max("".join(c if c.isalnum() else " " for c in text).split(), key=len)
