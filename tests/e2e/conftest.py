"""One local cloud with Airflow for all end-to-end tests: each module has a DAG, and leaves healthy APIs behind."""

import os
from collections.abc import Iterator

import pytest

from local_cloud.testing import running
from tests.e2e.system import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("e2e")
    refusals = folder / "beyond_loopback.log"
    os.environ["BEYOND_LOOPBACK_LOG"] = str(refusals)
    with running(None, folder / "var") as settings:
        del os.environ["BEYOND_LOOPBACK_LOG"]
        yield System.on(settings)
    assert not refusals.exists(), f"something reached beyond this machine:\n{refusals.read_text()}"
