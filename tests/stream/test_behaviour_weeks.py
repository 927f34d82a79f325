"""Eight weeks of five identities, then misuse: silent before, told after. bench/behaviour.py has the whole table."""

from __future__ import annotations

from approvals.votes import Directory
from policy.behaviour import Behaviour
from schemas.codec import to_plain
from schemas.records import Alert, Exchange, SessionClosed, SessionOpened
from stream.behaviour.memory import Memory
from stream.behaviour.watch import Watch
from tests.stream.behaving import DAY_US, MONDAY_US, Weeks, misuses
from tests.stream.test_behaviour_watch import NoBox

SEED, WEEKS = 1, 8


def test_clean_weeks_are_silent_and_misuse_in_the_last_is_told() -> None:
    weeks = Weeks(SEED, WEEKS)
    usual = weeks.entries()
    acts = [timed for some in misuses(weeks).values() for timed in some]
    watch, told = Watch(Behaviour(), "v", Directory(()), Memory(NoBox())), list[Alert]()
    for n, (at_us, body) in enumerate(sorted([*usual, *acts], key=lambda timed: timed[0])):
        watch.begin(str(n), at_us)
        match body:
            case Exchange():
                watch.exchange(to_plain(body))
            case SessionOpened():
                watch.opened(body)
            case SessionClosed():
                watch.closed(body.session)
        told += [said for said in watch.said() if isinstance(said, Alert)]
    wednesday_us = MONDAY_US + (7 * WEEKS - 5) * DAY_US
    assert [a for a in told if a.at_us < wednesday_us] == [], f"seed {SEED}"
    assert {a.subject for a in told} == {"ci/deploy", "app/shop", "cron/old"}, f"seed {SEED}"
    found = {f.signal.partition(":")[2] for a in told for f in a.findings}
    assert found >= {
        "Network/FirstSeen", "Relation/FirstSeen", "Schedule/UnusualHour", "Volume/Rows", "Volume/Bytes", "Run/Reused",
        "Identity/Woke",
    }  # fmt: skip
