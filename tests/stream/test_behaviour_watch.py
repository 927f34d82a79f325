"""What is unusual, and what is not: each rule of stream/behaviour/watch.py."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from approvals.votes import Directory
from policy.behaviour import Behaviour, IdentityClass, Settings, Volume, table
from schemas.codec import to_plain
from schemas.ids import ApprovalId, HoldId, RecorderId, SessionId
from schemas.judging import Reviewer
from schemas.records import (
    Alert,
    ApprovalRequest,
    ApprovalState,
    ApproverRule,
    Band,
    Choice,
    Claim,
    Effect,
    Exchange,
    Grant,
    LeafBody,
    Learning,
    Refusal,
    Result,
    Resumed,
    Scope,
    SessionOpened,
    Suspended,
    Vote,
)
from stream.behaviour.memory import Memory
from stream.behaviour.watch import Watch, network_of
from tests.stream.behaving import DAY_US, HOUR_US, MONDAY_US, SECOND_US, Does

EACH = Settings(alert_at=1)
"""Every finding is an alert, which says what was found."""
CLASS = IdentityClass("ci", ("ci/*",), EACH)


class NoBox:
    def seal(self, name: bytes, plain: bytes) -> bytes:
        return plain

    def open(self, name: bytes, sealed: bytes) -> bytes:
        return sealed


@dataclass
class World:
    behaviour: Behaviour = field(default_factory=lambda: Behaviour(EACH, (CLASS,)))
    reviewers: tuple[Reviewer, ...] = ()
    does: Does = field(default_factory=Does)

    def __post_init__(self) -> None:
        self.memory = Memory(NoBox())
        self.watch = Watch(self.behaviour, "v", Directory(self.reviewers), self.memory)
        self.said: list[object] = []
        self._place = 0

    def give(self, at_us: int, body: LeafBody) -> list[object]:
        """What it says of that."""
        self._place += 1
        self.watch.begin(str(self._place), at_us)
        match body:
            case Exchange():
                self.watch.exchange(to_plain(body))
            case SessionOpened():
                self.watch.opened(body)
            case ApprovalRequest():
                self.watch.requested(body)
            case Grant():
                self.watch.granted(body)
            case Refusal():
                self.watch.refused(body)
            case Resumed():
                self.watch.resumed(body)
        said = self.watch.said()
        self.said += said
        return list(said)

    def open(self, at_us: int, subject: str = "app", **words: object) -> SessionId:
        opened = self.does.open(at_us, subject, **words)  # type: ignore[arg-type]
        self.give(at_us, opened)
        return opened.session

    def run(self, at_us: int, session: SessionId, relation: str = "t", **words: object) -> list[object]:
        return self.give(at_us, self.does.command(at_us, session, relation, **words))  # type: ignore[arg-type]

    def weeks(self, subject: str = "app", weeks: int = 3, **words: object) -> int:
        """Each day at 9, 10 and 11 the same; gives the midnight after it."""
        for day in range(7 * weeks):
            for hour in (9, 10, 11):
                at_us = MONDAY_US + day * DAY_US + hour * HOUR_US
                session = self.open(at_us, subject, **words)
                for n in range(5):
                    self.run(at_us + n * SECOND_US, session, rows=100)
        assert not self.found(), self.found()
        return MONDAY_US + 7 * weeks * DAY_US

    def found(self) -> list[str]:
        """The marks of all findings."""
        marks = {signal.id: mark.value for mark, signal in table().items()}
        return [marks[f.signal] for a in self.said if isinstance(a, Alert) for f in a.findings]


def test_the_usual_is_silent_and_each_new_thing_is_found_once() -> None:
    world = World()
    midnight = world.weeks()
    at_us = midnight + 9 * HOUR_US
    session = world.open(at_us)
    world.run(at_us, session)
    assert world.found() == []
    other = world.open(at_us, address="172.16.0.9:1", application="nc", target="hr-db")
    assert world.found() == ["target", "network", "application"]
    for _ in range(2):
        world.run(at_us, other, "users", statement="all")
    assert world.found()[3:] == ["relation", "statement"]
    world.run(at_us, other, "users", effect="delete")
    assert world.found()[5:] == ["relation", "statement"], "another thing done to it is another thing"
    world.open(at_us, address="172.16.0.77:1", application="nc", target="hr-db")
    assert len(world.found()) == 7, "another address of a network that is known"


def test_an_alert_says_what_was_seen_and_what_is_usual() -> None:
    world = World()
    midnight = world.weeks()
    session = world.open(midnight + 9 * HOUR_US, address="172.16.0.9:1")
    world.run(midnight + 9 * HOUR_US, session, "users")
    alert = next(a for a in world.said if isinstance(a, Alert))
    assert (alert.subject, alert.identity_class, alert.session) == ("app", "", session)
    assert (alert.target, alert.environment) == ("orders-db", "production")
    finding = alert.findings[0]
    assert (finding.seen, finding.usual, finding.points) == ("172.16.0.0/24", "10.0.0.0/24", 30)
    assert alert.warm


@pytest.mark.parametrize(("hour", "found"), [(5, ["hour"]), (7, ["hour"]), (8, []), (12, []), (13, ["hour"])])
def test_at_an_hour_at_which_it_never_worked_give_or_take_one(hour: int, found: list[str]) -> None:
    world = World()
    at_us = world.weeks() + hour * HOUR_US
    session = world.open(at_us)
    assert world.found() == [], "to be there is no work"
    for n in range(2):
        world.run(at_us + n, session)
    assert world.found() == found
    if found:
        finding = next(a for a in world.said if isinstance(a, Alert)).findings[0]
        assert finding.seen == f"Mon {hour:02d}h UTC"
        assert finding.usual == "Mon Tue Wed Thu Fri Sat Sun at 09-11h UTC"


def test_on_a_day_of_the_week_on_which_it_never_worked() -> None:
    world = World()
    for day in range(21):
        if day % 7 < 5:
            at_us = MONDAY_US + day * DAY_US + 9 * HOUR_US
            world.run(at_us, world.open(at_us))
    saturday_us = MONDAY_US + 26 * DAY_US + 9 * HOUR_US
    world.run(saturday_us, world.open(saturday_us))
    assert world.found() == ["hour"]


@pytest.mark.parametrize(
    ("mark", "volume", "commands"),
    [
        ("rows", Volume(bytes=10**9), [(2044, []), (1, ["rows"]), (5000, ["rows"])]),
        ("bytes", Volume(rows=10**9, bytes=100_000), [(2047, []), (1, ["bytes"]), (5000, ["bytes"])]),
        ("commands", Volume(commands=3), [(1, [])] * 20 + [(1, ["commands"])] * 2),
    ],
    ids=["rows", "bytes", "commands"],
)
def test_more_in_an_hour_than_a_multiple_of_the_usual_is_found_at_once_and_once_an_hour(
    mark: str, volume: Volume, commands: list[tuple[int, list[str]]]
) -> None:
    world = World(Behaviour(replace(EACH, volume=volume)))
    at_us = world.weeks() + 9 * HOUR_US
    session = world.open(at_us)
    for rows, found in commands:
        world.run(at_us, session, rows=rows)
        assert world.found() == found, rows
    world.run(at_us + HOUR_US, world.open(at_us + HOUR_US), rows=1)
    assert world.found().count(mark) == 1, "the next hour begins at nothing"


def test_until_it_is_warm_nothing_is_missed_and_the_ledger_says_until_when() -> None:
    world = World()
    at_us = MONDAY_US + 9 * HOUR_US
    session = world.open(at_us)
    world.run(at_us, session, "users", rows=10**6)
    world.open(at_us + 10 * DAY_US, address="172.16.0.9:1")
    assert world.found() == []
    assert world.said == [Learning("app", "", at_us, at_us + 14 * DAY_US, "v")]
    late_us = at_us + 15 * DAY_US
    world.open(late_us, address="172.17.0.9:1")
    assert world.found() == [], "it came on two days: that is no usual yet"


def test_a_peers_doing_is_not_unusual_and_a_strangers_is() -> None:
    world = World()
    world.weeks("ci/one")
    midnight = world.weeks("ci/two")
    world.weeks("other")
    at_us = midnight + 9 * HOUR_US
    one, other = world.open(at_us, "ci/one"), world.open(at_us, "other")
    world.run(at_us, one, "releases")
    world.run(at_us, other, "secrets")
    assert world.found() == ["relation", "statement"] * 2
    alert = next(a for a in world.said if isinstance(a, Alert))
    assert (alert.identity_class, alert.findings[0].peers) == ("ci", 1)
    two = world.open(at_us, "ci/two")
    world.run(at_us, two, "releases")
    assert len(world.found()) == 4, "one did it before"
    world.run(at_us, two, "secrets")
    assert world.found()[4:] == ["relation", "statement"], "the other is no peer"


def test_an_hour_as_large_as_a_peers_is_not_unusual() -> None:
    found = {}
    for other in ("ci/two", "other"):
        world = World()
        world.weeks("ci/one")
        midnight = world.weeks(other)
        for at_us in (midnight + 9 * HOUR_US, midnight + 10 * HOUR_US):  # the hour is known when it is over
            world.run(at_us, world.open(at_us, other), rows=9000)
        world.said.clear()
        session = world.open(midnight + 11 * HOUR_US, "ci/one")
        world.run(midnight + 11 * HOUR_US, session, rows=8000)
        found[other] = world.found()
    assert found == {"ci/two": [], "other": ["rows"]}


def test_what_one_alone_did_does_not_stand_for_its_peers() -> None:
    world = World()
    midnight = world.weeks("ci/one")
    at_us = midnight + 100 * DAY_US  # longer than it is remembered
    session = world.open(at_us, "ci/one")
    world.run(at_us, session)
    assert "relation" in world.found(), "it was forgotten, and its own doing is no peer's"


def test_an_identity_that_wakes() -> None:
    world = World()
    midnight = world.weeks()
    world.open(midnight + 44 * DAY_US)
    assert world.found() == []
    world.open(midnight + 90 * DAY_US)
    assert world.found() == ["woke"]
    fresh = World()
    fresh.open(MONDAY_US, "once")
    fresh.open(MONDAY_US + 60 * DAY_US, "once")
    assert fresh.found() == ["woke"], "also where it was never warm"


@pytest.mark.parametrize(
    ("second", "found"),
    [
        ({}, []),
        ({"address": "172.16.0.9:1"}, ["run"]),
        ({"subject": "ci/two"}, ["run"]),
        ({"after_us": 25 * HOUR_US}, ["run"]),
        ({"claims": (Claim("run_id", "43"),), "address": "172.16.0.9:1"}, []),
        ({"method": "static", "address": "172.16.0.9:1"}, []),
    ],
    ids=["same", "network", "subject", "late", "another run", "static claims"],
)
def test_a_runs_token_used_elsewhere(second: dict[str, object], found: list[str]) -> None:
    world = World()
    claims = (Claim("run_id", "42"), Claim("ref", "main"))
    world.open(MONDAY_US, "ci/one", claims=claims)
    second = {"subject": "ci/one", "claims": claims, **second}
    world.open(MONDAY_US + int(second.pop("after_us", 600)), **second)  # type: ignore[arg-type, call-overload]
    assert world.found() == found


def _request(session: SessionId, name: str, relation: str, at_us: int) -> ApprovalRequest:
    return ApprovalRequest(
        ApprovalId(name), HoldId("hold-" + name), session, "app", "orders-db", "production", b"c",
        ApproverRule("dba", ("dba",), 1, 60), 80, Band.HIGH, (), (Effect("delete", relation),), at_us, at_us, session,
        b"",
    )  # fmt: skip


def test_what_was_approved_is_usual_and_what_was_denied_counts_when_it_comes_again() -> None:
    world = World()
    midnight = world.weeks()
    at_us = midnight + 9 * HOUR_US
    session = world.open(at_us)
    world.give(at_us, _request(session, "req-yes", "old_orders", at_us))
    world.give(at_us, Grant(HoldId("hold-a"), RecorderId("r"), ApprovalId("req-yes"), HoldId("h"), b"c", (), 1, at_us))
    world.run(at_us, session, "old_orders", effect="delete", statement="approved", hold="hold-a")
    assert world.found() == []
    world.give(at_us, _request(session, "req-no", "users", at_us))
    denied = Refusal(HoldId("h"), RecorderId("r"), ApprovalId("req-no"), ApprovalState.DENIED, at_us)
    world.give(at_us, denied)
    world.run(at_us, session, "users", effect="delete", result=Result.REFUSED, hold="hold-b")
    assert world.found() == [], "that is the command that was denied"
    world.run(at_us, session, "users", effect="delete", statement="by another way")
    assert world.found() == ["relation", "statement", "denied"]


def test_what_did_not_run_is_found_and_not_learned() -> None:
    world = World()
    midnight = world.weeks()
    for day in range(2):
        at_us = midnight + day * DAY_US + 9 * HOUR_US + day
        session = world.open(at_us)
        world.run(at_us, session, "users", result=Result.REFUSED)
    assert world.found().count("relation") == 2, "a day later it is unusual still"


def test_what_is_refused_counts_in_no_volume() -> None:
    world = World()
    at_us = world.weeks() + 9 * HOUR_US
    session = world.open(at_us)
    for _ in range(1000):
        world.run(at_us, session, rows=0, result=Result.REFUSED)
    assert world.found() == []


def test_a_gateway_whose_clock_is_ahead_moves_no_usual_into_the_future() -> None:
    world = World()
    at_us = world.weeks() + 9 * HOUR_US
    ahead = world.does.open(at_us + 100 * DAY_US, "app")
    world.give(at_us, ahead)
    world.give(at_us, world.does.command(at_us + 100 * DAY_US, ahead.session, "t"))
    assert world.found() == [], "it did not wake"
    world.run(at_us + DAY_US, world.open(at_us + DAY_US))
    assert world.found() == []
    world.open(at_us + 60 * DAY_US)
    assert world.found() == ["woke"]


def test_points_fade_and_add_up_over_sessions() -> None:
    settings = Settings(alert_at=60)
    for hours, alerts in ((0, 1), (12, 0)):
        world = World(Behaviour(settings))
        midnight = world.weeks()
        first_us = midnight + 9 * HOUR_US
        world.open(first_us, address="172.16.0.9:1")  # 30
        at_us = first_us + hours * HOUR_US
        world.open(at_us, target="hr-db")  # 30
        found = [a for a in world.said if isinstance(a, Alert)]
        assert len(found) == alerts, hours
        if found:
            assert found[0].score == 60
            assert found[0].threshold == 60


def test_many_of_one_signal_count_twice() -> None:
    world = World(Behaviour(Settings(alert_at=50)))
    midnight = world.weeks()
    session = world.open(midnight + 9 * HOUR_US)
    for n in range(200):
        world.run(midnight + 9 * HOUR_US, session, rows=1, statement=f"new {n}")
    assert world.found() == []


def test_a_suspension_is_of_the_session_or_of_the_identity_and_names_who_stands_behind() -> None:
    for scope in Scope:
        settings = Settings(suspend_at=60, suspend=scope, suspend_for=600)
        ann = Reviewer("ann", b"k" * 32, ("reviewers",), ("github:ann",))
        world = World(Behaviour(settings), (ann,))
        midnight = world.weeks()
        at_us = midnight + 9 * HOUR_US
        session = world.open(at_us, address="172.16.0.9:1", target="hr-db", claims=(Claim("actor", "github:ann"),))
        alert, suspended = world.said[-2:]
        assert isinstance(alert, Alert)
        assert isinstance(suspended, Suspended)
        assert alert.suspension == suspended.suspension
        assert suspended.alert == alert.alert
        assert (suspended.scope, suspended.subject, suspended.session) == (scope, "app", session)
        assert (suspended.from_us, suspended.until_us, suspended.caused_by) == (
            at_us,
            at_us + 600 * SECOND_US,
            ("ann",),
        )
        world.run(at_us, session, "secrets")
        assert sum(isinstance(s, Suspended) for s in world.said) == 1, "it is suspended already"
        other = world.open(at_us + 1, address="172.17.0.9:1")
        again = sum(isinstance(s, Suspended) for s in world.said)
        assert again == (2 if scope is Scope.SESSION else 1), other


def test_who_lifts_a_suspension_says_that_it_was_nothing() -> None:
    world = World(Behaviour(Settings(suspend_at=60, suspend=Scope.IDENTITY)))
    midnight = world.weeks()
    at_us = midnight + 9 * HOUR_US
    session = world.open(at_us, address="172.16.0.9:1", target="hr-db")
    suspended = next(s for s in world.said if isinstance(s, Suspended))
    vote = Vote(ApprovalId(suspended.suspension), b"c", "ann", Choice.APPROVE, b"", 1, 1, b"")
    world.give(at_us, Resumed(suspended.suspension, "app", vote, at_us))
    world.run(at_us, session, "secrets", rows=10)  # 25 points, which alone are nothing
    assert sum(isinstance(s, Alert) for s in world.said) == 1
    world.open(at_us, address="172.17.0.9:1", target="payroll-db")
    assert sum(isinstance(s, Suspended) for s in world.said) == 2, "it can be suspended again"


def test_a_command_of_a_session_that_was_never_opened_is_counted_and_nothing_else() -> None:
    world = World()
    session = world.does.open(MONDAY_US, "app").session
    world.run(MONDAY_US, session, rows=10**9)
    assert (world.watch.unknown, world.said) == (1, [])


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3:5000", "10.1.2.0/24"),
        ("2001:db8:1:2:3::4:5000", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3:5000", "10.1.2.0/24"),
        ("/run/socket", "/run/socket"),
        ("", ""),
    ],
)
def test_a_network_is_24_bits_or_64(address: str, network: str) -> None:
    assert network_of(address) == network
