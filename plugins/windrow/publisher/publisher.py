"""The loop of the publisher: open the stream, publish what it tells, open it again."""

import asyncio
import hashlib
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from windrow.answer import Rejected
from windrow.client import Client, StreamRefused
from windrow.errors import ApiUnreachable, Misconfigured, Unreadable, WindrowError
from windrow.message import to_message
from windrow.plan import Run
from windrow.publisher.gap import fill
from windrow.publisher.outlet import Outlet
from windrow.publisher.reconnect import Pauses, Reconnect
from windrow.publisher.rules import keep_in_step
from windrow.publisher.watermark import Watermark
from windrow.query import Query
from windrow.sources.x import SEARCH_LAG_S, STREAM_PATH, Posts, stream
from windrow.staging import Staging

log = logging.getLogger(__name__)

RUN = Run(Posts.dataset, "stream")
"""What state and quarantine of the publisher belong to."""
STEP = "publisher"
_REMEMBERED = 100_000
"""Ids of posts by which repeated ones are known."""
_SOURCE = "publisher"


@dataclass(frozen=True)
class Tempo:
    """Times, in seconds. Tests make them short."""

    silence: float = 40.0
    """Without a line for so long, the stream is dead: X sends a heartbeat every 20 s."""
    note: float = 5.0
    """How often the state is written down."""
    search_lag: float = SEARCH_LAG_S + 5
    """How long after the stream began again the gap is filled: the search is behind."""
    pauses: Pauses = field(default_factory=Pauses)


