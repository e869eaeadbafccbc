"""plan: find out which calls to make, and write the plan."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import orjson
from airflow.sdk import Asset, Context

from windrow import __version__
from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import REACHED, WATERMARK, HarvestStep
from windrow.harvest.discovery import Discovery
from windrow.http.client import Client
from windrow.model.contract import Column
from windrow.model.errors import (
    BadParameter,
    NothingToHarvest,
    PlanMissing,
    RateLimited,
    Unanswered,
    Unusable,
)
from windrow.model.plan import Plan, Run
from windrow.model.quota import Quota
from windrow.model.stream import Request
from windrow.store.quarantine import LIST
from windrow.store.staging import Figures, Staging

_SCOPE = "scope"
"""The note of a run with what it is about, as its stream returns it."""
_CODE = "code"
"""The note of a run with what it is made with."""
_NOTED = 300
"""Columns, or quotas, that it has."""


class PlanOperator(HarvestStep):
    """Writes the plan of a run: each query that its source returns, once.

    A run has one plan. If the task is cleared or retried, it finds the plan and makes no call, so that all tasks count
    the same queries. It only requests again what was left out, and adds what follows from it.

    :param conn_id: the Airflow connection of the API that is listed.
    :param defaults: JSON for params that are empty, by name: templates, for an Airflow variable.
    :param given: results of earlier tasks, as a mapping, which is added to the params of the run.
    :param watermark: the asset whose state has the watermark of earlier runs; None if a stream has none.
    :returns: ``listed``, ``planned`` and ``chunks``, and what the run is about (`Stream.scope`).
    """

    advice = (
        "Lists that were fetched are in MongoDB. Clear this task with all tasks downstream: it continues from there."
    )
    template_fields = (*HarvestStep.template_fields, "conn_id", "defaults", "given")

    def __init__(
        self,
        *,
        conn_id: str,
        defaults: Mapping[str, str] | None = None,
        given: Any = None,
        watermark: Asset | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(inlets=[watermark] if watermark else None, **kwargs)
        self.conn_id = conn_id
        self.defaults = defaults
        self.given = given
        self.watermark = watermark

    def execute(self, context: Context) -> dict[str, int | str]:
        """Make the plan.

        :raises BadParameter: a param is unknown or invalid; no call was made.
        :raises NothingToHarvest: the API lists nothing.
        :raises Unanswered: lists have no answer, and the task can be retried.
        """
        return self.make_plan(context)

    def make_plan(self, context: Context) -> dict[str, int | str]:
        """Make the plan; see `execute`."""
        run, request = self.run_of(context), self.request_of(context)
        scope: Mapping[str, str] = self.stream.scope(request)
        with staging(self.mongo_conn_id, self.dataset) as state:
            before, left_out = standing(state, run), state.aside(run, LIST)
            if before is not None:
                plan = before
                notes = state.notes(run)  # the watermark may have moved since
                scope = notes.get(_SCOPE, scope)
                request = replace(request, watermark=notes.get(WATERMARK, {}).get(WATERMARK, request.watermark))
                self.log.info("This run already has a plan, of %s queries.", f"{plan.planned:,}")
            if before is None or left_out:
                state.note(run, _SCOPE, dict(scope))
                state.note(run, WATERMARK, {WATERMARK: request.watermark, REACHED: self.stream.reached(request)})
                hook = ApiHook(self.conn_id)
                state.note(run, _CODE, self._code(context, hook.cost(self.stream)[1]))
                client = hook.client(self.stream, state, reserved=self.reserved(context))
                discovery = self.discovery(client, state, run)
                try:
                    plan = discovery.run(discovery.plan(request, before))
                except RateLimited as limit:
                    raise self.deferral(limit) from None
                self.log.info(
                    "Planned %s queries: %s were listed, %s of them more than once. Listing took %s calls.",
                    f"{plan.planned:,}",
                    f"{plan.listed:,}",
                    f"{plan.listed - plan.planned:,}",
                    f"{discovery.asked:,}",
                )
                if discovery.left_out:
                    self.log.warning("%s lists are left out, see above: 'prove' will fail.", len(discovery.left_out))
                    retry_unanswered(discovery.left_out, context)
        if scope:
            self.log.info("This run is about %s.", ", ".join(f"{name} {value}" for name, value in scope.items()))
        if not plan.planned and not self.stream.may_be_empty:
            raise NothingToHarvest(
                f"The API of '{self.conn_id}' lists nothing for {self.dataset}, so there are no calls to make.",
                advice="Check the list of the API. The warehouse keeps its data. Trigger a new run when the list has "
                "entries.",
            )
        return {"listed": plan.listed, "planned": plan.planned, "chunks": plan.chunks, **scope}

    def _code(self, context: Context, quotas: Sequence[Quota]) -> Figures:
        """Return what this run is made with: versions, columns, quotas. Pages compare runs by it."""
        task = context.get("ti")
        bundle = getattr(getattr(task, "bundle_instance", None), "version", None)
        columns = [[name, kind] for name, kind in _columns(self.stream.contract.columns)]
        return {
            "version": __version__,
            "bundle": str(bundle or ""),
            "dag_version": str(getattr(task, "dag_version_id", "") or ""),
            "columns": columns[:_NOTED],
            "quotas": [[one.name, f"{one.units or 'unknown'} units per {one.period.unit}"] for one in quotas[:_NOTED]],
        }

    def discovery(self, client: Client, state: Staging, run: Run) -> Discovery:
        """Make the discovery of the run."""
        return Discovery(client, state, run, self.stream)

    def request_of(self, context: Context) -> Request:
        """Return what the run has to harvest.

        :raises BadParameter: a param is unknown, or a default is not valid JSON.
        """
        dag_run, params = context["dag_run"], dict(context["params"])
        # The context's params hold whatever the trigger sent; the DAG's own are the ones that are declared.
        refuse_unknown(dag_run.conf or {}, self.dag.params)
        for name, text in (self.defaults or {}).items():
            if params.get(name) in (None, [], ""):
                params[name] = _default(name, text)
        mark = self.watermark_of(context, self.watermark) if self.watermark else ""
        return Request(params | (self.given or {}), dag_run.logical_date or dag_run.run_after, mark)


def _columns(columns: Sequence[Column], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and the kind of each column, also of nested ones."""
    for one in columns:
        marks = f"{' repeated' if one.repeated else ''}{' required' if one.required else ''}"
        yield f"{above}{one.name}", f"{one.kind.value}{marks}"
        yield from _columns(one.columns, f"{above}{one.name}.")


