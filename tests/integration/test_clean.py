"""Airflow's database and logs are cleaned by age, except for what an open run needs."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from airflow import settings as airflow_settings
from airflow.models import DagRun, Trigger, import_all_models
from airflow.models.base import Base
from airflow.utils.session import create_session
from sqlalchemy import delete, select, update

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from windrow.airflow import clean
from windrow.model.plan import Run
from windrow.store.staging import Staging
from windrow.store.summary import stamp

NOW = datetime.now(UTC)
KEPT = Run("shop_orders", "manual__kept")


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture(scope="module")
def database(shared: SharedCloud) -> Iterator[None]:
    """Airflow's tables in PostgreSQL, as in production."""
    url = airflow_env.database_url(shared.need("postgres"), "postgresql+psycopg2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
        airflow_settings.configure_vars()
        airflow_settings.reconfigure_orm()
        import_all_models()
        Base.metadata.create_all(airflow_settings.engine)
        yield
    airflow_settings.configure_vars()
    airflow_settings.reconfigure_orm()


@pytest.fixture
def runs(database: None) -> None:
    """Runs by the days since they began. One waits since 150 days, with its trigger, and one is queued."""
    states = {200: "failed", 150.5: "success", 150: "running", 135: "queued", 120: "success", 10: "success"}
    with create_session() as session:
        session.execute(delete(DagRun))
        for days, state in states.items():
            run = DagRun(dag_id="shop", run_id=f"manual__{days}", run_type="manual", state=state, run_after=ago(days))
            run.queued_at = ago(days)
            run.start_date = None if state == "queued" else ago(days)
            session.add(run)
        session.add(Trigger(classpath="shop.Waits", kwargs={}, created_date=ago(150)))


def left() -> list[float]:
    """Return the days of the runs that Airflow has."""
    with create_session() as session:
        return sorted(float(one.removeprefix("manual__")) for one in session.scalars(select(DagRun.run_id)))


def end(days: float) -> None:
    """Let a run end."""
    with create_session() as session:
        session.execute(
            update(DagRun).where(DagRun.run_id == f"manual__{days}").values(state="success", start_date=ago(days))
        )


def test_nothing_is_deleted_that_an_open_run_needs(
    runs: None,
    cloud: Settings,
    staging: Staging,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    for days in (200, 120, 10):
        log = tmp_path / f"dag_id=shop/run_id={days}/attempt=1.log"
        log.parent.mkdir(parents=True)
        log.touch()
        os.utime(log, (ago(days).timestamp(),) * 2)
    staging.prepare(KEPT.dataset)
    staging.note(KEPT, "receipt", {"agrees": False})
    staging._summarize(KEPT, {"$set": {"first_at": stamp(ago(130))}})

    def logs() -> list[str]:
        return sorted(path.name for path in (tmp_path / "dag_id=shop").iterdir())

    def cleaned(*arguments: str) -> str:
        assert clean.main([*arguments]) == 0
        return capsys.readouterr().out

    assert "Only counted: 1 log files" in cleaned("--dry-run")
    assert left() == [10, 120, 135, 150, 150.5, 200]
    assert logs() == ["run_id=10", "run_id=120", "run_id=200"]

    assert "The run shop|manual__150 needs what is newer than" in cleaned()
    assert left() == [10, 120, 135, 150, 150.5], "what a run refers to is older than the run"
    assert logs() == ["run_id=10", "run_id=120"]

    end(150)
    assert "The run shop|manual__135 needs what is newer than" in cleaned()
    assert left() == [10, 120, 135]

    end(135)
    assert "The run shop_orders|manual__kept needs what is newer than" in cleaned()
    assert left() == [10, 120]

    staging.note(KEPT, "purged", {})
    assert "needs" not in cleaned()
    assert left() == [10]
    assert logs() == ["run_id=10"]
    with create_session() as session:
        assert len(session.scalars(select(Trigger)).all()) == 1, "Airflow deletes those that nothing uses"


def test_nothing_is_deleted_while_nobody_knows_what_is_needed(
    runs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = {"conn_type": "mongo", "host": "127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(connection))

    assert clean.main([]) == 1
    assert len(left()) == 6
    assert "MongoDB did not answer" in capsys.readouterr().err
