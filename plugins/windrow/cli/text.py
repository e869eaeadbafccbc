"""What the command prints for people: plain lines, aligned, in UTC."""

from collections.abc import Iterable, Sequence

from windrow.harvest.dry_run import ways
from windrow.harvest.lineage import Origin
from windrow.harvest.status.attention import Attention
from windrow.harvest.status.interval import Interval, State
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.waterfall import Attempt, Step
from windrow.model.cost import told
from windrow.store.reports import Paused, QuotaUse, Reason, Stopped
from windrow.store.warnings import Warned

MARKS = {
    State.COMPLETE: "■",
    State.GAPS: "◪",
    State.INCOMPLETE: "◧",
    State.MISSING: "□",
    State.RUNNING: "▶",
    State.WAITING: "⧗",
    State.NOT_DUE: "·",
    State.UNKNOWN: "?",
}
"""The sign of each state in a strip."""
_ASCII = str.maketrans("■◪◧□▶⧗·█", "#gi_>w.=")
"""For terminals that cannot show them."""
_LEGEND = "  ".join(f"{mark} {state.value}" for state, mark in MARKS.items())
_BAR = 32


def fit(lines: Iterable[str], encoding: str | None) -> str:
    """Join lines. Signs that the terminal cannot show become ASCII; what an API said cannot move the cursor."""
    joined = "\n".join("".join(sign if sign.isprintable() else "?" for sign in line).rstrip() for line in lines)
    try:
        joined.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return joined.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return joined


def status(snapshot: Snapshot) -> list[str]:
    """Return everything on one screen."""
    newest = f" Newest receipt {_time(snapshot.newest)}." if snapshot.newest else ""
    lines = [f"{snapshot.sentence}{newest}", f"as of {_time(snapshot.at)}"]
    if attention := snapshot.attention:
        lines += ["", "Needs attention"]
        for one in attention:
            lines += _attention(one)
    if snapshot.streams:
        rows = [["", "stream", "planned", "done", "missing", "quarantine", "newest data", "last 30"]]
        rows += [_stream_row(one) for one in snapshot.streams]
        lines += ["", *_table(rows, right={2, 3, 4, 5}), "", _LEGEND]
    waiting = (one for stream in snapshot.streams for one in stream.intervals if one.state is State.WAITING)
    if snapshot.watched:
        lines += [f"alerts: problems were last looked for at {_time(snapshot.watched)}"]
    return [*lines, *(f"{one.dataset} waits until {_time(one.waits_until)}: {one.error or one.why}" for one in waiting)]


def _attention(one: Attention) -> list[str]:
    until = f", until {_time(one.until)}" if one.until else ""
    names = ", ".join(one.streams[:8]) + (f" and {len(one.streams) - 8} more" if len(one.streams) > 8 else "")
    return [
        f"  {one.health.value}: {names} (since {_time(one.since)}{until})",
        f"    {one.cause}",
        f"    who:  {one.who}",
        f"    safe: {one.safe}",
        f"    do:   {one.do}",
    ]


def _stream_row(one: Stream) -> list[str]:
    last = one.last
    marks = "".join(MARKS[each.state] for each in reversed(one.intervals))
    numbers = _counts(last) if last else ["-"] * 4
    return [one.health.value, one.dataset, *numbers, _time(one.newest), marks]


def _counts(one: Interval) -> list[str]:
    counts = one.counts
    at_least = "+" if counts.done is not None and not counts.exact else ""
    return [
        _number(counts.planned),
        f"{_number(counts.done)}{at_least}",
        _number(counts.missing),
        _number(counts.quarantined),
    ]


def why(snapshot: Snapshot, stream: Stream, reasons: Sequence[Reason]) -> list[str]:
    """Return why a stream is as it is."""
    lines = [f"{stream.dataset}: {stream.health.value}: {stream.why}"]
    if stream.newest:
        lines.append(f"  complete up to {_time(stream.newest)}")
    for one in snapshot.attention:
        lines += _attention(one)
    bad = [one for one in stream.intervals if one.state in {State.INCOMPLETE, State.MISSING, State.UNKNOWN}]
    if bad and stream.health is not Health.NEW:
        lines += ["", "Runs that are not complete", *runs(bad)]
    if reasons:
        lines += ["", "Quarantine", *quarantine(reasons, complete=True)]
    return lines


def runs(found: Sequence[Interval]) -> list[str]:
    """Return a list of runs."""
    rows = [["due", "stream", "state", "planned", "done", "missing", "quarantine", "run"]]
    rows += [[_time(one.due_at), one.dataset, one.state.value, *_counts(one), one.run_id or "(none)"] for one in found]
    return _table(rows, right={3, 4, 5, 6}) if found else ["No runs."]


