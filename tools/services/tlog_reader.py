"""A reader of logs that is not ours: `pins/tlog_reader`, a short program around torchwood and golang.org/x/mod.

torchwood (BSD) is a client of C2SP's tlog-tiles, x/mod (BSD) the code of Go's own checksum database.
"""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

from .cache import PINS, made, run, tools

NAME = "tlog_reader"


@functools.cache
def tlog_reader() -> Path:
    """The built program: `tlog_reader URL VKEY`. `Unavailable` where it cannot be built."""
    return made(NAME, _build) / NAME


def _build(folder: Path) -> None:
    (go,) = tools(NAME, "go 1.25+", "go")
    work = folder / "module"
    shutil.copytree(PINS / NAME, work)  # go wants to write beside go.mod, and the tree may be read-only
    run(NAME, [go, "build", "-mod=readonly", "-trimpath", "-o", folder / NAME, "."], work)
    shutil.rmtree(work)
