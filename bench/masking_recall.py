"""Recall and precision of the mask by type, on the corpora of tests/mask/corpora.py, at length.

    .venv/bin/python -m bench.masking_recall [--write] [texts of each type] [MB of each clean corpus]

`--write` keeps the figures in bench/masking_recall.json, which docs/masking.md shows. presidio-evaluator's templates
join where it is installed (`pip install --no-deps presidio-evaluator`; it is no package of the project's).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from mask.fields import Fields
from mask.search import Search
from tests.mask.corpora import CLEAN, HELD_OUT, KINDS, TUNED, Planted, planted, presidio_templates
from tests.mask.measure import Score, measure
from tools.masking_page import FIGURES


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    count, megabytes = (*numbers, 500, 12)[0], (*numbers[1:], 12)[0]
    search = Search(Fields())
    sets: dict[str, Iterable[Planted]] = {
        "seed looked at": planted(TUNED, count),
        "held-out seed": planted(HELD_OUT, count),
    }
    templates = list(presidio_templates(HELD_OUT, max(1, count // 50)))
    if templates:
        sets["presidio-evaluator's templates, held-out seed"] = templates
    scores = {name: measure(search, texts) for name, texts in sets.items()}
    clean = {name: measure(search, (Planted(text, ()) for text in make(megabytes * 10**6, HELD_OUT)))
             for name, make in CLEAN.items()}  # fmt: skip
    for kind in KINDS:
        print(f"{kind:16}", *(f"{score.recall(kind):.4f} / {score.precision(kind):.4f} of {score.planted[kind]:5}"
                              for score in scores.values()))  # fmt: skip
    for name, score in clean.items():
        print(f"{name:16} {score.size / 1e6:.1f} MB, false: {dict(score.false)}")
    if "--write" in sys.argv:
        FIGURES.write_text(json.dumps(_figures(scores, clean), indent=1) + "\n", encoding="utf-8")


def _figures(scores: dict[str, Score], clean: dict[str, Score]) -> dict[str, Any]:
    rows = []
    for kind in KINDS:
        cells = [{"planted": s.planted[kind], "found": s.found[kind], "false": s.false[kind]} for s in scores.values()]
        rows.append([kind, *(cell if cell["planted"] else None for cell in cells)])
    return {
        "sets": list(scores),
        "rows": rows,
        "clean": [[name, round(s.size / 1e6, 1), dict(sorted(s.false.items()))] for name, s in clean.items()],
    }


if __name__ == "__main__":
    main()
