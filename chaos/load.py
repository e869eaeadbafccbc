"""`make chaos-load`: posts at a rate that lasts, with kills meanwhile, and 200 requests of the chatbot in a minute.

    python -m chaos.load --minutes 10 --kills 3 --seed 7

It starts a local cloud of its own. First the chatbot asks for artists: each request has to be answered once. Then X
makes posts, nine in ten of which match the rule, while the publisher, the scheduler and Pub/Sub are killed in turn. All
posts that match have to be in BigQuery once, with their values. Exit code 1 means that one was lost, duplicated or
wrong.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.stream import SERVICES, Load
from chaos import truth
from chaos.cloud import Cloud, insisting
from chaos.incidents import Incident
from local_cloud import airflow_env, aws_resources, signals
from local_cloud.services import table
from local_cloud.settings import ARTIST_QUEUE
from local_cloud.testing import running

TARGETS = ("x-publisher", "airflow-scheduler", "pubsub")
IN_S = 60.0
ANSWERED_S = 900
"""How long answers may take at most."""


def ask(cloud: Cloud, count: int) -> dict[str, Any]:
    """Send so many different requests within a minute, and watch how each is answered."""
    sqs = aws_resources.client(cloud.settings, "sqs")
    queue = sqs.get_queue_url(QueueName=ARTIST_QUEUE)["QueueUrl"]
    known = [text for one in truth.ASKABLE for text in (one.name, one.id)]
    asked = [*known, *(f"nobody {number}" for number in range(count))][:count]
    sent: dict[str, float] = {}
    answered: dict[str, dict[str, str]] = defaultdict(dict)
    began = time.monotonic()
    for _ in insisting(IN_S + ANSWERED_S):
        due = asked[len(sent) : int(count * (time.monotonic() - began) / IN_S) + 1]
        for text in due:
            sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"artist": text}))
            sent[text.casefold()] = time.time()
        for item in aws_resources.client(cloud.settings, "dynamodb").scan(TableName="artist_requests")["Items"]:
            if "settled_at" in item:
                answered[item["request"]["S"].casefold()][item["settled_at"]["S"]] = item["outcome"]["S"]
        if len(sent) == count and sent.keys() <= answered.keys():
            break
    waits = sorted(
        datetime.fromisoformat(min(times)).timestamp() - sent[name] for name, times in answered.items() if name in sent
    )
    right = {text.casefold(): "found" if text in known else "unknown" for text in asked}
    return {
        "requests": count,
        "lost": len(sent.keys() - answered.keys()),
        "answered_twice": sum(len(times) > 1 for times in answered.values()),
        "wrong": {name: times for name, times in answered.items() if set(times.values()) != {right.get(name)}},
        "seconds": {"median": round(waits[len(waits) // 2], 1), "most": round(waits[-1], 1)},
    }


def post(cloud: Cloud, rate: float, seconds: float, kills: int, seed: int) -> dict[str, Any]:
    """Let posts be made for so long, with so many kills, and compare the table with them."""
    dice = random.Random(seed)
    due = {seconds * (number + dice.random()) / kills: TARGETS[number % len(TARGETS)] for number in range(kills)}
    began = time.monotonic()

    def kill() -> None:
        at_s = time.monotonic() - began
        for moment in [moment for moment in due if moment <= at_s]:
            target = due.pop(moment)
            cloud.strike(Incident("kill", target, "x_posts", calls=False, task=0, share=0.0))
            print(f"  {at_s:5.0f} s  kill {target}", flush=True)

    since = max(map(int, cloud.api("GET", "x/posts?query=tesla")["ids"]), default=0)
    load = Load(cloud.settings)
    result = load.run(rate, seconds, meanwhile=kill)
    must, may = truth.posts(cloud.settings.var / "apis" / "posts", since)
    difference = truth.compare("x.posts", truth.posts_found(load.warehouse), must, may)
    by_run = "SELECT COUNT(*) AS posts FROM x.posts GROUP BY _run_id ORDER BY MIN(_fetched_at)"
    result["posts_of_runs"] = [row["posts"] for row in load.warehouse.query_and_wait(by_run)]
    kept = ("rate_per_s", "seconds", "in_bigquery", "runs", "posts_of_runs", "delay_s", "most_waiting", "drained_s")
    return {name: result[name] for name in kept} | {"posts": str(difference), "good": difference.is_none}


def main() -> int:
    """Measure, print the results as JSON, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.load", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long X makes posts (%(default)s)")
    parser.add_argument("--rate", type=float, default=280, help="posts a second that X makes (%(default)s)")
    parser.add_argument("--kills", type=int, default=3, help="of the publisher, the scheduler, Pub/Sub (%(default)s)")
    parser.add_argument("--requests", type=int, default=200, help="of the chatbot within a minute (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="repeats the kills (%(default)s)")
    options = parser.parse_args()
    signals.end_in_order()
    services = None if options.requests else SERVICES
    with tempfile.TemporaryDirectory() as folder, running(services, Path(folder) / "var") as settings:
        os.environ.update(airflow_env.airflow_environment(settings, os.environ))
        cloud = Cloud(settings, {service.name: service for service in table(settings, os.environ)})
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M}, seed {options.seed}", flush=True)
        answers = ask(cloud, options.requests) if options.requests else {}
        print(json.dumps(answers, indent=2), flush=True)
        posts = post(cloud, options.rate, options.minutes * 60, options.kills, options.seed)
        print(json.dumps(posts, indent=2), flush=True)
    bad = [answers[name] for name in ("lost", "answered_twice", "wrong") if answers.get(name)]
    return 0 if posts["good"] and not bad else 1


if __name__ == "__main__":
    sys.exit(main())
