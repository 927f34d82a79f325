"""Run by a Python of its own, with detect-secrets and Presidio (`tools.services.scanners_python`): what they find in
the files of a folder, as JSON lines {"scanner", "type", "file", "text"}. Imports nothing of the project.

    python other_scanners.py detect-secrets|presidio FOLDER
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SURE = 0.5
"""Presidio's score: below it, any number of nine digits is one of somebody's."""


def detect_secrets(folder: Path) -> Iterator[tuple[str, Path, str]]:
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    with default_settings():
        for path in sorted(folder.iterdir()):
            found = SecretsCollection()
            found.scan_file(str(path))
            for _, secret in found:
                yield secret.type, path, secret.secret_value or ""


def presidio(folder: Path) -> Iterator[tuple[str, Path, str]]:
    analyzer = _analyzer()
    for path in sorted(folder.iterdir()):
        for line in path.read_text(encoding="utf-8").splitlines():
            for each in analyzer.analyze(line, "en", score_threshold=SURE):
                yield each.entity_type, path, line[each.start : each.end]


def _analyzer() -> Any:
    """Its pattern recognizers, on a blank model: no model is fetched."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())  # its list from its wheel

    class Blank(SpacyNlpEngine):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

    return AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])


if __name__ == "__main__":
    scan = {"detect-secrets": detect_secrets, "presidio": presidio}[sys.argv[1]]
    for kind, path, text in scan(Path(sys.argv[2])):
        print(json.dumps({"scanner": sys.argv[1], "type": kind, "file": path.name, "text": text}))
