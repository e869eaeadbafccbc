"""Enqueue and drain over the local cloud's queue and function: what happens when things go wrong."""

import asyncio
import importlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.providers.google.cloud.hooks.tasks import CloudTasksHook
from airflow.sdk.exceptions import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk.module_loading import import_string

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.enqueue import EnqueueOperator
from windrow.airflow.operators.failure import story
from windrow.airflow.sensors.drain import DrainSensor
from windrow.harvest.progress import Progress
from windrow.model.errors import ConnectionUnusable, GivenUp
from windrow.model.plan import Run
from windrow.model.query import Query

DATASET = "titanic_passengers"
LOCATION = "us-central1"
EMULATORS = Path(__file__).resolve().parents[2] / "local_cloud" / "airflow_settings"


@pytest.fixture(scope="module")
def services(shared: SharedCloud) -> Iterator[Settings]:
    """Queue, function, fake API and MongoDB, with Airflow's connections to them in the environment."""
    before = dict(os.environ)
    get_conn = CloudTasksHook.get_conn  # what keeps the hook on the emulator replaces it, for this process
    settings = shared.need("mongo", "apis", "cloud-tasks", "fetch-passenger")
    environment = airflow_env.airflow_environment(settings, os.environ)
    names = [name for name in environment if name.startswith("AIRFLOW_CONN_") or name.endswith("EMULATOR_HOST")]
    os.environ.update({name: environment[name] for name in names})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EMULATORS)
        importlib.import_module("google_clients").keep_on_emulators(os.environ)
    yield settings
    CloudTasksHook.get_conn = get_conn
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def names(services: Settings) -> list[str]:
    """Some names that the API knows, and an API without faults."""
    requests.delete(f"{services.api_url}/_admin/faults", timeout=10)
    requests.post(f"{services.api_url}/_admin/reset", timeout=10)
    form = {"grant_type": "client_credentials", "client_id": "windrow-demo", "client_secret": "windrow-demo-secret"}
    token = requests.post(f"{services.api_url}/oauth/token", data=form, timeout=10).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return sorted(set(requests.get(f"{services.api_url}/get_user_list", headers=headers, timeout=10).json()["users"]))[
        :8
    ]


def planned(names: list[str]) -> dict[str, Any]:
    """Write a plan for these names, and return the context of a task of its run."""
    run_id = f"test__{uuid.uuid4().hex}"
    with staging("mongo_default", DATASET) as state:
        state.save_plan(Run(DATASET, run_id), [Query.of("/get_user_by_name", {"name": name}) for name in names])
    return {"run_id": run_id, "params": {}}


def enqueue(context: dict[str, Any], queue_id: str = "tests", spread_s: float = 0.0, **rates: Any) -> dict[str, Any]:
    from windrow.airflow.hooks.cloud_tasks import Rates

    quick = {"attempts": 3, "min_backoff_s": 0.1, "max_backoff_s": 1.0} | rates
    operator = EnqueueOperator(
        task_id="enqueue",
        dataset=DATASET,
        target_conn_id="fetch_passenger",
        queue_id=queue_id,
        location=LOCATION,
        rates=Rates(**quick),
        spread_s=spread_s,
    )
    return operator.execute(context)


def waiting(queue_id: str = "tests", **options: Any) -> DrainSensor:
    where = {"dataset": DATASET, "queue_id": queue_id, "location": LOCATION}
    return DrainSensor(task_id="drain", poke_interval=0.1, **where, **options)


def drain(context: dict[str, Any], queue_id: str = "tests", **options: Any) -> dict[str, Any]:
    """Wait as the task does. Deferred, run its trigger until it fires or, as Airflow sees to, its time is over."""
    sensor = waiting(queue_id, **{"timeout": 30, "deferrable": True} | options)
    try:
        return sensor.execute(context)
    except TaskDeferred as deferral:
        deferred = deferral
    path, kwargs = deferred.trigger.serialize()
    try:
        event = fired(path, kwargs, deferred.timeout.total_seconds())
    except TimeoutError:
        return sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    return sensor.resume_execution(deferred.method_name, {"event": event, **deferred.kwargs}, context)


