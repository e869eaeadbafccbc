"""What becomes of what X told: a record is published once, and what cannot be read goes into the quarantine."""

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
"""What state and quarantine of the publisher belong to."""
_REMEMBERED = 100_000
"""Ids of posts by which repeated ones are known."""
_SOURCE = "publisher"


class Intake:
    """Takes records and what cannot be read, and counts them in ``count``."""

    def __init__(self, outlet: Outlet, staging: Staging) -> None:
        self.count: Counter[str] = Counter()
        self._outlet = outlet
        self._staging = staging
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def publish(self, record: dict[str, Any], key: str, at: float) -> bool:
        """Publish a record, unless it was just published; say whether it was new.

        :param key: of the call that brought it.
        :param at: when that was, in seconds since 1970.
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
        except BaseException:  # cancelled while it waited for room, too: it is not published, so it may come again
            self._seen.pop(mark, None)
            raise
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self.count["deletions" if is_deletion else "posts"] += 1
        return True

    async def set_aside(self, told: bytes, reason: str) -> None:
        """Keep a line, or a post of the search, that cannot be read."""
        self.count["unreadable"] += 1
        log.warning("what X told goes into the quarantine: %s", reason)
        query = Query.of(STREAM_PATH, {"line": hashlib.sha256(told).hexdigest()[:32]})
        rejected = Rejected(query, 200, kept(told.decode("utf-8", "backslashreplace")), reason, datetime.now(UTC))
        await in_background(lambda: self._staging.reject(RUN, [(0, rejected)]))
