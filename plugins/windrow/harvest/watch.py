"""What people are told of all harvests, and when: a problem once, that it has become worse, and that it is over."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from statistics import median

from windrow.harvest.status.attention import Attention
from windrow.harvest.status.interval import Interval, State, instant, iso
from windrow.harvest.status.quotas import scheduled
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream

_LATE_BY = 0.5
"""Data is late when its run has not begun after so many further periods of its schedule."""
_COMPARED = 3
"""Earlier runs that the rows of a run are compared with, at least."""
_MANY = 1_000
"""Rows of earlier runs at least, for a run without a row to be a problem."""
_SOON, _AT_ONCE = 14, 3
"""Days before a credential ends."""
_LINES = 20
"""Problems in one message."""
_TRIES, _REPORTED = 18, 3
"""Checks in a row after which what a channel did not take is given up, and is a problem of its own."""
_KEPT = 100
"""Lines that are kept for a channel."""
BLIND = "watch"
"""The cause of the problem that the state of harvests is unknown."""


class Severity(IntEnum):
    """How urgent a problem is."""

    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that people must know, for all streams with one cause.

    :param cause: identifies it from check to check.
    :param level: people are told again when it rises.
    """

    cause: str
    severity: Severity
    text: str
    do: str
    level: int = 0
    streams: tuple[str, ...] = ()
    """People are told of each further stream; empty where one more stream is not one more problem."""


@dataclass(frozen=True, slots=True)
class Told:
    """A problem that people were told of. Times are ISO texts in UTC; empty for never."""

    cause: str
    text: str
    since: str
    severity: int = 1
    level: int = 0
    snoozed_until: str = ""
    snoozed_by: str = ""
    silent: bool = False
    """Whether it began while it was snoozed, so that nobody was told."""
    streams: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Undelivered:
    """The lines that one channel did not take, while another did."""

    channel: str
    since: str
    tries: int = 0
    """Checks in a row that have tried it since."""
    lines: Sequence[str] = ()
    given_up: int = 0
    """Lines that are not tried any longer."""


def not_taken(before: Undelivered | None, channel: str, lines: Sequence[str], now: datetime) -> Undelivered:
    """Return what a channel has not taken after a further try: earlier lines, and those of this check.

    After `_TRIES` in a row, and beyond `_KEPT` lines, the oldest are given up. From then on, new lines are tried once.
    """
    known = before or Undelivered(channel, iso(now))
    tries, waiting = known.tries + 1, [*known.lines, *lines]
    kept = waiting[-_KEPT:] if tries < _TRIES else []
    return Undelivered(channel, known.since, tries, kept, known.given_up + len(waiting) - len(kept))


def failing(channels: Iterable[Undelivered]) -> list[Problem]:
    """Return a problem for each channel that has failed several times in a row: the others take its message."""
    return [
        Problem(
            f"channel|{one.channel}",
            Severity.ERROR if one.given_up else Severity.WARNING,
            f"Alerts: '{one.channel}' has taken no message since {one.since[:16]}Z. {len(one.lines):,} lines wait for "
            f"it, and {one.given_up:,} were given up",
            "correct the connection or the notifier. Lines that were given up are in the logs of 'harvest_watch' alone",
        )
        for one in channels
        if one.tries >= _REPORTED
    ]


def problems(snapshot: Snapshot, expiries: Mapping[str, int], now: datetime) -> list[Problem]:
    """Return the problems of a snapshot, the most urgent first.

    :param expiries: the days that are left of a credential, by the Airflow connection.
    """
    if snapshot.error:
        return [Problem(BLIND, Severity.ERROR, snapshot.error, snapshot.advice)]
    found = [
        *_attention(snapshot),
        *(one for stream in snapshot.streams for one in (_late(stream, now), _empty(stream)) if one),
        *_quarantine(snapshot),
        *_expiring(expiries),
    ]
    by_cause: dict[str, Problem] = {}
    for one in found:
        by_cause.setdefault(one.cause, one)
    return sorted(by_cause.values(), key=lambda one: (-one.severity, one.cause))


def _attention(snapshot: Snapshot) -> Iterable[Problem]:
    groups: dict[str, list[Attention]] = {}
    for one in snapshot.attention:
        is_open = one.person or one.health in {Health.INCOMPLETE, Health.UNKNOWN, Health.QUOTA}
        if not is_open:  # it continues by itself; or it is a warning, which `prove` has sent
            continue
        groups.setdefault(f"attention|{one.health.value}|{one.group}", []).append(one)
    for cause, members in groups.items():
        first = members[0]
        streams = sorted({name for one in members for name in one.streams})
        yield Problem(
            cause,
            Severity.ERROR if any(one.person for one in members) else Severity.WARNING,
            f"{first.health.value}: {', '.join(streams)}. {first.cause}",
            first.do,
            streams=() if first.shared else tuple(streams),
        )


