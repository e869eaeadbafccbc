"""The clock of X. Ids of posts contain the time of X, so with a wrong local clock gaps would be misplaced."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

log = logging.getLogger(__name__)

_APART_S = 30.0
"""A larger difference is logged as a warning."""


class Clock:
    """The local clock until X has sent its time. Later changes of the local clock have no effect."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the Unix timestamp of X. It may be late by up to a second plus the network delay."""
        return self._offset + time.monotonic()

    def set_by(self, headers: Mapping[str, str]) -> None:
        """Set the time from the header Date of an answer; nothing changes without a valid one."""
        try:
            moment = parsedate_to_datetime(headers.get("Date", ""))
        except ValueError:
            return
        told = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
        if abs(ahead := time.time() - told) > _APART_S:
            log.warning("The local clock is %.0f s ahead of the clock of X; using the clock of X", ahead)
        self._offset = told - time.monotonic()

    def instant(self) -> datetime:
        """Return the current time as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)
