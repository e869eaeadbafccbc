"""The time as X tells it. Ids of posts hold X's time, so a clock of ours that is wrong would misplace a gap."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

_APART_S = 30.0
"""A difference that is worth a warning."""


class Clock:
    """This machine's clock until X has told its own; it goes on evenly whatever is done to this machine's."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the seconds since 1970: those of X, or up to a second and the way of an answer less."""
        return self._offset + time.monotonic()

    def set_by(self, headers: Mapping[str, str]) -> None:
        """Learn the time from an answer's header Date; without a good one nothing changes."""
        try:
            moment = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            return
        told = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        if abs(ahead := time.time() - told) > _APART_S:
            log.warning("this machine's clock is %.0f s ahead of that of X, which is what counts here", ahead)
        self._offset = told - time.monotonic()

    def instant(self) -> datetime:
        """Return now as an aware time."""
        return datetime.fromtimestamp(self.now(), UTC)
