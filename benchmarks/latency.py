"""How long a run takes: titanic_passengers to its merged rows, and a message in SQS to its item in DynamoDB.

``python -m benchmarks.latency [--runs 10]``, with the environment of Airflow (``make bench-latency``). It starts the
local cloud in a folder of its own, pauses all other DAGs, and makes the runs one after another; the first of each is
not counted, as it creates what is not there. All figures are medians. A task waits *for the scheduler* from the end of
the task before it until it is queued, then *for its process* until it starts.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from benchmarks.idle import RUN_S, TASKS, Idle
from local_cloud import airflow_env
from local_cloud.airflow_api import AirflowApi
from local_cloud.apis.spotify.catalogue import make_music
from local_cloud.settings import AWS_KEY, AWS_REGION, Settings
from local_cloud.testing import running

TITANIC, ANSWERS = "titanic_passengers", "spotify_new_artist"
LAST = {TITANIC: ("merge",), ANSWERS: ("answer",)}
"""The tasks after which the rows, or the items, are there."""
_LOOK_S = 0.1


class Spans(NamedTuple):
    """Seconds of one task."""

    scheduler: float
    process: float
    task: float


def spans(began: datetime, tasks: Iterable[Mapping[str, Any]], last: Iterable[str]) -> dict[str, Spans]:
    """Return the spans of the tasks of a run, in the order in which they started, up to the last one that counts.

    :param began: when the run was made.
    """
    found: dict[str, Spans] = {}
    ends = [began]
    for task in tasks:
        if task["state"] == "success" and task["start_date"]:
            queued, start, end = (_time(task[name]) for name in ("queued_when", "start_date", "end_date"))
            before = max(one for one in ends if one <= queued)
            found[task["task_id"]] = Spans(
                *((b - a).total_seconds() for a, b in itertools.pairwise((before, queued, start, end)))
            )
            ends.append(end)
        if task["task_id"] in last:
            break
    return found


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Latency:
    """The runs of one local cloud."""

    def __init__(self, settings: Settings) -> None:
        self._airflow = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
        self._idle = Idle(settings)
        place = {"endpoint_url": settings.aws_url, "region_name": AWS_REGION}
        aws = boto3.Session(AWS_KEY, AWS_KEY)
        self._sqs, self._dynamodb = aws.client("sqs", **place), aws.client("dynamodb", **place)
        self._artists = iter([one.name for one in make_music().artists.values()][airflow_env.KNOWN_ARTISTS :])

    def titanic(self, runs: int) -> None:
        """Measure from the trigger to the end of the merge."""
        self._idle.pause_all()
        totals, of_tasks, used = [], defaultdict(list), []
        for number in range(runs + 1):
            before = self._idle.cpu_s()
            run_id = self._airflow.trigger(TITANIC)
            state = self._airflow.wait(TITANIC, run_id, limit_s=RUN_S)
            time.sleep(2)  # its last process ends
            after = self._idle.cpu_s()
            if not number:
                continue
            if state != "success":
                raise RuntimeError(f"{run_id}: {state}")
            tasks, began = self._of(TITANIC, run_id)
            for name, one in spans(began, tasks.values(), LAST[TITANIC]).items():
                of_tasks[name].append(one)
            totals.append((_time(tasks["merge"]["end_date"]) - began).total_seconds())
            used.append((after[TASKS] - before[TASKS], sum(after.values()) - sum(before.values())))
        tasks_s, all_s = (statistics.median(one[place] for one in used) for place in (0, 1))
        self._show(f"{TITANIC}: from the trigger to the merged rows", totals, of_tasks)
        print(f"\nCPU of a whole run: {tasks_s:.2f} s of its tasks, {all_s:.2f} s of all services", flush=True)
        self._airflow.pause(TITANIC, is_paused=True)

    def spotify(self, runs: int) -> None:
        """Measure from the message to the item."""
        self._airflow.pause(ANSWERS, is_paused=False)
        url = self._sqs.get_queue_url(QueueName="windrow-artists")["QueueUrl"]
        totals, of_tasks = [], defaultdict(list)
        for number, name in zip(range(runs + 1), self._artists, strict=False):
            time.sleep(10 + number / runs)  # the triggerer hands over events once a second: at each moment of it
            sent_at = datetime.now(UTC)
            self._sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"artist": name}))
            settled_at = self._settled(name.casefold())
            run_id = self._ended(ANSWERS, sent_at)
            if not number:
                continue
            totals.append((settled_at - sent_at).total_seconds())
            tasks, began = self._of(ANSWERS, run_id)
            of_tasks["(watcher)"].append(Spans((began - sent_at).total_seconds(), 0.0, 0.0))
            for task, one in spans(began, tasks.values(), LAST[ANSWERS]).items():
                of_tasks[task].append(one)
        self._show("A request for an artist: from the message in SQS to the outcome in DynamoDB", totals, of_tasks)

    def _settled(self, request: str) -> datetime:
        """Wait until a request has its outcome, and return when it got it."""
        until = time.monotonic() + RUN_S
        while time.monotonic() < until:
            item = self._dynamodb.get_item(TableName="artist_requests", Key={"request": {"S": request}}).get("Item", {})
            if "settled_at" in item:
                return _time(item["settled_at"]["S"])
            time.sleep(_LOOK_S)
        raise TimeoutError(request)

    def _ended(self, dag_id: str, since: datetime) -> str:
        """Wait for the first run of a DAG that was made since then, and return its id."""
        path = f"/dags/{dag_id}/dagRuns?limit=20&order_by=-id"
        found = [one for one in self._airflow.call("GET", path)["dag_runs"] if _time(one["queued_at"]) > since]
        run_id = str(found[-1]["dag_run_id"])
        self._airflow.wait(dag_id, run_id, limit_s=RUN_S)
        return run_id

    def _of(self, dag_id: str, run_id: str) -> tuple[dict[str, dict[str, Any]], datetime]:
        """Return the tasks of a run, and when it was made."""
        run = self._airflow.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")
        return self._airflow.tasks(dag_id, run_id), _time(run["queued_at"])

    def _show(self, title: str, totals: list[float], of_tasks: Mapping[str, list[Spans]]) -> None:
        times = f"{min(totals):.2f} to {max(totals):.2f} s, {len(totals)} times, load {os.getloadavg()[0]:.1f}"
        print(f"\n{title}: **{statistics.median(totals):.2f} s**, {times}\n")
        print("| task | for the scheduler | for its process | task |\n|---|---:|---:|---:|")
        for name, found in of_tasks.items():
            print(
                f"| {name} | "
                + " | ".join(f"{statistics.median(one):.2f} s" for one in zip(*found, strict=True))
                + " |"
            )


def main() -> None:
    """Start the local cloud, measure, stop it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="of each (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(None, Path(folder) / "var") as settings:
        latency = Latency(settings)
        latency.titanic(options.runs)
        latency.spotify(options.runs)


if __name__ == "__main__":
    main()
