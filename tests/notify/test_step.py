"""From a real embedded bus to real receivers: at least once, in order, and nobody waits for another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from bus.local import LocalBus
from bus.topics import EVENTS
from schemas.ids import Position
from schemas.records import ApprovalMoved, ApprovalState, Choice
from seal import keyfiles
from tallystick.backends import now_us
from tallystick.config import Notify
from tallystick.notify import step
from tallystick.notify.channels import channel
from tallystick.notify.outbox import Outbox, Wanted
from tallystick.notify.step import GROUP, Lane, Notifier
from tests.notify.conftest import Secret, Teller, asked, until, vote, webhook
from tests.notify.receivers import Delivery, Receiver, answer, hang

DOOR = "http://127.0.0.1:7480"
ALL = Wanted()
FAST = 600  # messages a minute


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[LocalBus]:
    made = LocalBus(tmp_path / "data")
    yield made
    await made.close()


@pytest.fixture
def teller(bus: LocalBus, keys: Path) -> Teller:
    return Teller(bus, keys)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(step, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(step, "LEAVE_S", 0.3)


Run = Callable[..., contextlib.AbstractAsyncContextManager[Notifier]]


@pytest.fixture
def run(bus: LocalBus, keys: Path, tmp_path: Path) -> Run:
    @contextlib.asynccontextmanager
    async def made(*settings: Notify, wanted: Wanted = ALL, per_minute: int = FAST) -> AsyncIterator[Notifier]:
        """Ready when it is entered, stopped when it is left."""
        lanes = [Lane(channel(s, DOOR, time.time), Outbox(wanted, per_minute), pause_s=0.02) for s in settings]
        notifier = Notifier(bus, keyfiles.enrolled(keys), lanes, tmp_path / "notify.json", now_us)
        task = asyncio.create_task(notifier.run())
        await until(lambda: notifier.ready or task.done())
        try:
            yield notifier
        finally:
            notifier.stop()
            await task

    return made


async def told(receiver: Receiver, count: int = 1) -> list[dict[str, Any]]:
    """The next notices, those of a digest one by one."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        said = json.loads((await asyncio.to_thread(receiver.next)).body)
        found += said["data"]["notices"] if said["type"] == "digest" else [said]
    assert len(found) == count
    return found


def requests(notices: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(said["type"].removeprefix("request."), said["data"]["request"]) for said in notices]


async def test_the_first_start_begins_at_the_end(run: Run, teller: Teller, receiver: Receiver, secret: Secret) -> None:
    before, after = asked(), asked()
    await teller.tell(before)
    async with run(webhook(secret, receiver.url)):
        await teller.tell(after)
        assert requests(await told(receiver)) == [("opened", after.request)]
    assert receiver.deliveries.empty()


