"""`make chaos`: incidents while all DAGs run, and then a comparison of every table with the fake APIs.

    python -m chaos --incidents 10 --runs 2 --seed 7

It starts a local cloud of its own. Exit code 1: something was lost, duplicated or wrong, or a run needed more than one
clear.
"""

import argparse
import contextlib
import json
import os
import random
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from chaos import once, truth
from chaos.cloud import Cloud, Task, insisting, new_folder
from chaos.incidents import KINDS, Incident, deal
from local_cloud import airflow_env, aws_resources, signals
from local_cloud.settings import ARTIST_QUEUE, PORT_DEFAULTS, PROJECT_ID
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, free_settings
from windrow.sources.x.publisher.intake import RUN
from windrow.sources.x.publisher.publisher import STEP
from windrow.store.staging import opened

RUN_S = 20 * 60
"""A run has to end within so many seconds; with retries that wait minutes it may take long."""
TOOK_S = 20.0
"""How long a task is thought to take before it was seen once."""
LATEST_S = 300.0
"""An incident of the last run whose task has not begun by then happens all the same."""
LEASE_S = 5 * 60
"""Pub/Sub delivers what a killed task had pulled again after two minutes; then a run has to take it."""
REQUESTS = 2
"""Artists that the chatbot asks for in each run."""
UNREACHABLE = (requests.RequestException, psycopg2.Error, OSError, xmlrpc.client.Fault, TimeoutError)


@dataclass
class Done:
    """One incident that happened. ``at_s``: seconds since the run began."""

    run: int
    at_s: float
    incident: Incident
    during: str
    in_flight: int | None
    others: int
    note: str

    def __str__(self) -> str:
        calls = "calls unknown" if self.in_flight is None else f"{self.in_flight} calls in flight"
        what = f"{self.incident.kind} {self.incident.target}"
        note = f" ({self.note})" if self.note else ""
        return f"  {self.at_s:5.0f} s  {what:<32} during {self.during}, {self.others} tasks running, {calls}{note}"


