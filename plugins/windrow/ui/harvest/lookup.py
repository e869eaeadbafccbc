"""Which runs a page is about, as far as its user may see them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from windrow.harvest.status.interval import Interval, interval_of
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Stream
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.summary import Summary
from windrow.ui.harvest import snapshots
from windrow.ui.harvest.snapshots import Viewer


def runs_of(snapshot: Snapshot, run_id: str, dataset: str, dag_id: str) -> list[tuple[Stream, Interval]]:
    """Return the runs of this id, of one stream or of all streams of a DAG."""
    return [
        (of, one)
        for of in snapshot.streams
        for one in of.intervals
        if one.run_id == run_id
        and (not dataset or of.dataset == dataset)
        and (not dag_id or one.dag_id in {"", dag_id})
        and (dataset or dag_id)
    ]


async def older_run(snapshot: Snapshot, viewer: Viewer, dataset: str, run_id: str) -> list[tuple[Stream, Interval]]:
    """Return a run that is not among the last intervals of its stream, from its summary in MongoDB."""
    of = snapshot.stream(dataset)
    if of is None:
        return []
    try:
        summary = await snapshots.read(lambda store: store.summary(Run(dataset, run_id)))
    except WindrowError:
        return []  # the page says that it is not there, or may not be seen; the notice says that MongoDB is away
    if summary is None or not viewer.sees([summary.dag_id] if summary.dag_id else of.dag_ids):
        return []
    return [(of, past(summary, snapshot))]


def all_of(of: Stream, summaries: Sequence[Summary], snapshot: Snapshot, viewer: Viewer) -> list[Interval]:
    """Return the last intervals of a stream, and those of further summaries of it that the viewer may see."""
    known = {one.run_id for one in of.intervals}
    older = [
        one
        for one in summaries
        if one.dataset == of.dataset
        and one.run_id not in known
        and viewer.sees([one.dag_id] if one.dag_id else of.dag_ids)
    ]
    return [*of.intervals, *(past(one, snapshot) for one in older)]


def past(summary: Summary, snapshot: Snapshot) -> Interval:
    """Return the interval of a run that is older than those of the snapshot."""
    place = summary.dataset, summary.run_id
    count = sum(one.count for one in snapshot.reasons if (one.dataset, one.run_id) == place)
    moment = datetime.now(UTC)
    return interval_of(summary, None, snapshot.facts, {place: count}, moment, dag_id=summary.dag_id)
