"""The ledger role, which dies by its own hand at a step of a commit: `python dying_ledger.py CONFIG STEP NTH`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tallystick import config, roles
from tallystick.roles import ledger

STEPS = ("encoded", "batch", "checkpoint", "covered")


def main(at: str, step: str, nth: str) -> None:
    left = int(nth)

    class Dying(ledger._Commits):
        def __call__(self, reached: str) -> None:
            nonlocal left
            super().__call__(reached)
            left -= reached == step
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    ledger._Commits = Dying  # type: ignore[misc]
    found = config.load(Path(at))
    roles.run(lambda stop: ledger.ledger(found, print, stop), "ledger")


if __name__ == "__main__":
    main(*sys.argv[1:])
