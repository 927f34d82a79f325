"""The role and the command as processes of their own: killed, they tell all; and no secret is in what they say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.local import LocalBus
from bus.topics import EVENTS
from tallystick import setup
from tallystick.checking import findings
from tallystick.config import load
from tallystick.demo_stage import command, run
from tallystick.notify.step import GROUP
from tests.conftest import free_port
from tests.notify.conftest import SECRET, Teller, asked
from tests.notify.receivers import Delivery, Receiver, answer, hang, verified


@dataclass
class Place:
    config: Path

    @property
    def data(self) -> Path:
        return self.config.parent / "data"

    @property
    def keys(self) -> Path:
        return self.config.parent / "keys"

    def bus(self) -> LocalBus:
        self.data.mkdir(exist_ok=True)
        return LocalBus(self.data)

    @contextlib.contextmanager
    def notifying(self) -> Iterator[subprocess.Popen[str]]:
        """Ready when it is entered, killed when it is left."""
        with (self.config.parent / "notify.log").open("ab") as log:
            process = subprocess.Popen(
                command("worker", "--steps", "notify", "--config", str(self.config)),
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ready hook")
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self) -> str:
        return (self.config.parent / "notify.log").read_text()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, receiver: Receiver) -> Place:
    for name, text in (("hook.url", receiver.url), ("hook.secret", SECRET)):
        setup.write_secret(tmp_path / name, text)
    hook = 'name = "hook"\nkind = "webhook"\nurl_file = "../hook.url"\nsecret_file = "../hook.secret"'
    done = setup.make(
        tmp_path / "place", target="postgresql://app@127.0.0.1:1/orders", more=f"[[notify]]\n{hook}\n",
        listen=f"127.0.0.1:{free_port()}", approvals=f"127.0.0.1:{free_port()}",
    )  # fmt: skip
    return Place(done.config)


async def test_killed_before_it_was_taken_it_is_sent_again_under_the_same_id(place: Place, receiver: Receiver) -> None:
    bus = place.bus()
    teller = Teller(bus, place.keys)
    receiver.behave = hang
    with place.notifying():
        await teller.tell(one := asked())
        first = await asyncio.to_thread(receiver.next)
    with place.notifying():
        again = await asyncio.to_thread(receiver.next)
    receiver.behave = answer(200)
    with place.notifying() as process:
        third = await asyncio.to_thread(receiver.next)
        consumer = await bus.consumer(GROUP, [EVENTS], [0])
        while (await consumer.committed(EVENTS, 0) or (0, ""))[0] < 1:
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with place.notifying():  # and then never again
        await teller.tell(two := asked())
        last = await asyncio.to_thread(receiver.next)
    await bus.close()
    assert first.body == again.body == third.body
    assert {d.headers["webhook-id"] for d in (first, again, third)} == {first.headers["webhook-id"]}
    assert json.loads(first.body)["data"]["request"] == one.request
    assert json.loads(last.body)["data"]["request"] == two.request
    for delivery in (first, again, third, last):
        verified(delivery, SECRET)
    assert receiver.deliveries.empty()
    assert receiver.path not in place.log()


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_killed_again_and_again_it_tells_every_request(place: Place, receiver: Receiver) -> None:
    bus = place.bus()
    teller = Teller(bus, place.keys)
    wanted = set()
    with place.notifying():
        pass
    for n in range(4):
        with place.notifying():
            for _ in range(8):
                one = asked()
                wanted.add(one.request)
                await teller.tell(one)
            await asyncio.to_thread(receiver.next)  # something arrived: the rest is on its way, or not
        if n % 2:
            await teller.tell(one := asked())
            wanted.add(one.request)
    with place.notifying():
        await teller.tell(last := asked())
        wanted.add(last.request)
        while last.request not in (told := [r for one in receiver.seen for r in requests(one)]):
            await asyncio.sleep(0.05)
    await bus.close()
    assert set(told) == wanted
    assert len(told) < 3 * len(wanted)  # again is allowed, for what was on its way when it died


def requests(delivery: Delivery) -> list[str]:
    said = json.loads(delivery.body)
    assert not said["data"].get("not_listed")
    return [one["data"]["request"] for one in said["data"].get("notices", [said])]


def test_a_test_message_arrives_and_says_so(place: Place, receiver: Receiver) -> None:
    done = run("notify", "test", "--config", str(place.config))
    assert (done.returncode, done.stdout) == (0, "hook: taken\n"), done.stderr
    got = receiver.next()
    verified(got, SECRET)
    assert json.loads(got.body)["type"] == "test"
    receiver.behave = answer(404)
    done = run("notify", "test", "--config", str(place.config), "--name", "hook")
    assert (done.returncode, done.stderr) == (1, "hook: not taken: HTTP 404\n")
    done = run("notify", "test", "--config", str(place.config), "--name", "other")
    assert done.returncode == 2
    assert done.stderr.endswith("no such [[notify]]; there are: hook\n")


def test_check_says_how_each_channel_stands(place: Place, receiver: Receiver) -> None:
    def said() -> tuple[bool, str]:
        (found,) = [f for f in findings(load(place.config)) if f.about == "notify hook"]
        return found.good, found.text

    assert said() == (True, "http to 127.0.0.1, signed with 1 secret")
    secret = place.config.parent.parent / "hook.secret"
    secret.chmod(0o644)
    assert said() == (
        False, f"{secret}: others can read the secrets that sign webhooks; chmod 600 {secret}",
    )  # fmt: skip
    secret.chmod(0o600)
    receiver.__exit__()
    good, text = said()
    assert not good
    assert text == "no connection (ConnectionRefusedError); is its address right, and may this machine reach it?"


def test_without_anybody_to_tell_the_role_says_so(place: Place) -> None:
    text = place.config.read_text()
    place.config.write_text(text[: text.index("[[notify]]")] + text[text.index("[[gateway]]") :])
    done = run("worker", "--steps", "notify", "--config", str(place.config))
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2, "no [[notify]] is configured, so there is nobody to tell",
    )  # fmt: skip
