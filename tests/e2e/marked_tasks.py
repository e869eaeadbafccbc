"""Lets the tasks of DAGs fail in this process, in one way after the other, and writes down what Airflow would keep.

That is the log, as a task hands it to Airflow before any secret is masked, and what tasks return, their rendered
fields, triggers and events. Standard input says what to run; standard output, how each task ended and what it logged.
"""

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from io import BufferedRandom
from pathlib import Path
from typing import Any

import structlog
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.log import configure_logging

from tests.dag_run import DagRun, load
from windrow.model import redact
from windrow.model.policy import Backoff

DAGS = Path(__file__).resolve().parents[2] / "dags"
LEFT_OUT = ("dispatch", "enqueue", "drain", "prepare.")
"""How the ids of tasks begin that are for another way to harvest, or make tables of AWS that nothing here reaches."""


def main() -> None:
    """Make the runs, in the order in which they are given."""
    Backoff.pause_s = lambda *_: 0.001  # type: ignore[method-assign]  # else they pause for three minutes in all
    given = json.load(sys.stdin)
    ended = []
    with Path(given["log"]).open("w+b") as log:
        configure_logging(json_output=True, output=log, sending_to_supervisor=True)
        for run in given["runs"]:
            os.environ.update(given["environ"][run["way"]])
            begin = log.tell()
            states = Tasks(run, log).run()
            log.seek(begin)
            ended.append({**run, "states": states, "said": log.read().decode()})
    print(json.dumps(ended))


@cache
def dag_of(dag_id: str) -> DAG:
    """Load a DAG, once for all its runs: it says the same in all of them, and a run copies its tasks."""
    module = load(DAGS / f"{dag_id}.py")
    return module.dag if isinstance(getattr(module, "dag", None), DAG) else getattr(module, dag_id)()


class Tasks:
    """The tasks of one run."""

    def __init__(self, run: Mapping[str, Any], log: BufferedRandom) -> None:
        self.dag_run = DagRun(dag_of(run["dag_id"]), run["run_id"], at=datetime.now(UTC), **run["params"])
        self.states: dict[str, str] = {}
        self.log = log
        of_tasks = {run["run_id"]: self.states}
        ti = self.dag_run.context["task_instance"] = self.dag_run.context["ti"]
        vars(ti).update(max_tries=3, get_task_states=lambda **_: of_tasks)

    def run(self) -> dict[str, str]:
        """Run each task that all tasks above have let begin; return how each ended."""
        for task in self.dag_run.dag.topological_sort():
            above = {self.states[name] for name in task.upstream_task_ids if name in self.states}
            if above <= {"success"} and not task.task_id.startswith(LEFT_OUT):
                redact._known.clear()  # a task is a process of its own, and knows no secret at first
                self.states[task.task_id] = self._run(task.task_id)
                self._keep()
            elif above - {"success"}:
                self.states[task.task_id] = "upstream_failed"
        return self.states

    def _run(self, task_id: str) -> str:
        try:
            self.dag_run.run(task_id)
        except TaskDeferred as deferred:
            self._write(deferred.trigger.serialize(), deferred.kwargs)
            return "deferred"
        except Exception as error:
            self._fail(error)
            return "failed"
        return "skipped" if task_id in self.dag_run.skipped else "success"

    def _fail(self, error: Exception) -> None:
        """Do what Airflow does with an error of a task."""
        task, context = self.dag_run.context["task"], self.dag_run.context | {"exception": error}
        structlog.get_logger("task").exception("Task failed with exception")
        self._write(task.retry_policy.evaluate(error, 1, 3, context))
        for callback in (*task.on_failure_callback, *task.on_retry_callback):
            callback(context)

    def _keep(self) -> None:
        """Write down what would be in Airflow's database."""
        task, context = self.dag_run.context["task"], self.dag_run.context
        self._write({name: getattr(task, name) for name in task.template_fields})
        self._write(self.dag_run.results.get(task.task_id))
        self._write(self.dag_run.states.values, [event.extra for event in context["outlet_events"].values()])

    def _write(self, *things: Any) -> None:
        self.log.write(json.dumps(things, default=str).encode() + b"\n")
        self.log.flush()


if __name__ == "__main__":
    main()
