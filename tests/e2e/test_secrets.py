"""No secret leaves the process: every DAG fails in every way at APIs that tell all they are sent, then all is searched.

What a task tells of a secret does not depend on who runs it. So the tasks of each DAG fail in each way in one process
(`marked_tasks`), and each DAG fails in one way in Airflow, which shows that the search reaches where Airflow keeps what
it is told. These runs go to a Celery worker that alone has connections with marked secrets, to APIs of this module. So
the marks are nowhere on the local cloud but where Windrow has put them, and no place is left out of the search.
They cannot run beside others of their DAG: this module comes after all other end-to-end tests (tests/groups.py).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from pymongo import MongoClient

from local_cloud import airflow_env, aws_resources
from local_cloud.airflow_api import DONE
from local_cloud.settings import PROJECT_ID
from tests import scripted_api
from tests.e2e import marked, stores
from tests.e2e.celery_policy.celery_policy import CELERY_RUN
from tests.e2e.marked import PLANTED, SECRETS, WAYS, Hostile, connections, spellings
from tests.e2e.system import Dag, System, celery_worker, until
from windrow.model.query import Query
from windrow.model.redact import STARS

pytestmark = pytest.mark.timeout(1500)  # the first test has all the runs
RUN = uuid.uuid4().hex[:8]
"""What is in the id of each run of this module."""
ENDED = {"failed", "up_for_retry"}
DAGS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "titanic_passengers": ("titanic", {}),
    "github_users": ("github", {"repositories": ["wind/row"], "lists": ["stargazers"], "workers": 1}),
    "youtube_analytics": ("youtube", {}),
    "spotify_artists": ("spotify", {"artists": ["Wind Row"]}),
    "spotify_new_artist": ("spotify", {"artist": "Wind Row"}),
}
"""The DAGs that call an API, each with the API and the params of its runs."""
OPERATIONS: Mapping[str, str] = {
    "harvest_actions": "titanic",
    "harvest_watch": "alerts",
    "harvest_status": "airflow",
    "housekeeping": "",
}
"""The DAGs of operations, each with the API that it calls. They run in one process alone: Airflow keeps of their tasks
what it keeps of others."""
REPLAYED = "Wind, Mrs. Row"
"""What is in the quarantine of titanic_passengers, beside another, and is replayed."""
FAILING = ("refused", "401", "403", "unreachable")
"""The ways in which an API takes nothing."""
IN_AIRFLOW = {"titanic": "401", "github": "malformed", "youtube": "refused", "spotify": "403"}
IN_AIRFLOW |= {"airflow": "403", "alerts": "401"}
"""How each API fails for the runs in Airflow: a list that fails, a task that defers, a token that nobody gives."""
SAID = {
    "refused": "HTTP 40",
    "401": "HTTP 401",
    "403": "HTTP 403",
    "malformed": "invalid JSON",
    "unreachable": "Cannot connect to host",
}
"""What the log of the failed task tells of each way."""


@dataclass
class Evidence:
    """What was done, and what was found."""

    runs: dict[tuple[str, str], tuple[dict[str, str], str]] = field(default_factory=dict)
    """By DAG and way, in one process: the states of the tasks, and their log."""
    in_airflow: dict[str, tuple[dict[str, str], str]] = field(default_factory=dict)
    """By DAG: the states of the tasks, and what the logs of the failed ones say."""
    calls: dict[tuple[str, str], int] = field(default_factory=dict)
    """By API and way: what it was asked."""
    publisher: dict[str, tuple[int, str]] = field(default_factory=dict)
    """By way: the exit code of the publisher, and its log."""
    stored: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What MongoDB holds of these runs, by collection."""
    found: set[tuple[tuple[str, str], str, str]] = field(default_factory=set)
    """Which secret, in which spelling, in which store, in which file of it."""
    written: dict[str, int] = field(default_factory=dict)
    """Bytes that each store was written out as."""


