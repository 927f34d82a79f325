"""A locked bucket of its own for each test that asks for one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.ledger.locked import LockedBucket, make_bucket
from tests.ledger.writing import Objects
from tools.services import Minio as Server

NUMBERS = itertools.count()


@pytest.fixture
def new_bucket(minio: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LockedBucket]:
    """Makes one with object lock, unless told otherwise, and its writer."""
    folder = tmp_path_factory.mktemp("credentials")
    return lambda lock=True: make_bucket(minio, f"log-{next(NUMBERS)}", folder, lock)


@pytest.fixture
def locked(new_bucket: Callable[..., LockedBucket]) -> LockedBucket:
    return new_bucket()


@pytest.fixture
def objects(locked: LockedBucket, minio: Server) -> Objects:
    return Objects(locked, minio)