def retry_unanswered(left_out: Sequence[Unusable], context: Context) -> None:
    """Return if all lists have an answer, or if this is the last try of the task.

    The plan is written: the next try requests only these lists, and adds what follows from them.

    :raises Unanswered: lists have no answer.
    """
    unanswered = [error for error in left_out if isinstance(error, Unanswered)]
    task = context.get("ti")  # an operator that is run outside of a DAG has no tries
    if unanswered and getattr(task, "try_number", 1) <= getattr(task, "max_tries", 0):
        raise Unanswered(
            f"{len(unanswered):,} lists have no answer; all others are in the plan. The first: {unanswered[0].what}",
            advice="The next try requests only these. After the last try the run continues without them, and the task "
            "'prove' names them.",
        )


def _default(name: str, text: str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadParameter(
            f"The default of the param {name!r} is not valid JSON: {error}.",
            advice="Correct the Airflow variable that has it, or set the param.",
        ) from None


def standing(state: Staging, run: Run) -> Plan | None:
    """Return the plan that a run has; None if it has none yet."""
    try:
        return state.plan(run)
    except PlanMissing:
        return None


def refuse_unknown(given: Mapping[str, object], known: Collection[str]) -> None:
    """Reject params of a trigger that the DAG does not declare, because Airflow ignores them without a message.

    :raises BadParameter: there is one; the message has the nearest known one.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f" Was '{near[0]}' meant?" if near else ""
            raise BadParameter(
                f"The param {name!r} is unknown.{meant}",
                advice=f"The params of this DAG are {', '.join(sorted(known))}. Trigger a new run; no call was made.",
            )
