"""Real servers for tests, benches and the full demo, without Docker: Kafka in one JVM, MinIO built with Go.

    with kafka(folder) as k: ... k.servers       with minio(folder) as m: ... m.endpoint, m.user, m.password
    python -m tools.services kafka minio         both, until SIGTERM
    regression_sql()                             the folder of PostgreSQL's own tests in SQL
    scanners_python(), secretlint()              other people's scanners of secrets
    tlog_reader()                                other people's reader of transparency logs

Only the standard library is imported, so this runs before anything is installed. What is fetched
is pinned by version and by hash (`pins/`), lies in a cache outside the tree, and is made once a
machine. Everything listens on loopback alone. What a machine lacks is said by `Unavailable`, in
one line. (There is no fallback to Docker: MinIO has no image of the commit that we need.)
"""

from .cache import Unavailable
from .kafka_server import Kafka, Secure, kafka, kafka_jars
from .minio_server import Minio, minio, minio_program
from .process import Server
from .regression import regression_sql
from .scanners import scanners_python, secretlint
from .tlog_reader import tlog_reader

__all__ = [
    "Kafka",
    "Minio",
    "Secure",
    "Server",
    "Unavailable",
    "kafka",
    "kafka_jars",
    "minio",
    "minio_program",
    "regression_sql",
    "scanners_python",
    "secretlint",
    "tlog_reader",
]
