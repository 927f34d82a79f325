"""What the demo and the scenario tests stand on: `tallystick up` and other commands as processes of their own."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

READY_S = 120
STOP_S = 60


class UpFailed(RuntimeError):
    """`tallystick up` did not become ready, or did not end in time. Its log says why."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tallystick", *arguments]


def run(*arguments: str, stdin: str = "", timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """A command of ours, to its end; output and exit code are the caller's to look at."""
    return subprocess.run(  # noqa: S603
        command(*arguments), input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )


class Up:
    """`tallystick up`, in a session (process group) of its own."""

    def __init__(self, config: Path, log: Path) -> None:
        self._config, self._log = config, log
        self.lines: list[str] = []

    def start(self, ready_s: float = READY_S) -> None:
        """Returns when it has said "ready". Raises UpFailed."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command("up", "--config", str(self._config)),
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
            )  # fmt: skip
        said: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            assert self.process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            for line in self.process.stdout:
                said.put(line.rstrip())
            said.put(None)

        threading.Thread(target=read, daemon=True).start()
        self.lines = []
        end = time.monotonic() + ready_s
        while True:
            try:
                line = said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None:
                self.kill()
                raise UpFailed(f"tallystick up is not ready; see {self._log}")
            self.lines.append(line)
            if line == "ready":
                return

    def stop(self) -> None:
        """SIGTERM: it drains. Raises UpFailed if it does not end."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise UpFailed(f"tallystick up did not drain in {STOP_S} s; see {self._log}") from None
        if code != 0:
            raise UpFailed(f"tallystick up ended with {code}; see {self._log}")

    def kill(self) -> None:
        """SIGKILL to every process of it, at once."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was gone already
        self.process.wait()


def files_with(needles: Sequence[bytes], *places: Path) -> list[Path]:
    """The files under these places that hold one of the needles, as they lie."""
    found = []
    for place in places:
        for path in sorted(p for p in place.rglob("*") if p.is_file()):
            raw = path.read_bytes()
            if any(needle in raw for needle in needles):
                found.append(path)
    return found
