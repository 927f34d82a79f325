"""Secrets by their form, and what only looks like one."""

from __future__ import annotations

import pytest

from mask.masker import Masker
from tests.mask.conftest import JWT, PEM, session

MASKER: Masker = session()

SECRETS = [
    (JWT, "jwt"),
    ("ghp_" + "a1B2" * 9, "github_token"),
    ("github_pat_" + "a1B2c" * 8, "github_token"),
    ("glpat-" + "a1B2c" * 4, "gitlab_token"),
    ("xoxb-123456789012-abcdefABCDEF", "slack_token"),
    ("https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", "slack_token"),
    ("sk_live_" + "a1B2c" * 5, "stripe_key"),
    ("AIza" + "a1B2c" * 7, "google_key"),
    ("ya29." + "a1B2c" * 6, "google_key"),
    ("npm_" + "a1B2c" * 7, "npm_token"),
    ("Bearer abcdefghijklmnop1234", "secret"),
    ("AKIAIOSFODNN7EXAMPLE", "aws_access_key"),
    ("ASIAIOSFODNN7EXAMPLE", "aws_access_key"),
    ("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_key"),
    (PEM, "private_key"),
    (PEM.replace("\n", "\\n"), "private_key"),
    (PEM.replace("RSA ", "OPENSSH "), "private_key"),
    (PEM[:90], "private_key"),
    ("postgres://bob:hunter2hunter2@db.example.com/shop", "password"),
    ("redis://:hunter2hunter2@cache:6379", "password"),
    ("https://abcdefghij0123456789@git.example.com", "password"),
    ("amqp://bob:hun/ter2hunter2@mq", "password"),
]


@pytest.mark.parametrize(("text", "kind"), SECRETS)
def test_a_secret(text: str, kind: str) -> None:
    masked = MASKER.text(f"see {text} end")
    assert kind in [found.type for found in masked.found]
    assert max(text.replace("@", "/").replace(":", "/").split("/"), key=len) not in str(masked.text)


@pytest.mark.parametrize(
    "text",
    [
        "eyJ", "AKIA", "ghp_short", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "sk_live_",
        "http://example.com:8080/a@b", "s3://bucket/key", "the bearer of this letter", "https://bob@git",
    ],
)  # fmt: skip
def test_no_secret(text: str) -> None:
    assert MASKER.text(text).text == text


def test_the_rest_of_a_url_stays() -> None:
    shown = str(MASKER.text("postgres://bob:hunter2@db.example.com:5432/shop?ssl=1").text)
    assert shown.startswith("postgres://bob:withheld:7:")
    assert shown.endswith("@db.example.com:5432/shop?ssl=1")