async def test_a_request_is_told_in_order_and_a_repeat_is_not(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    one = asked()
    moves = [(ApprovalState.APPROVED, ApprovalState.RESERVED), (ApprovalState.RESERVED, ApprovalState.USED)]
    async with run(webhook(secret, receiver.url)):
        bodies = [one, vote(one.request), *(ApprovalMoved(one.request, *move, 0) for move in moves)]
        sent = [teller.message(body) for body in bodies]
        await bus.producer().send(EVENTS, [sent[0], sent[0], *sent[1:], *sent])
        other = asked()
        await teller.tell(other)
        found = await told(receiver, 4)
        assert requests(found) == [
            ("opened", one.request), ("approved", one.request), ("used", one.request), ("opened", other.request),
        ]  # fmt: skip
    assert len({said["data"]["id"] for said in found}) == 4
    assert receiver.deliveries.empty()


async def test_what_happened_meanwhile_is_told_at_the_next_start_and_nothing_twice(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret
) -> None:
    first, second = asked(), asked()
    hook = webhook(secret, receiver.url)
    async with run(hook):
        await teller.tell(first)
        await told(receiver)
    await teller.tell(second, vote(first.request), vote(second.request, "bob", Choice.DENY))
    async with run(hook):
        found = await told(receiver, 3)
        assert requests(found) == [
            ("opened", second.request), ("approved", first.request), ("denied", second.request),
        ]  # fmt: skip
        assert found[1]["data"]["subject"] == "ci/deploy"  # remembered over the restart
    async with run(hook):
        await teller.tell(third := asked())
        assert requests(await told(receiver)) == [("opened", third.request)]


async def test_a_channel_that_is_down_holds_up_no_other(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    with Receiver() as gone:
        pass
    hooks = [webhook(secret, receiver.url), webhook(secret, gone.url, name="gone")]
    many = [asked() for _ in range(3)]
    async with run(*hooks) as notifier:
        down = notifier.lanes[1]
        for one in many:
            await teller.tell(one)
            assert requests(await told(receiver)) == [("opened", one.request)]
        await until(lambda: down.failed > 3)
        assert (notifier.lanes[0].sent, notifier.lanes[0].failed, down.sent) == (3, 0, 0)
        consumer = await bus.consumer(GROUP, [EVENTS], [0])
        end = time.monotonic() + 20
        while True:  # it says durably where each stands
            known = await consumer.committed(EVENTS, 0)
            assert known is not None
            positions = json.loads(known[1])
            if positions["hook"] - positions["gone"] == 3 and known[0] == positions["gone"]:
                break
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        with Receiver(port=gone.port) as back:
            back.path = gone.path
            assert requests(await told(back, 3)) == [("opened", one.request) for one in many]
            await until(lambda: down.outbox.waiting == 0)
    assert receiver.deliveries.empty()


async def test_a_slow_channel_gets_what_it_missed_after_a_restart(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret
) -> None:
    with Receiver() as slow:
        slow.behave = hang
        hooks = [webhook(secret, receiver.url), webhook(secret, slow.url, name="slow")]
        one, two = asked(), asked()
        async with run(*hooks):
            await teller.tell(one)
            await told(receiver)
            once = await asyncio.to_thread(slow.next)
            await teller.tell(two)
            await told(receiver)
        slow.behave = answer(200)
        async with run(*hooks):
            again = await asyncio.to_thread(slow.next)
            assert json.loads(again.body) == json.loads(once.body)
            assert again.headers["webhook-id"] == once.headers["webhook-id"]
            assert requests(await told(slow)) == [("opened", two.request)]
        assert receiver.deliveries.empty()


async def test_it_is_sent_again_under_the_same_id_until_it_is_taken(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret
) -> None:
    receiver.behave = answer(503)
    async with run(webhook(secret, receiver.url)) as notifier:
        await teller.tell(asked())
        tries: list[Delivery] = [await asyncio.to_thread(receiver.next) for _ in range(4)]
        receiver.behave = answer(200)
        await until(lambda: notifier.lanes[0].sent == 1)
    assert len({one.headers["webhook-id"] for one in tries}) == 1
    assert len({one.body for one in tries}) == 1


async def test_what_is_refused_is_given_up_with_an_alarm_and_the_next_goes(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret
) -> None:
    receiver.behave = answer(422)
    async with run(webhook(secret, receiver.url)) as notifier:
        lane = notifier.lanes[0]
        with capture_logs() as logs:
            notifier._log = structlog.get_logger()
            await teller.tell(asked())
            await until(lambda: lane.given_up == 1)
            assert lane.failed == step.REFUSALS
            receiver.behave = answer(200)
            await teller.tell(two := asked())
            await until(lambda: lane.sent == 1)
        for _ in range(step.REFUSALS):
            receiver.next()
        assert requests(await told(receiver)) == [("opened", two.request)]
    (alarm,) = [line for line in logs if line["event"] == "alarm"]
    assert alarm["alarm"] == "notification given up"
    assert (alarm["channel"], alarm["kind"], alarm["notices"]) == ("hook", "request.opened", 1)
    assert receiver.path not in json.dumps(logs)


async def test_a_channel_that_stays_down_is_given_up_after_a_while(
    run: Run, teller: Teller, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "GIVE_UP_S", 0.2)
    with Receiver() as gone:
        pass
    async with run(webhook(secret, gone.url)) as notifier:
        for _ in range(5):
            await teller.tell(asked())
        await until(lambda: notifier.lanes[0].given_up == 5)
        assert notifier.lanes[0].failed >= 4


async def test_a_storm_is_a_few_digests_that_count_everything(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    async with run(webhook(secret, receiver.url), per_minute=60) as notifier:
        for _ in range(20):
            await bus.producer().send(EVENTS, [teller.message(asked()) for _ in range(50)])
        await until(lambda: notifier.handled == 1000)
        await until(lambda: notifier.lanes[0].outbox.waiting == 0)
    counted = 0
    messages = [json.loads(one.body) for one in list(receiver.deliveries.queue)]
    for said in messages:
        listed = said["data"]["notices"] if said["type"] == "digest" else [said]
        assert len(listed) <= 50
        counted += len(listed) + sum(said["data"].get("not_listed", {}).values())
    assert counted == 1000
    assert len(messages) <= 20
    assert messages[-1]["data"]["text"].endswith(" request.opened")


async def test_what_is_too_old_is_a_number(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "TOO_OLD_US", 30_000_000)
    hook = webhook(secret, receiver.url)
    async with run(hook):
        pass
    await teller.tell(asked(), asked())
    await bus.run(lambda db: db.execute("UPDATE topic_events SET time_us = time_us - 31000000"))
    await teller.tell(new := asked())
    async with run(hook):
        said = json.loads((await asyncio.to_thread(receiver.next)).body)
    assert said["type"] == "digest"
    assert requests(said["data"]["notices"]) == [("opened", new.request)]
    assert said["data"]["not_listed"] == {"request.opened": 2}
    assert receiver.deliveries.empty()


async def test_what_no_producer_signed_is_an_alarm_and_the_rest_goes_on(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    async with run(webhook(secret, receiver.url)) as notifier:
        with capture_logs() as logs:
            notifier._log = structlog.get_logger()
            key, forged = teller.message(asked(subject="mallory"))
            await bus.producer().send(EVENTS, [(key, forged[:-1] + bytes([forged[-1] ^ 1])), (b"x", b"junk")])
            teller.at = Position(-1, -1, -1)
            await teller.tell(one := asked())
            found = await told(receiver, 3)
    assert [said["type"] for said in found] == ["alarm", "alarm", "request.opened"]
    assert found[0]["data"]["record"] == "Undecoded"
    assert found[2]["data"]["request"] == one.request
    assert "mallory" not in json.dumps(found)
    assert [line["alarm"] for line in logs if line["event"] == "alarm"] == ["message not accepted"] * 2


async def test_missing_and_unlike_messages_are_told(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret
) -> None:
    async with run(webhook(secret, receiver.url)):
        await teller.tell(asked())
        teller.message(asked())  # never sent
        await teller.tell(asked())
        at = teller.at
        teller.at = Position(at.major - 1, 0, 0)
        await teller.tell(asked())  # the same position, and something else
        found = await told(receiver, 4)
    assert [said["type"] for said in found] == ["request.opened", "alarm", "request.opened", "alarm"]
    assert [said["data"].get("record") for said in found] == [None, "Gap", None, "Conflict"]


async def test_messages_that_the_bus_no_longer_has_are_told_of(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    hook = webhook(secret, receiver.url)
    async with run(hook):
        await teller.tell(asked())
        await told(receiver)
    await teller.tell(asked(), asked(), last := asked())
    await bus.run(lambda db: db.execute("DELETE FROM topic_events WHERE at < (SELECT max(at) FROM topic_events)"))
    async with run(hook):
        found = await told(receiver, 2)
    assert found[0]["data"]["record"] == "Gap"
    assert found[1]["data"]["request"] == last.request
    async with run(hook):  # and not again
        await teller.tell(asked())
        assert [said["type"] for said in await told(receiver)] == ["request.opened"]


async def test_who_had_them_already_is_not_told_again_when_another_lost_some(
    run: Run, teller: Teller, bus: LocalBus, receiver: Receiver, secret: Secret
) -> None:
    with Receiver() as gone:
        pass
    hooks = [webhook(secret, receiver.url), webhook(secret, gone.url, name="gone")]
    async with run(*hooks):
        await teller.tell(asked(), asked(), asked())
        await told(receiver, 3)
    await bus.run(lambda db: db.execute("DELETE FROM topic_events WHERE at < (SELECT max(at) FROM topic_events)"))
    with Receiver(port=gone.port) as back:
        async with run(*hooks):
            assert [said["data"].get("record") for said in await told(back, 2)] == ["Gap", None]
            await teller.tell(last := asked())
            assert requests(await told(receiver)) == [("opened", last.request)]
    assert receiver.deliveries.empty()


async def test_where_reading_never_catches_up_people_are_told_all_the_same(
    run: Run, teller: Teller, receiver: Receiver, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "CATCH_UP_S", 0.3)
    monkeypatch.setattr(step, "MESSAGES", 0)  # every batch is full
    async with run(webhook(secret, receiver.url)) as notifier:
        assert not notifier._caught_up.is_set()
        monkeypatch.setattr(step, "MESSAGES", 1)
        await teller.tell(asked(), asked())
        await told(receiver, 2)


async def test_a_channel_hears_what_it_is_for(run: Run, teller: Teller, receiver: Receiver, secret: Secret) -> None:
    wanted = Wanted(targets=frozenset({"orders-db"}), groups=frozenset({"security"}), min_score=50)
    async with run(webhook(secret, receiver.url), wanted=wanted):
        low, elsewhere, good = asked(score=49), asked(target="other-db"), asked()
        await teller.tell(low, elsewhere, vote(low.request), vote(good.request, choice=Choice.DENY), good)
        found = await told(receiver, 2)
    assert requests(found) == [("denied", good.request), ("opened", good.request)]  # not yet known: better told


async def test_a_new_channel_begins_at_the_end(run: Run, teller: Teller, receiver: Receiver, secret: Secret) -> None:
    with Receiver() as other:
        old, new = webhook(secret, receiver.url), webhook(secret, other.url, name="new")
        async with run(old):
            await teller.tell(asked())
            await told(receiver)
        await teller.tell(asked())
        async with run(old, new):
            await told(receiver)
            await teller.tell(last := asked())
            await told(receiver)
            assert requests(await told(other)) == [("opened", last.request)]
        assert other.deliveries.empty()
