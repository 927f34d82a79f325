"""The default policy and one session in production, judged as the gateway would."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from policy import rules
from policy.judge import judge
from schemas.judging import Judgement, SessionFacts
from schemas.records import Claim
from tests.policy.regression import Statement, statements
from tools import services

Judge = Callable[..., Judgement]


@pytest.fixture(scope="session")
def default_rules() -> rules.Rules:
    return rules.parse(rules.default_text())


@pytest.fixture(scope="session")
def facts() -> SessionFacts:
    claims = (Claim("repository", "acme/shop"), Claim("ref", "main"))
    return SessionFacts("ci-deploy", claims, "orders-db", "postgres", "production", "orders", "orders_app")


@pytest.fixture(scope="session")
def judged(default_rules: rules.Rules, facts: SessionFacts) -> Judge:
    """`judged(sql, p="DELETE ...")`: keywords are texts prepared under a name."""

    def run(sql: str, **prepared: str) -> Judgement:
        return judge(sql, facts, default_rules, lookup=lambda name: (prepared[name],) if name in prepared else ())

    return run


@pytest.fixture(scope="session")
def regression() -> list[Statement]:
    """PostgreSQL's own regression SQL: about 49,000 statements. Skips where it cannot be had, but fails where
    TALLYSTICK_REQUIRE names it."""
    try:
        return list(statements(services.regression_sql()))
    except services.Unavailable as error:
        required = "regression_sql" in os.environ.get("TALLYSTICK_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(str(error))
