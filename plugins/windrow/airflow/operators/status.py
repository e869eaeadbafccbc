"""Stage the state of all streams, to be landed and merged like the answers of an API."""

from datetime import UTC, datetime

import orjson
from airflow.sdk import Context

from windrow.airflow.hooks.snapshot import snapshot
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.harvest.status.interval import Interval
from windrow.harvest.status.snapshot import Snapshot
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import StagingUnavailable
from windrow.model.query import Query

_SNAPSHOT = Query.of("/windrow/harvest/snapshot", {})
"""What the one answer of a run is about."""


class StageStatusOperator(HarvestStep):
    """Stages one answer: a list with a row for each interval of each stream, as the page Harvest shows them.

    Clearing it stages the present state.

    :returns: the number of rows.
    """

    advice = "Nothing was written. Clear this task with all tasks downstream."

    def execute(self, context: Context) -> int:
        """Take a snapshot and stage it.

        :raises StagingUnavailable: MongoDB does not answer, so the state is unknown.
        """
        seen = snapshot(self.mongo_conn_id)
        if seen.error:
            raise StagingUnavailable(seen.error, advice=seen.advice)
        found = rows(seen, without=self.dataset)
        run, body = self.run_of(context), orjson.dumps(found).decode()
        with staging(self.mongo_conn_id, self.dataset) as state:
            state.save_plan(run, [_SNAPSHOT])
            state.stage(run, [(0, Answer(_SNAPSHOT, Outcome.ANSWERED, 200, body, datetime.now(UTC)))])
        return len(found)


def rows(seen: Snapshot, *, without: str = "") -> list[dict[str, object]]:
    """Return a row for each interval of each stream; for several runs of one interval, that of the newest."""
    found: dict[tuple[str, str], tuple[str, dict[str, object]]] = {}
    for stream in seen.streams:
        if stream.dataset == without:
            continue
        for one in stream.intervals:
            if not one.due_at:
                continue
            at = one.summary.updated_at if one.summary else one.fact.started_at if one.fact else ""
            key = (stream.dataset, one.due_at)
            if key not in found or at > found[key][0]:
                found[key] = (at, {"stream": stream.dataset, "seen_at": seen.at, **_row(one)})
    return [row for _, row in found.values()]


def _row(one: Interval) -> dict[str, object]:
    receipt = one.summary.steps.get("receipt", {}) if one.summary else {}
    return {
        "due_at": one.due_at,
        "dag_id": one.dag_id,
        "run_id": one.run_id,
        "state": one.state.value,
        "why": one.why,
        "planned": one.counts.planned,
        "done": one.counts.done,
        "missing": one.counts.missing,
        "quarantined": one.counts.quarantined,
        "gaps": one.counts.gaps,
        "merged": receipt.get("merged"),
        "watermark": receipt.get("watermark"),
        "agrees": receipt.get("agrees"),
    }