@dataclass
class Result:
    """How a run ended."""

    run: int
    seconds: float
    cleared: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, and one clear at most was enough."""
        return not self.problems


class Campaign:
    """Runs of all DAGs, each with its incidents."""

    def __init__(self, cloud: Cloud, seed: int, names: Sequence[str]) -> None:
        self.cloud = cloud
        self.seed = seed
        self.took: dict[str, float] = {}
        self.done: list[Done] = []
        self.results: list[Result] = []
        self.names = list(names)
        self.asked: list[str] = []
        self.since = 0
        anonymous = AnonymousCredentials()
        self.warehouse = bigquery.Client(
            PROJECT_ID, anonymous, client_options={"api_endpoint": cloud.settings.bigquery_url}
        )

    def dress(self) -> None:
        """Set what the fake APIs forget when they are started again."""
        self.cloud.dress(playlist_cap=len(truth.VIDEOS), promised=len(truth.VIDEOS))

    def prepare(self) -> None:
        """Wait until the publisher reads the stream. What was made before is not awaited."""
        self.dress()
        _until(self._is_reading, 180, "the publisher reads the stream of X")
        ids = self.cloud.api("GET", "x/posts?query=tesla")["ids"]
        self.since = max(map(int, ids), default=0)
        for dag in ("x_posts", "titanic_passengers", "youtube_analytics", "github_users", "spotify_artists"):
            self.cloud.airflow.pause(dag, is_paused=False)

    def run(self, number: int, incidents: Sequence[Incident], *, is_last: bool) -> list[Incident]:
        """Run all DAGs once, let the incidents happen, and compare.

        Return the incidents whose moment did not come; there is none if the run is the last.
        """
        say(f"\nRun {number}: {len(incidents)} incidents wait for their moment")
        self.dress()
        self.cloud.api("PUT", "x/scene", {"rate_per_s": 2.0})
        made = {
            dag: self._trigger(dag, f"chaos-{self.seed}-{number}", conf) for dag, conf in self._confs(number).items()
        }
        self._ask(number)
        result = Result(number, 0.0)
        self.results.append(result)
        left = list(incidents)
        self._watch(number, left, made, result, is_last=is_last)
        try:
            _until(lambda: not self.cloud.unhealthy(), 240, "all services are healthy")
            self._drain(result)
            for difference in truth.check(self.cloud.settings, self.warehouse, self.asked, self.since):
                say(f"  {difference}")
                if not difference.is_none:
                    result.problems.append(str(difference))
        except Exception as error:  # the campaign goes on and reports it
            result.problems.append(f"the comparison failed: {type(error).__name__}: {error}")
        cleared = f", after clearing {', '.join(result.cleared)}" if result.cleared else ""
        say(f"  ended in {result.seconds:.0f} s{cleared}: {'GOOD' if result.is_good else 'BAD'}")
        for problem in result.problems:
            say(f"  PROBLEM {problem}")
        return left

    def _confs(self, number: int) -> dict[str, dict[str, Any]]:
        first = truth.first_day().isoformat()
        return {
            "titanic_passengers": {"dispatch": ("airflow", "cloud_tasks")[number % 2]},
            "youtube_analytics": {"start_date": first},
            "github_users": {"repositories": truth.REPOSITORIES},
            "spotify_artists": {"client": "legacy"},
            "x_posts": {},
        }

    def _trigger(self, dag: str, run_id: str, conf: Mapping[str, Any]) -> str:
        body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
        for _ in insisting(180):
            try:
                self.cloud.airflow.call("POST", f"/dags/{dag}/dagRuns", body)
            except requests.HTTPError as error:
                if error.response is not None and error.response.status_code == 409:
                    return run_id  # the call before was answered after it was given up
            except requests.RequestException:
                pass
            else:
                return run_id
        raise TimeoutError(f"Airflow does not take a run of {dag}.")

    def _ask(self, number: int) -> None:
        """Ask for artists as the chatbot does."""
        sqs = aws_resources.client(self.cloud.settings, "sqs")
        queue = sqs.get_queue_url(QueueName=ARTIST_QUEUE)["QueueUrl"]
        for name in self.names[(number - 1) * REQUESTS : number * REQUESTS]:
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"artist": name}))
            self.asked.append(name)

    def _watch(
        self, number: int, incidents: list[Incident], made: Mapping[str, str], result: Result, *, is_last: bool
    ) -> None:
        """Let the incidents happen, each taken from the list, until all runs have ended."""
        began = time.monotonic()
        since = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(time.time() - 20))
        started: dict[str, float] = {}
        last_thaw = began
        tried_again: set[tuple[str, str]] = set()
        while time.monotonic() - began < RUN_S:
            time.sleep(0.5)
            self.dress()
            try:
                states, tasks = self.cloud.look(since)
            except psycopg2.Error:
                continue
            now = time.monotonic()
            self._clock(tasks, started, now)
            for incident in list(incidents):
                chosen = self._moment(incident, made, tasks, started, now)
                is_late = is_last and now - began > LATEST_S
                if chosen is None and is_late:
                    chosen = f"{incident.dag} (which did not come so far)"
                if incident.calls and not is_late and not self.cloud.in_flight():
                    continue
                if chosen is not None:
                    incidents.remove(incident)
                    self._strike(number, incident, chosen, tasks, now - began)
                    last_thaw = max(last_thaw, time.monotonic() + incident.lasts_s)
                    break  # look again: it may have changed everything
            if now > last_thaw + 5 and self.cloud.repair():
                result.cleared.append("the scheduler with make up")
            if (incidents and is_last) or time.monotonic() < last_thaw + 5:
                continue
            if self._is_over(states, tasks, made, result, tried_again):
                break
        else:
            waiting = ", ".join(f"{task} {task.state}" for task in tasks if _is_open(task))[:600]
            result.problems.append(f"not ended after {RUN_S} s: {waiting}")
        result.seconds = time.monotonic() - began

    def _clock(self, tasks: Sequence[Task], started: dict[str, float], now: float) -> None:
        """Note when tasks begin, and how long they took."""
        for task in tasks:
            name = str(task)
            if task.state == "running":
                started.setdefault(name, now)
            elif task.state == "success" and name in started:
                self.took[name] = now - started[name]

    def _moment(
        self,
        incident: Incident,
        made: Mapping[str, str],
        tasks: Sequence[Task],
        started: Mapping[str, float],
        now: float,
    ) -> str | None:
        """Return the task during which an incident happens, if it is to happen now."""
        own = [task for task in tasks if task.dag == incident.dag and task.run == made.get(task.dag, task.run)]
        if not own:
            return None
        name = f"{incident.dag}.{incident.choose(sorted({task.name for task in own}))}"
        if all(task.state not in {None, "scheduled", "queued", "running", "deferred", "up_for_retry"} for task in own):
            return f"{name} (its run had ended)"
        if name not in started:
            states = {task.state for task in own if str(task) == name}
            return f"{name} (which was not to run)" if states <= {"skipped", "upstream_failed", "success"} else None
        return name if now - started[name] >= incident.share * self.took.get(name, TOOK_S) * 0.9 else None

    def _strike(self, number: int, incident: Incident, chosen: str, tasks: Sequence[Task], at_s: float) -> None:
        in_flight = self.cloud.in_flight()
        running = sum(task.state == "running" for task in tasks)
        try:
            note = self.cloud.strike(incident)
        except UNREACHABLE as error:
            note = f"not possible: {error}"
        done = Done(number, at_s, incident, chosen, in_flight, running, note)
        self.done.append(done)
        say(str(done))

    def _is_over(
        self,
        states: Mapping[tuple[str, str], str],
        tasks: Sequence[Task],
        made: Mapping[str, str],
        result: Result,
        tried_again: set[tuple[str, str]],
    ) -> bool:
        """Say whether all runs have ended and all requests are answered; clear what failed, once."""
        for (dag, run), state in states.items():
            if state != "failed":
                continue
            failed = sorted({
                task.name for task in tasks if (task.dag, task.run) == (dag, run) and task.state == "failed"
            })
            if (dag, run) in tried_again:
                result.problems.append(f"{dag} failed again after a clear: {', '.join(failed)}")
                return True
            if self.cloud.unhealthy():
                return False
            with contextlib.suppress(requests.RequestException):
                self.cloud.airflow.clear(dag, run, *failed)
                tried_again.add((dag, run))
                result.cleared += [f"{dag}.{name}" for name in failed]
            return False
        mine = [states.get((dag, run)) for dag, run in made.items()]
        others = [state for (dag, _), state in states.items() if dag != "x_posts"]
        return all(state == "success" for state in (*mine, *others))

    def _drain(self, result: Result) -> None:
        """Wait until every request is answered, and every post that was made is in the table or lost."""
        _until(self._is_answered, 300, "all requests of the chatbot are answered", result)
        self.cloud.api("PUT", "x/scene", {"rate_per_s": 0})
        _until(self._is_reading, 300, "the publisher has filled its gaps", result)
        for _ in insisting(LEASE_S):
            waiting, leased = self._messages()
            if not waiting + leased:
                return
            if waiting:
                run_id = self._trigger("x_posts", f"drain-{time.time():.0f}", {"max_seconds": 15})
                self.cloud.airflow.wait("x_posts", run_id, limit_s=600)
        result.problems.append(f"not after {LEASE_S} s: all messages are acknowledged")

    def _is_answered(self) -> bool:
        outcomes = dict(truth.outcomes(self.cloud.settings))
        return all(outcomes.get(name.casefold(), ("taken",)) != ("taken",) for name in self.asked)

    def _is_reading(self) -> bool:
        with opened(airflow_env.mongo_url(self.cloud.settings), "windrow") as staging:
            now = staging.notes(RUN).get(STEP, {})
            return bool(now.get("reading")) and now.get("gaps") == 0

    def _messages(self) -> tuple[int, int]:
        """Count the messages that can be pulled now, and those that a pull has and did not acknowledge."""
        report = requests.get(f"{self.cloud.settings.pubsub_url}/subscriptions", timeout=10).json()
        (one,) = (each for name, each in report.items() if name.endswith("/x-posts"))
        return int(one["waiting"]), int(one["leased"])

    def report(self) -> None:
        """Print a table of the incidents, by target."""
        kinds = [kind for kind in (*KINDS, *once.TARGETS) if any(one.incident.kind == kind for one in self.done)]
        say(f"\n| target | {' | '.join(kinds)} | with calls in flight |\n|{'---|' * (len(kinds) + 2)}")
        for target in sorted({one.incident.target for one in self.done}):
            own = [one for one in self.done if one.incident.target == target]
            counts = [str(sum(one.incident.kind == kind for one in own) or "") for kind in kinds]
            say(f"| `{target}` | {' | '.join(counts)} | {sum(bool(one.in_flight) for one in own)} |")
        in_flight = sum(bool(one.in_flight) for one in self.done)
        bad = [str(result.run) for result in self.results if not result.is_good]
        cleared = sum(bool(result.cleared) for result in self.results)
        say(
            f"\nSeed {self.seed}: {len(self.done)} incidents in {len(self.results)} runs, {in_flight} with calls in "
            f"flight. {cleared} runs needed a clear. Bad runs: {', '.join(bad) or 'none'}."
        )


def _is_open(task: Task) -> bool:
    return task.state not in {"success", "skipped", "upstream_failed", "removed"}


def _until(condition: Callable[[], bool], seconds: float, what: str, result: Result | None = None) -> None:
    """Wait for a condition. Without a result it raises TimeoutError; with one it is a problem of it."""
    last = ""
    for _ in insisting(seconds):
        try:
            if condition():
                return
        except Exception as error:  # a service that does not answer yet
            last = f" ({type(error).__name__}: {error})"[:300]
    if result is None:
        raise TimeoutError(f"not after {seconds:.0f} s: {what}{last}")
    result.problems.append(f"not after {seconds:.0f} s: {what}{last}")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def main() -> int:
    """Run a campaign; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--incidents", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--runs", type=int, default=20, help="of all DAGs (%(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="repeats a campaign")
    parser.add_argument(
        "--var", type=new_folder, default=str(ROOT / "build" / "chaos"), help="a new or empty folder (%(default)s)"
    )
    parser.add_argument("--once", nargs="*", choices=once.TARGETS, default=[*once.TARGETS], help="once each (all)")
    options = parser.parse_args()
    signals.end_in_order()
    environ = dict(os.environ)
    ports = {name.removeprefix("WINDROW_").lower(): int(environ[name]) for name in PORT_DEFAULTS if name in environ}
    settings = free_settings(options.var, **ports)
    local = LocalCloud(settings, environ, owner=os.getpid())
    services = {service.name: service for service in local.services}
    incidents = deal(sorted(services), options.incidents, options.seed, options.once)
    say(f"Seed {options.seed}: {len(incidents)} incidents in {options.runs} runs. Starting the local cloud.")
    for kind in options.once:
        if reason := once.impossible(kind):
            say(f"Left out: {kind}; {reason}.")
    left_out = [kind for kind in options.once if once.impossible(kind)]
    with contextlib.ExitStack() as stack:
        for incident in incidents:
            if incident.kind == once.DISK and incident.kind not in left_out:
                stack.enter_context(once.small_disk(settings.var / incident.target))
        stack.callback(local.down)
        local.up()
        os.environ.update(airflow_env.airflow_environment(settings, environ))
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"  # only the output of the campaign
        cloud = Cloud(settings, services)
        stack.callback(cloud.end_incidents)
        names = random.Random(options.seed).sample([one.name for one in truth.ASKABLE], len(truth.ASKABLE))
        campaign = Campaign(cloud, options.seed, names)
        campaign.prepare()
        left: list[Incident] = []
        for number in range(1, options.runs + 1):
            left += [one for one in incidents[number - 1 :: options.runs] if one.kind not in left_out]
            left = campaign.run(number, left, is_last=number == options.runs)
        campaign.report()
    return 0 if all(result.is_good for result in campaign.results) else 1


if __name__ == "__main__":
    sys.exit(main())