def show(one: Interval, steps: Sequence[Step], attempts: Sequence[Attempt]) -> list[str]:
    """Return the receipt of a run and its attempts."""
    lines = [f"{one.dataset}  {one.run_id}", f"{one.state.value}: {one.why}"]
    if one.error:
        lines.append(f"last error: {one.error}")
    if steps:
        lines += ["", "Receipt" if one.counts.exact else "No receipt yet: numbers are at least so many"]
        rows = [[f"  {step.name}" if step.kind == "minus" else step.name, _signed(step), _bar(step)] for step in steps]
        lines += _table(rows, right={1})
    shown = one.summary.steps.get("verdict", {}).get("warnings", ()) if one.summary and one.counts.exact else ()
    lines += [f"warning: {each}" for each in shown]
    for way in ways(one.summary):
        units = "".join(f", {units:,} units of {name}" for name, units in way.units.items())
        lines.append(f"cost{f' ({way.name})' if way.name else ''}: {way.calls:,} calls{units}; about {told(way.hours)}")
    if attempts:
        names = ("answered", "gaps", "rejected", "sent", "retried", "throttled", "seconds")
        rows = [["step", "started", "state", *names]]
        rows += [
            [
                *(
                    each.name,
                    _time(each.started_at),
                    str(each.figures.get("stopped_by") or each.figures.get("state", "-")),
                ),
                *(_number(each.count(name)) for name in names),
            ]
            for each in attempts[:50]
        ]
        lines += ["", *_table(rows, right=set(range(3, 10)))]
    return [*lines, ""]


def _signed(step: Step) -> str:
    return f"-{_number(step.value)}" if step.kind == "minus" else _number(step.value)


def _bar(step: Step) -> str:
    start = round(step.start * _BAR)
    length = max(round(step.share * _BAR), 1 if step.value else 0)
    return " " * min(start, _BAR - length) + "█" * length


def quarantine(reasons: Sequence[Reason], *, complete: bool) -> list[str]:
    """Return rejected answers by reason."""
    if not reasons:
        return ["The quarantine is empty: every answer could be read."]
    rows = [["count", "stream", "HTTP", "newest", "run", "reason"]]
    rows += [
        [_number(one.count), one.dataset, str(one.status), _time(one.newest), one.run_id, one.reason]
        for one in reasons[:100]
    ]
    lines = _table(rows, right={0})
    if len(reasons) > 100:
        lines.append(f"and {len(reasons) - 100:,} more reasons")
    if not complete:
        lines.append("The quarantine is too large to count: numbers are at least so many.")
    return [
        *lines,
        "",
        "If the reader was at fault: fix the source, then clear 'land' with all tasks downstream (no calls).",
        "If the API was at fault: clear 'harvest' with all tasks downstream (only these calls).",
    ]


def warnings(found: Sequence[Warned]) -> list[str]:
    """Return warnings, the open ones first."""
    rows = [["stream", "name", "state", "since", "run", "warning"]]
    rows += [
        [
            *(one.dataset, one.name, f"accepted {_time(one.accepted_at)}" if one.accepted_at else "open"),
            *(_time(one.first_at), one.run_id, one.text),
        ]
        for one in sorted(found, key=lambda one: bool(one.accepted_at))
    ]
    return _table(rows, right=set()) if found else ["There are no warnings."]


def limits(quotas: Sequence[QuotaUse], pauses: Sequence[Paused], stops: Sequence[Stopped]) -> list[str]:
    """Return quotas in use, APIs that asked to wait, and APIs to which a person stopped all calls."""
    rows = [["quota", "account", "used or reserved", "resets", ""]]
    rows += [
        [one.name, one.account, _number(one.taken), _time(one.ends_at), "used up, says the API" if one.closed else ""]
        for one in quotas
    ]
    lines = _table(rows, right={2}) if quotas else ["No quota is in use in its present window."]
    lines += [f"{one.conn_id} asked to wait {one.times} times in a row since {_time(one.since)}." for one in pauses]
    lines += [
        f"{one.by} stopped all calls to {one.conn_id} at {_time(one.at)}{f': {one.note}' if one.note else ''}. "
        f"They go on after: windrow resume {one.conn_id}"
        for one in stops
    ]
    return [*lines, "", "Sizes of quotas and credentials are on the page Harvest > Limits in Airflow."]


def found(results: Sequence[Origin]) -> list[str]:
    """Return where a key was found, and for the newest one where its row comes from."""
    rows = [["stream", "state", "HTTP", "fetched", "run"]]
    rows += [
        [one.found.dataset, one.found.state, str(one.found.status), _time(one.found.fetched_at), one.found.run_id]
        for one in results
    ]
    reasons = [f"{one.found.run_id}: {one.found.reason}" for one in results if one.found.reason]
    first = results[0]
    named = {"query": first.request, "row": first.sql, "raw answer": first.stored, "code": first.made_by}
    return [
        *_table(rows, right=set()),
        *reasons,
        "",
        *(f"{name + ':':11} {value}" for name, value in named.items() if value),
    ]


def _table(rows: Sequence[Sequence[str]], right: set[int]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _time(text: str) -> str:
    """Shorten an ISO time in UTC; other texts, like a watermark's date, stay as they are."""
    return f"{text[:16].replace('T', ' ')} UTC" if len(text) > 16 and text[10] == "T" else text or "-"
