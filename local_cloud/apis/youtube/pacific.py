"""Days as YouTube has them: in Pacific Time, summer time and all."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")


def pacific_day(instant: datetime) -> date:
    """Give the day it is in Los Angeles at `instant`."""
    return instant.astimezone(PACIFIC).date()


def next_midnight(instant: datetime) -> datetime:
    """Give the instant at which the Pacific day of `instant` ends: 23, 24 or 25 hours after it began."""
    return datetime.combine(pacific_day(instant) + timedelta(days=1), time(), PACIFIC)
