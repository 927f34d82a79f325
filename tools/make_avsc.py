"""Writes schemas/*.avsc out of the dataclasses, for developers: `python tools/make_avsc.py`.

The `.avsc` files are the promise; a test keeps them and the dataclasses equal, so
a change of a record shows as a change of its schema in review.
"""

import json
from pathlib import Path

from schemas.avro import RECORDS, schema_of

if __name__ == "__main__":
    folder = Path(__file__).parent.parent / "schemas"
    for name, cls in RECORDS.items():
        (folder / f"{name}.avsc").write_text(json.dumps(schema_of(cls), indent=2) + "\n", encoding="utf-8")
