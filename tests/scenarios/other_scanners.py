"""Run by a Python of its own, with detect-secrets and Presidio (`tools.services.scanners_python`): what they find in
the files of a folder, as JSON lines {"scanner", "type", "file", "text"}. Imports nothing of the project.

    python other_scanners.py detect-secrets|presidio FOLDER
"""

from __future__ import annotations

import json
import logging
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

Found = list[tuple[str, str, str]]
UNASKED = {"Base64HighEntropyString", "HexHighEntropyString", "KeywordDetector"}
SURE = 0.5
"""Presidio's score: below it, any number of nine digits is one of somebody's."""


def detect_secrets(path: Path) -> Found:
    """By its plugins that know what they look for. Random characters, which digests and signatures are too, and what
    stands behind `password =` it is not asked for: these take most of its time."""
    from detect_secrets import SecretsCollection
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.settings import transient_settings

    known = get_mapping_from_secret_type_to_class().values()
    plugins = [{"name": each.__name__} for each in known if each.__name__ not in UNASKED]
    assert len(plugins) > 15, plugins
    with transient_settings({"plugins_used": plugins}):
        found = SecretsCollection()
        found.scan_file(str(path))
        return [(secret.type, path.name, secret.secret_value or "") for _, secret in found]


def presidio(path: Path) -> Found:
    analyzer = _analyzer()
    return [
        (each.entity_type, path.name, line[each.start : each.end])
        for line in path.read_text(encoding="utf-8").splitlines()
        for each in analyzer.analyze(line, "en", score_threshold=SURE)
    ]


@cache
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
    with ProcessPoolExecutor() as pool:
        for finds in pool.map(scan, sorted(Path(sys.argv[2]).iterdir())):
            for kind, name, text in finds:
                print(json.dumps({"scanner": sys.argv[1], "type": kind, "file": name, "text": text}))
