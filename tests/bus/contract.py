"""What every bus must do. Each driver's tests inherit these and give the fixture `bus`, whose topics are empty.

Order is promised within a key and no further: a driver may have many partitions.
"""

import asyncio

import pytest

from bus.topics import APPROVALS, EVENTS, GRANTS, LARGEST_MESSAGE, Bus, Consumer, Message, MessageTooLarge

KEY = b"recorder"


def values(messages: list[Message]) -> list[bytes]:
    return [m.value for m in messages]


async def take(consumer: Consumer, count: int, most: int = 100) -> list[Message]:
    """Exactly the next `count` messages. A driver may give them in several batches."""
    found: list[Message] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            found += await consumer.batch(min(most, count - len(found)), 1.0)
    return found


class Contract:
    async def test_messages_of_a_key_come_in_order_and_as_they_were_sent(self, bus: Bus) -> None:
        await bus.producer().send(EVENTS, [(b"k", b"\x00\xff"), (b"", b""), (b"k", b"second")])
        await bus.producer().send(EVENTS, [(b"k", b"third")])
        got = await take(await bus.consumer("g", [EVENTS]), 4)
        assert sorted((m.key, m.topic) for m in got) == [(b"", EVENTS)] + [(b"k", EVENTS)] * 3
        assert [m.value for m in got if m.key == b""] == [b""]
        mine = [m for m in got if m.key == b"k"]
        assert values(mine) == [b"\x00\xff", b"second", b"third"]
        assert len({m.partition for m in mine}) == 1
        assert [m.offset for m in mine] == sorted({m.offset for m in mine})
        assert [m.time_us for m in mine] == sorted(m.time_us for m in mine)

    async def test_a_batch_is_no_larger_than_asked_and_goes_on_where_it_ended(self, bus: Bus) -> None:
        await bus.producer().send(EVENTS, [(KEY, b"%d" % i) for i in range(5)])
        consumer = await bus.consumer("g", [EVENTS])
        assert values(await consumer.batch(3, 10)) == [b"0", b"1", b"2"]
        assert values(await consumer.batch(3, 10)) == [b"3", b"4"]
        assert await consumer.batch(3, 0.01) == []

    async def test_what_was_not_committed_comes_again_to_the_next_reader_of_the_group(self, bus: Bus) -> None:
        await bus.producer().send(EVENTS, [(KEY, b"a"), (KEY, b"b"), (KEY, b"c")])
        first = await bus.consumer("g", [EVENTS])
        got = await take(first, 3)
        assert await first.committed(EVENTS, got[1].partition) is None
        await first.commit(got[1], "two")
        assert values(await take(await bus.consumer("g", [EVENTS]), 1)) == [b"c"]
        assert await first.committed(EVENTS, got[1].partition) == (got[1].offset, "two")
        assert values(await take(await bus.consumer("other", [EVENTS]), 3)) == [b"a", b"b", b"c"]

    async def test_a_reader_without_a_group_sees_only_what_comes_after_it(self, bus: Bus) -> None:
        await bus.producer().send(GRANTS, [(KEY, b"old")])
        consumer = await bus.consumer("", [GRANTS])
        await bus.producer().send(GRANTS, [(KEY, b"new")])
        (got,) = await take(consumer, 1)
        assert got.value == b"new"
        with pytest.raises(ValueError, match="without a group"):
            await consumer.commit(got)

    async def test_seek_starts_at_that_offset(self, bus: Bus) -> None:
        await bus.producer().send(EVENTS, [(KEY, b"a"), (KEY, b"b")])
        consumer = await bus.consumer("g", [EVENTS])
        got = await take(consumer, 2)
        await consumer.seek(EVENTS, got[1].partition, got[1].offset)
        assert values(await take(consumer, 1)) == [b"b"]

    async def test_a_waiting_reader_is_woken(self, bus: Bus) -> None:
        waiting = asyncio.create_task((await bus.consumer("g", [APPROVALS])).batch(1, 30))
        await asyncio.sleep(0)
        await bus.producer().send(APPROVALS, [(KEY, b"x")])
        assert values(await asyncio.wait_for(waiting, 15)) == [b"x"]

    async def test_the_largest_message_goes_and_a_larger_one_takes_its_whole_send_with_it(self, bus: Bus) -> None:
        largest = bytes(LARGEST_MESSAGE - len(KEY))
        await bus.producer().send(EVENTS, [(KEY, largest)])
        with pytest.raises(MessageTooLarge, match=f"{LARGEST_MESSAGE + 1} bytes"):
            await bus.producer().send(EVENTS, [(KEY, b"small"), (KEY, largest + b"x")])
        await bus.producer().send(EVENTS, [(KEY, b"after")])
        assert values(await take(await bus.consumer("g", [EVENTS]), 2)) == [largest, b"after"]

    async def test_a_reader_of_a_partition_sees_what_is_in_it(self, bus: Bus) -> None:
        await bus.producer().send(EVENTS, [(KEY, b"a")])
        (got,) = await take(await bus.consumer("all", [EVENTS]), 1)
        assert values(await take(await bus.consumer("one", [EVENTS], [got.partition]), 1)) == [b"a"]
