"""`make demo`: harvest titanic_passengers on the local cloud, and show what came of it.

`run` starts the local cloud. All else happens in a second process with Airflow's own environment, so that the
demo reads its results through the connections that the DAG used.
"""

import os
import subprocess
import sys
import time
from typing import Any

from local_cloud import airflow_env, cli
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import Settings

DAG_ID = "titanic_passengers"
MART = (
    "SELECT class, sex, passengers, survivors, survival_rate, mean_age, mean_fare FROM titanic.survival ORDER BY 1, 2"
)
LIMIT_S = 20 * 60
"""A run takes a quarter of a minute; one that waits for a scheduled run before it, or retries, takes longer."""


def run(settings: Settings) -> None:
    """Start what is not running, harvest, show the result, and leave all running."""
    began = time.monotonic()
    cli.say("Starting the local cloud (first start: about half a minute) ...")
    cli.up(settings)
    environment = airflow_env.airflow_environment(settings, os.environ)
    python_path = [str(settings.root), str(settings.root / "plugins"), environment["PYTHONPATH"]]
    environment["PYTHONPATH"] = os.pathsep.join(python_path)
    environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # the demo speaks for itself
    shown = subprocess.run([sys.executable, "-m", "local_cloud.demo"], env=environment, check=False)
    if shown.returncode:
        sys.exit(shown.returncode)
    cli.say(f"\nDone in {time.monotonic() - began:.0f} s. Stop it all: make down. Follow the logs: make logs.")


def harvest_and_show(settings: Settings) -> None:
    """Trigger the DAG, wait for its end, and print receipt, mart and where to look; exit with 1 if it failed."""
    api = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
    run_id = api.trigger(DAG_ID)
    cli.say(f"\nTriggered {DAG_ID}, run {run_id}")
    state = api.wait(DAG_ID, run_id, limit_s=LIMIT_S, watch=Progress())
    print()
    if state != "success":
        _explain(settings, api, run_id)
        sys.exit(1)
    _show_receipt(run_id)
    _show_mart()
    cli.say(f"\nAirflow: {settings.airflow_url}/dags/{DAG_ID}/runs/{run_id}")
    cli.say(f"         {login_hint(settings)}")


def login_hint(settings: Settings) -> str:
    """Say how to log in, without printing a password that somebody chose."""
    chosen = settings.admin_password != Settings.admin_password
    return (
        f"user {airflow_env.USER}, password {'that of WINDROW_ADMIN_PASSWORD' if chosen else settings.admin_password}"
    )


class Progress:
    """A line that tells how far a run is: rewritten on a terminal, printed once a change elsewhere."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = ""

    def __call__(self, tasks: dict[str, dict[str, Any]]) -> None:
        """Show the state of a run's tasks."""
        done = sum(task["state"] == "success" for task in tasks.values())
        rest = [
            f"{task_id} {task['state'].replace('_', ' ')}"
            + (f" (try {task['try_number']})" if task["try_number"] > 1 else "")
            for task_id, task in tasks.items()
            if task["state"] not in {None, "success", "queued", "scheduled"}
        ]
        text = f"{done} of {len(tasks)} tasks done" + (f", {', '.join(rest)}" if rest else "")
        if sys.stdout.isatty():
            print(f"\r\033[K{time.monotonic() - self._began:4.0f} s  {text}", end="", flush=True)
        elif text != self._last:
            cli.say(f"{time.monotonic() - self._began:4.0f} s  {text}")
        self._last = text


def _explain(settings: Settings, api: AirflowApi, run_id: str) -> None:
    """Say which task failed, what its log says, and where that log is."""
    logs = settings.var / "airflow" / "logs" / f"dag_id={DAG_ID}" / f"run_id={run_id}"
    for task_id, task in api.tasks(DAG_ID, run_id).items():
        if task["state"] == "failed":
            attempt = task["try_number"]
            cli.say(f"Task '{task_id}' failed.")
            for line in api.log(DAG_ID, run_id, task_id, attempt):
                if str(line.get("event", "")).startswith("FAILED: "):
                    cli.say(f"  {line['event']}")
            cli.say(f"  Log: {logs / f'task_id={task_id}' / f'attempt={attempt}.log'}")
    cli.say(f"Airflow: {settings.airflow_url}/dags/{DAG_ID}/runs/{run_id}  ({login_hint(settings)})")


def _show_receipt(run_id: str) -> None:
    from windrow.hooks.staging import staging  # noqa: PLC0415  imports Airflow: only where its environment is set
    from windrow.plan import Run  # noqa: PLC0415
    from windrow.receipt import as_text  # noqa: PLC0415

    with staging("mongo_default", DAG_ID) as state:
        receipt = state.notes(Run(DAG_ID, run_id))["receipt"]
    cli.say("\nReceipt: what was planned, staged (MongoDB), exported (GCS), loaded and merged (BigQuery)")
    cli.say(as_text(receipt))


def _show_mart() -> None:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415

    hook = BigQueryHook(use_legacy_sql=False)
    rows = hook.get_client(project_id=hook.project_id).query_and_wait(MART)
    cli.say("\nMart titanic.survival (BigQuery)")
    cli.say(rows.to_dataframe().to_string(index=False))


if __name__ == "__main__":
    harvest_and_show(Settings.load(cli.ROOT, os.environ))
