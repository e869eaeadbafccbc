"""No secret leaves the process: every DAG fails in every way at APIs that tell all they are sent, then all is searched.

The runs of this module go to a Celery worker that alone has connections with marked secrets, to APIs of this module.
So the marks are nowhere on the local cloud but where Windrow has put them, and no place is left out of the search.
They cannot run beside others of their DAG: this module waits for all other end-to-end tests.
"""

import contextlib
import dataclasses
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
from local_cloud.airflow_api import DONE, AirflowApi
from local_cloud.settings import PROJECT_ID
from tests import scripted_api
from tests.e2e import marked, stores
from tests.e2e.celery_policy.celery_policy import CELERY_RUN
from tests.e2e.marked import PLANTED, SECRETS, WAYS, Hostile, connections, spellings
from tests.e2e.system import Dag, System, celery_worker, until
from tests.shared_cloud import SharedCloud, session_folder
from windrow.model.redact import STARS

pytestmark = pytest.mark.timeout(1500)  # the first test waits for all others, and has all the runs
RUN = uuid.uuid4().hex[:8]
"""What is in the id of each run of this module."""
ENDED = {"failed", "up_for_retry"}
LANES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "titanic": {"titanic_passengers": {}},
    "github": {"github_users": {"repositories": ["wind/row"], "lists": ["stargazers"], "workers": 1}},
    "youtube": {"youtube_analytics": {}},
    "spotify": {"spotify_artists": {"artists": ["Wind Row"]}, "spotify_new_artist": {"artist": "Wind Row"}},
}
"""The DAGs that call an API, each with the params of its runs."""
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
    """By DAG and way: the states of the tasks, and what the logs of the failed ones say."""
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


@dataclass
class Lane:
    """One API and its DAGs, in one way after the other."""

    system: System
    api: Hostile
    stack: ExitStack
    evidence: Evidence

    def run(self, dags: Mapping[str, Mapping[str, Any]]) -> None:
        for way in WAYS:
            self.api.way = way
            if way == "unreachable":
                self.stack.close()
            for dag_id, conf in dags.items():
                self._trigger(dag_id, way, conf)
            for dag_id in dags:
                self._settle(dag_id, way)
            self.evidence.calls[self.api.name, way] = self.api.calls[way]

    def _trigger(self, dag_id: str, way: str, conf: Mapping[str, Any]) -> None:
        told = dict(conf)
        if dag_id == "titanic_passengers" and way in {"malformed", "echo"}:
            told["names"] = ["Wind, Mr. Row"]  # there is nothing to list, and the harvest is what fails
        if "artist" in told:
            told["artist"] += f" {way}"
        if dag_id.startswith("spotify") and way == "malformed":
            told["client"] = "extended"  # to find that out would take three times as long
        dag = Dag(self.system, dag_id)
        dag.trigger_as(run_of(way), **told)
        if dag_id == "spotify_artists":  # eight tables that no secret has to do with
            path = f"/dags/{dag_id}/dagRuns/{run_of(way)}/taskInstances/prepare.spotify_landed"
            self.system.airflow.call("PATCH", path, {"new_state": "skipped", "include_downstream": True})

    def _settle(self, dag_id: str, way: str) -> None:
        settle(Dag(self.system, dag_id), way, self.evidence)


def run_of(way: str) -> str:
    return f"{CELERY_RUN}{way}_{RUN}"


def settle(dag: Dag, way: str, evidence: Evidence) -> None:
    """Wait until a run has failed, or would go on after a retry only; end it, and keep what it says."""
    run_id = run_of(way)

    def is_over() -> bool:
        states = {task["state"] for task in dag.tasks(run_id).values()}
        waits = "up_for_retry" in states and not states & {"running", "queued", "scheduled"}
        return waits or dag.system.airflow.state(dag.dag_id, run_id) in DONE

    until(is_over, 240)
    tasks = dag.tasks(run_id)
    until(lambda: is_ended(dag, run_id), 60)
    told = [line for name, task in tasks.items() if task["state"] in ENDED for line in dag.lines(run_id, name)]
    evidence.runs[dag.dag_id, way] = ({name: task["state"] for name, task in tasks.items()}, "\n".join(told))


def is_ended(dag: Dag, run_id: str) -> bool:
    """End a run, unless it has ended by itself; the scheduler may be at it in the same moment."""
    with contextlib.suppress(requests.HTTPError):
        if dag.system.airflow.state(dag.dag_id, run_id) in DONE:
            return True
        dag.system.airflow.call("PATCH", f"/dags/{dag.dag_id}/dagRuns/{run_id}", {"state": "failed"})
    return False


