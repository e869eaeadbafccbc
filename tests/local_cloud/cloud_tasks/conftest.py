import threading
from collections.abc import Iterator

import pytest

from local_cloud.settings import Settings
from tests.local_cloud.cloud_tasks.bench import Bench, Worker
from tests.shared_cloud import SharedCloud


@pytest.fixture(scope="session")
def cloud_tasks(shared: SharedCloud) -> Settings:
    """The emulator, for tests that leave it running."""
    return shared.need("cloud-tasks")


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    with Worker() as worker:
        threading.Thread(target=worker.serve_forever, daemon=True).start()
        yield worker
        worker.shutdown()


@pytest.fixture
def bench(cloud_tasks: Settings, worker: Worker) -> Bench:
    return Bench(cloud_tasks.cloud_tasks_port, cloud_tasks.cloud_tasks_http_port, worker)
