"""One local cloud with Airflow for all end-to-end tests: each module has a DAG, and leaves a healthy API behind.

The modules run side by side, in several workers of pytest-xdist; tests/groups.py says which ones do not.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud import airflow_env
from tests.e2e.system import System, bundles, executors, impatient
from tests.shared_cloud import SharedCloud, locked, session_folder


@pytest.fixture(scope="session")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedCloud]:
    cloud = SharedCloud(session_folder(tmp_path_factory) / "e2e")
    yield cloud
    refusals = refused_in(cloud)
    assert not refusals.exists(), f"something reached beyond this machine:\n{refusals.read_text()}"


@pytest.fixture(scope="module")
def system(_cloud: SharedCloud) -> System:
    """The whole local cloud; it is started for the first module, and after one that has killed it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEYOND_LOOPBACK_LOG", str(refused_in(_cloud)))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "celery_policy"), prepend=os.pathsep)
        patch.setenv("AIRFLOW_CONN_SPOTIFY", impatient("AIRFLOW_CONN_SPOTIFY", _cloud.settings()))
        own = executors(_cloud.settings()) | bundles()
        patch.setattr(airflow_env, "SMALL_MACHINE", airflow_env.SMALL_MACHINE | own)
        return System.on(_cloud.need())


def refused_in(cloud: SharedCloud) -> Path:
    """Return the file of what was refused because it reached beyond this machine."""
    return cloud.folder / "beyond_loopback.log"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Stop the cloud after the last end-to-end test of the session: an idle Airflow takes a fifth of a core."""
    yield
    cloud = SharedCloud(session_folder(item.config._tmp_path_factory) / "e2e")  # type: ignore[attr-defined]
    ended = cloud.folder / "ended"
    with locked(cloud.folder / "ended.lock"):
        known = {item.nodeid, *(ended.read_text().splitlines() if ended.exists() else [])}
        ended.write_text("\n".join(known))
        if known >= {other.nodeid for other in item.session.items if other.path.parent == item.path.parent}:
            cloud.down()