def params_of(dag_id: str, way: str) -> dict[str, Any]:
    """Return the params of a run."""
    if dag_id == "harvest_actions":
        key = Query.of("/get_user_by_name", {"name": REPLAYED}).key
        return {"action": "replay", "stream": "titanic_passengers", "run": f"malformed_{RUN}", "key": key}
    if dag_id in OPERATIONS:
        return {}
    params = dict(DAGS[dag_id][1])
    if dag_id == "titanic_passengers" and way in {"malformed", "echo"}:
        params["names"] = ["Wind, Mr. Row"]  # there is nothing to list, and the harvest is what fails
        params["names"] += [REPLAYED] if way == "malformed" else []
    if "artist" in params:
        params["artist"] += f" {way}"
    if dag_id.startswith("spotify") and way == "malformed":
        params["client"] = "extended"  # to find that out would take three times as long
    return params


def fail_in_airflow(system: System, evidence: Evidence) -> None:
    """Let each DAG fail in one way. Two of them call no API: their clouds are away, or lack what they ask for."""
    confs = {dag_id: params_of(dag_id, IN_AIRFLOW[api]) for dag_id, (api, _) in DAGS.items()}
    confs["spotify_parity"] = {"landed": "s3://windrow-gone/spotify/artists/dt=2026-01-02/run=1"}
    confs["x_posts"] = {"max_seconds": 2}
    run_id = f"{CELERY_RUN}{RUN}"
    for dag_id, conf in confs.items():
        Dag(system, dag_id).trigger_as(run_id, **conf)
        system.airflow.call("PATCH", f"/dags/{dag_id}", {"is_paused": False})
    path = f"/dags/spotify_artists/dagRuns/{run_id}/taskInstances/prepare.databases"  # makes eight tables
    system.airflow.call("PATCH", path, {"new_state": "skipped", "include_downstream": True})
    for dag_id in confs:
        settle(Dag(system, dag_id), run_id, evidence)
    system.airflow.call("PATCH", "/dags/x_posts", {"is_paused": True})


