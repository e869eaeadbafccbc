"""action: do to a harvest what a person asks for, and record who asked."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.exceptions import TaskDeferred

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import staging
from windrow.airflow.triggers.pause import PauseTrigger
from windrow.declare.files import load
from windrow.harvest import actions
from windrow.harvest.actions import DAG, Choice, dag_for
from windrow.harvest.feeds import Item
from windrow.harvest.replay import replay
from windrow.http.loop import run_async
from windrow.http.pacing import Stop
from windrow.model import registry
from windrow.model.errors import BadParameter, ConnectionUnusable, RateLimited
from windrow.model.logs import about, begin
from windrow.model.plan import Plan, Run
from windrow.model.stream import Stream
from windrow.store.events import EVENTS, LONGEST, Event, of_connection
from windrow.store.quarantine import Claim
from windrow.store.staging import Staging
from windrow.store.status import CONNECTION

_OF_RUNS = ("replay", "accept_gap", "undo_gap")
"""The actions on one run."""


class ActionOperator(BaseOperator):
    """Runs the action that the params name: replay, accept_gap, undo_gap, stop, resume or snooze.

    A replay reads stored answers again without a call, and makes calls for the others, within the limits of the
    connection. The tables get the rows when ``land`` of that run is cleared: the Harvest page and `windrow replay` do
    it after this task.

    :param of_dag: act on runs of this DAG alone: who may trigger the action need not have a right on other DAGs.
    :returns: the result as plain values.
    """

    advice = (
        "No answer is lost: each is staged or in the quarantine. Fix the cause, then clear this task: it does the rest."
    )

    def __init__(self, *, of_dag: str = "", mongo_conn_id: str = "mongo_default", **kwargs: Any) -> None:
        # waits are bounded one by one, and a replay may defer for hours
        super().__init__(**{"execution_timeout": None, **kwargs})
        self.of_dag = of_dag
        self.mongo_conn_id = mongo_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the action, and record it as an event.

        :raises BadParameter: a param is missing, or names nothing; or the same replay is still running; or the run is
            of a DAG on which this one does not act.
        :raises WindrowError: what stopped a replay.
        """
        given = context["params"]
        action = str(given["action"])
        do: dict[str, Callable[..., tuple[str, str, dict[str, Any]]]] = {
            "replay": self._replay,
            "accept_gap": self._accept,
            "undo_gap": self._undo,
            "stop": self._stop,
            "resume": self._resume,
            "snooze": self._snooze,
        }
        user = str(getattr(context["dag_run"], "triggering_user_name", None) or "")
        if action == "snooze":
            place = "alerts"
        elif action in {"stop", "resume"}:
            place = of_connection(self._needed(given, "connection"))
        else:
            place = self._needed(given, "stream")
        if self.of_dag and action not in _OF_RUNS:
            raise BadParameter(
                f"The action '{action}' is not of one run, and '{dag_for(self.of_dag)}' acts on runs alone.",
                advice=f"Trigger '{DAG}', or ask an administrator of Airflow.",
            )
        with staging(self.mongo_conn_id, str(given["stream"] or EVENTS)) as state:
            if self.of_dag:
                self._check_dag(state, Run(place, self._needed(given, "run")))
            what, outcome, figures = do[action](state, given, user, context["run_id"])
            note = f"; {given['note']}" if given["note"] else ""
            if given["stream"] and given["run"]:
                figures["dag_id"] = state.dag_of(Run(str(given["stream"]), str(given["run"])))
            event = Event(place, datetime.now(UTC), user, action, f"{what}{note}", outcome)
            state.add_event(event, id_=context["run_id"])
        self.log.info("%s of %s by %s: %s", action, what, user or "an unknown user", outcome)
        return figures | {"action": action, "what": what, "result": outcome}

    def _check_dag(self, state: Staging, run: Run) -> None:
        """Refuse a run of another DAG: Airflow has checked the permission for `of_dag` alone."""
        if (dag_id := state.dag_of(run)) != self.of_dag:
            raise BadParameter(
                f"The run {run.run_id!r:.300} of {run.dataset!r:.200} is of the DAG '{dag_id or 'unknown'}', and "
                f"'{dag_for(self.of_dag)}' acts on '{self.of_dag}' alone.",
                advice=f"Trigger '{dag_for(dag_id)}' or '{DAG}', or ask an administrator of Airflow.",
            )

    def go_on(self, context: Context, event: object = None) -> dict[str, Any]:
        """Continue after a pause that the API asked for."""
        return self.execute(context)

    def _replay(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        choice = self._choice(given)
        run = choice.run
        begin(run)
        stream = _stream(run.dataset)
        plan = state.plan(run)
        claim = state.claim_replay(run, by=action_id)
        if claim.holder != action_id:
            raise BadParameter(
                f"The quarantine of run {run.run_id!r} of {run.dataset} is being replayed by the run "
                f"{claim.holder!r} of {actions.DAG}.",
                advice="Wait until that run has ended. If it failed, clear its task: it does the rest.",
            )
        try:
            keys = set(claim.keys or actions.quarantined(state, choice))
            read = claim.read + replay(state, run, stream, keys)
            state.keep_claim(run, Claim(action_id, sorted(keys), read))
            items = actions.still_quarantined(state, run, keys)
            stopped = ""
            if items and given["calls"]:
                stopped = self._call_again(state, plan, stream, items, given["calls_per_second"])
            elif items:
                stopped = "No call was made: the param 'calls' is off."
            found = actions.result(state, run, keys, read=read, stopped=stopped)
        except RateLimited as limit:  # the claim stays: this run continues
            self.log.warning("%s", limit)
            raise TaskDeferred(trigger=PauseTrigger.until(limit.retry_at), method_name=self.go_on.__name__) from None
        except BaseException:
            state.end_replay(run)
            raise
        state.note(run, f"replay {action_id}", found.figures | {"by": user, "at": datetime.now(UTC).isoformat()})
        state.end_replay(run)
        for key, reason in found.failed:
            with about(key=key):
                self.log.warning("Failed again: %r: %s", key, reason)
        return str(choice), str(found), found.figures

    def _call_again(self, state: Staging, plan: Plan, stream: Stream, items: Sequence[Item], rate: Any) -> str:
        conn_id = str(state.notes(plan.run).get(CONNECTION, {}).get("conn_id", ""))
        if not conn_id:
            raise ConnectionUnusable(
                f"MongoDB does not know which Airflow connection made the calls of run {plan.run.run_id!r} of "
                f"{plan.run.dataset}.",
                advice="Clear the task 'harvest' of that run with all tasks downstream: it calls these queries again.",
            )
        client = ApiHook(conn_id).client(stream, state, rate_per_s=float(rate) if rate else None)
        return run_async(actions.call_again(client, state, plan, stream, items))

    def _accept(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        if not given["note"]:
            raise BadParameter("A gap is accepted without a note.", advice="Set 'note': why no answer is needed.")
        choice = self._choice(given)
        keys = actions.unsettled(state, choice)
        state.accept_gaps(choice.run, keys, by=user, note=str(given["note"]))
        return str(choice), f"{len(keys):,} gaps accepted", {"keys": len(keys)}

    def _undo(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        choice = self._choice(given)
        keys = actions.accepted(state, choice)
        state.undo_gaps(choice.run, keys)
        return str(choice), f"{len(keys):,} gaps are no longer accepted", {"keys": len(keys)}

    def _stop(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        conn_id = str(given["connection"])
        state.keep_stop(conn_id, Stop(user or "an unknown user", datetime.now(UTC), str(given["note"] or "")[:LONGEST]))
        return f"connection {conn_id}", "running harvests end their calls within seconds", {"connection": conn_id}

    def _resume(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        conn_id = str(given["connection"])
        was = state.stop(conn_id)
        state.keep_stop(conn_id, None)
        outcome = (
            f"stopped since {was.at:%Y-%m-%d %H:%M:%S} UTC by {was.by}; calls go on" if was else "it was not stopped"
        )
        return f"connection {conn_id}", outcome, {"connection": conn_id}

    def _snooze(self, state: Staging, given: Any, user: str, action_id: str) -> tuple[str, str, dict[str, Any]]:
        cause = self._needed(given, "cause")
        until = datetime.now(UTC) + timedelta(hours=float(given["hours"] or 0))
        state.snooze(cause, until.isoformat(timespec="milliseconds"), by=user or "an unknown user")
        return f"alert {cause}", f"no alert of it is sent until {until:%Y-%m-%d %H:%M} UTC", {"cause": cause}

    def _choice(self, given: Any) -> Choice:
        run = Run(self._needed(given, "stream"), self._needed(given, "run"))
        return Choice(run, str(given["reason"] or ""), str(given["key"] or ""))

    def _needed(self, given: Any, name: str) -> str:
        if not given[name]:
            raise BadParameter(
                f"The action '{given['action']}' needs the param '{name}'.", advice="Trigger the DAG again with it."
            )
        return str(given[name])


def action_params(of_dag: str = "") -> dict[str, Param]:
    """Return the params of a DAG with an `ActionOperator`, which acts on the runs of one DAG alone, or on all."""

    def text(title: str, description: str) -> Param:
        return Param(None, type=["null", "string"], maxLength=2_000, title=title, description=description)

    return {
        "action": Param(
            "replay",
            enum=[*_OF_RUNS, *([] if of_dag else ["stop", "resume", "snooze"])],
            type="string",
            title="Action",
            description="What to do. stop and resume need a connection, snooze a cause, the others a stream and a run.",
        ),
        "stream": text("Stream", "Dataset, like shop_orders."),
        "run": text("Run", "Run id of the harvest."),
        "reason": text("Reason", "Only quarantined answers with this reason, as Harvest > Quarantine shows it."),
        "key": text("Key", "Only the query with this key."),
        "connection": text("Connection", "Airflow connection whose calls to stop or to resume."),
        "cause": text("Cause", "Cause of an alert to snooze, as the alert says it."),
        "hours": Param(
            24,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=24 * 31,
            title="Hours",
            description="For how many hours no alert of this cause is sent.",
        ),
        "note": text("Note", "Why. An accepted gap needs it. It is shown on the page of the stream."),
        "calls": Param(
            True,
            type="boolean",
            title="Make calls",
            description="Also call again what cannot be read without a call. Off: a replay makes no call.",
        ),
        "calls_per_second": Param(
            2,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=1_000,
            title="Calls per second",
            description="Maximum calls per second of a replay. The limits of the connection hold, too.",
        ),
    }


def _stream(dataset: str) -> Stream:
    """Return a stream, also one that another DAG file declares.

    :raises BadParameter: there is none.
    """
    try:
        return registry.stream(dataset)
    except BadParameter:
        for path in sorted(Path(conf.get("core", "dags_folder")).rglob("*.py")):
            if dataset in path.read_text(errors="replace"):
                for found in load(path):
                    registry.declare(found.stream)
        return registry.stream(dataset)
