"""`make demo`: run every DAG on the local cloud, and show the results.

`run` starts the local cloud. The rest happens in a second process with Airflow's environment, so that the demo reads
the results with the same connections as the DAGs.
"""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from local_cloud import airflow_env, cli, run_service
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import LAKE, Settings

LIMIT_S = 20 * 60
"""A run takes 15 to 120 seconds; longer if it waits for a scheduled run, or retries."""


@dataclass(frozen=True)
class Show:
    """A DAG, the conf of its run, and a query that shows its result, with what its rows mean."""

    dag_id: str
    title: str
    meaning: str
    sql: str
    conf: Mapping[str, str] = field(default_factory=dict)
    in_athena: bool = False
    """Whether the query is for Athena; otherwise it is for BigQuery."""
    mostly_waits: bool = False
    """Whether the run waits for most of its time; then it starts before all others."""


TWO_WEEKS = timedelta(days=17)
"""Two weeks of figures: YouTube publishes a day up to three days later."""

SHOWS = (
    Show(
        "titanic_passengers",
        "Mart titanic.survival in BigQuery",
        "The share of passengers who survived, by class and sex: 0.5 is every second one.",
        "SELECT class, sex, passengers, survivors, survival_rate, mean_age, mean_fare FROM titanic.survival "
        "ORDER BY 1, 2",
    ),
    Show(
        "youtube_analytics",
        "Mart youtube.top_movers in BigQuery, first five places",
        "The videos whose views changed most from one week to the next: a change_rate of 0.5 is half as much again. "
        "A video without views in the week before has no rate.",
        "SELECT place, title, week_to, views_before, views, change, change_rate FROM youtube.top_movers "
        "WHERE place <= 5 ORDER BY place",
        conf={"start_date": str(datetime.now(UTC).date() - TWO_WEEKS)},
    ),
    Show(
        "spotify_artists",
        "Table spotify.top_tracks in Athena, five artists",
        "The most popular track of an artist, with its popularity from 0 to 100 and its beats per minute. A chatbot "
        "reads the same tracks from DynamoDB.",
        "SELECT artist_name, track_name, album_name, popularity, tempo FROM spotify.top_tracks WHERE rank = 1 "
        "ORDER BY artist_name LIMIT 5",
        in_athena=True,
    ),
    Show(
        "spotify_new_artist",
        "Table spotify_landed.top_tracks in Athena, first five tracks of a new artist",
        "A user of the chatbot named an artist that was not harvested yet. This run harvested the artist at once.",
        "SELECT DISTINCT rank, artist_name, name, album_name, popularity FROM spotify_landed.top_tracks "
        "WHERE artist_name = 'Wren' ORDER BY rank LIMIT 5",
        conf={"artist": "Wren"},
        in_athena=True,
    ),
    Show(
        "github_users",
        "Mart github.overlap in BigQuery, the five largest overlaps",
        "How many people two repositories share in the same list: a share_of_both of 0.05 is one of 20 people who are "
        "in either.",
        "SELECT list, repository, other_repository, shared, share_of_both FROM github.overlap "
        "ORDER BY share_of_both DESC, 1, 2, 3 LIMIT 5",
        mostly_waits=True,  # for the next window of the rate limit
    ),
    Show(
        "x_posts",
        "Mart x.hashtags in BigQuery, first five hashtags",
        "The hashtags of the posts that came while the demo ran: how many posts have each, how many of them are "
        "reposts, and of how many accounts.",
        "SELECT hashtag, posts, reposts, authors FROM x.hashtags ORDER BY posts DESC, hashtag LIMIT 5",
        mostly_waits=True,  # for posts
    ),
)
"""In the order in which they are shown. Those that do not wait run one after the other, so that it also works on a
small machine."""
COUNTS = ("planned", "staged", "gaps", "quarantined", "exported", "loaded", "merged")
"""What the demo shows of a receipt."""
RECEIPTS = (
    "Receipts: calls in the plan and in MongoDB (staged), what the API does not have (gaps), what could not be read "
    "(quarantined), rows in the bucket (exported) and in the warehouse (loaded, merged)"
)


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
    cli.say("Run the DAGs with your own passengers, repositories and artists: docs/your-input.md")
    cli.say(f"See whether everything is complete, and who must act: {settings.airflow_url}/plugin/harvest")


