"""A batch of messages from a queue to Parquet files in an object store.

The files are ``<prefix>/part-00000.parquet ...``, ``<prefix>/_acks.json`` with the ids to acknowledge, and the
manifest, which is written last. Messages are acknowledged when the warehouse has them; the queue delivers all others
again. So a crash loses nothing, and a message that is delivered twice is merged by its key. Until the ids are in the
object store, messages are leased for about a minute; from then on an attempt that follows a crash releases them. So
they do not wait for the longest lease that the queue allows.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

import orjson
import pyarrow as pa

from windrow.landing.files import Count, Manifest, ObjectStore, Output, ParquetFiles, Sizes
from windrow.landing.profile import ProfileCount
from windrow.model.answer import Rejected, kept
from windrow.model.errors import ManifestMissing, Unreadable
from windrow.model.logs import about
from windrow.model.message import from_message
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.stream import Stream
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

ACKS = "_acks.json"
AT_ONCE = 1_000
"""Messages in one pull, and ids in one call."""
LEASE_S = 600
"""How long messages are leased whose ids are in the object store; Pub/Sub allows no more."""
_SPARE_S = 60
"""How long a message is leased, in addition to the time in which its batch is collected."""
_AT_ONCE = 10_000
"""Records that become a table together."""
_EMPTY_S = 3.0
"""A queue that delivers nothing for so long is considered empty."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message, which no other client gets until its deadline."""

    ack_id: str
    message_id: str
    data: bytes


class Messages(Protocol):
    """The operations of a queue that a batch needs."""

    def pull(self, most: int, wait_s: float, lease_s: int) -> list[Received]:
        """Return up to ``most`` messages, leased for so many seconds; wait up to ``wait_s`` for the first."""

    def lease(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Let no other client have these messages for so many seconds from now; 0 releases them."""

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Acknowledge messages: the queue does not deliver them again."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Maximum messages, seconds and bytes of a batch."""

    messages: int = 50_000
    seconds: float = 45.0
    bytes: int = 200_000_000


def gather(queue: Messages, bounds: Bounds) -> list[Received]:
    """Pull until a bound is reached or the queue is empty. All leases end about a minute after the last moment."""
    until = time.monotonic() + bounds.seconds
    gathered: list[Received] = []
    size = 0
    while len(gathered) < bounds.messages and size < bounds.bytes and (left_s := until - time.monotonic()) > 0:
        lease_s = min(LEASE_S, int(left_s) + _SPARE_S)
        received = queue.pull(min(AT_ONCE, bounds.messages - len(gathered)), min(_EMPTY_S, left_s), lease_s)
        if not received:
            break
        gathered += received
        size += sum(len(message.data) for message in received)
    return gathered


class Batch:
    """Lands messages below a prefix of an object store."""

    def __init__(self, run: Run, stream: Stream, store: ObjectStore, prefix: str) -> None:
        self._run = run
        self._stream = stream
        self._store = store
        self._prefix = prefix

    def release(self, queue: Messages) -> None:
        """Release the messages of an earlier attempt of this run, so that this one can pull them again."""
        self._each(partial(queue.lease, seconds=0), self._ack_ids() or [])

    def land(self, queue: Messages, messages: Sequence[Received], staging: Staging) -> Manifest:
        """Write the ids to acknowledge, the parts, and the manifest; lease the messages for ten minutes.

        A message that cannot be read goes to the quarantine, and is acknowledged with the others. One that was
        delivered twice within the batch counts once, with both of its ids. The profile of the rows is noted.
        """
        output, schema = Output(self._store, self._prefix), self._stream.contract.arrow_schema
        ack_ids = [message.ack_id for message in messages]
        output.put(ACKS, orjson.dumps(ack_ids))
        self._each(partial(queue.lease, seconds=LEASE_S), ack_ids)
        distinct = {message.message_id: message for message in messages}
        records: list[dict[str, object]] = []
        rejected: list[tuple[int, Rejected]] = []
        for message in distinct.values():
            try:
                records.append(self._record(message.data))
            except Unreadable as error:
                rejected.append((0, _rejected(message, error.reason)))
        staging.reject(self._run, rejected)
        profile = ProfileCount(self._stream)
        with ParquetFiles(self._store, self._prefix, "part-{:05d}.parquet", schema, Sizes()) as files:
            for place in range(0, len(records), _AT_ONCE):
                batch = pa.RecordBatch.from_pylist(records[place : place + _AT_ONCE], schema)
                profile.add(batch)
                files.write(batch)
            parts = files.close()
        staging.note(self._run, "profile", profile.figures())
        return output.finish(self._run, Count(answers=len(records), unreadable=len(rejected)), parts)

    def _record(self, data: bytes) -> dict[str, object]:
        """Read a message.

        :raises Unreadable: it is not a record of this stream, or would not pass the audit.
        """
        record = from_message(data, self._stream.contract)
        self._stream.vet(record)
        return record | {"_run_id": self._run.run_id}

    def acknowledge(self, queue: Messages) -> int:
        """Acknowledge all messages of a landed batch, and return their number.

        :raises ManifestMissing: the batch was not landed.
        """
        ack_ids = self._ack_ids()
        if ack_ids is None:
            raise ManifestMissing(
                f"{ACKS} below {self._prefix} does not exist.",
                advice="Clear the task 'pull' with all tasks downstream.",
            )
        self._each(queue.acknowledge, ack_ids)
        return len(ack_ids)

    def _ack_ids(self) -> list[str] | None:
        data = self._store.get(f"{self._prefix}/{ACKS}")
        return None if data is None else list(orjson.loads(data))

    def _each(self, call: Callable[[Sequence[str]], None], ack_ids: Sequence[str]) -> None:
        for place in range(0, len(ack_ids), AT_ONCE):
            call(ack_ids[place : place + AT_ONCE])


def _rejected(message: Received, reason: str) -> Rejected:
    query = Query.of("/messages", {"id": message.message_id})
    with about(key=query.key):
        log.warning("Message %s goes into the quarantine: %s", message.message_id, reason)
    return Rejected(query, 200, kept(message.data.decode("utf-8", "backslashreplace")), reason, datetime.now(UTC))
