"""Whether the rows of a run are plausible, compared with the runs before it.

A profile is what landing measured of a run: ``rows``, ``nulls`` (pairs of a column and its nulls) and ``days`` (pairs
of a day, like ``2026-11-20``, and its rows).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any

ENOUGH = 3
"""Earlier runs, or days, that make something usual."""
DAYS = 400
"""Days of a profile, the newest ones."""
_FEW = 20
"""In fewer rows a share of nulls means little."""
Profile = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausible:
    """What is still plausible.

    :param rows: smallest share of the usual rows, of a day or of a run; 0 for no check.
    :param nulls: by how much the share of nulls of a column may grow; 1 for no check.
    :param not_compared: columns whose nulls say nothing, such as those that only some ways to harvest fill.
    :param fails: whether the audit fails before the merge; otherwise the receipt has a warning.
    :raises ValueError: a share is not from 0 to 1.
    """

    rows: float = 0.5
    nulls: float = 0.2
    not_compared: tuple[str, ...] = ()
    fails: bool = False

    def __post_init__(self) -> None:
        for name, share in (("rows", self.rows), ("nulls", self.nulls)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1, not {share!r:.40}")

    def doubts(
        self, profile: Profile, before: Sequence[tuple[Profile, Mapping[str, str]]], scope: Mapping[str, str]
    ) -> list[str]:
        """Return what is not plausible in the rows of a run.

        :param before: profiles and scopes of earlier runs, the newest first.
        :param scope: what the run is about: ``first`` and ``last`` day, ``since``, or nothing if it reads everything.
        """
        found = list(self._nulls(profile, [one for one, _ in before if one["rows"] >= _FEW]))
        if {"first", "last"} <= scope.keys():
            found += self._days(profile, [one for one, _ in before], scope)
            found += _late(profile, before, scope)
        elif not scope:
            usual = [one["rows"] for one, _ in before]
            if len(usual) >= ENOUGH and profile["rows"] < self.rows * median(usual):
                found.append(f"{profile['rows']:,} rows, usually {median(usual):,.0f}")
            newest = [max(days) for one, _ in before if (days := dict(one["days"]))]
            if newest and profile["days"] and (mine := max(dict(profile["days"]))) < newest[0]:
                found.append(f"the newest day is {mine}, and {newest[0]} in the run before")
        return found

    def _nulls(self, profile: Profile, before: Sequence[Profile]) -> Iterator[str]:
        rows = profile["rows"]
        if rows < _FEW or len(before) < ENOUGH:
            return
        earlier = [{name: nulls / one["rows"] for name, nulls in one["nulls"]} for one in before]
        for name, nulls in profile["nulls"]:
            shares = [one[name] for one in earlier if name in one]
            if len(shares) >= ENOUGH and nulls / rows > median(shares) + self.nulls:
                yield f"the column {name!r} is null in {nulls / rows:.0%} of the rows, usually in {median(shares):.0%}"

    def _days(self, profile: Profile, before: Sequence[Profile], scope: Mapping[str, str]) -> Iterator[str]:
        """Compare each day with the same weekday, or with all days where there are few of these."""
        mine = dict(profile["days"])
        known = {day: rows for one in reversed(before) for day, rows in one["days"]}
        if len(known) < ENOUGH or not mine:
            return
        weekdays: dict[int, list[int]] = {}
        for day, rows in known.items():
            weekdays.setdefault(date.fromisoformat(day).weekday(), []).append(rows)
        newest = date.fromisoformat(max(mine))
        day = max(date.fromisoformat(scope["first"]), newest - timedelta(days=DAYS - 1))
        while day <= newest:
            same = weekdays.get(day.weekday(), [])
            usual = median(same if len(same) >= ENOUGH else known.values())
            if (rows := mine.get(day.isoformat(), 0)) < self.rows * usual:
                yield f"{day} has {rows:,} rows, usually {usual:,.0f}"
            day += timedelta(days=1)


def _late(
    profile: Profile, before: Sequence[tuple[Profile, Mapping[str, str]]], scope: Mapping[str, str]
) -> Iterator[str]:
    """Compare how far the newest day is behind the last requested day."""
    lags = [lag for one, asked in before if (lag := _lag(one, asked)) is not None]
    mine = _lag(profile, scope)
    if mine is not None and len(lags) >= ENOUGH and mine > max(lags):
        newest = max(dict(profile["days"]))
        yield (
            f"the newest day is {newest}, {mine:,} days before the last requested day {scope['last']}; "
            f"at most {max(lags):,} days in earlier runs"
        )


def _lag(profile: Profile, scope: Mapping[str, str]) -> int | None:
    if not profile["days"] or "last" not in scope:
        return None
    return (date.fromisoformat(scope["last"]) - date.fromisoformat(max(dict(profile["days"])))).days


def empty_columns(profile: Profile, before: Sequence[Profile]) -> list[str]:
    """Return the columns that have no value in any row of this run and of earlier ones: their path may be wrong."""
    if profile["rows"] < _FEW:
        return []
    filled = {name for one in before for name, nulls in one["nulls"] if nulls < one["rows"]}
    return [name for name, nulls in profile["nulls"] if nulls == profile["rows"] and name not in filled]