class Publisher:
    """Publishes the posts that match the rules. Make one for each process.

    :param client: of the X API, entered by the caller; it has one connection more than the stream needs.
    :param noted: called after each time the state was written down.
    """

    def __init__(
        self,
        client: Client,
        outlet: Outlet,
        staging: Staging,
        rules: Mapping[str, str],
        *,
        usernames: bool = False,
        tempo: Tempo | None = None,
        noted: Callable[[], None] = lambda: None,
    ) -> None:
        self.count: Counter[str] = Counter()
        self._client = client
        self._outlet = outlet
        self._staging = staging
        self._rules = rules
        self._usernames = usernames
        self._tempo = tempo or Tempo()
        self._noted = noted
        self._posts = Posts()
        self._reconnect = Reconnect(self._tempo.pauses)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._heard = time.time()
        self._watermark = Watermark(self._heard)
        self._filling: asyncio.Task[None] | None = None
        self._fresh = True

    async def run(self) -> None:
        """Publish until the task is cancelled. Then what was read is published, and the state written down.

        :raises WindrowError: what only a person can mend; the message says how.
        """
        await asyncio.to_thread(self._find_watermark)
        await keep_in_step(self._client, self._rules)
        noting = asyncio.create_task(self._note_often())
        reading = asyncio.create_task(self._read_for_ever())
        try:
            done, _ = await asyncio.wait({noting, reading}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            working = [task for task in (noting, reading, self._filling) if task is not None]
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await asyncio.to_thread(self._note)  # Pub/Sub may take long, or for ever
            await self._outlet.close()
            await asyncio.to_thread(self._note)

    # --- the stream ----------------------------------------------------------------------------

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
                pause_s = self._reconnect.after_break()
                log.warning("the stream ended; it is opened again in %.1f s", pause_s)
            except StreamRefused as refused:
                pause_s = self._reconnect.after_refusal(refused)
                log.warning("%s; again in %.1f s", refused.what, pause_s)
                if refused.status == 409:
                    await keep_in_step(self._client, self._rules)
            except ApiUnreachable as error:
                pause_s = self._reconnect.after_break()
                log.warning("%s; again in %.1f s", error.what, pause_s)
            self.count["reconnects"] += 1
            self._lost()
            await asyncio.sleep(pause_s)

    async def _read(self) -> None:
        """Read the stream until it ends."""
        query = stream(usernames=self._usernames)
        async for line in self._client.lines(query, silence_s=self._tempo.silence, opened=self._opened):
            now = time.time()
            self._reconnect.arrived()
            try:
                said = self._posts.line(line, datetime.fromtimestamp(now, UTC))
            except Unreadable as error:
                self.count["unreadable"] += 1
                log.warning("a line goes into the quarantine: %s", error.reason)
                await asyncio.to_thread(self._quarantine, line, error.reason)
                continue
            if said.trouble:
                self.count["troubles"] += 1
                log.warning("X says: %s", said.trouble)
            elif said.record is None:
                self.count["heartbeats"] += 1
            else:
                await self._publish(dict(said.record), "stream", now)
            self._heard = now

    def _opened(self) -> None:
        """Begin to fill the gap that ends now."""
        self._heard = time.time()
        self._watermark.opened(self._heard)
        log.info("the stream is open")
        self._filling = asyncio.create_task(self._fill(self._heard))

    def _lost(self) -> None:
        self._watermark.lost()
        if self._filling is not None:
            self._filling.cancel()

    # --- the gap -------------------------------------------------------------------------------

    async def _fill(self, until: float) -> None:
        """Publish what was posted between the watermark and this instant; try it again when the search fails."""
        while not self._fresh:
            await asyncio.sleep(self._tempo.search_lag)
            try:
                await self._search(self._watermark.through, until)
                break
            except Misconfigured:
                raise
            except WindrowError as error:  # the watermark waits
                log.warning("the gap cannot be filled yet: %s", error)
        self._fresh = False
        await self._outlet.flushed()
        self._watermark.filled(until)

    async def _search(self, since: float, until: float) -> None:
        """Publish what the search knows of this time."""
        begin, end = (datetime.fromtimestamp(moment, UTC) for moment in (since, until))
        # the end a little later: the stream may have begun with a post that is newer than its first moment
        overlap = end + timedelta(seconds=1)
        found = 0
        async for key, record in fill(self._client, self._rules, begin, overlap, usernames=self._usernames):
            found += await self._publish(record, key, until)
        self.count["filled"] += found
        log.info(
            "filled the gap from %s to %s UTC by the search: %d posts. It knows no reposts and no deletions.",
            f"{begin:%Y-%m-%d %H:%M:%S}",
            f"{end:%Y-%m-%d %H:%M:%S}",
            found,
        )

    # --- publishing ----------------------------------------------------------------------------

    async def _publish(self, record: dict[str, Any], key: str, at: float) -> bool:
        """Publish a record, unless it was just published; say whether it was new."""
        post_id, is_deletion = str(record["post_id"]), record["deleted_at"] is not None
        mark = f"-{post_id}" if is_deletion else post_id
        if mark in self._seen:
            self.count["repeated"] += 1
            return False
        self._seen[mark] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self.count["deletions" if is_deletion else "posts"] += 1
        lineage = {"_key": key, "_fetched_at": datetime.fromtimestamp(at, UTC), "_run_id": _SOURCE}
        kind = "deletion" if is_deletion else "post"
        await self._outlet.publish(to_message(record | lineage), at, post_id=post_id, kind=kind)
        return True

    def _quarantine(self, line: bytes, reason: str) -> None:
        """Keep a line that cannot be read. Runs in a thread."""
        digest = hashlib.sha256(line).hexdigest()[:32]
        query = Query.of(STREAM_PATH, {"line": digest})
        text = line.decode("utf-8", "backslashreplace")
        self._staging.reject(RUN, [(0, Rejected(query, 200, text, reason, datetime.now(UTC)))])

    # --- state ---------------------------------------------------------------------------------

    def _find_watermark(self) -> None:
        """Find where an earlier process was. Runs in a thread."""
        self._staging.prepare(RUN.dataset)
        before = self._staging.notes(RUN).get(STEP)
        if before is None:
            log.info("no earlier state: publishing from now on")
            return
        self._watermark.through = float(before["through"])
        self._fresh = False
        log.info(
            "everything before %s UTC is published", f"{datetime.fromtimestamp(self._watermark.through, UTC):%F %T}"
        )

    async def _note_often(self) -> None:
        while True:
            self._outlet.check()
            if self._filling is not None and self._filling.done() and not self._filling.cancelled():
                self._filling.result()  # what only a person can mend ends the process
            await asyncio.to_thread(self._note)
            await asyncio.sleep(self._tempo.note)

    def _note(self) -> None:
        """Write the state down. Runs in a thread; the numbers are read as they are."""
        through = self._watermark.move(self._heard, self._outlet.oldest)
        self._staging.note(
            RUN,
            STEP,
            {
                "through": through,
                "through_at": datetime.fromtimestamp(through, UTC).isoformat(),
                "noted_at": datetime.now(UTC).isoformat(),
                "on_the_way": self._outlet.waiting,
                "acknowledged": self._outlet.acknowledged,
                **{name: self.count[name] for name in sorted(self.count)},
            },
        )
        self._noted()
