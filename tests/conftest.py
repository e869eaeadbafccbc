"""What all tests share: no socket beyond this machine, Airflow's settings, and the parts of the local cloud.

The local cloud is started once a session, when a test first asks for it. Tests keep apart by names: each has
its own database, its own run ids and its own bucket prefix.
"""

import base64
import gc
import os
import re
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "loopback_only"))

import loopback_guard  # noqa: E402

from tests import ends  # noqa: E402

loopback_guard.install()
os.environ.update(loopback_guard.environment(os.environ))  # processes that tests start are guarded too
_DECIDING = re.compile("WINDROW_.*|AIRFLOW.*|.*_PROXY", re.IGNORECASE)
for name in [name for name in os.environ if _DECIDING.fullmatch(name)]:
    del os.environ[name]  # what a developer has set must not decide over a test
# without compiled files, each process that a test starts compiles Airflow anew, and pytest all tests: 20 s, not 5
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
ends.begin()
_home = tempfile.mkdtemp(prefix="airflow-")  # in the folder of this session
os.environ |= {  # read when Airflow is first imported, which no module of the tests does before this
    "AIRFLOW_HOME": _home,
    "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_home}/airflow.db",
    "NO_GCE_CHECK": "true",
}

import pytest  # noqa: E402
from pymongo import MongoClient  # noqa: E402

from local_cloud import airflow_env  # noqa: E402
from local_cloud.apis import testing as fake_api  # noqa: E402
from local_cloud.settings import Settings  # noqa: E402
from tests import groups, scripted_api  # noqa: E402
from tests.scripted_api import ScriptedApi  # noqa: E402
from tests.shared_cloud import SharedCloud, is_worker, session_folder  # noqa: E402
from windrow.model import redact  # noqa: E402
from windrow.store.staging import Staging  # noqa: E402


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while all tests are imported, nor later among them: they stay until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    groups.arrange(items, ROOT / "tests")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> groups.Scheduling:
    """Keep tests apart that share names."""
    return groups.Scheduling(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the services that all workers shared; only the controller does."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None and not is_worker():
        for name in CLOUDS:
            SharedCloud(session_folder(factory) / name).down()


def _places() -> dict[str, str]:
    """The variables by which Airflow and the clients of the clouds find what they talk to."""
    prefixes = ("AIRFLOW", "AWS_", "GOOGLE_", "MONGO_", "REDIS_", "WINDROW_", "X_")
    return {name: value for name, value in os.environ.items() if name.startswith(prefixes) or "_EMULATOR_" in name}


@pytest.fixture(scope="module", autouse=True)
def _leave_no_trace() -> Iterator[None]:
    """Fail a module that leaves the next one with other services: what a session holds on to counts too."""
    before = _places()
    yield
    after = _places()
    changed = [name for name in before | after if before.get(name) != after.get(name)]  # no values: some are secrets
    assert changed == []


CLOUDS = ("cloud", "e2e")
"""The clouds of a session: that of the end-to-end tests is complete, and its DAGs use the tables of production."""


@pytest.fixture(autouse=True)
def _forget_secrets() -> Iterator[None]:
    """Forget the secrets of a test: one that is a word would be removed from the messages of the next one."""
    before = redact._known.copy()
    yield
    redact._known.clear()
    redact._known.update(before)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> SharedCloud:
    """The local cloud that all tests but the end-to-end ones share."""
    return SharedCloud(session_folder(tmp_path_factory) / "cloud")


@pytest.fixture(scope="session")
def cloud(shared: SharedCloud) -> Settings:
    """MongoDB, Redis, GCS and BigQuery of the local cloud."""
    return shared.need("mongo", "redis", "gcs", "bigquery")


@pytest.fixture(scope="session")
def mongo(cloud: Settings) -> Iterator[MongoClient]:
    """The MongoDB server of the local cloud, or the real one that MONGO_URL names."""
    url = os.environ.get("MONGO_URL") or airflow_env.mongo_url(cloud)
    with MongoClient(url, serverSelectionTimeoutMS=5_000) as client:
        yield client


@pytest.fixture
def staging(mongo: MongoClient) -> Iterator[Staging]:
    """A staging with an empty database of its own."""
    database = f"test_{uuid.uuid4().hex}"
    yield Staging(mongo, database)
    mongo.drop_database(database)


@pytest.fixture(scope="session")
def api_server() -> Iterator[fake_api.FakeApi]:
    """The fake APIs, one server for all tests."""
    with fake_api.running() as api:
        yield api


@pytest.fixture
def api(api_server: fake_api.FakeApi) -> fake_api.FakeApi:
    """The fake APIs, without faults and with counters at zero."""
    api_server.heal()
    api_server.reset_youtube()
    api_server.revoke_tokens()
    api_server.reset()
    return api_server


@pytest.fixture(scope="session")
def scripted_server() -> Iterator[ScriptedApi]:
    """A server whose answers a test writes down, one for all tests."""
    with scripted_api.running() as api:
        yield api


@pytest.fixture
def scripted(scripted_server: ScriptedApi) -> ScriptedApi:
    """The same, with nothing asked yet, and `{}` as its answer to everything."""
    scripted_server.asked.clear()
    scripted_server.answers(scripted_api.Reply())
    return scripted_server
