"""The statements of PostgreSQL's own regression tests, in the order of their files.

Psql's own words are taken out (`\\d`, `\\gset`, the data behind COPY FROM STDIN), so that what is left is
what a server would see; `:variables` stay, and do not parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from postgast import PgQueryError, split

_DATA = re.compile(r"^\s*copy\b[^;]*\bfrom\s+stdin\b[^;]*;.*$", re.IGNORECASE)
_ENDS_WITH_WORD = re.compile(r"\\(?:g|gset|gexec|gdesc|gx|crosstabview|watch)\b.*$")


class Statement(NamedTuple):
    file: str
    text: str


def statements(folder: Path) -> Iterator[Statement]:
    """Each that is not empty."""
    for path in sorted(folder.glob("*/*.sql")):
        for text in _split(_without_psql(path.read_text("utf-8", errors="replace"))):
            if text.strip():
                yield Statement(path.stem, text.strip())


def _without_psql(text: str) -> str:
    kept, data = [], False
    for line in text.splitlines():
        if data:
            data = line.strip() != "\\."
        elif not line.lstrip().startswith("\\"):
            kept.append(_ENDS_WITH_WORD.sub(";", line).replace("\\;", ";"))
            data = _DATA.match(line) is not None
    return "\n".join(kept) + "\n"


def _split(text: str) -> list[str]:
    try:
        return split(text, method="scanner")
    except PgQueryError:  # a file that tests the scanner's own errors
        return text.split(";\n")
