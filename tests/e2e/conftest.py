"""One local cloud with Airflow for all end-to-end tests: each module has a DAG, and leaves a healthy API behind.

The modules run side by side, in several workers of pytest-xdist.
"""

from collections.abc import Iterator

import pytest

from tests.e2e.system import System
from tests.shared_cloud import SharedCloud, locked, session_folder


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    cloud = SharedCloud(session_folder(tmp_path_factory) / "e2e")
    refusals = cloud.folder / "beyond_loopback.log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEYOND_LOOPBACK_LOG", str(refusals))
        settings = cloud.need()
    yield System.on(settings)
    assert not refusals.exists(), f"something reached beyond this machine:\n{refusals.read_text()}"


@pytest.fixture(autouse=True)
def _beside_others_or_alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let tests run side by side, but none beside one that is marked `alone`."""
    alone = request.node.get_closest_marker("alone") is not None
    with locked(session_folder(tmp_path_factory) / "e2e.lock", shared=not alone):
        yield
