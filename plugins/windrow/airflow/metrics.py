"""Metrics of harvests through Airflow's own: OpenTelemetry, StatsD or Datadog, as ``[metrics]`` of Airflow says.

Without such a setting nothing is sent. Each metric has a tag, as plain StatsD drops tags: use OpenTelemetry.

==================================  =======  ==========================================================
metric (Airflow adds its prefix)    tag      what
==================================  =======  ==========================================================
``windrow.calls`` ...               stream   counters of each harvest: see `COUNTERS`
``windrow.stopped``                 stream   harvests that ended before their plan was done
``windrow.harvest_seconds``         stream   how long a harvest took
``windrow.open_calls``              stream   gauge: planned calls of the last interval without an answer
``windrow.quarantined``             stream   gauge: answers in the quarantine
``windrow.data_age_seconds``        stream   gauge: since the newest time up to which data is complete
``windrow.quota_left``              quota    gauge: units that are left in the present window
``windrow.credential_days``         conn_id  gauge: days until the credential ends
==================================  =======  ==========================================================

The DAG `harvest_watch` sets the gauges every five minutes.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from airflow.sdk.observability import stats

from windrow.airflow.hooks.limits import Credential, Quotas
from windrow.harvest.status.snapshot import Snapshot
from windrow.store.staging import Figures

COUNTERS = {
    "sent": "calls",
    "retried": "retries",
    "throttled": "throttled",
    "answered": "answered",
    "gaps": "gaps",
    "rejected": "rejected",
    "unanswered": "unanswered",
}
"""Names of the counters, by the figures of a harvest."""


def count(dataset: str, figures: Figures) -> None:
    """Count what a harvest did."""
    tags = {"stream": dataset}
    for figure, name in COUNTERS.items():
        if number := int(figures.get(figure) or 0):
            stats.incr(f"windrow.{name}", number, tags=tags)
    if reason := figures.get("stopped_by"):
        stats.incr("windrow.stopped", tags={**tags, "reason": str(reason)})
    stats.timing("windrow.harvest_seconds", timedelta(seconds=float(figures["seconds"])), tags=tags)


def set_gauges(snapshot: Snapshot, quotas: Iterable[Quotas], credentials: Iterable[Credential], now: datetime) -> None:
    """Set the gauges of all streams, quotas and credentials."""
    waiting: Counter[str] = Counter()
    for reason in snapshot.reasons:
        waiting[reason.dataset] += reason.count
    for stream in snapshot.streams:
        tags = {"stream": stream.dataset}
        last = stream.intervals[0].summary if stream.intervals else None
        if last is not None and last.planned is not None:
            stats.gauge("windrow.open_calls", max(0, last.planned - (last.done or 0)), tags=tags)
        stats.gauge("windrow.quarantined", waiting[stream.dataset], tags=tags)
        if (newest := _moment(stream.newest)) is not None:
            stats.gauge("windrow.data_age_seconds", (now - newest).total_seconds(), tags=tags)
    for quota in quotas:
        if quota.left is not None:
            stats.gauge("windrow.quota_left", quota.left, tags={"quota": quota.name})
    for one in credentials:
        if one.days is not None:
            stats.gauge("windrow.credential_days", one.days, tags={"conn_id": one.conn_id})


def _moment(text: str) -> datetime | None:
    """Read an instant or a day; None for a watermark that is neither, such as an id."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
