"""The terminal twin: the same numbers as the page, without Airflow, and exit codes for scripts."""

import io
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from tests.ui.test_snapshot import RECEIPT, RUN, figures, queries
from windrow.cli.address import mongo_url
from windrow.cli.main import _code, main
from windrow.harvest.status.stream import Health
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import ConnectionUnusable
from windrow.model.plan import Run
from windrow.store.staging import Staging

NOW = datetime.now(UTC)
SHORT = Run("returns", "manual__2026-11-27T08:00:00+00:00", "shop")
PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(scope="session")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need("mongo")


@pytest.fixture(scope="module")
def url(cloud: Settings, mongo: MongoClient[dict[str, Any]]) -> Iterator[str]:
    database = f"test_{uuid.uuid4().hex}"
    staging = Staging(mongo, database)
    for dataset in ("orders", "returns"):
        staging.prepare(dataset)
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT | {"exported": 10, "loaded": 10, "merged": 10})
    staging.save_plan(SHORT, queries(10))
    staging.stage(SHORT, [(0, Answer(query, Outcome.ANSWERED, 200, "{}", NOW)) for query in queries(7)])
    staging.reject(SHORT, [(0, Rejected(queries(8)[7], 200, "<html>", "invalid JSON \x1b[2J", NOW))])
    note = figures(answered=7, rejected=1, error="The API did not answer.", advice="Clear this task.")
    staging.note(SHORT, "harvest 2026-11-27T08:00:01+00:00", note)
    staging.claim_block("client|shop.data|now", 0, 250, by="me", ends_at=NOW + timedelta(hours=2))
    yield airflow_env.mongo_url(cloud, database)
    mongo.drop_database(database)


def run(url: str, *arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    code = main(arguments, {"WINDROW_MONGO_URL": url}, out)
    return code, out.getvalue()


def test_status_is_the_sentence_the_attention_and_all_streams(url: str) -> None:
    code, text = run(url, "status")

    assert code == 1
    assert text.startswith("1 of 2 streams complete, 1 needs you. Newest receipt ")
    assert "calls are missing, and no task has written anything since: The API did not answer." in text
    assert "do:   Clear this task." in text
    assert [line.split()[:4] for line in text.splitlines() if line.startswith(("Action", "Complete"))] == [
        ["Action", "required", "returns", "10"],
        ["Complete", "orders", "10", "10"],
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["why", "orders"], 0, "orders: Complete: the receipt agrees"),
        (["why", "returns"], 1, "invalid JSON ?[2J"),
        (["why", "nope"], 2, "Known streams: "),
        pytest.param(["runs"], 0, RUN.run_id, id="runs"),
        (["runs", "returns"], 0, "incomplete"),
        (["show", RUN.run_id], 0, "records merged"),
        (["show", SHORT.run_id], 1, "No receipt yet"),
        (["show", "nope"], 2, "not among the last 30"),
        (["quarantine"], 0, "clear 'land' with all tasks downstream (no calls)"),
        (["quarantine", "orders"], 0, "The quarantine is empty"),
        (["limits"], 0, "250"),
        (["find", queries(1)[0].key], 0, "answered"),
        (["find", queries(8)[7].key], 0, "quarantined"),
        (["find", "nope"], 1, "No query with exactly the key 'nope'"),
    ],
)
def test_each_command_has_an_answer_and_an_exit_code(url: str, arguments: list[str], code: int, says: str) -> None:
    found, text = run(url, *arguments)
    assert says in text
    assert found == code
    assert "\x1b" not in text
    again, data = run(url, *arguments, "--json")
    assert again == code
    json.loads(data)


def test_the_data_is_what_the_page_shows(url: str) -> None:
    data = json.loads(run(url, "status", "--json")[1])

    streams = {one["dataset"]: one for one in data["streams"]}
    assert streams["returns"]["last"]["counts"] == {
        "planned": 10, "done": 7, "quarantined": 1, "missing": 2, "gaps": 0, "exact": False,
    }  # fmt: skip
    assert streams["orders"]["last"]["receipt"]["agrees"] is True
    assert data["attention"][0]["who"] == "you: it does not continue by itself"


def test_what_cannot_be_asked_is_unknown_and_shows_no_password() -> None:
    code, text = run("mongodb://reader:hushhush@127.0.0.1:9/x", "status")
    assert code == 2
    assert text.startswith("Unknown: MongoDB did not answer")
    assert "hushhush" not in text
    code, text = run("", "status")
    assert (code, "AIRFLOW_CONN_MONGO_DEFAULT" in text) == (2, True)


def test_nothing_has_run_yet(cloud: Settings) -> None:
    assert run(airflow_env.mongo_url(cloud, f"empty_{uuid.uuid4().hex}"), "status")[0] == 2


def test_it_starts_without_airflow_and_prints_ascii_where_nothing_else_can_be_shown(url: str) -> None:
    program = "import sys; sys.modules['airflow'] = None; from windrow.cli.main import main; sys.exit(main())"
    environment = {"WINDROW_MONGO_URL": url, "PYTHONPATH": str(PLUGINS), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", program, "show", RUN.run_id],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "records merged" in done.stdout
    assert "=====" in done.stdout


@pytest.mark.parametrize(
    ("healths", "code"),
    [
        ([Health.COMPLETE], 0),
        ([Health.COMPLETE, Health.RUNNING], 1),
        ([Health.COMPLETE, Health.UNKNOWN], 2),
        ([Health.UNKNOWN, Health.ACTION], 1),
        ([], 2),
    ],
)
def test_the_exit_code_is_the_worst_that_is_known(healths: list[Health], code: int) -> None:
    assert _code(healths) == code


def test_help_is_for_newcomers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for word in ("status", "why", "runs", "show", "quarantine", "limits", "find", "exit codes", "examples:"):
        assert word in text


@pytest.mark.parametrize(
    ("connection", "url"),
    [
        ("mongo://me:p%40ss%2Fword@db:27018/h?authSource=a", "mongodb://me:p%40ss%2Fword@db:27018/h?authSource=a"),
        (
            '{"host": "db", "login": "me", "password": "p@ss", "schema": "h", "extra": {"tls": true}}',
            "mongodb://me:p%40ss@db/h?tls=true",
        ),
        ("mongo://me:secret@cluster.example/h?srv=true", "mongodb+srv://me:secret@cluster.example/h"),
        ('{"host": "db", "extra": "{\\"srv\\": false}"}', "mongodb://db/"),
    ],
)  # fmt: skip
def test_the_airflow_connection_is_read_without_airflow(connection: str, url: str) -> None:
    assert mongo_url("", {"AIRFLOW_CONN_MONGO_DEFAULT": connection}) == url
    assert mongo_url("mongodb://other/", {"AIRFLOW_CONN_MONGO_DEFAULT": connection}) == "mongodb://other/"


@pytest.mark.parametrize("connection", ["{", '{"extra": 7}', "mongo://me:secret@db:port/"])
def test_a_connection_that_cannot_be_read_is_named_and_not_shown(connection: str) -> None:
    with pytest.raises(ConnectionUnusable, match="AIRFLOW_CONN_MONGO_DEFAULT is not a valid") as caught:
        mongo_url("", {"AIRFLOW_CONN_MONGO_DEFAULT": connection})
    assert "secret" not in str(caught.value)
