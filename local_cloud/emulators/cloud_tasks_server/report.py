"""What the queues do, for whoever looks."""

import dataclasses
import datetime
from typing import Any

from local_cloud.emulators.cloud_tasks_server.dispatcher import Dispatcher
from local_cloud.emulators.cloud_tasks_server.messages import PAUSED
from local_cloud.emulators.cloud_tasks_server.registry import Registry
from local_cloud.emulators.cloud_tasks_server.store import GivenUp, Store


def report(registry: Registry, store: Store) -> dict[str, Any]:
    """Return the state and the counts of each queue, by name."""
    return {dispatcher.queue.name: _shown(dispatcher, store) for dispatcher in registry.all()}


def _shown(dispatcher: Dispatcher, store: Store) -> dict[str, Any]:
    queue = dispatcher.queue
    given_up = store.given_up(queue.name)
    return {
        "state": "PAUSED" if queue.state == PAUSED else "RUNNING",
        **dispatcher.counts(),
        **dataclasses.asdict(store.totals(queue.name)),
        "gave_up": len(given_up),
        "given_up": [_shown_task(task) for task in given_up],
    }


def _shown_task(task: GivenUp) -> dict[str, Any]:
    at = datetime.datetime.fromtimestamp(task.at, datetime.UTC)
    return {**dataclasses.asdict(task), "at": at.isoformat(timespec="milliseconds")}