def fired(path: str, kwargs: dict[str, Any], limit_s: float = 30) -> Any:
    """Run a trigger as the triggerer does, which knows of it what is in Airflow's database."""

    async def payload() -> Any:
        async with asyncio.timeout(limit_s):
            async for event in import_string(path)(**kwargs).run():
                return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(payload())


def faults(services: Settings, **changes: Any) -> None:
    requests.put(f"{services.api_url}/_admin/faults", json=changes, timeout=10).raise_for_status()


def asked(services: Settings) -> int:
    counters = requests.get(f"{services.api_url}/_admin/counters", timeout=10).json()
    return counters["routes"]["GET /get_user_by_name"]["requests"]


def progress(context: dict[str, Any]) -> Progress:
    with staging("mongo_default", DATASET) as state:
        return Progress.count(state, state.plan(Run(DATASET, context["run_id"])))


@pytest.mark.parametrize("deferrable", [True, False])
def test_all_calls_are_made_once(services, names, deferrable):
    context = planned(names)
    assert enqueue(context) == {"enqueued": 8, "waiting": 0}
    assert drain(context, deferrable=deferrable)["settled"] == 8
    assert asked(services) == 8


def test_first_attempts_can_be_spread_over_a_time(services, names):
    context = planned(names)
    began = time.monotonic()
    enqueue(context, spread_s=2.0)
    assert drain(context)["settled"] == 8
    assert time.monotonic() - began >= 2.0 * 7 / 8, "the last of eight starts seven eighths into the time"
    assert asked(services) == 8


def test_enqueueing_twice_adds_nothing(services, names):
    context = planned(names)
    pause(services, "twice", context)
    assert enqueue(context, "twice") == {"enqueued": 0, "waiting": 8}
    resume(services, "twice")
    assert drain(context, "twice")["settled"] == 8
    assert enqueue(context, "twice") == {"enqueued": 0, "waiting": 0}, "what is settled is not enqueued again"
    assert asked(services) == 8


def test_calls_that_the_queue_gave_up_are_named_and_can_be_enqueued_again(services, names):
    faults(services, sticky={names[0]: 500})
    context = planned(names)
    enqueue(context)
    with pytest.raises(GivenUp, match="gave up 1 of 8 calls") as given_up:
        drain(context)
    assert names[0] in given_up.value.what
    assert "clear 'enqueue'" in given_up.value.advice
    assert progress(context).settled == 7

    faults(services, sticky={})
    # The queue remembers the name of the task it gave up: the call gets a further one.
    assert enqueue(context) == {"enqueued": 1, "waiting": 0}
    assert drain(context)["settled"] == 8


def test_a_name_the_api_does_not_know_is_an_answer(services, names):
    context = planned([*names[:2], "Nobody, Mr. X"])
    enqueue(context)
    assert drain(context)["settled"] == 3


def test_an_answer_that_cannot_be_read_is_in_the_quarantine_and_the_queue_is_done(services, names):
    faults(services, sticky={names[0]: "malformed"})
    context = planned(names)
    enqueue(context, attempts=5)
    figures = drain(context)
    assert (figures["settled"], figures["quarantined"], figures["given_up"]) == (7, 1, 0)


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(("soft_fail", "raised"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)])
def test_a_queue_that_is_paused_by_hand_is_told_and_waited_for(services, names, caplog, deferrable, soft_fail, raised):
    context, queue_id = planned(names), f"paused-{deferrable}-{soft_fail}"
    pause(services, queue_id, context)
    caplog.set_level("INFO")
    began = time.monotonic()
    with pytest.raises(raised, match=rf"'{queue_id}' has not finished 8 of 8 calls: '.*{names[0][:5]}") as late:
        drain(context, queue_id, timeout=2, deferrable=deferrable, soft_fail=soft_fail)
    assert 2 <= time.monotonic() - began < 20
    assert "gcloud tasks queues resume" in caplog.text
    assert caplog.text.count("8 left; the queue is PAUSED") >= 3
    with pytest.raises(TaskDeferred) if deferrable else pytest.raises(AirflowSensorTimeout):
        waiting(queue_id, timeout=0, deferrable=deferrable).execute(context)
    red = {"task_instance": waiting(), "task": waiting(), "run_id": "any", "exception": late.value}
    assert "Check whether the queue is paused" in story(red)
    resume(services, queue_id)
    assert drain(context, queue_id, deferrable=deferrable)["settled"] == 8


