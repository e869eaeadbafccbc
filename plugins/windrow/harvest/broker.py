"""Redis between the task that discovers queries and the tasks that call the API: a stream and a group for each run.

Redis only distributes. The plan in MongoDB decides: the last step of a run makes the calls that Redis lost. A message
is taken by one worker, and is deleted once its answer is durable. If a worker dies, another one claims its messages
after some time. A message that is delivered twice costs one look-up, because its query is settled.

The only module that uses Redis.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import orjson
import redis

from windrow.harvest.feeds import Item
from windrow.model.errors import BrokerUnavailable, PlanMissing
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

T = TypeVar("T")

_GROUP = "fetch"
_EXPIRES_S = 7 * 24 * 3600
"""Redis deletes a stream that was not used for so long."""
_BATCH = 32
"""Maximum messages that one worker takes at once."""
_LOOK_EVERY_S = 0.1


class Broker:
    """The stream of one run. All methods raise `BrokerUnavailable`.

    :param client: speaks RESP 2, whose answers are read here.
    :param place: where the address and the login are set, such as ``the Airflow connection 'redis_default'``.
    """

    def __init__(self, client: "redis.Redis", run: Run, place: str) -> None:
        self._redis = client
        self._place = place
        self._stream = f"windrow:{run}"

    def open(self) -> None:
        """Make sure that the stream and its group are there."""
        self._do(self._create)

    def push(self, items: Sequence[Item]) -> None:
        """Add queries to call."""
        if items:
            self._do(lambda: self._add(items))

    def take(self, worker: str) -> list[Item]:
        """Take messages that no worker has."""
        return self._do(lambda: _items(self._read(worker, ">")))

    def taken(self, worker: str, after: str = "0") -> list[Item]:
        """Return messages that a worker of this name has taken before and not finished, behind a ticket."""
        return self._do(lambda: _items(self._read(worker, after)))

    def claim(self, worker: str, idle_s: float) -> list[Item]:
        """Take over messages that their worker has not finished for so long: it is dead, or waits for its tokens."""
        arguments = (self._stream, _GROUP, worker, int(idle_s * 1000))
        return self._do(lambda: _entries(self._redis.xautoclaim(*arguments, count=_BATCH)[1]))

    def done(self, items: Sequence[Item]) -> None:
        """Finish messages: they are gone."""
        tickets = [item.ticket for item in items]
        if tickets:
            self._do(lambda: self._finish(tickets))

    def left(self) -> int:
        """Count the messages that are not finished, whoever has them."""
        return int(self._do(lambda: self._redis.xlen(self._stream)))

    def _create(self) -> None:
        try:
            self._redis.xgroup_create(self._stream, _GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):  # it is there already
                raise
        self._redis.expire(self._stream, _EXPIRES_S)

    def _add(self, items: Sequence[Item]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for item in items:
                pipeline.xadd(self._stream, {"query": orjson.dumps([item.chunk, item.query.row])})
            pipeline.expire(self._stream, _EXPIRES_S)
            pipeline.execute()

    def _read(self, worker: str, since: str) -> Any:
        return self._redis.xreadgroup(_GROUP, worker, {self._stream: since}, count=_BATCH)

    def _finish(self, tickets: Sequence[str]) -> None:
        with self._redis.pipeline() as pipeline:
            pipeline.xack(self._stream, _GROUP, *tickets)
            pipeline.xdel(self._stream, *tickets)
            pipeline.execute()

    def _do(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise BrokerUnavailable(
                f"Redis rejects the login of {self._place}: {error}",
                advice="Set the user and the password there before the next run. This run needs no action: the plan "
                "and all answers are in MongoDB, and one task continues from there.",
            ) from error
        except redis.RedisError as error:
            raise BrokerUnavailable(
                f"Redis operation failed: {type(error).__name__}: {error}",
                advice="No action needed for this run: the plan and all answers are in MongoDB, and one task continues "
                "from there. Check that Redis is running before the next run.",
            ) from error


def _items(answer: Any) -> list[Item]:
    """Read the answer of XREADGROUP, which has at most one stream."""
    return [item for _, entries in answer or () for item in _entries(entries)]


def _entries(entries: Any) -> list[Item]:
    items = []
    for ticket, fields in entries:
        if fields:  # a message that was finished meanwhile has none
            chunk, row = orjson.loads(fields[b"query"])
            items.append(Item(Query.from_row(row), chunk, ticket.decode()))
    return items


class BrokerFeed:
    """The messages of a run, as long as there are any. A `Feed`.

    :param worker: name of this worker; the same after a restart, so that it finds what it had taken.
    :param idle_s: how long to look for messages before giving up for now.
    :param claim_after_s: when a message of another worker is taken over; longer than any call takes.
    """

    def __init__(
        self, broker: Broker, staging: Staging, run: Run, worker: str, *, idle_s: float, claim_after_s: float
    ) -> None:
        self.run = run
        self.is_shared = True
        self.planned = 0
        self.done_before = 0
        self.lost: BrokerUnavailable | None = None
        """Why Redis is no use any more; None while it is."""
        self._broker = broker
        self._staging = staging
        self.round = 0
        self.worker: int | None = None  # its count begins anew with each try, so it is no part of a sum
        self._worker = worker
        self._idle_s = idle_s
        self._claim_after_s = claim_after_s
        self._pending: deque[Item] = deque()
        self._open: set[str] = set()
        """Tickets of what was taken and is not finished. A claim gives a worker its own slow messages too."""
        self._turn = asyncio.Lock()
        self._opened = False
        self._accepted: Collection[str] = ()
        """Keys of queries whose gaps a person accepted: they are not called."""
        self._resume_after: str | None = "0"
        """The last of the messages taken before this start that were read again; None when all were."""
        self._over = False

    def start(self) -> None:
        """Nothing to do before the first `next`."""

    async def next(self) -> Item | None:
        """Return a query to ask; None when there is none for now, or Redis is lost."""
        async with self._turn:
            looking_since = time.monotonic()
            while not self._pending and not self._over:
                if await asyncio.to_thread(self._load):
                    looking_since = time.monotonic()
                elif not self._over:
                    self._over = time.monotonic() - looking_since > self._idle_s
                    await asyncio.sleep(_LOOK_EVERY_S)
            return self._pending.popleft() if self._pending else None

    def durable(self, items: Sequence[Item]) -> None:
        """Finish the messages of answers that are durable."""
        try:
            self._broker.done(items)
        except BrokerUnavailable as error:
            self._lose(error)
        self._open.difference_update(item.ticket for item in items)

    def halt(self) -> None:
        """Look for no more messages."""
        self._over = True

    def stop(self) -> None:
        """Take no more. What was taken and not asked is taken again, by this worker or another."""
        self._over = True

    def finished(self) -> bool:
        """Say whether the plan is whole and every message is finished."""
        try:
            self.planned = self._staging.plan(self.run).planned
            return self._broker.left() == 0
        except PlanMissing:
            return False
        except BrokerUnavailable as error:
            self._lose(error)
            return True

    def _load(self) -> bool:
        """Take messages, and finish those that need no call; say whether there were any. Runs in a thread."""
        try:
            items = [item for item in self._take() if item.ticket not in self._open]
            settled = [item for item in items if self._is_done(item.query.key)]
            self._broker.done(settled)
            if not items and self.finished():
                self._over = True
        except BrokerUnavailable as error:
            self._lose(error)
            return False
        self.done_before += len(settled)
        asked = [item for item in items if item not in settled]
        self._open.update(item.ticket for item in asked)
        self._pending.extend(asked)
        return bool(items)

    def _is_done(self, key: str) -> bool:
        return key in self._accepted or self._staging.is_settled(self.run, key)

    def _take(self) -> list[Item]:
        if not self._opened:
            self._accepted = self._staging.accepted_gaps(self.run).keys()
            self._broker.open()
            self._opened = True
        if self._resume_after is not None:
            items = self._broker.taken(self._worker, self._resume_after)
            self._resume_after = items[-1].ticket if items else None
            if items:
                return items
        return self._broker.take(self._worker) or self._broker.claim(self._worker, self._claim_after_s)

    def _lose(self, error: BrokerUnavailable) -> None:
        if self.lost is None:
            log.warning("%s", error)
        self.lost = error
        self._over = True
