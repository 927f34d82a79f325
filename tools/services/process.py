"""One server process that a test may kill, pause, and start again on the same port with the same data."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tallystick.demo_postgres import free_port

START_S = 90
STOP_S = 30
KEEPER = 'read -r _; kill -9 "$1"'
"""Waits for the end of its input, which is our death by whatever signal, and then kills the server."""


class Server:
    """A process with its folder. Subclasses say how it is run and when it answers."""

    name: str

    def __init__(self, folder: Path, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.log = folder / f"{self.name}.log"
        self._command = command
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "TZ": "UTC", **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._running().pid

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts it and returns when it answers. RuntimeError with the end of its log if it does not in 90 s."""
        assert not self.alive(), f"{self.name} runs already"
        self._end_keeper()  # of a process that ended by itself
        with self.log.open("ab") as log:
            began = log.tell()
            self._process = subprocess.Popen(
                self._command, cwd=self.folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "keeper", str(self._process.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + START_S
        try:
            while not self._answers(began):
                if not self.alive() or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} did not start: {self._last_words(began)}")
                time.sleep(0.05)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after 30 s. Nothing to do if it is not running."""
        self._end_keeper()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)  # one that is paused would not hear
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                pass
            self.kill()

    def kill(self) -> None:
        """SIGKILL: what it had not written is gone. Nothing to do if it is not running."""
        self._end_keeper()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers. Returns when each of its threads stands still."""
        self._running().send_signal(signal.SIGSTOP)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"{self.name} ended instead"

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    def _answers(self, began: int) -> bool:
        """Whether it serves requests; its log of this start begins at byte `began`."""
        raise NotImplementedError

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.name} is not running"
        return self._process

    def _said(self, began: int) -> str:
        with self.log.open("rb") as log:
            log.seek(began)
            return log.read().decode("utf-8", "replace")

    def _last_words(self, began: int) -> str:
        return " / ".join(self._said(began).splitlines()[-5:]) or "it printed nothing"

    def _end_keeper(self) -> None:
        """Goes before the server does: a keeper left behind could kill whoever has that pid later."""
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            assert self._keeper.stdin is not None
            self._keeper.stdin.close()
            self._keeper = None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now, each another."""
    found: dict[int, None] = {}
    while len(found) < count:
        found[free_port()] = None
    return list(found)