def harvest_and_show(settings: Settings, dag_ids: Collection[str] = ()) -> None:
    """Run each DAG, and print its receipts, a table, and its URL; exit with 1 after the first failure.

    :param dag_ids: only these DAGs; empty for all.
    """
    api = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
    shows = [show for show in SHOWS if not dag_ids or show.dag_id in dag_ids]
    early = {show.dag_id: _trigger(api, show) for show in shows if show.mostly_waits}
    for show in shows:
        run_id = early.get(show.dag_id) or _trigger(api, show)
        progress = Progress(show.dag_id)
        state = api.wait(show.dag_id, run_id, limit_s=LIMIT_S, watch=progress)
        progress.end(state)
        if state != "success":
            _explain(settings, api, show.dag_id, run_id)
            sys.exit(1)
        if receipts := _receipts(run_id):
            cli.say(f"\n{_wrap(RECEIPTS)}\n{receipts}")
        else:
            cli.say("\nThere is no receipt: an earlier run has harvested all of it.")
        cli.say(f"\n{show.title}\n{_wrap(show.meaning)}")
        cli.say((_athena_rows if show.in_athena else _bigquery_rows)(show.sql))
        cli.say(f"\nThe run in Airflow: {settings.airflow_url}/dags/{show.dag_id}/runs/{run_id}")
    cli.say(f"\nLog in to Airflow: {login_hint(settings)}")


def _trigger(api: AirflowApi, show: Show) -> str:
    return api.trigger(show.dag_id, dict(show.conf))


def login_hint(settings: Settings) -> str:
    """Return how to log in, without a password that the user has set."""
    chosen = settings.admin_password != Settings.admin_password
    return f"user {airflow_env.USER}, password {'see WINDROW_ADMIN_PASSWORD' if chosen else settings.admin_password}"


class Progress:
    """The line of a run: on a terminal it follows the tasks in place, elsewhere it only says how the run ended."""

    def __init__(self, dag_id: str) -> None:
        self._dag_id = dag_id
        self._began = time.monotonic()
        self._tasks: Mapping[str, dict[str, Any]] = {}
        print(f"\n{dag_id} ...", end="", flush=True)

    def __call__(self, tasks: dict[str, dict[str, Any]]) -> None:
        """Take the state of a run's tasks, and show it on a terminal."""
        self._tasks = tasks
        if sys.stdout.isatty():
            active = [
                f"{task_id} {task['state'].replace('_', ' ')}"
                + (f" (try {task['try_number']})" if task["try_number"] > 1 else "")
                for task_id, task in tasks.items()
                if task["state"] not in {None, "success", "skipped", "queued", "scheduled"}
            ]
            text = ", ".join([self._done(), *active])
            self._rewrite(f"{time.monotonic() - self._began:4.0f} s  {text}"[: shutil.get_terminal_size().columns - 1])

    def end(self, state: str) -> None:
        """Say how the run ended, and how long its tasks took."""
        moments = [
            datetime.fromisoformat(task[name])
            for task in self._tasks.values()
            for name in ("start_date", "end_date")
            if task.get(name)
        ]
        seconds = (max(moments) - min(moments)).total_seconds() if moments else 0.0
        text = f"{state} in {seconds:.0f} s, {self._done()}"
        if sys.stdout.isatty():
            self._rewrite(f"{self._dag_id}: {text}\n")
        else:
            cli.say(f" {text}")

    def _done(self) -> str:
        states = [task["state"] for task in self._tasks.values()]
        done, skipped = states.count("success"), states.count("skipped")
        return f"{done} of {len(states)} tasks done" + (f", {skipped} skipped" if skipped else "")

    def _rewrite(self, line: str) -> None:
        print(f"\r\033[K{line}", end="", flush=True)


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


def _receipts(run_id: str) -> str:
    """Return the counts of each dataset of a run, as a table; nothing for a run that had nothing to do."""
    from windrow.airflow.hooks.staging import staging  # noqa: PLC0415  imports Airflow: only where its environment is set
    from windrow.model.plan import Run  # noqa: PLC0415
    from windrow.model.registry import streams  # noqa: PLC0415

    found: dict[str, Mapping[str, Any]] = {}
    for dataset in streams():
        with staging("mongo_default", dataset) as state:
            if receipt := state.notes(Run(dataset, run_id)).get("receipt"):
                found[dataset] = receipt
    if not found:
        return ""
    counts = [name for name in COUNTS if any(name in receipt for receipt in found.values())]
    return _table(
        {"dataset": dataset, "agree": "yes" if receipt["agrees"] else "no"}
        | {name: f"{receipt[name]:,}" if name in receipt else "-" for name in counts}
        for dataset, receipt in found.items()
    )


def _wrap(text: str) -> str:
    return textwrap.fill(text, 100)


def _bigquery_rows(sql: str) -> str:
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook  # noqa: PLC0415

    hook = BigQueryHook(use_legacy_sql=False)
    return _table(dict(row) for row in hook.get_client(project_id=hook.project_id).query_and_wait(sql))


def _athena_rows(sql: str) -> str:
    from windrow.airflow.hooks.athena import Athena  # noqa: PLC0415

    return _table(Athena("aws_default", f"s3://{LAKE}/athena/demo/").ask(sql))


def _table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Write rows as a table of text; a value that is not there is a dash."""
    import pandas as pd  # noqa: PLC0415

    return str(pd.DataFrame(rows, dtype=object).fillna("-").to_string(index=False))


if __name__ == "__main__":
    run_service.die_with_parent(os.getppid())
    harvest_and_show(Settings.load(cli.ROOT, os.environ), sys.argv[1:])
