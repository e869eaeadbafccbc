import threading
from collections.abc import Iterator

import pytest

from local_cloud.settings import Settings
from tests.local_cloud.cloud_tasks.bench import Worker
from tests.local_cloud.pubsub.bench import Bench
from tests.shared_cloud import SharedCloud


@pytest.fixture(scope="session")
def pubsub(shared: SharedCloud) -> Settings:
    """The emulator, for tests that leave it running."""
    return shared.need("pubsub")


@pytest.fixture
def bench(pubsub: Settings) -> Bench:
    return Bench(pubsub.pubsub_port, pubsub.pubsub_http_port)


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """An HTTP server that push subscriptions deliver to."""
    with Worker() as worker:
        threading.Thread(target=worker.serve_forever, daemon=True).start()
        yield worker
        worker.shutdown()
