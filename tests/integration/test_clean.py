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
from sqlalchemy import select, update

from local_cloud import airflow_env
from local_cloud.settings import Settings
from windrow.airflow import clean
from windrow.model.plan import Run
from windrow.store.staging import Staging
from windrow.store.summary import stamp

NOW = datetime.now(UTC)
KEPT = Run("shop_orders", "manual__kept")


def ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def runs() -> Iterator[None]:
    """Four runs in Airflow's database, one of which waits since 150 days, with its trigger."""
    import_all_models()
    Base.metadata.create_all(airflow_settings.engine)
    with create_session() as session:
        for days, state in ((200, "failed"), (150, "running"), (120, "success"), (10, "success")):
            run = DagRun(dag_id="shop", run_id=f"manual__{days}", run_type="manual", state=state, run_after=ago(days))
            run.start_date = ago(days)
            session.add(run)
        session.add(Trigger(classpath="shop.Waits", kwargs={}, created_date=ago(150)))
    yield
    Base.metadata.drop_all(airflow_settings.engine)


def left() -> list[str]:
    with create_session() as session:
        return sorted(session.scalars(select(DagRun.run_id)))


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

    assert clean.main(["--dry-run"]) == 0
    counted = left()
    assert clean.main([]) == 0
    beside_waiting = left()
    with create_session() as session:
        session.execute(update(DagRun).values(state="success"))
    assert clean.main([]) == 0
    beside_kept = left()
    with create_session() as session:
        waiting = session.scalars(select(Trigger)).all()
    staging.note(KEPT, "purged", {})
    assert clean.main([]) == 0

    assert counted == ["manual__10", "manual__120", "manual__150", "manual__200"]
    assert beside_waiting == ["manual__10", "manual__120", "manual__150"]
    assert len(waiting) == 1
    assert beside_kept == ["manual__10", "manual__120"]
    assert left() == ["manual__10"]
    assert [path.name for path in (tmp_path / "dag_id=shop").iterdir()] == ["run_id=10"]
    assert "The run shop_orders|manual__kept needs what is newer than" in capsys.readouterr().out


def test_nothing_is_deleted_while_nobody_knows_what_is_needed(
    runs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = {"conn_type": "mongo", "host": "127.0.0.1", "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(connection))

    assert clean.main([]) == 1
    assert len(left()) == 4
    assert "MongoDB did not answer" in capsys.readouterr().err
