"""Where fetched and built servers lie, and how one gets there: whole or not at all, once for all processes.

`$TALLYSTICK_CACHE` or `~/.cache/tallystick`, then a folder named by the hash of the pin files: another
pin is another folder. It is made under a lock, in a folder beside it, and then renamed: a crash
leaves rubbish with a name that nobody reads, and the next maker removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PINS = Path(__file__).parent / "pins"
MAKE_S = 3600
CHATTER = ("go: downloading", "WARNING", "[WARNING]")
"""What Go and Maven print before the line that says what is wrong; after it comes general advice."""


class Unavailable(Exception):
    """A server cannot be had on this machine: one line that says what is missing."""


def made(name: str, make: Callable[[Path], None]) -> Path:
    """The cached folder of `name`, after `make(empty folder)` if it is not there. Raises what `make` raises."""
    pins = PINS / name
    root = Path(os.environ.get("TALLYSTICK_CACHE") or Path.home() / ".cache/tallystick").absolute() / "services"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = root / f"{name}-{_key(pins)}"
    if done.is_dir():
        return done
    with _locked(root / f"{name}.lock"):
        if done.is_dir():  # another process made it while we waited
            return done
        print(f"{name}: not in the cache yet, making it (once a machine)", file=sys.stderr, flush=True)
        half = root / f"{name}.half"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        make(half)
        half.rename(done)
    return done


def tools(server: str, needs: str, *programs: str) -> list[str]:
    """The paths of the programs that `server` needs; `needs` says them with their versions, for a person."""
    found = {program: shutil.which(program) for program in programs}
    if missing := [program for program, path in found.items() if path is None]:
        raise Unavailable(f"{server}: needs {needs}; not found: {', '.join(missing)}")
    return [path for path in found.values() if path]


def run(server: str, command: Sequence[str | Path], folder: Path, **settings: str) -> None:
    """One step of the making, with `settings` in its environment. `Unavailable` with what the tool said, in one
    line, if it fails."""
    tool = Path(command[0]).name
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=MAKE_S, check=False, env=os.environ | settings,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{server}: {tool} did not end in {MAKE_S // 60} minutes") from None
    if done.returncode:
        said = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(CHATTER)]
        raise Unavailable(
            f"{server}: {tool} failed with {done.returncode}: {said[0] if said else 'it did not say why'}"
        )


def _key(pins: Path) -> str:
    """By pin files and platform: a home folder may be shared between machines of two kinds."""
    digest = hashlib.sha256(f"{sys.platform} {platform.machine()}".encode())
    for path in sorted(pins.iterdir()):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
