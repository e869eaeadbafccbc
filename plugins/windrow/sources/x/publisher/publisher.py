"""The loops of the publisher: read the stream and reconnect, fill gaps, save the state."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from windrow.http.bounds import LineTooLong
from windrow.http.client import Client, StreamRefused
from windrow.model.errors import ApiUnreachable, StagingUnavailable, Unreadable
from windrow.sources.x.publisher.background import in_background
from windrow.sources.x.publisher.clock import Clock
from windrow.sources.x.publisher.gap import Spoiled, fill
from windrow.sources.x.publisher.intake import RUN, Intake
from windrow.sources.x.publisher.outlet import Outlet
from windrow.sources.x.publisher.reconnect import Pauses, Reconnect
from windrow.sources.x.publisher.rules import keep_in_step
from windrow.sources.x.publisher.watermark import Gap, Watermark
from windrow.sources.x.streams import RULES_LAG_S, SEARCH_LAG_S, Posts, stream
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

STEP = "publisher"
"""Name of the state in the figures of the run."""
PARTING_S = 2.0
"""Maximum time at the end to save the state in MongoDB and to disconnect: MongoDB may be down."""
_OVERLAP = timedelta(seconds=5)
"""The search covers this much more than the gap, because the time of X only has seconds."""


@dataclass(frozen=True)
class Tempo:
    """Times, in seconds. Tests use shorter ones."""

    silence: float = 40.0
    """Without a line for this time the stream counts as broken: X sends a heartbeat every 20 s."""
    note: float = 5.0
    """Interval for saving the state."""
    search_lag: float = SEARCH_LAG_S + 5
    """How long after its end a gap is filled: the search is behind the stream."""
    rules_lag: float = RULES_LAG_S
    """How long new rules may be inactive; this also is a gap."""
    closing: float = 15.0
    """Maximum time to wait for Pub/Sub at the end."""
    pauses: Pauses = field(default_factory=Pauses)


class Publisher:
    """Publishes the posts that match the rules. Make one for each process.

    :param client: client of the X API, entered by the caller; it needs one connection besides that of the stream.
    :param noted: called each time after the state was saved, if the stream sent something since the last time.
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
        self._client = client
        self._outlet = outlet
        self._staging = staging
        self._rules = rules
        self._usernames = usernames
        self._tempo = tempo or Tempo()
        self._noted = noted
        self._intake = Intake(outlet, staging)
        self._count = self._intake.count
        self._posts = Posts()
        self._reconnect = Reconnect(self._tempo.pauses)
        self._clock = Clock()
        self._heard = 0.0
        self._told = False
        self._rules_hold_from = time.monotonic()
        self._watermark = Watermark()
        self._gaps: asyncio.Queue[Gap] = asyncio.Queue()
        self._to_note = asyncio.Event()

    async def run(self) -> None:
        """Publish until the task is cancelled. Then publish all posts that were read, and save the state.

        :raises WindrowError: an error that needs a person or a restart; the message says what to do.
        """
        await in_background(self._find_watermark)
        await self._set_rules()
        working = [asyncio.create_task(loop()) for loop in (self._note_often, self._read_for_ever, self._fill_for_ever)]
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self._outlet.close(self._tempo.closing)
            with contextlib.suppress(TimeoutError):  # the saved state is older, so it is safe
                async with asyncio.timeout(PARTING_S):
                    await self._note()

    async def _set_rules(self) -> None:
        if await keep_in_step(self._client, self._rules):
            self._rules_hold_from = time.monotonic() + self._tempo.rules_lag

    # --- the stream ----------------------------------------------------------------------------

    async def _read_for_ever(self) -> None:
        while True:
            try:
                await self._read()
                pause_s = self._reconnect.after_break()
                log.warning("The stream ended; reconnecting in %.1f s", pause_s)
            except StreamRefused as refused:
                pause_s = self._reconnect.after_refusal(refused)
                log.warning("%s; reconnecting in %.1f s", refused.what, pause_s)
                if refused.status == 409:
                    await self._set_rules()
            except LineTooLong as error:
                await self._intake.set_aside(error.beginning, error.what)
                pause_s = self._reconnect.after_break()
            except ApiUnreachable as error:
                pause_s = self._reconnect.after_break()
                log.warning("%s; reconnecting in %.1f s", error.what, pause_s)
            self._count["reconnects"] += 1
            self._watermark.lost()
            await asyncio.sleep(pause_s)

    async def _read(self) -> None:
        """Read the stream until it ends."""
        query = stream(usernames=self._usernames)
        async for line in self._client.lines(query, silence_s=self._tempo.silence, opened=self._opened):
            now = self._clock.now()
            await self._take(line, now)
            self._heard = now

    async def _take(self, line: bytes, now: float) -> None:
        """Process one line."""
        try:
            said = self._posts.line(line, datetime.fromtimestamp(now, UTC))
        except Unreadable as error:
            await self._intake.set_aside(line, error.reason)
            return
        if said.trouble:  # a stream that only sends errors does not count as working
            self._count["troubles"] += 1
            if said.refused:
                self._reconnect.refused_in_stream()
            log.warning("X sent an error in the stream: %s", said.trouble)
            return
        self._reconnect.arrived()
        self._told = True
        if said.record is None:
            self._count["heartbeats"] += 1
        else:
            await self._intake.publish(dict(said.record), "stream", now)

    def _opened(self, headers: Mapping[str, str]) -> None:
        """Record the gap that ends now."""
        self._clock.set_by(headers)
        self._heard = self._clock.now()
        deaf_s = max(0.0, self._rules_hold_from - time.monotonic())
        gap = self._watermark.opened(self._heard, self._heard + deaf_s)
        log.info("The stream is open")
        if gap is not None:
            self._gaps.put_nowait(gap)
        self._to_note.set()  # save at once: after a kill nothing else shows when the first stream was opened

    # --- the gaps ------------------------------------------------------------------------------

    async def _fill_for_ever(self) -> None:
        """Fill one gap after another; the stream may break again in the meantime."""
        while True:
            gap = await self._gaps.get()
            await asyncio.sleep(max(0.0, gap.until + self._tempo.search_lag - self._clock.now()))
            await self._fill(gap)
            await self._outlet.flushed()
            self._watermark.filled(gap)

    async def _fill(self, gap: Gap) -> None:
        """Publish the posts that the search finds for a gap."""
        since, until = (datetime.fromtimestamp(moment, UTC) for moment in (gap.since, gap.until))
        found = 0
        async for told in fill(
            self._client,
            self._rules,
            since,
            until + _OVERLAP,
            now=self._clock.instant(),
            pause_s=self._tempo.search_lag,
            usernames=self._usernames,
        ):
            if isinstance(told, Spoiled):
                await self._intake.set_aside(told.post, told.reason)
            else:
                found += await self._intake.publish(told.record, told.key, self._clock.now())
        self._count["filled"] += found
        log.info(
            "Filled the gap from %s to %s UTC with the search: %d posts. It returns no reposts and no deletions.",
            f"{since:%Y-%m-%d %H:%M:%S}",
            f"{until:%Y-%m-%d %H:%M:%S}",
            found,
        )

    # --- state ---------------------------------------------------------------------------------

    def _find_watermark(self) -> None:
        """Load the watermark of an earlier process. Runs in a thread."""
        self._staging.prepare(RUN.dataset)
        through = self._staging.notes(RUN).get(STEP, {}).get("through")
        if through is None:
            log.info("No saved state: publishing new posts from now on")
            return
        self._watermark.reached = float(through)
        log.info("All posts before %s UTC are published", f"{datetime.fromtimestamp(through, UTC):%F %T}")

    async def _note_often(self) -> None:
        while True:
            self._outlet.check()
            await self._note()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tempo.note):
                    await self._to_note.wait()
            self._to_note.clear()

    async def _note(self) -> None:
        """Save the state. If MongoDB is down, reading continues: the saved state is older, so it is safe."""
        self._watermark.move(self._heard, self._outlet.oldest)
        try:
            state = self._state()
            await in_background(lambda: self._staging.note(RUN, STEP, state))
        except StagingUnavailable as error:
            log.warning("Saving the state failed: %s", error.what)
        else:
            if self._told:
                self._told = False
                self._noted()

    def _state(self) -> dict[str, Any]:
        through = self._watermark.through
        return {
            "through": through,
            "through_at": None if through is None else datetime.fromtimestamp(through, UTC).isoformat(),
            "noted_at": datetime.now(UTC).isoformat(),
            "reading": not self._watermark.broken,
            "gaps": len(self._watermark.gaps),
            "on_the_way": self._outlet.waiting,
            "acknowledged": self._outlet.acknowledged,
            **{name: self._count[name] for name in sorted(self._count)},
        }
