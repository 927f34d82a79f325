"""Writes docs/masking.md out of the table of values, for developers: `python -m tools.masking_page`.

What `bench.masking_recall --write` measured, bench/masking_recall.json, comes into the page too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mask.encodings import MOST_INFLATED
from mask.kinds import Detector
from mask.search import DEPTH, MOST_TEXT
from mask.values import OPTIONAL, VALUES
from mask.values.national import IDS, source

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "masking.md"
FIGURES = ROOT / "bench" / "masking_recall.json"
_MOST = 3  # examples of each sort

HEAD = f"""# What is masked

<!-- Made by `python -m tools.masking_page` of the table in mask/values, which the tests run. -->

A value is replaced by `tok:<type>:<20 letters>`, equal for equal values in one session and nowhere else; a password or
a card's code, and whatever cannot be read, by `withheld:<length>:<12 letters>`. Three looks, in this order:

1. the **name** of a column, parameter, JSON member or header (`ssn`, `db_password`, …; yours: `mask:` in the policy);
2. the **grammar** of SQL, so that constants and comments are masked one by one;
3. the **detectors** below, over every text, folded to one plain form (full-width digits, other scripts' digits, all
   dashes and spaces, invisible characters), and over what is encoded in it: escapes, percent, entities,
   quoted-printable, base64, hex, gzip, zlib and zstd, {DEPTH} deep. What is deeper, over {MOST_INFLATED >> 20} MiB
   unpacked, or over {MOST_TEXT >> 20} Mi characters is withheld.

What is in « » is what a detector takes of its examples; of what stands under *leaves* it takes nothing.
"""


MEASURED = """Recall / precision by type, as `python -m bench.masking_recall` prints them: values of Faker in ten
locales, and secrets in the forms that providers publish, planted in sentences, JSON, CSV and log lines. Phone numbers,
dates of birth and most national ids are planted with a word that says what they are, as they must be to be found; in
the templates of presidio-evaluator, which this project did not write, some are not.
"""
ALARMS = """What is taken for a value in text that holds none. Source code has its authors' addresses, and `password =
x`, which is masked for its name.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "↵")


def _code(texts: Iterable[str], most: int = _MOST) -> str:
    """As code; long ones cut in the middle, so that no scanner takes an example for a secret."""
    shown = [text if len(text) <= 32 else f"{text[:20]}…{text[-8:]}" for text in texts]
    return "<br>".join(f"`{_cell(text)}`" for text in shown[:most])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _detectors(rows: Iterable[Detector]) -> str:
    return _table(
        ("detector", "finds", "leaves", "source"),
        ((f"`{each.name}`", _code(each.hits), _code(each.misses), _cell(each.source)) for each in rows),
    )


def _figures() -> str:
    found = json.loads(FIGURES.read_text(encoding="utf-8"))
    rows = ((f"`{kind}`", *map(_figure, sets)) for kind, *sets in found["rows"])
    clean = ((name, f"{size}", _counts(false)) for name, size, false in found["clean"])
    return f"{MEASURED}\n{_table(('type', *found['sets']), rows)}\n{ALARMS}\n{_table(('text', 'MB', 'false'), clean)}"


def _figure(of: dict[str, int] | None) -> str:
    """Recall / precision of how many."""
    if of is None:
        return "-"
    recall, precision = of["found"] / of["planted"], of["found"] / max(1, of["found"] + of["false"])
    return f"{recall:.4f} / {precision:.4f} of {of['planted']}"


def _counts(false: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in false.items()) or "none"


def page() -> str:
    alone = {each.name for each in IDS}
    parts = [
        HEAD,
        "## Detectors\n",
        _detectors(each for each in VALUES if each.name not in alone),
        "## National ids\n",
        "*alone*: wherever it stands; the others near a word that says what they are, their own or a general one "
        "(`national id`, `personal code`, `tax number`, …).\n",
        _table(
            ("id", "alone", "finds", "leaves", "source"),
            (
                (
                    f"`{each.name}`",
                    "yes" if each.alone else "",
                    _code([each.example]),
                    _code([each.wrong]),
                    _cell(source(each)),
                )
                for each in IDS
            ),
        ),
        "## On request\n",
        "Named under `detect:` in the policy.\n",
        _detectors(OPTIONAL),
    ]
    if FIGURES.exists():
        parts += ["## How well\n", _figures()]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