def test_in_reschedule_mode_the_slot_is_free_between_two_looks_and_the_time_counts_from_the_first(services, names):
    context = planned(names)
    pause(services, "rescheduled", context)
    first = datetime.now(UTC) - timedelta(seconds=20)
    context["ti"] = SimpleNamespace(get_first_reschedule_date=lambda context: first)
    options = {"deferrable": False, "mode": "reschedule"}
    with pytest.raises(AirflowRescheduleException):
        drain(context, "rescheduled", **options)
    with pytest.raises(AirflowSensorTimeout, match="8 of 8 calls"):
        drain(context, "rescheduled", timeout=15, **options)
    resume(services, "rescheduled")
    assert drain(context, "rescheduled")["settled"] == 8
    assert drain(context, "rescheduled", **options)["seconds"] >= 20


@pytest.mark.parametrize("soft_fail", [True, False])
def test_a_queue_that_ended_while_no_triggerer_looked_is_done(services, names, soft_fail):
    context = planned(names)
    enqueue(context)
    drain(context)
    figures = waiting(soft_fail=soft_fail).resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert figures["settled"] == 8


def test_a_task_that_an_older_version_deferred_goes_on(services, names):
    """What it left in Airflow's database: the trigger's old path, its arguments, and the method that goes on."""
    context = planned(names)
    enqueue(context)
    stored = {"dataset": DATASET, "run_id": context["run_id"], "queue": "tests", "location": LOCATION, "poll_s": 0.1}
    stored |= {"mongo_conn_id": "mongo_default", "gcp_conn_id": "google_cloud_default"}
    event = fired("windrow.triggers.drain.DrainTrigger", stored)
    figures = waiting().resume_execution("go_on", {"event": event, "began": time.time() - 7}, context)
    assert figures["settled"] == 8
    assert figures["seconds"] >= 7


def test_a_wrong_audience_is_refused_by_the_function_and_told_by_the_queue(services, names, monkeypatch):
    connection = json.loads(os.environ["AIRFLOW_CONN_FETCH_PASSENGER"])
    connection["extra"]["audience"] = "https://another.example"
    monkeypatch.setenv("AIRFLOW_CONN_FETCH_PASSENGER", json.dumps(connection))
    context = planned(names[:2])
    enqueue(context, attempts=2)
    with pytest.raises(GivenUp, match="gave up 2 of 2 calls"):
        drain(context)
    assert asked(services) == 0


def test_a_function_that_is_not_there_is_told_by_the_queue(services, names, monkeypatch):
    connection = json.loads(os.environ["AIRFLOW_CONN_FETCH_PASSENGER"]) | {"port": 9}
    monkeypatch.setenv("AIRFLOW_CONN_FETCH_PASSENGER", json.dumps(connection))
    context = planned(names[:2])
    enqueue(context, attempts=2)
    with pytest.raises(GivenUp, match="gave up 2 of 2 calls"):
        drain(context)


@pytest.mark.parametrize("lacking", ["service_account", "audience"])
def test_a_connection_of_the_function_that_lacks_a_field_is_told(services, names, monkeypatch, lacking):
    connection = json.loads(os.environ["AIRFLOW_CONN_FETCH_PASSENGER"])
    del connection["extra"][lacking]
    monkeypatch.setenv("AIRFLOW_CONN_FETCH_PASSENGER", json.dumps(connection))
    with pytest.raises(ConnectionUnusable, match="'fetch_passenger' must have"):
        enqueue(planned(names[:1]))


def pause(services: Settings, queue_id: str, context: dict[str, Any]) -> None:
    """Make a queue, pause it as a person would, and enqueue."""
    enqueue(planned([]), queue_id)
    CloudTasksHook(gcp_conn_id="google_cloud_default").pause_queue(location=LOCATION, queue_name=queue_id)
    assert enqueue(context, queue_id)["enqueued"] == 8


def resume(services: Settings, queue_id: str) -> None:
    CloudTasksHook(gcp_conn_id="google_cloud_default").resume_queue(location=LOCATION, queue_name=queue_id)
