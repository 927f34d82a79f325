"""Other people's scanners of secrets and personal data: detect-secrets, Presidio, secretlint. Pinned, not installed
beside the project: the first two in a virtual environment of their own, the third in a folder of npm's.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .cache import PINS, made, run, tools


def scanners_python() -> Path:
    """The Python that has detect-secrets and presidio-analyzer. Raises `Unavailable`."""
    return made("scanners_python", _make_python) / "bin/python"


def _make_python(folder: Path) -> None:
    # Programs in it name the folder that it is made in, and it is renamed when done: they are run as modules instead.
    run("scanners_python", [sys.executable, "-m", "venv", folder], folder.parent)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run("scanners_python", [*pip, "--require-hashes", "-r", PINS / "scanners_python/requirements.txt"], folder)


def secretlint() -> list[str]:
    """The words that start it; its rules are found from its own folder. Raises `Unavailable`."""
    node, _ = tools("secretlint", "Node 20 and npm", "node", "npm")
    return [node, str(made("secretlint", _make_secretlint) / "node_modules/secretlint/bin/secretlint.js")]


def _make_secretlint(folder: Path) -> None:
    for pin in (PINS / "secretlint").iterdir():
        shutil.copy(pin, folder)
    _, npm = tools("secretlint", "Node 20 and npm", "node", "npm")
    run("secretlint", [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
