"""`make demo`: run every DAG on the local cloud, and show the results.

`run` starts the local cloud. The rest happens in a second process with Airflow's environment, so that the demo reads
the results with the same connections as the DAGs.
"""

import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_cloud import airflow_env, cli, run_service
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import LAKE, Settings

LIMIT_S = 20 * 60
"""A run takes 15 to 120 seconds; longer if it waits for a scheduled run, or retries."""


@dataclass(frozen=True)
class Show:
    """A DAG, the conf of its run, and the query that shows its result, with a title."""

    dag_id: str
    title: str
    sql: str
    conf: Mapping[str, str] = field(default_factory=dict)
    in_athena: bool = False
    """Whether the query is for Athena; otherwise it is for BigQuery."""
    mostly_waits: bool = False
    """Whether the run waits for most of its time; then it starts before all others."""


SHOWS = (
    Show(
        "titanic_passengers",
        "Mart titanic.survival (BigQuery)",
        "SELECT class, sex, passengers, survivors, survival_rate, mean_age, mean_fare FROM titanic.survival "
        "ORDER BY 1, 2",
    ),
    Show(
        "youtube_analytics",
        "Mart youtube.top_movers (BigQuery), first five places",
        "SELECT place, video_id, views, views_before, change, change_rate FROM youtube.top_movers "
        "WHERE place <= 5 ORDER BY place",
    ),
    Show(
        "spotify_artists",
        "Table spotify.top_tracks (Athena), top track of the first five artists",
        "SELECT artist_name, track_name, album_name, popularity, tempo FROM spotify.top_tracks WHERE rank = 1 "
        "ORDER BY artist_name LIMIT 5",
        in_athena=True,
    ),
    Show(
        "spotify_new_artist",
        "Table spotify_landed.top_tracks (Athena), first five tracks of a new artist",
        "SELECT DISTINCT rank, artist_name, name, album_name, popularity FROM spotify_landed.top_tracks "
        "WHERE artist_name = 'Wren' ORDER BY rank LIMIT 5",
        conf={"artist": "Wren"},
        in_athena=True,
    ),
    Show(
        "github_users",
        "Mart github.overlap (BigQuery), first five rows",
        "SELECT * FROM github.overlap ORDER BY 1, 2, 3 LIMIT 5",
        mostly_waits=True,  # for the next window of the rate limit
    ),
    Show(
        "x_posts",
        "Mart x.hashtags (BigQuery), first five rows",
        "SELECT * FROM x.hashtags ORDER BY 2 DESC LIMIT 5",
        mostly_waits=True,  # for posts
    ),
)
"""In the order in which they are shown. Those that do not wait run one after the other, so that it also works on a
small machine."""


def run(settings: Settings) -> None:
    """Start the local cloud, run every DAG, show the results, and leave everything running."""
    began = time.monotonic()
    cli.say("Starting the local cloud (the first start takes about half a minute) ...")
    cli.up(settings)
    environment = airflow_env.airflow_environment(settings, os.environ)
    python_path = [str(settings.root), str(settings.root / "plugins"), environment["PYTHONPATH"]]
    environment["PYTHONPATH"] = os.pathsep.join(python_path)
    environment["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"  # only the output of the demo
    shown = subprocess.run([sys.executable, "-m", "local_cloud.demo"], env=environment, check=False)
    if shown.returncode:
        sys.exit(shown.returncode)
    cli.say(f"\nDone in {time.monotonic() - began:.0f} s. Stop everything: make down. Follow the logs: make logs.")


def harvest_and_show(settings: Settings, dag_ids: Collection[str] = ()) -> None:
    """Run each DAG, and print its receipts, a table, and its URL; exit with 1 after the first failure.

    :param dag_ids: only these DAGs; empty for all.
    """
    api = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
    shows = [show for show in SHOWS if not dag_ids or show.dag_id in dag_ids]
    early = {show.dag_id: _trigger(api, show) for show in shows if show.mostly_waits}
    for show in shows:
        run_id = early.get(show.dag_id) or _trigger(api, show)
        cli.say(f"\nWaiting for {show.dag_id}")
        state = api.wait(show.dag_id, run_id, limit_s=LIMIT_S, watch=Progress())
        print()
        if state != "success":
            _explain(settings, api, show.dag_id, run_id)
            sys.exit(1)
        _show_receipts(run_id)
        cli.say(f"\n{show.title}")
        cli.say((_athena_rows if show.in_athena else _bigquery_rows)(show.sql))
        cli.say(f"\nAirflow: {settings.airflow_url}/dags/{show.dag_id}/runs/{run_id}")
    cli.say(f"         {login_hint(settings)}")
    cli.say(f"Is it complete? {settings.airflow_url}/plugin/harvest")


def _trigger(api: AirflowApi, show: Show) -> str:
    run_id = api.trigger(show.dag_id, dict(show.conf))
    cli.say(f"\nTriggered {show.dag_id}, run {run_id}")
    return run_id


def login_hint(settings: Settings) -> str:
    """Return how to log in, without a password that the user has set."""
    chosen = settings.admin_password != Settings.admin_password
    return f"user {airflow_env.USER}, password {'see WINDROW_ADMIN_PASSWORD' if chosen else settings.admin_password}"


class Progress:
    """A progress line of a run: updated in place on a terminal, otherwise printed after each change."""

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


def _explain(settings: Settings, api: AirflowApi, dag_id: str, run_id: str) -> None:
    """Print the failed tasks, the error in their logs, and the paths of the logs."""
    logs = settings.var / "airflow" / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
    for task_id, task in api.tasks(dag_id, run_id).items():
        if task["state"] == "failed":
            attempt = task["try_number"]
            cli.say(f"Task '{task_id}' failed.")
            for line in api.log(dag_id, run_id, task_id, attempt):
                if str(line.get("event", "")).startswith("FAILED: "):
                    cli.say(f"  {line['event']}")
            cli.say(f"  Log: {logs / f'task_id={task_id}' / f'attempt={attempt}.log'}")
    cli.say(f"Airflow: {settings.airflow_url}/dags/{dag_id}/runs/{run_id}  ({login_hint(settings)})")


def _show_receipts(run_id: str) -> None:
    """Print the receipt of each dataset of a run."""
    from windrow.airflow.hooks.staging import staging  # noqa: PLC0415  imports Airflow: only where its environment is set
    from windrow.landing.receipt import as_text  # noqa: PLC0415
    from windrow.model.plan import Run  # noqa: PLC0415
    from windrow.model.registry import streams  # noqa: PLC0415

    for dataset in streams():
        with staging("mongo_default", dataset) as state:
            receipt = state.notes(Run(dataset, run_id)).get("receipt")
        if receipt:
            cli.say(
                f"\nReceipt of {dataset}: counts in the plan, MongoDB (staged), bucket (exported) and warehouse "
                "(loaded, merged)"
            )
            cli.say(as_text(receipt))


def _bigquery_rows(sql: str) -> str:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415

    hook = BigQueryHook(use_legacy_sql=False)
    return hook.get_client(project_id=hook.project_id).query_and_wait(sql).to_dataframe().to_string(index=False)


def _athena_rows(sql: str) -> str:
    import pandas as pd  # noqa: PLC0415

    from windrow.airflow.hooks.athena import Athena  # noqa: PLC0415

    return pd.DataFrame(Athena("aws_default", f"s3://{LAKE}/athena/demo/").ask(sql)).to_string(index=False)


if __name__ == "__main__":
    run_service.die_with_parent(os.getppid())
    harvest_and_show(Settings.load(cli.ROOT, os.environ), sys.argv[1:])
