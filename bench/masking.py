"""Masking in MB/s on one core, beside Presidio and datafog in the same run where these are installed.

    .venv/bin/python -m bench.masking [seconds of each]

By the processor's time, and the best of many short runs, because whatever else runs can only slow one down.
Presidio (its pattern recognizers, on a blank model) and datafog (its regular expressions) are not among the
project's packages; both find fewer kinds of values than the mask does, and only report where they are.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from faker import Faker

from mask.copy_shape import shapes
from mask.masker import masker_for
from schemas.ids import SessionId
from wire.postgres.grammar import parse

SEED = 20_260_801
COLUMNS = ("id", "name", "email", "ssn", "card", "iban", "phone", "address", "note")
BODY = 56 * 1024

Texts = Sequence[str]
Mask = Callable[[str], object]


def clean_row(fake: Faker, n: int) -> dict[str, Any]:
    return {
        "id": n,
        "status": fake.random_element(("paid", "shipped", "open")),
        "sku": f"WID-{n:06d}",
        "quantity": n % 7,
        "price": n * 125 / 100,
        "note": fake.sentence(12),
        "created_at": fake.iso8601(),
        "trace": fake.uuid4(),
        "ok": True,
    }


def dense_row(fake: Faker, n: int) -> dict[str, Any]:
    note = f"call {fake.email()} about card {fake.credit_card_number()}"
    values = (n, fake.name(), fake.email(), fake.ssn(), fake.credit_card_number(), fake.iban(), fake.phone_number())
    return dict(zip(COLUMNS, (*values, fake.address(), note), strict=True))


def bodies(row: Callable[[int], dict[str, Any]], count: int) -> list[str]:
    made = []
    for n in range(count):
        rows: list[dict[str, Any]] = []
        size = 0
        while size < BODY:
            rows.append(row(n * 1000 + len(rows)))
            size += len(json.dumps(rows[-1]))
        made.append(json.dumps(rows))
    return made


def megabytes(texts: Texts, mask: Mask, seconds: float) -> float:
    """The best of short runs, each over texts that were never seen before, after as many that only warm up."""
    each = max(1, 8_000 // max(map(len, texts)))
    best, stop = 0.0, time.perf_counter() + seconds
    for text in texts[: len(texts) // 2]:
        mask(text)
        if time.perf_counter() > stop:
            break
    stop = time.perf_counter() + seconds
    for at in range(len(texts) // 2, len(texts) - each + 1, each):
        some = texts[at : at + each]
        size = sum(len(text.encode()) for text in some)
        start = time.process_time()
        for text in some:
            mask(text)
        best = max(best, size / (time.process_time() - start) / 1e6)
        if time.perf_counter() > stop:
            break
    return best


def presidio() -> Mask | None:
    try:
        import spacy
        import tldextract
        from presidio_analyzer import AnalyzerEngine
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError:
        return None
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())  # its list from its wheel

    class Blank(SpacyNlpEngine):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

    analyzer = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    return lambda text: analyzer.analyze(text, "en")


def datafog() -> Mask | None:
    try:
        import datafog as engine
    except ImportError:
        return None
    return lambda text: engine.scan(text, engine="regex")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    fake = Faker("en_US")
    fake.seed_instance(SEED)
    masker = masker_for(bytes(32))(SessionId("bench"))
    clean = [json.dumps(clean_row(fake, n)) for n in range(20_000)]
    dense_rows = [dense_row(fake, n) for n in range(4000)]
    dense = [json.dumps(row) for row in dense_rows]
    others = [(name, made) for name, make in (("Presidio", presidio), ("datafog", datafog)) if (made := make())]
    print(f"seed {SEED}; MB/s on one core, best of short runs in {seconds:g} s")
    for what, texts in (("clean JSON rows", clean), ("dense JSON rows", dense)):
        ours = megabytes(texts, masker.text, seconds)
        beside = [f"{name} {theirs:.3f} ({ours / theirs:.0f}x)" for name, mask in others
                  if (theirs := megabytes(texts[:400], mask, seconds))]  # fmt: skip
        print(f"{what:28} {ours:7.2f}   {'; '.join(beside) or 'Presidio and datafog are not installed'}")

    cells = [f"{name}\0{row[name]}" for row in dense_rows for name in COLUMNS]

    def cell(text: str) -> None:
        name, _, value = text.partition("\0")
        masker.value(value, name)

    print(f"{'dense cells, by column':28} {megabytes(cells, cell, seconds):7.2f}")
    copied = {
        "clean COPY text": ("COPY t FROM stdin", [list(clean_row(fake, n).values()) for n in range(4000)]),
        "dense COPY text, by column": (
            f"COPY t ({', '.join(COLUMNS)}) FROM stdin",
            [list(r.values()) for r in dense_rows],
        ),
    }
    for what, (sql, rows) in copied.items():
        lines = ["\t".join(str(value).replace("\n", "\\n") for value in row) + "\n" for row in rows]
        blocks = ["".join(lines[at : at + 50]) for at in range(0, len(lines), 50)]
        known = shapes(parse(sql))
        speed = megabytes(blocks, lambda text, known=known: masker.copied(known, text.encode(), whole=True), seconds)
        print(f"{what:28} {speed:7.2f}")
    mixed = bodies(lambda n: dense_row(fake, n) if n % 50 == 0 else clean_row(fake, n), 24)
    for what, texts in (
        ("56 KB bodies, clean", bodies(lambda n: clean_row(fake, n), 24)),
        ("56 KB bodies, 2% dense", mixed),
    ):
        print(f"{what:28} {megabytes(texts, masker.text, seconds):7.2f}")


if __name__ == "__main__":
    main()
