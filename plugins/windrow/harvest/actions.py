"""What a person may do to a harvest: replay its quarantine, accept gaps. Each names a run, and a reason or a key.

Nothing here needs Airflow; `windrow.airflow.operators.action` runs it in a task.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import orjson

from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import Item, ListFeed
from windrow.http.client import Client
from windrow.model.errors import ApiUnreachable, BadParameter, QueryRefused, Unanswered
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Stream
from windrow.store.staging import Staging
from windrow.store.status import CAUSE

T = TypeVar("T")
DAG = "harvest_actions"
"""The DAG whose runs are the actions of people on the streams of all DAGs."""
BODIES, SHOW_BODY = "harvest_bodies", "show_body"
"""The DAG whose runs are requests to see a body, so that its permission is a separate one, and their action."""
SHOWN_FOR = timedelta(minutes=10)
"""How long after a request the pages show a body."""
MOST = 20_000
"""Queries of one action."""
LISTED = 100
"""Queries that failed again, of which the reasons are stored."""


def dag_for(dag_id: str) -> str:
    """Return the DAG whose runs act on the streams of one DAG alone; of all, if none is named."""
    return f"{DAG}__{dag_id}" if dag_id else DAG


@dataclass(frozen=True, slots=True)
class Choice:
    """Which queries of a run an action is about: one key, or all with a reason, or all of both if both are empty."""

    run: Run
    reason: str = ""
    key: str = ""

    def __str__(self) -> str:
        of = f", key {self.key!r}" if self.key else f", reason {self.reason!r}" if self.reason else ""
        return f"run {self.run.run_id!r} of {self.run.dataset}{of}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a replay costs at most. Answers that can be read without a call cost nothing; which ones is known later."""

    chosen: int
    stored: int
    """Of ``chosen`` whole answers of the API, which are read first."""
    units: int
    """Units of the API's quotas, if all are called once. Further pages cost more."""

    def seconds(self, calls_per_second: float) -> float:
        """Return how long the calls take at most."""
        return self.chosen / calls_per_second


def cost(found: Iterable[tuple[str, int, bool]]) -> Cost:
    """Compute the cost of quarantined queries.

    :param found: of each query its row as JSON, the HTTP status of its answer, and whether a part of it is missing.
    """
    chosen = stored = units = 0
    for row, status, incomplete in found:
        chosen += 1
        stored += 200 <= status <= 299 and not incomplete
        units += Query.from_row(orjson.loads(row)).cost
    return Cost(chosen, stored, units)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay. ``failed`` has a key and the reason of up to `LISTED` queries."""

    chosen: int
    read: int
    """Answers that could be read without a call."""
    called: int
    """Queries that were answered by a new call."""
    failed_again: int
    failed: tuple[tuple[str, str], ...] = ()
    stopped: str = ""
    """Why not all calls were made; empty if they were."""

    def __str__(self) -> str:
        return (
            f"{self.chosen:,} chosen = {self.read:,} read without a call + {self.called:,} answered by a call + "
            f"{self.failed_again:,} failed again{f'. {self.stopped}' if self.stopped else ''}"
        )

    @property
    def figures(self) -> dict[str, Any]:
        """The result as plain values, for MongoDB and programs."""
        fields = ("chosen", "read", "called", "failed_again", "stopped")
        return {name: getattr(self, name) for name in fields} | {"failed": [list(one) for one in self.failed]}


def quarantined(staging: Staging, choice: Choice) -> dict[str, Item]:
    """Return the queries of the plan that are in the quarantine and chosen, by key.

    :raises BadParameter: there are none, or more than `MOST`.
    """
    found = {
        one.query.key: Item(one.query, number)
        for number, one in staging.quarantined(choice.run, with_bodies=False)
        if number >= 0
        and (not choice.key or one.query.key == choice.key)
        and (not choice.reason or one.reason[:CAUSE] == choice.reason)
    }
    return _bounded(found, choice, "quarantine")


def unsettled(staging: Staging, choice: Choice) -> list[str]:
    """Return the keys of the plan that have no answer and are chosen; with a reason those in the quarantine.

    :raises BadParameter: there are none, or more than `MOST`.
    """
    if choice.reason:
        return [*quarantined(staging, choice)]
    found: dict[str, None] = {}
    plan = staging.plan(choice.run)
    for number in range(plan.chunks):
        settled = staging.settled(choice.run, number)
        for query in staging.chunk(choice.run, number).queries:
            if query.key not in settled and choice.key in {"", query.key}:
                found[query.key] = None
    return [*_bounded(found, choice, "plan, without an answer,")]


def accepted(staging: Staging, choice: Choice) -> list[str]:
    """Return the keys whose gaps were accepted and that are chosen.

    :raises BadParameter: there are none, or more than `MOST`.
    """
    of_reason = quarantined(staging, choice) if choice.reason else None
    found = {
        key: None
        for key in staging.accepted_gaps(choice.run)
        if choice.key in {"", key} and (of_reason is None or key in of_reason)
    }
    return [*_bounded(found, choice, "list of accepted gaps")]


def still_quarantined(staging: Staging, run: Run, keys: Collection[str]) -> list[Item]:
    """Return those of these queries that are still in the quarantine."""
    return [
        Item(one.query, number)
        for number, one in staging.quarantined(run, with_bodies=False)
        if number >= 0 and one.query.key in keys
    ]


async def call_again(client: Client, staging: Staging, plan: Plan, stream: Stream, items: Collection[Item]) -> str:
    """Make these calls again; return why not all were made, or empty. Answers are staged, the others stay.

    :raises RateLimited: the API asks to wait, or a person stopped the calls. All answers so far are staged.
    :raises CredentialsRejected: the API does not accept the credentials.
    """
    done = sum(len(staging.settled(plan.run, number)) for number in range(plan.chunks))
    harvester = Harvester(
        client,
        staging,
        ListFeed(plan, [*items], done_before=done),
        stream.records,
        next_page=stream.next_page,
        paging=stream.paging,
        format=stream.format,
        export=stream.export,
    )
    try:
        async with client:
            await harvester.run()
    except (Unanswered, ApiUnreachable, QueryRefused) as error:
        return error.what
    return ""


def result(staging: Staging, run: Run, keys: Collection[str], *, read: int, stopped: str = "") -> Replayed:
    """Compare the quarantine with what was chosen."""
    left = [
        (one.query.key, one.reason)
        for number, one in staging.quarantined(run, with_bodies=False)
        if number >= 0 and one.query.key in keys
    ]
    failed = tuple((key, reason[:CAUSE]) for key, reason in left[:LISTED])
    return Replayed(len(keys), read, len(keys) - read - len(left), len(left), failed, stopped)


def _bounded(found: dict[str, T], choice: Choice, where: str) -> dict[str, T]:
    if not found:
        raise BadParameter(
            f"No query of {choice} is in the {where}.",
            advice="Nothing was changed. Harvest > Quarantine, and `windrow quarantine`, show runs, reasons and keys.",
        )
    if len(found) > MOST:
        raise BadParameter(
            f"{len(found):,} queries of {choice} are chosen; one action takes up to {MOST:,}.",
            advice="Nothing was changed. Choose one reason, or clear the task that harvests: it calls all of them.",
        )
    return found