def _late(stream: Stream, now: datetime) -> Problem | None:
    """Compare the newest scheduled run with the period of those before: whoever should have started it."""
    known = scheduled(stream.intervals)
    if known is None or stream.health in {Health.PAUSED, Health.LATE} or not stream.declared:
        return None
    newest, period = known
    due = newest + period
    if now < due + period * _LATE_BY:
        return None
    return Problem(
        f"late|{stream.dataset}",
        Severity.ERROR,
        f"Late: {stream.dataset}. Its newest run is of {iso(newest)[:16]}Z, and one begins every {period}",
        "check that Airflow's scheduler runs and that the DAG is not paused",
    )


def _empty(stream: Stream) -> Problem | None:
    """Compare the rows of the newest complete run with those before."""
    complete = [one for one in stream.intervals if one.state in {State.COMPLETE, State.GAPS}]
    rows = [_rows(one) for one in complete]
    if len(rows) < 1 + _COMPARED or rows[0] != 0:
        return None
    usual = median(one for one in rows[1:] if one is not None) if any(rows[1:]) else 0
    if usual < _MANY:
        return None
    return Problem(
        f"empty|{stream.dataset}",
        Severity.ERROR,
        f"No rows: {stream.dataset}, run {complete[0].run_id!r}. Earlier runs had about {usual:,.0f}",
        "compare with the API; if this is right, snooze this alert",
    )


def _rows(one: Interval) -> int | None:
    profile = one.summary.steps.get("profile", {}) if one.summary else {}
    return int(profile["rows"]) if "rows" in profile else None


def _quarantine(snapshot: Snapshot) -> Iterable[Problem]:
    counts: dict[str, int] = {}
    for one in snapshot.reasons:
        counts[one.dataset] = counts.get(one.dataset, 0) + one.count
    for dataset, count in counts.items():
        yield Problem(
            f"quarantine|{dataset}",
            Severity.WARNING,
            f"Quarantine: {count:,} answers of {dataset}",
            "look at the page Harvest > Quarantine",
            level=count.bit_length(),  # again each time it has doubled
        )


def _expiring(expiries: Mapping[str, int]) -> Iterable[Problem]:
    for conn_id, days in expiries.items():
        if days <= _SOON:
            ends = f"ends in {days} days" if days > 0 else "has ended"
            severity = Severity.ERROR if days <= _AT_ONCE else Severity.WARNING
            yield Problem(
                f"credential|{conn_id}",
                severity,
                f"Credential: that of the connection {conn_id!r} {ends}",
                "renew it, and write its new end into 'expires_on' of the connection's extra",
            )


def changes(found: Sequence[Problem], told: Sequence[Told], now: datetime) -> tuple[list[str], list[Told]]:
    """Return what people must be told now, and what they will then have been told."""
    before = {one.cause: one for one in told}
    is_blind = any(one.cause == BLIND for one in found)
    at = iso(now)
    lines, after = [], []
    for one in found:
        known = before.pop(one.cause, None)
        record = Told(
            one.cause, one.text, known.since if known else at, int(one.severity), one.level, streams=one.streams
        )
        joined = known is not None and bool(known.text) and bool({*one.streams} - {*known.streams})
        if known and known.snoozed_until > at:
            record = replace(record, snoozed_until=known.snoozed_until, snoozed_by=known.snoozed_by)
            if not joined:  # a snooze is of the streams that its user knew
                after.append(replace(record, silent=known.silent or not known.text))
                continue
        is_worse = joined or (known is not None and (one.severity > known.severity or one.level > known.level))
        if known is None or is_worse or known.silent or not known.text or known.snoozed_until:
            word = "WORSE" if is_worse else "STILL" if known and known.snoozed_until else one.severity.name
            lines.append(f"{word}: {one.text} | What to do: {one.do} | Cause: {one.cause}")
        elif known:
            record = replace(record, severity=max(record.severity, known.severity), level=max(one.level, known.level))
        after.append(record)
    for gone in before.values():
        if is_blind or (gone.snoozed_until > at and not gone.text):
            after.append(gone)  # whether it is over is unknown; or it was snoozed before it began
        elif gone.text and not gone.silent:
            lasted = now - (instant(gone.since) or now)
            lines.append(f"OVER after {str(lasted).split('.')[0]}: {gone.text}")
    return lines, after


def message(lines: Sequence[str]) -> str:
    """Return the lines as one text, of bounded length."""
    more = [f"and {len(lines) - _LINES:,} more"] if len(lines) > _LINES else []
    return "\n".join([*lines[:_LINES], *more])
