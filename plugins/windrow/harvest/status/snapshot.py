"""One snapshot of all streams, from the summaries in MongoDB and, where Airflow can be asked, its DAGs and runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from windrow.harvest.status.attention import Attention, grouped, warned
from windrow.harvest.status.facts import Facts
from windrow.harvest.status.interval import State, completed_at, iso
from windrow.harvest.status.quotas import Need, needs, noted_by, short
from windrow.harvest.status.stream import INTERVALS, Health, Stream, stream_of
from windrow.model.plan import Run
from windrow.store.reports import Paused, QuotaUse, Reason, Snoozed, Stopped
from windrow.store.status import CONNECTION, StatusStore
from windrow.store.warnings import Warned


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one time. ``error`` says what could not be asked."""

    at: str
    streams: tuple[Stream, ...] = ()
    reasons: tuple[Reason, ...] = ()
    reasons_complete: bool = True
    quotas: tuple[QuotaUse, ...] = ()
    needs: tuple[Need, ...] = ()
    """What running and queued harvests need of quotas."""
    pauses: tuple[Paused, ...] = ()
    watched: str = ""
    """When the DAG `harvest_watch` last looked for problems; empty for never."""
    stops: tuple[Stopped, ...] = ()
    snoozes: tuple[Snoozed, ...] = ()
    """Alerts of what needs attention that nobody gets for a time."""
    facts: Facts = field(default_factory=Facts)
    error: str = ""
    advice: str = ""

    @property
    def attention(self) -> list[Attention]:
        """What is not as it should be, grouped by cause, the worst first; then the streams with warnings."""
        order = list(Health)
        found = sorted(
            [*grouped(self.streams), *self._short], key=lambda one: (not one.person, order.index(one.health))
        )
        return [*found, *warned(self.streams)]

    @property
    def _short(self) -> list[Attention]:
        runs = {(each.dataset, each.run_id): each for one in self.streams for each in one.intervals}
        return short(self.needs, runs)

    @property
    def sentence(self) -> str:
        """The whole in one sentence, without times."""
        if self.error:
            return "The state of the harvests is unknown: MongoDB did not answer."
        if not self.streams:
            return "No stream has run yet."
        complete = sum(one.health is Health.COMPLETE for one in self.streams)
        acting = [one for one in self.streams if one.health in {Health.ACTION, Health.LATE}]
        parts = [f"{complete} of {len(self.streams)} streams complete"]
        if acting:
            parts.append(f"{len(acting)} {'needs' if len(acting) == 1 else 'need'} you")
        for health in (Health.INCOMPLETE, Health.UNKNOWN, Health.WAITING, Health.RUNNING, Health.PAUSED, Health.NEW):
            if count := sum(one.health is health for one in self.streams):
                parts.append(f"{count} {health.value.lower()}")
        if count := len(self._short):
            parts.append(f"{count} {'quota is' if count == 1 else 'quotas are'} not enough")
        if count := sum(bool(one.warnings) for one in self.streams):
            parts.append(f"{count} with warnings")
        return ", ".join(parts) + "."

    @property
    def newest(self) -> str:
        """When the newest receipt that agrees was written; empty if there is none."""
        return max((completed_at(one) for stream in self.streams for one in stream.intervals), default="")

    @property
    def active(self) -> bool:
        """Whether something runs, so that looking again soon is worth it."""
        return any(one.state is State.RUNNING for stream in self.streams for one in stream.intervals)

    def stream(self, dataset: str) -> Stream | None:
        """Return a stream by name."""
        return next((one for one in self.streams if one.dataset == dataset), None)

    def only(self, sees: Callable[[Sequence[str]], bool]) -> "Snapshot":
        """Return the part that somebody may see.

        :param sees: takes the DAGs of a stream and returns whether the person may read them; no DAG at all is a stream
            whose DAG is not known.
        """
        hidden = {
            (each.dataset, each.run_id)
            for one in self.streams
            for each in one.intervals
            if each.dag_id and not sees([each.dag_id])
        }
        streams = tuple(
            replace(
                one,
                intervals=tuple(each for each in one.intervals if not each.dag_id or sees([each.dag_id])),
                warnings=tuple(each for each in one.warnings if (each.dataset, each.run_id) not in hidden),
            )
            for one in self.streams
            if sees(one.dag_ids)
        )
        names = {one.dataset for one in streams}
        alerts = {one.alert for one in grouped(streams)}
        accounts = {conn_id for one in streams for conn_id in one.connections}
        return replace(
            self,
            streams=streams,
            reasons=tuple(
                one for one in self.reasons if one.dataset in names and (one.dataset, one.run_id) not in hidden
            ),
            needs=tuple(one for one in self.needs if one.dataset in names and (one.dataset, one.run_id) not in hidden),
            pauses=tuple(one for one in self.pauses if one.conn_id in accounts or sees(())),
            stops=tuple(one for one in self.stops if one.conn_id in accounts or sees(())),
            snoozes=tuple(one for one in self.snoozes if one.cause in alerts),
            facts=replace(
                self.facts,
                dags={name: one for name, one in self.facts.dags.items() if sees([name])},
                runs={name: runs for name, runs in self.facts.runs.items() if sees([name])},
            ),
        )


def take(store: StatusStore, facts: Facts, *, now: datetime | None = None) -> Snapshot:
    """Read everything once.

    :raises StagingUnavailable: MongoDB did not answer.
    """
    now = now or datetime.now(UTC)
    declared = {dataset for dag in facts.dags.values() for dataset in dag.datasets}
    datasets = sorted(declared | set(store.datasets()))
    summaries = store.latest(datasets, each=INTERVALS)
    # of the runs that Airflow has, the newest need not be those that began last: others can be repeated, or planned
    known = {(one.dataset, one.run_id) for found in summaries.values() for one in found}
    wanted = {
        (dataset, fact.run_id)
        for dag in facts.dags.values()
        for dataset in dag.datasets
        for fact in facts.runs.get(dag.dag_id, ())
    }
    for each in store.named([Run(*place) for place in sorted(wanted - known)]):
        summaries[each.dataset].append(each)
    reasons, complete = store.reasons()
    quarantined: dict[tuple[str, str], int] = {}
    for one in reasons:
        quarantined[one.dataset, one.run_id] = quarantined.get((one.dataset, one.run_id), 0) + one.count
    warnings: dict[str, list[Warned]] = {}
    for warning in map(Warned.of, store.warnings(only_open=True)):
        warnings.setdefault(warning.dataset, []).append(warning)
    streams = [
        replace(
            stream_of(dataset, summaries.get(dataset, ()), facts, quarantined, now),
            warnings=tuple(warnings.get(dataset, ())),
        )
        for dataset in datasets
    ]
    order = list(Health)
    watched, snoozes = store.alerts()
    quotas = store.quotas(now)
    noted = store.noted(noted_by(streams), CONNECTION)
    return Snapshot(
        at=iso(now),
        streams=tuple(sorted(streams, key=lambda one: (order.index(one.health), one.dataset))),
        reasons=tuple(reasons),
        reasons_complete=complete,
        quotas=tuple(quotas),
        needs=needs(streams, noted, quotas, facts, now),
        pauses=tuple(store.pauses()),
        watched=watched,
        stops=tuple(store.stops()),
        snoozes=tuple(snoozes),
        facts=facts,
    )
