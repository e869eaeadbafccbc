import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import ports
from local_cloud.settings import PROJECT_ID, Settings
from tests.local_cloud.conftest import eventually
from tests.x_table import MARTS, merge, run
from windrow.sources.x import post_id_at


@pytest.fixture(scope="session")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("windrow_landing", exists_ok=True)
        yield client


@pytest.fixture(scope="session")
def server(cloud: Settings) -> Iterator[str]:
    """The web app on a server of its own, whoever looks; its address."""
    os.environ["BIGQUERY_EMULATOR_HOST"] = cloud.bigquery_url
    os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = json.dumps({
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": PROJECT_ID, "use_legacy_sql": False},
    })
    from windrow.ui import app

    app.app.dependency_overrides[app.see] = lambda: None
    (port,) = ports.find_free(1)
    running = uvicorn.Server(uvicorn.Config(app.app, port=port, log_level="warning"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    eventually(lambda: running.started, "the server runs")
    yield f"http://127.0.0.1:{port}"
    running.should_exit = True
    thread.join(10)
    del os.environ["BIGQUERY_EMULATOR_HOST"], os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"]


@pytest.fixture
def fresh(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The server, whose rows are asked for anew."""
    from windrow.ui import app, boards

    monkeypatch.setattr(boards, "FRESH_S", 0.0)
    app.warehouse._kept.clear()
    return server


@pytest.fixture
def filled(warehouse: bigquery.Client) -> Callable[[int], None]:
    """Fill the tables with so many posts of the last hours."""

    def fill(count: int) -> None:
        warehouse.delete_dataset("x", delete_contents=True, not_found_ok=True)
        warehouse.create_dataset("x")
        run(warehouse, "posts/create.sql")
        if count:
            merge(warehouse, *(record(number) for number in range(count)))
        for mart in MARTS:
            run(warehouse, f"{mart}/query.sql")

    return fill


def record(number: int) -> dict[str, Any]:
    """Make a post; the later ones are older. Names are as hostile as people can choose them."""
    made = datetime.now(UTC) - timedelta(seconds=25 * number % 7000 + (number % 5) * 7200)
    tags = ("ev", "tesla", "modely", "<img/src=x/onerror=alert(1)>", "日本語のとても長いハッシュタグです", "fsd")
    names = ("ada", "<script>alert(1)</script>", "a_very_long_account_name_that_never_seems_to_end", "bob")
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
