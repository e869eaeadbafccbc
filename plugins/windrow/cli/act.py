"""The commands that act: each asks Airflow's API for a run of the DAG of actions, with the token of the user.

So Airflow checks the permission and records who did it. Nothing here writes to MongoDB.
"""

import argparse
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from windrow.cli.address import mongo_url, place_of
from windrow.cli.airflow import TOKEN, URL, Airflow
from windrow.cli.command import DONE, FAILED, Result, add
from windrow.harvest.actions import DAG, cost, dag_for
from windrow.harvest.lineage import SEARCHED
from windrow.model.errors import BadParameter, CredentialsRejected, WindrowError
from windrow.model.plan import Run
from windrow.store.status import open_status

_LOOK_S = 2.0
_CLEARED = {"replay": ("Land",), "accept_gap": ("Prove", "Acknowledge"), "undo_gap": ("Prove", "Acknowledge")}
_DESCRIPTION = f"""\
It asks Airflow's API for a run of the DAG {DAG}, waits for its end, and prints the result. Airflow checks whether you
may, and records it. {URL} is the address of Airflow, like https://airflow.example.com; {TOKEN} is your token for its
API, as POST /auth/token returns it."""


def register(commands: Any) -> None:
    """Add the commands."""
    for name, action, summary, examples in (
        ("replay", "replay", "read and call quarantined answers again", "  windrow replay shop_orders --dry-run"),
        ("accept-gap", "accept_gap", "accept that queries of a run have no answer", "  windrow accept-gap shop_orders "
         "--run RUN --key orders/7 --note 'deleted'"),
        ("undo-gap", "undo_gap", "undo accepted gaps", "  windrow undo-gap shop_orders --run RUN"),
    ):  # fmt: skip
        command = add(commands, name, _of_run, summary, _DESCRIPTION, examples)
        command.set_defaults(action=action)
        command.add_argument("stream", help="like shop_orders")
        command.add_argument("--run", required=action != "replay", default="", help="the run id (replay: the newest)")
        command.add_argument("--reason", default="", help="only quarantined answers with exactly this reason")
        command.add_argument("--key", default="", help="only the query with this key")
        if action == "accept_gap":
            command.add_argument("--note", required=True, help="why no answer is needed")
        if action == "replay":
            command.add_argument("--dry-run", action="store_true", help="only show what it costs; reads MongoDB")
            command.add_argument("--speed", type=float, default=2.0, metavar="N", help="calls per second (2)")
            command.add_argument("--no-calls", action="store_true", help="only read again; make no call")
            command.add_argument("--mongo", default="", metavar="URL", help="the MongoDB, for the newest run and costs")
    for name, summary in (("stop", "stop all calls to an API, in all runs"), ("resume", "let them go on")):
        command = add(commands, name, _of_connection, summary, _DESCRIPTION, f"  windrow {name} shop")
        command.set_defaults(action=name)
        command.add_argument("connection", help="id of the Airflow connection")
        command.add_argument("--note", default="", help="why")
    command = add(
        commands, "snooze", _of_alert, "send no alert of a cause for a while", _DESCRIPTION,
        "  windrow snooze 'late|shop_orders' --hours 24",
    )  # fmt: skip
    command.add_argument("cause", help="as the alert says it")
    command.add_argument("--hours", type=float, default=24.0, metavar="N", help="for how long (24)")
    command.add_argument("--note", default="", help="why")


