"""What every role does to its own process before it meets traffic or keys.

Cleartext leaves a process by side doors: core files, a debugger, TLS key logs,
tracebacks with locals. Each is shut here, on Linux; elsewhere what can be is.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"prctl({option}): {os.strerror(errno)}")


def harden() -> None:
    """No core files, not dumpable, no TLS key log. Raises OSError if the kernel says no."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(PR_SET_DUMPABLE, 0)
    os.environ.pop("SSLKEYLOGFILE", None)


def die_with(parent: int) -> None:
    """This process gets SIGTERM when its parent dies, however it dies: no orphans hold the ports."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(1)


def allow_many_files() -> None:
    """Two descriptors a session: take what the hard limit gives."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
