"""Process data from X: publish each record once, and put unreadable data into the quarantine."""

import hashlib
import logging
from collections import Counter, OrderedDict
from datetime import UTC, datetime
from typing import Any

from windrow.model.answer import Rejected, kept
from windrow.model.message import to_message
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.sources.x.publisher.background import in_background
from windrow.sources.x.publisher.outlet import Outlet
from windrow.sources.x.streams import STREAM_PATH, Posts
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

RUN = Run(Posts.dataset, "stream")
"""The run that state and quarantine of the publisher belong to."""
_REMEMBERED = 100_000
"""Number of post ids to remember, to detect repeated posts."""
_SOURCE = "publisher"


class Intake:
    """Processes records and unreadable data, and counts them in ``count``."""

    def __init__(self, outlet: Outlet, staging: Staging) -> None:
        self.count: Counter[str] = Counter()
        self._outlet = outlet
        self._staging = staging
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def publish(self, record: dict[str, Any], key: str, at: float) -> bool:
        """Publish a record, unless it was published recently; return whether it was new.

        :param key: the key of the call that returned it.
        :param at: when it arrived, a Unix timestamp.
        """
        post_id, is_deletion = str(record["post_id"]), record["deleted_at"] is not None
        kind = "deletion" if is_deletion else "post"
        mark = f"{kind} {post_id}"
        if mark in self._seen:
            self.count["repeated"] += 1
            return False
        lineage = {"_key": key, "_fetched_at": datetime.fromtimestamp(at, UTC), "_run_id": _SOURCE}
        self._seen[mark] = None
        try:
            await self._outlet.publish(to_message(record | lineage), at, post_id=post_id, kind=kind)
        except BaseException:  # also when cancelled in the full buffer: it is not published, so it may come again
            self._seen.pop(mark, None)
            raise
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self.count["deletions" if is_deletion else "posts"] += 1
        return True

    async def set_aside(self, told: bytes, reason: str) -> None:
        """Put an unreadable line, or post of the search, into the quarantine."""
        self.count["unreadable"] += 1
        log.warning("Put unreadable data from X into the quarantine: %s", reason)
        query = Query.of(STREAM_PATH, {"line": hashlib.sha256(told).hexdigest()[:32]})
        rejected = Rejected(query, 200, kept(told.decode("utf-8", "backslashreplace")), reason, datetime.now(UTC))
        await in_background(lambda: self._staging.reject(RUN, [(0, rejected)]))