def _of_alert(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    if options.hours <= 0:
        raise BadParameter(f"--hours is {options.hours}.", advice="It must be above 0.")
    given = {"cause": options.cause, "hours": options.hours, "note": options.note}
    return _act(Airflow.of(environment), "snooze", given)


def _of_run(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    if options.action == "replay" and options.speed <= 0:
        raise BadParameter(f"--speed is {options.speed}.", advice="It must be above 0.")
    if options.action == "replay" and (options.dry_run or not options.run):
        url = mongo_url(options.mongo, environment)
        with open_status(url, place=place_of(options.mongo, environment)) as store:
            if not options.run:
                reasons, _ = store.reasons(options.stream)
                runs = [one.run_id for one in store.summaries(options.stream, limit=SEARCHED)]
                options.run = next((run for run in runs if any(one.run_id == run for one in reasons)), "")
            if not options.run:
                raise BadParameter(
                    f"The quarantine of {options.stream} is empty.", advice="`windrow quarantine` shows all streams."
                )
            if options.dry_run:
                return _priced(options, store.quarantined_queries(
                    Run(options.stream, options.run), cause=options.reason, key=options.key
                ))  # fmt: skip
    given: dict[str, Any] = {name: getattr(options, name) for name in ("stream", "run", "reason", "key")}
    if options.action == "replay":
        given |= {"calls": not options.no_calls, "calls_per_second": options.speed}
    else:
        given["note"] = getattr(options, "note", "")
    airflow = Airflow.of(environment)
    result = _act(airflow, options.action, given)
    if dag_id := str(result.data.get("dag_id", "")):
        _carry(airflow, options.action, dag_id, options.run)
        told = f"{result.text}\nCleared in {dag_id}: the tasks that write the tables and the receipt."
        return replace(result, text=told)
    return result


def _of_connection(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    return _act(Airflow.of(environment), options.action, {"connection": options.connection, "note": options.note})


def _priced(options: argparse.Namespace, found: list[tuple[str, int, bool]]) -> Result:
    price = cost(found)
    seconds = price.seconds(options.speed)
    text = (
        f"{options.stream}, run {options.run}: {price.chosen:,} answers, of which {price.stored:,} are read first "
        f"without a call.\nAt most {price.chosen:,} calls, {price.units:,} units, {seconds:,.0f} s "
        f"at {options.speed:g} calls/s."
    )
    data = {"run": options.run, "chosen": price.chosen, "stored": price.stored, "units": price.units}
    return Result(text, data | {"seconds": round(seconds, 1)})


def _act(airflow: Airflow, action: str, given: Mapping[str, Any]) -> Result:
    """Start a run of a DAG of actions, and wait for its end."""
    conf = {"action": action} | {name: value for name, value in given.items() if value not in {"", None}}
    dag, run_id = _start(airflow, conf)
    place = f"dags/{dag}/dagRuns/{quote(run_id, safe='')}"
    while (state := airflow.ask(place)["state"]) not in {"success", "failed"}:
        time.sleep(_LOOK_S)
    where = f"{airflow.url}/dags/{dag}/runs/{quote(run_id, safe='')}"
    if state == "failed":
        text = f"The action failed. Its log says why, and what to do: {where}"
        return Result(text, {"run": run_id, "state": state, "url": where, "result": text}, FAILED)
    told = airflow.ask(f"{place}/taskInstances/act/xcomEntries/return_value").get("value")
    told = json.loads(told) if isinstance(told, str) else told or {}
    lines = [str(told.get("result", "done")), *(f"  failed again: {key}: {why}" for key, why in told.get("failed", ()))]
    data = {"run": run_id, "state": state, "url": where, **told}
    return Result("\n".join([*lines, where]), data, FAILED if told.get("failed_again") else DONE)


def _start(airflow: Airflow, conf: Mapping[str, Any]) -> tuple[str, str]:
    """Start the action, and return its DAG and its run: the DAG of all actions, or that of the runs of one DAG.

    :raises CredentialsRejected: the user may trigger neither.
    """

    def start(dag: str) -> tuple[str, str]:
        return dag, airflow.ask(f"dags/{quote(dag, safe='')}/dagRuns", {"logical_date": None, "conf": conf})[
            "dag_run_id"
        ]

    try:
        return start(DAG)
    except CredentialsRejected as refused:
        from windrow.cli.via import ViaAirflow  # noqa: PLC0415 - takes as long as all else

        with suppress(WindrowError):
            of = ViaAirflow(airflow).snapshot().stream(str(conf.get("stream")))
            runs = [one.dag_id for one in (of.intervals if of else ()) if one.run_id == conf.get("run")]
            return start(dag_for(runs[0] if runs else ""))
        raise refused from None


def _carry(airflow: Airflow, action: str, dag_id: str, run_id: str) -> None:
    """Clear the tasks of the harvest's run that carry the result into the tables and the receipt."""
    place = f"dags/{quote(dag_id, safe='')}"
    tasks = airflow.ask(f"{place}/tasks")["tasks"]
    chosen = [
        one["task_id"]
        for one in tasks
        if str((one.get("class_ref") or {}).get("class_name", "")).startswith(_CLEARED[action])
    ]
    clear = {"dry_run": False, "dag_run_id": run_id, "reset_dag_runs": True}
    if action != "undo_gap":
        airflow.ask(f"{place}/clearTaskInstances", {**clear, "only_failed": True})
    if chosen:
        again = {"only_failed": False, "include_downstream": True, "task_ids": chosen}
        airflow.ask(f"{place}/clearTaskInstances", clear | again)
