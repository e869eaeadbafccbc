import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from local_cloud import processes
from local_cloud.settings import BUCKET, PROJECT_ID, Settings


@pytest.fixture(scope="session")
def emulators(cloud: Settings) -> Settings:
    """The emulators, for tests that leave them running."""
    return cloud


@pytest.fixture(scope="session")
def bucket(emulators: Settings) -> storage.Bucket:
    return gcs_bucket(emulators)


@pytest.fixture(scope="session")
def warehouse(emulators: Settings) -> Iterator[bigquery.Client]:
    client = bigquery.Client(
        project=PROJECT_ID,
        credentials=AnonymousCredentials(),
        location="US",
        client_options={"api_endpoint": emulators.bigquery_url},
    )
    client.create_dataset("landing", exists_ok=True)
    with client:
        yield client


def gcs_bucket(settings: Settings) -> storage.Bucket:
    client = storage.Client(
        project=PROJECT_ID,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.gcs_url},
    )
    return client.bucket(BUCKET)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20) -> None:
    """Wait until the condition holds; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not after {seconds} s: {what}"
        time.sleep(0.05)


def pid_of(var: Path, word: str) -> int:
    """Return the pid of the one process of the local cloud whose command holds `word`."""
    found = [pid for pid, command in processes.marked(var).items() if word in command]
    assert len(found) == 1, f"{word}: {processes.marked(var)}"
    return found[0]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
