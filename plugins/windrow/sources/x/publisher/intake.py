"""Process data from X: publish each record once, and put unreadable data into the quarantine."""

import hashlib
import logging
from collections import Counter, OrderedDict
from datetime import UTC, datetime
from typing import Any

from windrow.model.answer import Rejected, kept
from windrow.model.logs import about
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
_COUNTED = {"post": "posts", "deletion": "deletions", "withholding": "withholdings"}
"""How the kinds of messages are named in the figures."""


class Intake:
    """Processes records and unreadable data, and counts them in ``count``."""

    def __init__(self, outlet: Outlet, staging: Staging) -> None:
        self.count: Counter[str] = Counter()
        self._outlet = outlet
        self._staging = staging
        self._seen: OrderedDict[str, set[str]] = OrderedDict()
        """The rules with which a post was published, by its mark: the search finds it once for each rule."""

    async def publish(self, record: dict[str, Any], key: str, at: float) -> bool:
        """Publish a record, unless it was published recently with all its rules; return whether it was new.

        :param key: the key of the call that returned it.
        :param at: when it arrived, a Unix timestamp.
        """
        post_id, kind = str(record["post_id"]), _kind(record)
        mark, rules = f"{kind} {post_id}", set(str(record["rules"] or "").split())
        seen = self._seen.get(mark)
        if seen is not None and rules <= seen:
            self.count["repeated"] += 1
            return False
        lineage = {"_key": key, "_fetched_at": datetime.fromtimestamp(at, UTC), "_run_id": _SOURCE}
        self._seen[mark] = rules | (seen or set())
        try:
            await self._outlet.publish(to_message(record | lineage), at, post_id=post_id, kind=kind)
        except BaseException:  # also when cancelled in the full buffer: it is not published, so it may come again
            self._seen.pop(mark, None)
            raise
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self.count[_COUNTED[kind]] += 1
        return True

    async def set_aside(self, told: bytes, reason: str) -> None:
        """Put an unreadable line, or post of the search, into the quarantine."""
        self.count["unreadable"] += 1
        query = Query.of(STREAM_PATH, {"line": hashlib.sha256(told).hexdigest()[:32]})
        with about(key=query.key):
            log.warning("Put unreadable data from X into the quarantine: %s", reason)
        rejected = Rejected(query, 200, kept(told.decode("utf-8", "backslashreplace")), reason, datetime.now(UTC))
        await in_background(lambda: self._staging.reject(RUN, [(0, rejected)]))


def _kind(record: dict[str, Any]) -> str:
    if record["deleted_at"] is not None:
        return "deletion"
    return "post" if record["text"] is not None else "withholding"
