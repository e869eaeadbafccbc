import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import ports
from local_cloud.settings import PROJECT_ID, Settings
from tests.local_cloud.conftest import eventually
from tests.ui import browser
from tests.x_table import MARTS, load, run
from windrow.sources.x.streams import post_id_at
from windrow.ui.cache import RefreshedCache

SANDBOX = "allow-scripts allow-same-origin allow-forms allow-downloads"
"""What Airflow lets a page in its frame do."""


@pytest.fixture(scope="package", autouse=True)
def _one_browser() -> Iterator[None]:
    """All modules share one browser and its tab, in which nothing is left of the page before."""
    yield
    browser.stop()


@pytest.fixture(scope="session")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("windrow_landing", exists_ok=True)
        yield client


@dataclass
class Around:
    """What stands in for Airflow around the page: a frame, and its word on the DAG."""

    url: str = ""
    dag: dict[str, Any] | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/api/v2/dags/x_posts")
        def dag() -> dict[str, Any]:
            if self.dag is None:
                raise HTTPException(403)
            return self.dag

        @app.get("/api/v2/dags/x_posts/dagRuns")
        def runs() -> dict[str, Any]:
            return {"dag_runs": self.runs, "total_entries": len(self.runs)}

        @app.get("/plugin/{scheme}")
        def frame(scheme: str) -> HTMLResponse:
            frame = f'<iframe sandbox="{SANDBOX}" src="/windrow/boards/x_posts/" width="100%" height="800"></iframe>'
            return HTMLResponse(f'<!doctype html><html class="{scheme}"><body>{frame}</body></html>')

        return app


@pytest.fixture(scope="module")
def _around(cloud: Settings) -> Iterator[Around]:
    google = {
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": PROJECT_ID, "use_legacy_sql": False},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", cloud.bigquery_url)
        patch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
        from windrow.ui import app

        around = Around()
        outer = around.app()
        outer.mount(app.PREFIX, app.app)
        patch.setitem(app.app.dependency_overrides, app.see, lambda: None)
        (port,) = ports.find_free(1)
        running = uvicorn.Server(uvicorn.Config(outer, port=port, log_level="warning"))
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        eventually(lambda: running.started, "the server runs")
        around.url = f"http://127.0.0.1:{port}"
        yield around
        running.should_exit = True
        thread.join(10)


@pytest.fixture
def around(_around: Around, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Around:
    """The web app on a server of its own, whoever looks, whose rows are asked for anew.

    It waits for BigQuery as long as that takes on a busy machine, unless a test wants to see it wait.
    """
    from windrow.ui import app

    patience_s = app.LOOK_S if "silent" in request.fixturenames else 30.0
    monkeypatch.setattr(app, "_good", {})
    monkeypatch.setattr(app, "answers", RefreshedCache(app._answer, seconds=0.0, patience_s=patience_s))
    _around.dag, _around.runs = None, []
    return _around


@pytest.fixture
def server(around: Around) -> str:
    return around.url


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A BigQuery that takes every call and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as ear:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{ear.getsockname()[1]}")
        yield


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """No BigQuery at all."""
    (port,) = ports.find_free(1)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{port}")


Fill = Callable[..., None]
SHOWN = [mart for mart in MARTS if mart != "by_rule"]
"""The marts that the board reads."""
HARDLY_S = 20.0
"""Posts that are so much older still fall into the same minutes and hours, as far as the tests look."""


@dataclass
class Filled:
    """What the tables hold, and since when."""

    ages: list[float] | None = None
    at: float = 0.0


@pytest.fixture(scope="module")
def _filled() -> Filled:
    return Filled()


@pytest.fixture
def filled(warehouse: bigquery.Client, _filled: Filled) -> Fill:
    """Fill the tables with posts that were made so many seconds ago; the first argument alone spreads so many.

    It takes seconds: what the test before had them filled with stays, as long as it is hardly older.
    """

    def fill(count: int = 0, ages: list[float] | None = None) -> None:
        ages = [25 * number % 7000 + (number % 5) * 7200 for number in range(count)] if ages is None else ages
        if ages == _filled.ages and (not ages or time.monotonic() < _filled.at + HARDLY_S):
            return  # what is empty does not age
        _filled.ages = None
        warehouse.delete_dataset("x", delete_contents=True, not_found_ok=True)
        warehouse.create_dataset("x")
        run(warehouse, "posts/create.sql")
        if ages:
            records = [record(number, age) for number, age in enumerate(ages)]
            load(warehouse, "x.posts", *records, disposition="WRITE_APPEND")  # a merge takes as long as all marts
        for mart in SHOWN:
            run(warehouse, f"{mart}/query.sql")
        _filled.ages, _filled.at = ages, time.monotonic()

    return fill


def record(number: int, age: float) -> dict[str, Any]:
    """Make a post that is so many seconds old. Names are as hostile as people can choose them."""
    made = datetime.now(UTC) - timedelta(seconds=age)
    tags = ("ev", "__proto__", "modely", "<img/src=x/onerror=alert(1)>", "日本語のとても長いハッシュタグです", "fsd")
    names = ("ada", "<script>alert(1)</script>", "a_very_long_account_name_that_never_seems_to_end", "constructor")
    return {
        "post_id": str(post_id_at(made) + number),
        "created_at": made.isoformat(),
        "text": "tesla",
        "author_id": str(number % 4),
        "username": names[number % 4],
        "lang": ("en", "de", "ja", None)[number % 4],
        "hashtags": " ".join(tags[: 1 + number % 6]),
        "repost_of": "1" if number % 3 == 0 else None,
        "_key": "stream",
        "_fetched_at": made.isoformat(),
        "_run_id": "one",
    }