def publish(system: System, api: Hostile, stack: ExitStack, evidence: Evidence) -> None:
    """Let a publisher of X fail in every way, with a queue and a database of its own."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(system.settings.root / "plugins"),
        "PUBSUB_EMULATOR_HOST": system.settings.pubsub_address,
        "MONGO_URL": system.settings.mongo_url,
        "MONGO_DATABASE": "marked",
        **{"X_PROJECT": PROJECT_ID, "X_TOPIC": "marked", "X_SUBSCRIPTION": "marked", "X_RULES": "tesla"},
        **{"X_API_URL": api.server.url, "X_BEARER_TOKEN": marked.TOKENS["x"]},
    }
    for way in WAYS:
        api.way = way
        if way == "unreachable":
            stack.close()
        log = system.settings.var / "log" / f"marked-publisher-{way}.log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "windrow.sources.x.publisher"]
            process = subprocess.Popen(command, env=environ, stdout=file, stderr=subprocess.STDOUT)
        if way == "echo":
            until(lambda: api.calls["echo"] >= 3, 60)  # noqa: PLR2004, RUF100 - the rules, and the stream twice
            process.send_signal(signal.SIGTERM)
        evidence.publisher[way] = (process.wait(60), log.read_text())
        evidence.calls["x", way] = api.calls[way]


def beside(system: System, evidence: Evidence) -> None:
    """Let the two DAGs fail that call no API: their clouds are not there, or have not what they ask for."""
    parity, posts = Dag(system, "spotify_parity"), Dag(system, "x_posts")
    parity.trigger_as(run_of("gone"), landed="s3://windrow-gone/spotify/artists/dt=2026-01-02/run=1")
    posts.trigger_as(run_of("gone"), max_seconds=2)
    for dag in (parity, posts):
        system.airflow.call("PATCH", f"/dags/{dag.dag_id}", {"is_paused": False})
        settle(dag, "gone", evidence)
    system.airflow.call("PATCH", "/dags/x_posts", {"is_paused": True})


def others_have_ended(request: pytest.FixtureRequest, cloud: SharedCloud) -> bool:
    others = {item.nodeid for item in request.session.items if item.path.parent == request.path.parent}
    others -= {nodeid for nodeid in others if Path(__file__).name in nodeid}
    ended = cloud.folder / "ended"
    return not others or (ended.exists() and others <= set(ended.read_text().splitlines()))


@pytest.fixture(scope="module")
def evidence(
    request: pytest.FixtureRequest, system: System, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Evidence]:
    """Make all runs, plant a secret everywhere, and search once for all."""
    until(lambda: others_have_ended(request, SharedCloud(session_folder(tmp_path_factory) / "e2e")), 600)
    evidence = Evidence()
    with ExitStack() as stack:
        stacks = {name: stack.enter_context(ExitStack()) for name in marked.GOOD}
        apis = {name: Hostile(name, own.enter_context(scripted_api.running())) for name, own in stacks.items()}
        environ = connections({name: api.server.url for name, api in apis.items()})
        nowhere = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}
        stack.enter_context(celery_worker(system.settings, "marked", concurrency=5, environ=environ | nowhere))
        with ThreadPoolExecutor() as pool:
            lanes = [
                pool.submit(Lane(alone(system), apis[name], stacks[name], evidence).run, dags)
                for name, dags in LANES.items()
            ]
            lanes.append(pool.submit(publish, system, apis["x"], stacks["x"], evidence))
            lanes.append(pool.submit(beside, alone(system), evidence))
            for lane in lanes:
                lane.result()
    with MongoClient(system.settings.mongo_url) as mongo:
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


def alone(system: System) -> System:
    """Return the system with a session of its own, for a thread."""
    user = (system.settings.airflow_url, airflow_env.USER, system.settings.admin_password)
    return dataclasses.replace(system, airflow=AirflowApi(*user))


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
    dags = {path.stem for path in (Path(__file__).parents[2] / "dags").glob("*.py")}
    assert {dag_id for dag_id, _ in evidence.runs} == dags - {"spotify_requests"}, (
        "that one calls no API, and no cloud is gone"
    )
    for api, of_api in LANES.items():
        for way in WAYS:
            assert (evidence.calls[api, way] > 0) is (way != "unreachable"), (api, way)
            for dag_id in of_api:
                states, said = evidence.runs[dag_id, way]
                if dag_id == "spotify_new_artist" and way == "echo":
                    assert states["find_artists"] == "skipped", "the artist is another"
                    continue
                assert set(states.values()) & ENDED, (dag_id, way, states)
                assert SAID.get(way, "") in said, (dag_id, way, said)
                if way in {"refused", "401", "403"}:
                    assert STARS in said, (dag_id, way, said)
    states, _ = evidence.runs["titanic_passengers", "echo"]
    assert [name for name, state in states.items() if state in ENDED] == ["audit"], "the rows are in BigQuery"


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
