"""What the demo's database holds, and which of it must never be found in anything we write.

Every value is made up: test card numbers of the networks, a social security number of the
form only, AWS's documentation keys.
"""

from __future__ import annotations

CASES = 40
JOBS = 200

MIGRATIONS = (
    "create table support_cases (id serial primary key, customer text, body text)",
    "create table job_log (id serial primary key, message text)",
    "create index on support_cases (customer)",
)
LOOKS = (
    "select count(*) from support_cases",
    "select count(*) from job_log",
    "select table_name from information_schema.tables where table_schema = 'public'",
    "select id, customer, body from support_cases order by id",
)
_CARD = "4012888888881881"
_CARD_SPACED = "5105 1051 0510 5100"
_SSN = "536-90-4399"
_EMAIL = "maria.keller@customer-mail.example"
_AWS = "AKIAQ7ZKXNRM3TDWLB5E"
_AWS_SECRET = "pQ8xV2mN7cR4tY1wE9zK3hJ6gF5dS0aLbXqWuTnM"  # noqa: S105  # of nobody


def planted() -> tuple[str, ...]:
    """As written, and the card without its spaces."""
    return (_CARD, _CARD_SPACED, _CARD_SPACED.replace(" ", ""), _SSN, _EMAIL, _AWS, _AWS_SECRET)


def support_cases() -> list[tuple[str, str]]:
    bodies = (
        f"please refund card {_CARD}, it was charged twice",
        f"my card is {_CARD_SPACED} and my SSN {_SSN}",
        f"write to me at {_EMAIL}",
        f"our pipeline fails: aws_access_key_id={_AWS} aws_secret_access_key={_AWS_SECRET}",
        "the export button does nothing",
    )
    return [(f"customer {n}", bodies[n % len(bodies)]) for n in range(CASES)]


def job_log() -> list[tuple[str]]:
    return [(f"job {n} started",) for n in range(JOBS)]
