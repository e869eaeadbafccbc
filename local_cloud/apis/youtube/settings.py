"""The switches of the fake YouTube: the simulated clock, the budgets, what is gone, what was agreed to."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Self

from local_cloud.apis.youtube.catalog import VIDEOS
from local_cloud.apis.youtube.pacific import pacific_day

YEARS = range(2000, 2050)
PAGING = ("ok", "refused", "repeats")


class BadSetting(ValueError):
    """A setting that does not exist, or a value it cannot take; the message names both."""


def _instant(value: Any) -> datetime | None:
    if value is None:
        return None
    instant = datetime.fromisoformat(value)
    if instant.tzinfo is None or instant.year not in YEARS:
        raise ValueError
    return instant


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _rows(value: Any) -> int | None:
    if value == 0:
        raise ValueError
    return _whole_or_none(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _video_ids(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(each in VIDEOS for each in value):
        raise ValueError
    return frozenset(value)


def _paging(value: Any) -> str:
    if value not in PAGING:
        raise ValueError
    return str(value)


def _throttle_status(value: Any) -> int:
    if isinstance(value, bool) or value not in {403, 429}:
        raise ValueError
    return int(value)


def _setting(default: Any, read: Callable[[Any], Any], expected: str) -> Any:
    """Declare a setting: its value from the start, how JSON is read (ValueError or TypeError), and that in words."""
    return field(default=default, metadata={"read": read, "expected": expected})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One setting of all switches."""

    now: datetime | None = _setting(None, _instant, "null or an instant with its offset from UTC, 2000 to 2049")  # noqa: RUF009
    """The instant at which the simulated clock stands still; None: the real time."""
    data_units: int = _setting(10_000, _whole, "a whole number, 0 or more")
    """Units of the Data API for a Pacific day."""
    search_calls: int = _setting(100, _whole, "a whole number, 0 or more")
    """Calls of `search` for a Pacific day, a budget of its own."""
    analytics_units: int | None = _setting(None, _whole_or_none, "null or a whole number, 0 or more")
    """Calls of the Analytics API for a Pacific day; Google publishes no number."""
    report_page_rows: int | None = _setting(None, _rows, "null or a whole number above 0")
    """The most rows of one report answer, whatever maxResults says; Google publishes no number."""
    report_paging: str = _setting("ok", _paging, "one of " + ", ".join(PAGING))
    """What a report with a startIndex above 1 answers: its rows, a refusal, or the first page once more."""
    idle: frozenset[str] = _setting(frozenset(), _video_ids, "a list of ids of videos that this fake has")
    """Videos whose reports have no rows in the second half of the days asked for."""
    impossible: frozenset[str] = _setting(frozenset(), _video_ids, "a list of ids of videos that this fake has")
    """Videos with a negative number of views."""
    playlist_cap: int = _setting(20_000, _whole, "a whole number, 0 or more")
    """Items of a playlist that are listed, whatever its totalResults says."""
    promised: int | None = _setting(None, _whole_or_none, "null or a whole number, 0 or more")
    """The totalResults of a playlist; None: the truth."""
    vanished: frozenset[str] = _setting(frozenset(), _video_ids, "a list of ids of videos that this fake has")
    """Videos that were deleted."""
    consent: bool = _setting(True, _flag, "true or false")
    """Whether the refresh token is good. Taking it back ends all access tokens."""
    monetized: bool = _setting(False, _flag, "true or false")
    """Whether reports may ask for money."""
    throttle_status: int = _setting(429, _throttle_status, "429 or 403")
    """How a call that comes too fast is refused: as RESOURCE_EXHAUSTED, or as 403 with rateLimitExceeded."""

    def changed(self, text: str) -> Self:
        """Give these settings with the changes of a JSON object made; raises BadSetting and changes nothing."""
        try:
            changes = json.loads(text)
        except ValueError as error:
            raise BadSetting(f"the settings are not JSON: {error}") from None
        if not isinstance(changes, dict):
            raise BadSetting("the settings must be a JSON object of names and values")
        known = {each.name: each.metadata for each in dataclasses.fields(self)}
        read = {}
        for name, value in changes.items():
            if name not in known:
                raise BadSetting(f"there is no setting {name!r}; the settings are {', '.join(known)}")
            try:
                read[name] = known[name]["read"](value)
            except (ValueError, TypeError):
                raise BadSetting(f"{name} must be {known[name]['expected']}, not {value!r}") from None
        return dataclasses.replace(self, **read)

    def as_json(self) -> dict[str, Any]:
        """Give every setting and its value."""
        now = self.now.isoformat() if self.now else None
        videos = {name: sorted(getattr(self, name)) for name in ("vanished", "idle", "impossible")}
        return dataclasses.asdict(self) | {"now": now, **videos}


class SettingsSwitch:
    """The settings in force, and the clock they set; the admin routes change them while calls are served."""

    def __init__(self) -> None:
        self.current = Settings()

    def now(self) -> datetime:
        """Give the simulated instant."""
        return self.current.now or datetime.now(UTC)

    def today(self) -> date:
        """Give the simulated Pacific day."""
        return pacific_day(self.now())
