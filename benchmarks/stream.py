"""Load on x_posts: so many posts a second, through the whole path on one machine, counted at both ends.

    PYTHONPATH=plugins:. .venv/bin/python -m benchmarks.stream --rate 280 --seconds 600

It starts the local cloud with Airflow in a folder of its own, lets the fake X API make posts, nine in ten of which
match the rule, lets the queue wake the DAG, and waits until nothing is left. Then the ids that went out on the
stream are compared with those in BigQuery; there may be more there, as the publisher also searches for the first
seconds of a rule. The delay of a post is the end of the merge that brought it, less the instant at which it was made.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from local_cloud import airflow_env
from local_cloud.airflow_api import AirflowApi
from local_cloud.settings import PROJECT_ID, Settings
from local_cloud.testing import running

DAG_ID = "x_posts"
SERVICES = frozenset({
    *("postgres", "mongo", "gcs", "bigquery", "apis", "pubsub", "x-publisher"),
    *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"),
})
SUBSCRIPTION = f"projects/{PROJECT_ID}/subscriptions/x-posts"
DRAIN_S = 900
ENDED = frozenset({"success", "failed"})


class Load:
    """One measurement."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._airflow = AirflowApi(settings.airflow_url, airflow_env.USER, settings.admin_password)
        self._http = requests.Session()
        self._http.mount("http://", HTTPAdapter(max_retries=Retry(10, backoff_factor=0.2, allowed_methods=None)))
        self.warehouse = bigquery.Client(
            PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": settings.bigquery_url}
        )

    def run(self, rate: float, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Let posts be made for so long, wait until all are merged, and count.

        :param meanwhile: called every five seconds; it may kill services.
        """
        self._scene(rate_per_s=0, duplicate_share=0.01)
        self._airflow.pause(DAG_ID, is_paused=False)
        self._scene(rate_per_s=rate)
        most_waiting = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(5)
            meanwhile()
            most_waiting = max(most_waiting, self._waiting())
            print(f"{until - time.monotonic():5.0f} s left, {self._waiting():,} waiting", file=sys.stderr)
        self._scene(rate_per_s=0)
        drained_s = self._drain()
        return self._result(rate, seconds) | {"most_waiting": most_waiting, "drained_s": round(drained_s, 1)}

    def _scene(self, **changes: float) -> None:
        self._admin("PUT", "/scene", changes)

    def _admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, f"{self._settings.api_url}/_admin/x{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def _waiting(self) -> int:
        report = self._http.get(f"{self._settings.pubsub_url}/subscriptions", timeout=60).json()[SUBSCRIPTION]
        return int(report["waiting"]) + int(report["leased"])

    def _drain(self) -> float:
        """Wait until nothing waits and no run is under way; return the seconds that took."""
        began = time.monotonic()
        time.sleep(2)  # the publisher's last batch
        while self._waiting() or any(run["state"] not in ENDED for run in self._runs()):
            if time.monotonic() - began > DRAIN_S:
                raise TimeoutError(f"{self._waiting():,} messages still wait after {DRAIN_S} s.")
            if all(run["state"] in ENDED for run in self._runs()):
                self._airflow.trigger(DAG_ID)
            time.sleep(2)
        return time.monotonic() - began

    def _runs(self) -> list[dict[str, Any]]:
        return list(self._airflow.call("GET", f"/dags/{DAG_ID}/dagRuns?limit=100")["dag_runs"])

    def _result(self, rate: float, seconds: float) -> dict[str, Any]:
        sent = self._admin("GET", "/posts?sent=1")["ids"]
        matching = set(self._admin("GET", "/posts?query=tesla")["ids"])
        rows = list(self.warehouse.query_and_wait("SELECT post_id, created_at, _run_id FROM x.posts"))
        count = Counter(row["post_id"] for row in rows)
        merged_at = {run["dag_run_id"]: self._merged_at(run["dag_run_id"]) for run in self._runs()}
        delays = sorted(
            (moment - row["created_at"]).total_seconds() for row in rows if (moment := merged_at.get(row["_run_id"]))
        )
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rate_per_s": rate,
            "seconds": seconds,
            "sent": len(sent),
            "in_bigquery": len(rows),
            "lost": len(set(sent) - count.keys()),
            "double": sum(times - 1 for times in count.values()),
            "found_by_search": len((count.keys() - set(sent)) & matching),
            "never_made": len(count.keys() - matching),
            "runs": dict(Counter(run["state"] for run in self._runs())),
            "delay_s": {
                "median": round(statistics.median(delays), 1),
                "p95": round(delays[int(len(delays) * 0.95)], 1),
                "most": round(delays[-1], 1),
            },
        }

    def _merged_at(self, run_id: str) -> datetime | None:
        """Say when the merge of a run ended; None if it was skipped."""
        task = self._airflow.tasks(DAG_ID, run_id)["merge"]
        return datetime.fromisoformat(task["end_date"]) if task["state"] == "success" else None


def main() -> int:
    """Measure, print the result as JSON, and return 1 when a post was lost, doubled or made up."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description="Load on x_posts.")
    parser.add_argument("--rate", type=float, default=280, help="posts a second that X makes (%(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="how long posts are made (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(SERVICES, Path(folder) / "var") as settings:
        result = Load(settings).run(options.rate, options.seconds)
    print(json.dumps(result, indent=2))
    return 1 if result["lost"] or result["double"] or result["never_made"] else 0


if __name__ == "__main__":
    sys.exit(main())