def fail_in_one_process(system: System, apis: Mapping[str, Hostile], evidence: Evidence) -> None:
    """Let the tasks of each DAG fail in each way."""
    runs = [
        {"dag_id": dag_id, "run_id": f"{way}_{RUN}", "way": way, "params": params_of(dag_id, way)}
        # the last two ways take a message of the watch, and the last one leaves no answer to replay
        for way, dags in [
            *((way, DAGS) for way in WAYS),
            *((way, OPERATIONS) for way in (*FAILING, "malformed", "echo")),
        ]
        for dag_id in dags
    ]
    environ = {way: connections({name: api.at(way) for name, api in apis.items()}) for way in WAYS}
    log = system.settings.var / "log" / "marked-tasks.log"
    ended = subprocess.run(
        [sys.executable, "-m", "tests.e2e.marked_tasks"],
        input=json.dumps({"log": str(log), "runs": runs, "environ": environ}),
        env=airflow_env.airflow_environment(system.settings, os.environ),
        cwd=system.settings.root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for run in json.loads(ended.stdout):
        evidence.runs[run["dag_id"], run["way"]] = (run["states"], run["said"])


def settle(dag: Dag, run_id: str, evidence: Evidence) -> None:
    """Wait until a run has failed, or would go on after a retry only; end it, and keep what it says."""

    def is_over() -> bool:
        states = set(dag.states(run_id).values())
        waits = "up_for_retry" in states and not states & {"running", "queued", "scheduled"}
        return waits or dag.state(run_id) in DONE

    until(is_over, 240)
    tasks = dag.tasks(run_id)
    until(lambda: is_ended(dag, run_id), 60)
    told = [line for name, task in tasks.items() if task["state"] in ENDED for line in dag.lines(run_id, name)]
    evidence.in_airflow[dag.dag_id] = ({name: task["state"] for name, task in tasks.items()}, "\n".join(told))


def is_ended(dag: Dag, run_id: str) -> bool:
    """End a run, unless it has ended by itself; the scheduler may be at it in the same moment."""
    with contextlib.suppress(requests.HTTPError):
        if dag.state(run_id) in DONE:
            return True
        dag.system.airflow.call("PATCH", f"/dags/{dag.dag_id}/dagRuns/{run_id}", {"state": "failed"})
    return False


def publish(system: System, api: Hostile, evidence: Evidence) -> None:
    """Let a publisher of X fail in every way, with a queue and a database of its own."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(system.settings.root / "plugins"),
        "PUBSUB_EMULATOR_HOST": system.settings.pubsub_address,
        "MONGO_URL": airflow_env.mongo_url(system.settings),
        "MONGO_DATABASE": "marked",
        **{"X_PROJECT": PROJECT_ID, "X_TOPIC": "marked", "X_SUBSCRIPTION": "marked", "X_RULES": "tesla"},
        "X_BEARER_TOKEN": marked.TOKENS["x"],
    }
    for way in WAYS:
        log = system.settings.var / "log" / f"marked-publisher-{way}.log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "windrow.sources.x.publisher"]
            own = environ | {"X_API_URL": api.at(way)}
            process = subprocess.Popen(command, env=own, stdout=file, stderr=subprocess.STDOUT)
        if way == "echo":
            until(lambda: api.calls["echo"] >= 3, 60)  # noqa: PLR2004, RUF100 - the rules, and the stream twice
            process.send_signal(signal.SIGTERM)
        evidence.publisher[way] = (process.wait(60), log.read_text())


@pytest.fixture(scope="module")
def evidence(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """Make all runs, plant a secret everywhere, and search once for all."""
    evidence = Evidence()
    with ExitStack() as stack:
        apis = {name: Hostile(name, stack.enter_context(scripted_api.running())) for name in marked.GOOD}
        environ = connections({name: apis[name].at(way) for name, way in IN_AIRFLOW.items()})
        nowhere = {"PUBSUB_EMULATOR_HOST": marked.NOWHERE}
        stack.enter_context(celery_worker(system.settings, "marked", concurrency=3, environ=environ | nowhere))
        with ThreadPoolExecutor() as pool:
            for job in [
                pool.submit(fail_in_airflow, system, evidence),
                pool.submit(fail_in_one_process, system, apis, evidence),
                pool.submit(publish, system, apis["x"], evidence),
            ]:
                job.result()
        evidence.calls = {(name, way): api.calls[way] for name, api in apis.items() for way in WAYS}
    with MongoClient(airflow_env.mongo_url(system.settings)) as mongo:
        for name in ("windrow", "marked"):
            for collection in mongo[name].list_collection_names():
                mine = [one for one in mongo[name][collection].find() if name == "marked" or RUN in str(one)]
                evidence.stored[collection] = evidence.stored.get(collection, []) + mine
        with stores.planted(system, "\n".join(spellings(PLANTED).values())):
            search(system, tmp_path_factory.mktemp("written"), evidence)
        mongo.drop_database("marked")
    yield evidence
    dynamodb = aws_resources.client(system.settings, "dynamodb")
    for way in WAYS:
        dynamodb.delete_item(TableName="artist_requests", Key={"request": {"S": f"wind row {way}"}})


def search(system: System, folder: Path, evidence: Evidence) -> None:
    stores.write_out(system, folder / "stores")
    needles = {text: (name, way) for name, secret in SECRETS.items() for way, text in spellings(secret).items()}
    folders = {store: folder / "stores" / store for store in stores.STORES} | {"files": system.settings.var}
    evidence.written = {store: (folder / "stores" / store / "all").stat().st_size for store in stores.STORES}
    evidence.found = stores.find(needles, folders, folder)


def places(evidence: Evidence, *, of_planted: bool) -> Mapping[str, Collection[str]]:
    """Return what is found in each store."""
    found: dict[str, set[str]] = {}
    for (name, spelling), store, file in evidence.found:
        if (name == "planted") is of_planted:
            found.setdefault(store if of_planted else f"{store}: {file}", set()).add(
                spelling if of_planted else f"{name}, {spelling}"
            )
    return found


def test_every_dag_has_failed_in_every_way(evidence: Evidence) -> None:
    assert set(evidence.runs) == {(dag_id, way) for dag_id in (*DAGS, *OPERATIONS) for way in WAYS}
    assert {call: count > 0 for call, count in evidence.calls.items()} == {
        (api, way): way != "unreachable" for api in marked.GOOD for way in WAYS
    }
    for (dag_id, way), (states, said) in evidence.runs.items():
        if dag_id in OPERATIONS:
            continue
        if dag_id == "spotify_new_artist" and way == "echo":
            assert states["answer"] == "skipped", "the artist is another"
            continue
        assert "failed" in states.values(), (dag_id, way, states)
        assert SAID.get(way, "") in said, (dag_id, way, said)
        if way in {"refused", "401", "403"}:
            assert STARS in said, (dag_id, way, said)
    for dag_id, task_id in ("titanic_passengers", "load"), ("github_users", "members.prove"):
        assert evidence.runs[dag_id, "echo"][0][task_id] == "failed", "the rows are in BigQuery"


def test_every_dag_of_operations_has_run_in_every_way(evidence: Evidence) -> None:
    ended = {(dag_id, way): set(evidence.runs[dag_id, way][0].values()) for dag_id in OPERATIONS for way in WAYS}
    for way in FAILING:
        assert ended["harvest_watch", way] == {"failed"}, "no channel takes the message"
        assert "failed" in ended["harvest_status", way], way
    for way in ("malformed", "echo"):
        assert ended["harvest_watch", way] == ended["harvest_actions", way] == {"success"}, way
    assert ended["harvest_actions", "refused"] == ended["harvest_actions", "401"] == {"failed"}
    assert {way for way in WAYS if ended["housekeeping", way] == {"success"}} == {*WAYS}
    for dag_id in ("harvest_actions", "harvest_status", "harvest_watch"):
        assert "HTTP 401" in evidence.runs[dag_id, "401"][1], dag_id
    assert STARS in evidence.runs["harvest_actions", "401"][1]
    assert STARS in evidence.runs["harvest_watch", "echo"][1], "the message has what Airflow told of the token"


def test_every_dag_has_failed_in_airflow(evidence: Evidence) -> None:
    dags = {path.stem for path in (Path(__file__).parents[2] / "dags").glob("*.py")}
    of_people = {"harvest_bodies"}
    assert set(evidence.in_airflow) == dags - {*OPERATIONS, *of_people}, "they call no API, and no cloud is gone"
    for dag_id, (states, said) in evidence.in_airflow.items():
        assert set(states.values()) & ENDED, (dag_id, states)
        way = IN_AIRFLOW[DAGS[dag_id][0]] if dag_id in DAGS else ""
        assert SAID.get(way, "") in said, (dag_id, said)
    assert evidence.in_airflow["github_users"][0]["fetch"] == "deferred", "a trigger is in Airflow's database"


def test_the_publisher_has_failed_in_every_way(evidence: Evidence) -> None:
    assert {way: code for way, (code, _) in evidence.publisher.items()} == {
        "refused": 2, "401": 2, "403": 2, "malformed": 2, "echo": 0, "unreachable": 1
    }  # fmt: skip
    assert all(SAID.get(way, "") in log for way, (_, log) in evidence.publisher.items() if way != "refused")
    assert any(note["figures"].get("posts") for note in evidence.stored["windrow_figures"]), "none is in Pub/Sub"


def test_what_an_api_told_is_kept_but_for_the_token(evidence: Evidence) -> None:
    for collection in ("titanic_passengers", "github_users", "windrow_listings", "windrow_quarantine"):
        kept = [one["body"] for one in evidence.stored[collection]]
        assert kept, collection
        assert all(STARS in body for body in kept), (collection, kept)


@pytest.mark.parametrize("store", [*stores.STORES, "files"])
def test_the_search_finds_what_is_planted(evidence: Evidence, store: str) -> None:
    if store == "pages":
        assert evidence.written[store] > 5_000, "nothing is planted into a page, but they are read"
        return
    assert places(evidence, of_planted=True)[store] == set(spellings(PLANTED))


def test_no_secret_is_found_anywhere_in_any_spelling(evidence: Evidence) -> None:
    assert places(evidence, of_planted=False) == {}
