"""plan: list what to ask for, and write it down."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import orjson
from airflow.sdk import Context

from windrow.answer import Answer, Outcome
from windrow.client import Client
from windrow.errors import BadParameter, NothingToHarvest, PlanMissing, QueryRefused, RateLimited
from windrow.hooks.api import ApiHook
from windrow.hooks.staging import staging
from windrow.operators.base import HarvestStep
from windrow.query import Query


class PlanOperator(HarvestStep):
    """Asks the source what to harvest and writes the plan, each query once.

    The plan of a run is made once: cleared or retried, the task finds it and makes no call, so all other
    tasks keep counting against the same number.

    :param conn_id: the Airflow connection of the API.
    :returns: ``listed``, ``planned`` and ``chunks``.
    """

    template_fields = (*HarvestStep.template_fields, "conn_id")

    def __init__(self, *, conn_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def execute(self, context: Context) -> dict[str, int]:
        """Make the plan.

        :raises BadParameter: a param is unknown or cannot be meant; no call was made.
        :raises NothingToHarvest: the API lists nothing.
        """
        # The context's params hold whatever the trigger sent; the DAG's own are the ones that are declared.
        _refuse_unknown(context["dag_run"].conf or {}, self.dag.params)
        run, params = self.run_of(context), dict(context["params"])
        client = ApiHook(self.conn_id).client()
        with staging(self.mongo_conn_id, self.dataset) as state:
            try:
                plan = state.plan(run)
                self.log.info("The plan of this run stands: %s queries.", f"{plan.planned:,}")
            except PlanMissing:
                try:
                    discovered = asyncio.run(discover(client, self.stream.discovery(params)))
                except RateLimited as limit:
                    raise self.deferral(limit) from None
                plan = state.save_plan(run, self.stream.plan(params, discovered))
                self.log.info(
                    "Planned %s queries out of %s listed; %s were listed more than once.",
                    f"{plan.planned:,}",
                    f"{plan.listed:,}",
                    f"{plan.listed - plan.planned:,}",
                )
        if not plan.planned:
            raise NothingToHarvest(
                f"The API of '{self.conn_id}' lists nothing for {self.dataset}, so there is nothing to ask for.",
                advice="Look at the API's list. The warehouse keeps what it has; trigger a new run once the list "
                "is filled.",
            )
        return {"listed": plan.listed, "planned": plan.planned, "chunks": plan.chunks}


async def discover(client: Client, queries: Sequence[Query]) -> list[object]:
    """Ask the listing queries, one after the other, and return their parsed answers."""
    async with client:
        return [_listed(query, await client.ask(query, lambda query, answer: None)) for query in queries]


def _listed(query: Query, settled: object) -> object:
    if isinstance(settled, Answer) and settled.outcome is Outcome.ANSWERED:
        return orjson.loads(settled.body)
    reason = getattr(settled, "reason", "the API says there is no such thing (HTTP 404)")
    raise QueryRefused(
        f"The list that all else follows from, {query.key!r}, cannot be had: {reason}",
        advice="Check the path of the API in host and port of its Airflow connection, and the API itself.",
        key=query.key,
    )


def _refuse_unknown(given: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse a trigger's params that the DAG does not declare: Airflow itself lets them pass in silence.

    :raises BadParameter: naming the nearest known one.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f" Was '{near[0]}' meant?" if near else ""
            raise BadParameter(
                f"The param {name!r} is unknown.{meant}",
                advice=f"This DAG knows {', '.join(sorted(known))}. Trigger it again; no call was made.",
            )
