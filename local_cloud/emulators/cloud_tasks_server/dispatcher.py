"""One queue at work: it sends what is due, as fast as it may, and sees to what comes of it."""

import asyncio
import contextlib
import heapq
import itertools
import time

from local_cloud.emulators.cloud_tasks_server import retries
from local_cloud.emulators.cloud_tasks_server.delivery import Courier, Outcome
from local_cloud.emulators.cloud_tasks_server.messages import PAUSED, RUNNING, Queue
from local_cloud.emulators.cloud_tasks_server.store import GivenUp, Store, StoredTask
from local_cloud.emulators.cloud_tasks_server.token_bucket import TokenBucket
from local_cloud.emulators.serving import Spawn

LONGEST_SLEEP = 30.0
"""Seconds until the clock is read again: it goes on while a computer is suspended, a sleep does not."""


class Dispatcher:
    """A queue and its tasks. The store is always written first: what it holds is what is true."""

    def __init__(self, queue: Queue, *, store: Store, courier: Courier, spawn: Spawn, tombstone_seconds: float) -> None:
        self.queue = queue
        self._store = store
        self._courier = courier
        self._spawn = spawn
        self._tombstone_seconds = tombstone_seconds
        limits = queue.rate_limits
        self._bucket = TokenBucket(limits.max_dispatches_per_second, limits.max_burst_size)
        self._tasks: dict[str, StoredTask] = {}
        self._agenda: list[tuple[float, int, StoredTask]] = []
        self._numbers = itertools.count()
        self._ticket: dict[str, int] = {}
        self._in_flight = 0
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    # --- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the tasks from the store, and begin to send them."""
        for task in self._store.tasks(self.queue.name):
            self._keep(task)
        self._loop = self._spawn(self._run())

    def stop(self) -> None:
        """Send nothing more; attempts in flight go on."""
        if self._loop:
            self._loop.cancel()

    def delete(self) -> None:
        """Forget the queue and its tasks."""
        self._store.delete_queue(self.queue.name)
        self.stop()
        self._tasks.clear()

    # --- what the service asks -----------------------------------------------------------------

    def change(self, queue: Queue) -> None:
        """Go on with other settings, or in another state."""
        self._store.save_queue(queue)
        self.queue = queue
        self._bucket.change(queue.rate_limits.max_dispatches_per_second, queue.rate_limits.max_burst_size)
        self._changed.set()

    def pause(self) -> None:
        """Send nothing until resume()."""
        self._set_state(PAUSED)

    def resume(self) -> None:
        """Send again after pause()."""
        self._set_state(RUNNING)

    def _set_state(self, state: int) -> None:
        queue = Queue()
        queue.CopyFrom(self.queue)
        queue.state = state
        self.change(queue)

    def purge(self) -> None:
        """Delete all tasks. What is in flight goes on, and its outcome counts for nothing."""
        queue = Queue()
        queue.CopyFrom(self.queue)
        queue.purge_time.GetCurrentTime()
        now = time.time()
        self._store.bury(queue.name, list(self._tasks), now, now + self._tombstone_seconds)
        self._tasks.clear()
        self._ticket.clear()
        self._agenda.clear()
        self.change(queue)

    def add(self, task: StoredTask) -> None:
        """Take a new task."""
        self._store.save_task(self.queue.name, task)
        self._keep(task)

    def delete_task(self, task: StoredTask) -> None:
        """Delete a task."""
        now = time.time()
        self._store.bury(self.queue.name, [task.message.name], now, now + self._tombstone_seconds)
        self._drop(task)

    def send_now(self, task: StoredTask) -> None:
        """Send a task whatever its time, the pace and the state of the queue."""
        self._send(task)

    def find(self, name: str) -> StoredTask | None:
        """Return a task by its name."""
        return self._tasks.get(name)

    def names(self) -> list[str]:
        """Return the names of all tasks."""
        return list(self._tasks)

    def counts(self) -> dict[str, int]:
        """Return how many tasks wait for their turn, for their time, and for an answer."""
        now = time.time()
        due = [at <= now for at, ticket, task in self._agenda if self._ticket.get(task.message.name) == ticket]
        return {"waiting": due.count(True), "scheduled": due.count(False), "in_flight": self._in_flight}

    # --- sending -------------------------------------------------------------------------------

    def _keep(self, task: StoredTask) -> None:
        self._tasks[task.message.name] = task
        self._schedule(task)

    def _drop(self, task: StoredTask) -> None:
        self._tasks.pop(task.message.name)
        self._ticket.pop(task.message.name, None)

    def _schedule(self, task: StoredTask) -> None:
        """Put a task on the agenda. The number makes an entry there for an earlier time void."""
        number = self._ticket[task.message.name] = next(self._numbers)
        heapq.heappush(self._agenda, (task.message.schedule_time.ToMicroseconds() / 1e6, number, task))
        self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            wait = min(self._send_what_is_due(), LONGEST_SLEEP)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _send_what_is_due(self) -> float:
        """Send what may go now; return the seconds until more may go, if nothing changes before."""
        while self.queue.state == RUNNING and self._agenda:
            at, number, task = self._agenda[0]
            if self._ticket.get(task.message.name) != number:
                heapq.heappop(self._agenda)
                continue
            if self._in_flight >= self.queue.rate_limits.max_concurrent_dispatches:
                return LONGEST_SLEEP
            wait = max(at - time.time(), self._bucket.seconds_until_next())
            if wait > 0:
                return wait
            heapq.heappop(self._agenda)
            self._bucket.take()
            self._send(task)
        return LONGEST_SLEEP

    def _send(self, task: StoredTask) -> None:
        message = task.message
        message.dispatch_count += 1
        attempt = message.last_attempt
        attempt.Clear()
        attempt.schedule_time.CopyFrom(message.schedule_time)
        attempt.dispatch_time.GetCurrentTime()
        if message.dispatch_count == 1:
            message.first_attempt.dispatch_time.CopyFrom(attempt.dispatch_time)
        self._store.save_dispatch(self.queue.name, task)
        self._ticket.pop(message.name, None)
        self._in_flight += 1
        self._spawn(self._attempt(task))

    async def _attempt(self, task: StoredTask) -> None:
        try:
            outcome = await self._courier.deliver(task)
        finally:
            self._in_flight -= 1
            self._changed.set()
        if self._tasks.get(task.message.name) is task:  # it may have been deleted meanwhile
            self._settle(task, outcome)

    def _settle(self, task: StoredTask, outcome: Outcome) -> None:
        message, now = task.message, time.time()
        until = now + self._tombstone_seconds
        if outcome.succeeded:
            self._store.bury_done(self.queue.name, message.name, now, until)
            self._drop(task)
            return
        _note_failure(task, outcome)
        config = self.queue.retry_config
        since_first = now - message.first_attempt.dispatch_time.ToMicroseconds() / 1e6
        if retries.is_over(config, message.dispatch_count, since_first, now - message.create_time.seconds):
            reason = f"{message.dispatch_count} attempts in {since_first:.1f} s, the last one: {outcome.message}"
            given_up = GivenUp(message.name, message.dispatch_count, reason, now)
            self._store.bury_given_up(self.queue.name, given_up, until)
            self._drop(task)
            return
        pause = retries.pause(config, message.dispatch_count, outcome.retry_after)
        message.schedule_time.FromMicroseconds(int((now + pause) * 1e6))
        self._store.save_task(self.queue.name, task)
        self._schedule(task)


def _note_failure(task: StoredTask, outcome: Outcome) -> None:
    attempt = task.message.last_attempt
    attempt.response_status.code = outcome.code
    attempt.response_status.message = outcome.message
    task.previous_status = outcome.status
    if outcome.status:
        attempt.response_time.GetCurrentTime()
        task.message.response_count += 1
        task.executions += outcome.status < 500
