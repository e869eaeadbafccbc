"""The time that a run is about, as data: trailing days, changes since an instant, or window by window.

Each kind names values that a declaration uses in braces, like ``{first}``. A run gets them from its params, or from the
watermark and the date of the run.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

from windrow.model.errors import BadParameter
from windrow.model.stream import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Time(ABC):
    """What all kinds have.

    :param past_is_final: whether the API never changes what it has of a past time. Then a run without a new record
        moves the watermark to the end of the requested time; otherwise it stays.
    """

    past_is_final: bool = False
    params: ClassVar[Mapping[str, str]] = {}
    """Params of the DAG, with their descriptions. A run that sets one does not move the watermark."""
    names: ClassVar[tuple[str, ...]] = ()
    """Names that a declaration may use in braces."""

    @abstractmethod
    def scope(self, request: Request) -> dict[str, str]:
        """Return the values of a run by name.

        :raises BadParameter: a param is invalid.
        """

    @abstractmethod
    def end(self, request: Request) -> str:
        """Return the watermark of a run that has everything up to the end of the requested time."""

    def windows(self, request: Request) -> Iterator[dict[str, str]]:
        """Yield the values for each query of an element."""
        yield self.scope(request)

    def follows_watermark(self, params: Mapping[str, object]) -> bool:
        """Return whether a run with these params starts at the watermark and moves it."""
        return not any(params.get(name) for name in self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class Days(Time):
    """Days from ``{first}`` to ``{last}``, both included. A run starts ``trailing`` days before the last watermark.

    :param trailing: days that the API still changes, and that each run reads again.
    :param until: days from the run's date to the last day: 1 is yesterday.
    :param zone: time zone of the days.
    :param per_query: days of one query; 0 for all days of the run.
    """

    trailing: int = 1
    until: int = 1
    zone: str = "UTC"
    per_query: int = 0
    params: ClassVar[Mapping[str, str]] = {
        "start_date": "Empty: continue after the last run, and read its last days again.",
        "end_date": "Empty: the newest day that the API has.",
    }
    names: ClassVar[tuple[str, ...]] = ("first", "last")

    def scope(self, request: Request) -> dict[str, str]:
        """Return the first and the last day."""
        first, last = self._range(request)
        return {"first": first.isoformat(), "last": last.isoformat()}

    def end(self, request: Request) -> str:
        """Return the last day."""
        return self.scope(request)["last"]

    def windows(self, request: Request) -> Iterator[dict[str, str]]:
        """Yield the first and the last day of each query."""
        first, last = self._range(request)
        while first <= last:
            end = min(first + timedelta(days=self.per_query - 1), last) if self.per_query else last
            yield {"first": first.isoformat(), "last": end.isoformat()}
            first = end + timedelta(days=1)

    def _range(self, request: Request) -> tuple[date, date]:
        newest = request.at.astimezone(ZoneInfo(self.zone)).date() - timedelta(days=self.until)
        last = _day(request, "end_date") or newest
        first = _day(request, "start_date")
        if first is None:
            mark = date.fromisoformat(request.watermark) if request.watermark else last
            first = min(mark, last) - timedelta(days=self.trailing - 1)
        if first > last:
            raise BadParameter(
                f"The first day {first} is after the last day {last}.", advice="Set start_date before end_date."
            )
        return first, last


@dataclass(frozen=True, slots=True, kw_only=True)
class Since(Time):
    """Changes since the instant ``{since}``, until ``{until}``, the instant of the run.

    :param first: where the first run starts, like ``2020-01-01T00:00:00Z``.
    :param overlap: how far a run goes back behind the watermark, for changes that arrive late.
    """

    first: str
    overlap: timedelta = timedelta(0)
    params: ClassVar[Mapping[str, str]] = {"since": "An instant like 2026-11-20T00:00:00Z. Empty: since the last run."}
    names: ClassVar[tuple[str, ...]] = ("since", "until")

    def __post_init__(self) -> None:
        if _instant(self.first) is None:
            raise ValueError(
                f"first must be an instant with a time zone, like 2020-01-01T00:00:00Z, not {self.first!r}"
            )

    def scope(self, request: Request) -> dict[str, str]:
        """Return the instants."""
        given = request.params.get("since")
        since = _instant(given or request.watermark or self.first)
        if since is None:
            raise BadParameter(
                f"The param 'since' must be an instant, not {given or request.watermark!r:.60}.",
                advice="Set it like 2026-11-20T00:00:00Z.",
            )
        if request.watermark and not given:
            since -= self.overlap
        return {"since": _written(since), "until": self.end(request)}

    def end(self, request: Request) -> str:
        """Return the instant of the run."""
        return _written(request.at)


def _day(request: Request, name: str) -> date | None:
    text = request.params.get(name)
    if not text:
        return None
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise BadParameter(
            f"The param '{name}' must be a date, not {text!r:.60}.", advice="Set it like 2026-11-20."
        ) from None


def _instant(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text).replace(" UTC", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
