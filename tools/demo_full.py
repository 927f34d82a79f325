"""`make demo-full`: the demo on a real Kafka and a real MinIO, which end with it.

Whatever they were told lies in folders that the demo searches for the planted values, too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ledger.s3_admin import prepare
from ledger.s3_settings import StoreSettings
from tallystick.demo import Behind, run_story
from tools import services

KAFKA = '[kafka]\nprefix = "demo"\nreplication = 1\nmin_insync = 1\n'


def main() -> int:
    console = Console(highlight=False, emoji=False)
    console.print("Starting a real Kafka and a real MinIO …")
    with tempfile.TemporaryDirectory(prefix="tallystick-demo-") as made:
        folder = Path(made)
        try:
            with services.kafka(folder / "kafka") as kafka, services.minio(folder / "minio") as minio:
                writer = folder / "writer"
                store = f"s3://demo?endpoint=http://{minio.endpoint}&retain_days=1&credentials={writer}"
                prepare(StoreSettings.parse(store), minio.user, minio.password, writer)
                behind = Behind(f"kafka://{kafka.servers}", store, KAFKA, (kafka.folder, minio.folder))
                return run_story(console, Path("demo-full-out").resolve(), interactive=False, behind=behind)
        except services.Unavailable as e:
            console.print(str(e), soft_wrap=True)
            return 1


if __name__ == "__main__":
    sys.exit(main())
