"""The little of Airflow's REST API that the demo and the end-to-end tests need."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import requests

DONE = frozenset({"success", "failed"})
_TIMEOUT_S = 100
"""Generous: on two cores that are busy with other runs an answer may take long."""


class AirflowApi:
    """A logged-in client of one Airflow. It logs in when it is first used.

    :param url: like ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._login = {"username": user, "password": password}
        self._session = requests.Session()

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Trigger a DAG, unpause it, and return the id of the run.

        In this order it starts before a run that an asset triggers once the DAG is unpaused.
        """
        made = self.call("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": dict(conf or {})})
        self.pause(dag_id, is_paused=False)
        return str(made["dag_run_id"])

    def pause(self, dag_id: str, *, is_paused: bool) -> None:
        """Switch a DAG off or on, and have its file parsed.

        Airflow begins and ends to watch the queue of a DAG when it parses the file, which may be minutes later.
        """
        dag = self.call("PATCH", f"/dags/{dag_id}", {"is_paused": is_paused})
        self.call("PUT", f"/parseDagFile/{dag['file_token']}")

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Return the task instances of a run by task id, in the order they started."""
        found = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]
        return {task["task_id"]: task for task in sorted(found, key=lambda task: task["start_date"] or "9")}

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int) -> list[dict[str, Any]]:
        """Return the lines of a task's log, each with ``event`` and more."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}?full_content=true"
        return [line for line in self.call("GET", path)["content"] if isinstance(line, dict)]

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Clear tasks of a run with all tasks downstream."""
        body = {
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "include_downstream": True,
            "only_failed": False,
            "reset_dag_runs": True,
            "dry_run": False,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", body)

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        limit_s: float,
        watch: Callable[[dict[str, dict[str, Any]]], None] | None = None,
    ) -> str:
        """Wait until a run has ended, and return its state.

        :param watch: called with the task instances twice a second.
        :raises TimeoutError: it took longer than ``limit_s`` seconds.
        """
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            state = self.state(dag_id, run_id)
            if watch is not None:
                watch(self.tasks(dag_id, run_id))
            if state in DONE:
                return state
            time.sleep(0.5)
        raise TimeoutError(f"The run {run_id} of {dag_id} did not end in {limit_s:.0f} s.")

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make a call below ``/api/v2`` and return the parsed answer.

        :raises requests.HTTPError: Airflow refuses it; the text holds Airflow's reason.
        """
        if "Authorization" not in self._session.headers:
            answer = self._session.post(f"{self._url}/auth/token", json=self._login, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        answer = self._session.request(method, f"{self._url}/api/v2{path}", json=body, timeout=_TIMEOUT_S)
        if not answer.ok:
            raise requests.HTTPError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:500]}", response=answer)
        return dict(answer.json() or {}) if answer.content else {}
