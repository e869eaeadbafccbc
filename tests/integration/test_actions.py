"""What a person does to a harvest: events, switches, replays, accepted gaps."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.airflow.operators.action import ActionOperator, action_params
from windrow.harvest.engine import Harvester, Tally
from windrow.harvest.feeds import PlanFeed
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.http.pacing import Stop
from windrow.landing.files import Manifest
from windrow.landing.receipt import Receipt, Staged
from windrow.model import registry
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, CallsStopped, Unreadable
from windrow.model.plan import Plan, Run
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.redact import know
from windrow.model.stream import PlanFlow, Request, Stream
from windrow.store.events import LONGEST, Event, of_connection
from windrow.store.staging import Staging
from windrow.store.status import CONNECTION, StatusStore

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def status(staging: Staging) -> StatusStore:
    return StatusStore(staging._client, staging._database.name)


# --- events ------------------------------------------------------------------------------------


def test_events_are_read_by_place_the_newest_first_without_secrets(staging: Staging) -> None:
    staging.prepare("shop_orders")
    know("hushhushhush")
    replayed = Event("shop_orders", NOON, "ada", "replay", "run 7", "44 of 47 read")
    stopped = Event(of_connection("shop"), NOON + timedelta(hours=1), "bob", "stop", "key hushhushhush leaked")
    for event in (replayed, stopped, Event("shop_returns", NOON, "eve", "replay", "run 8")):
        for _ in range(2):
            staging.add_event(event, id_="manual__1")

    found = status(staging).events(["shop_orders", of_connection("shop")])

    assert [(one.place, one.at, one.user) for one in found] == [
        ("connection shop", stopped.at, "bob"),
        ("shop_orders", NOON, "ada"),
    ]
    assert found[1] == replayed
    assert "hushhush" not in found[0].what
    assert status(staging).events(["shop_orders", of_connection("shop")], limit=1) == found[:1]


def test_a_long_text_of_an_event_is_cut(staging: Staging) -> None:
    staging.add_event(Event("shop_orders", NOON, "ada", "replay", "x" * 99_999), id_="1")

    assert len(status(staging).events(["shop_orders"])[0].what) == LONGEST


# --- stop and resume ---------------------------------------------------------------------------

RUN = Run("shop_orders", "manual__1")


class Orders(Stream):
    """One order an answer."""

    dataset = "shop_orders"
    contract = Contract((Column("id", "id", Kind.INTEGER, "Id.", required=True),))

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def records(self, query: Query, answer: object) -> Sequence[Mapping[str, object]]:
        if not isinstance(answer, dict) or "id" not in answer:
            raise Unreadable("it has no id")
        return [self.contract.record(answer)]


def orders(count: int) -> list[Query]:
    return [Query(f"orders/{number}", "/orders", (("n", str(number)),)) for number in range(count)]


def order(asked: Asked) -> Reply:
    return Reply({"id": int(dict(asked.params)["n"])})


def client(scripted: ScriptedApi, staging: Staging, rate_per_s: float | None = None) -> Client:
    limits = Limits(connections=4, rate_per_s=rate_per_s, backoff=Backoff(attempts=1))
    return Client(scripted.url, NoAuth(), name="shop", limits=limits, pauses=staging)


def harvested(scripted: ScriptedApi, staging: Staging, plan: Plan, rate_per_s: float | None = None) -> Tally:
    async def job() -> Tally:
        async with client(scripted, staging, rate_per_s) as caller:
            return await Harvester(caller, staging, PlanFeed(staging, plan), Orders().records).run()

    return asyncio.run(job())


def test_a_stop_ends_the_calls_of_a_running_harvest_and_nothing_is_lost(
    scripted: ScriptedApi, staging: Staging
) -> None:
    staging.prepare("shop_orders")
    plan = staging.save_plan(RUN, orders(600))

    def stopping(asked: Asked) -> Reply:
        if len(scripted.asked) == 5:
            staging.keep_stop("shop", Stop("ada", NOON, "their disk is full"))
        return order(asked)

    scripted.script = stopping
    with pytest.raises(CallsStopped, match=r"ada stopped all calls to 'shop' at 2026-11-28 12:00:00 UTC: their disk"):
        harvested(scripted, staging, plan, rate_per_s=60)  # ten seconds, without the stop

    called = len(scripted.asked)
    assert called < 600
    assert len(staging.settled(RUN, 0)) == called
    with pytest.raises(CallsStopped):
        harvested(scripted, staging, plan)
    assert len(scripted.asked) == called  # no call at all
    (one,) = status(staging).stops()
    assert (one.conn_id, one.by, one.note) == ("shop", "ada", "their disk is full")

    staging.keep_stop("shop", None)
    harvested(scripted, staging, plan)

    assert len(scripted.asked) == len(staging.settled(RUN, 0)) == 600
    assert status(staging).stops() == []


# --- the operator ------------------------------------------------------------------------------

REFUSED = "HTTP 422: the API refused the query"


@pytest.fixture
def act(
    cloud: Settings, scripted: ScriptedApi, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run an action as its task does, as the user ada."""
    mongo = airflow_env.mongo_connection(cloud, staging._database.name)
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "http", "host": scripted.url}))
    monkeypatch.setitem(registry._declared, "shop_orders", Orders)
    defaults = {name: param.value for name, param in action_params().items()}

    def run(action: str, *, action_id: str = "manual__a", of_dag: str = "", **given: Any) -> dict[str, Any]:
        operator = ActionOperator(task_id="act", of_dag=of_dag)
        context = {
            "params": {**defaults, "action": action, **given},
            "run_id": action_id,
            "dag_run": SimpleNamespace(triggering_user_name="ada"),
        }
        return operator.execute(context)  # type: ignore[arg-type]

    return run


OF_RUN = {"stream": "shop_orders", "run": RUN.run_id}


@pytest.fixture
def rejected(staging: Staging) -> Plan:
    """Of ten planned queries 0 and 1 are answered, 2 to 4 were misread, 5 to 7 refused, 8 and 9 have no answer."""
    staging.prepare("shop_orders")
    plan = staging.save_plan(RUN, orders(10))
    staging.note(RUN, CONNECTION, {"conn_id": "shop"})
    queries = orders(10)
    bodies = [json.dumps({"id": number}) for number in range(10)]
    staging.stage(RUN, [(0, Answer(queries[n], Outcome.ANSWERED, 200, bodies[n], NOON)) for n in (0, 1)])
    misread = [(0, Rejected(queries[n], 200, bodies[n], "it has no id", NOON)) for n in (2, 3, 4)]
    refused = [(0, Rejected(queries[n], 422, "{}", REFUSED, NOON)) for n in (5, 6, 7)]
    staging.reject(RUN, misread + refused)
    return plan


def left(staging: Staging) -> set[str]:
    return staging.quarantined_keys(RUN)


@pytest.mark.parametrize(
    ("given", "paths", "still"),
    [
        ({"reason": "it has no id"}, set(), {5, 6, 7}),
        ({"reason": REFUSED}, {5, 6, 7}, {2, 3, 4, 6}),
        ({"key": "orders/5"}, {5}, {2, 3, 4, 6, 7}),
        ({}, {5, 6, 7}, {6}),
        ({"calls": False}, set(), {5, 6, 7}),
    ],
)
@pytest.mark.usefixtures("rejected")
def test_a_replay_reads_again_and_calls_only_what_needs_a_call(
    act: Callable[..., dict[str, Any]],
    staging: Staging,
    scripted: ScriptedApi,
    given: dict[str, Any],
    paths: set[int],
    still: set[int],
) -> None:
    scripted.script = lambda asked: Reply({}, 422) if ("n", "6") in asked.params else order(asked)

    figures = act("replay", **OF_RUN, **given, calls_per_second=None)

    assert {int(dict(asked.params)["n"]) for asked in scripted.asked} == paths
    assert left(staging) == {f"orders/{number}" for number in still}
    failed = {key for key, _ in figures["failed"]}
    assert failed == (left(staging) if not given else failed & left(staging))
    assert figures["chosen"] == figures["read"] + figures["called"] + figures["failed_again"]
    (event,) = status(staging).events(["shop_orders"])
    assert (event.user, event.action) == ("ada", "replay")
    assert f"{figures['failed_again']} failed again" in event.result


@pytest.mark.usefixtures("rejected")
def test_a_second_replay_of_the_same_run_is_refused_and_a_waiting_one_continues(
    act: Callable[..., dict[str, Any]], staging: Staging, scripted: ScriptedApi
) -> None:
    scripted.script = order
    act("stop", connection="shop", note="their disk is full", action_id="manual__stop")

    with pytest.raises(TaskDeferred):
        act("replay", **OF_RUN)
    assert scripted.asked == []
    with pytest.raises(BadParameter, match="being replayed by the run 'manual__a'"):
        act("replay", **OF_RUN, action_id="manual__b")
    act("resume", connection="shop", action_id="manual__resume")
    figures = act("replay", **OF_RUN)

    assert (figures["read"], figures["called"], figures["failed_again"]) == (3, 3, 0)
    act_again = {"action_id": "manual__b", **OF_RUN}
    with pytest.raises(BadParameter, match="No query of run"):  # the claim was given back, and nothing is left
        act("replay", **act_again)
    events = status(staging).events([of_connection("shop")])
    assert [one.action for one in events] == ["resume", "stop"]
    assert "by ada" in events[0].result


def test_an_accepted_gap_is_not_called_and_the_receipt_agrees_until_it_is_undone(
    act: Callable[..., dict[str, Any]], staging: Staging, scripted: ScriptedApi, rejected: Plan
) -> None:
    scripted.script = order

    def missing() -> str:
        staged = Staged.count(staging, rejected)
        count = staged.answered
        landed = Manifest("shop_orders", RUN.run_id, count, staged.gaps, 0, count, ())
        receipt = Receipt(rejected, staged, landed, count, count, count)
        return "; ".join(receipt.disagreements())

    assert missing().startswith("8 of 10 planned queries are not staged")
    act("accept_gap", **OF_RUN, reason=REFUSED, note="deleted orders")
    act("accept_gap", **OF_RUN, key="orders/9", note="never existed", action_id="manual__b")
    assert missing().startswith("4 of 10 planned")
    assert {(one.key, one.by) for one in status(staging).accepted(RUN)} == {
        (f"orders/{number}", "ada") for number in (5, 6, 7, 9)
    }
    harvested(scripted, staging, rejected)
    assert {int(dict(asked.params)["n"]) for asked in scripted.asked} == {2, 3, 4, 8}
    assert missing() == ""

    act("undo_gap", **OF_RUN, action_id="manual__c")

    assert missing().startswith("4 of 10 planned")
    assert len(status(staging).events(["shop_orders"])) == 3


@pytest.mark.parametrize(
    ("action", "given", "told"),
    [
        ("replay", {"stream": "shop_orders"}, "needs the param 'run'"),
        ("replay", {**OF_RUN, "reason": "no such reason"}, "No query of run"),
        ("accept_gap", OF_RUN, "without a note"),
        ("accept_gap", {**OF_RUN, "key": "orders/0", "note": "it has an answer"}, "No query of run"),
        ("undo_gap", OF_RUN, "No query of run"),
        ("stop", {}, "needs the param 'connection'"),
        ("snooze", {}, "needs the param 'cause'"),
        ("replay", {"stream": "shop_unknown", "run": "r"}, "Unknown dataset"),
    ],
)
@pytest.mark.usefixtures("rejected")
def test_an_action_on_nothing_says_so_and_changes_nothing(
    act: Callable[..., dict[str, Any]], staging: Staging, action: str, given: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadParameter, match=told):
        act(action, **given)

    assert len(left(staging)) == 6
    assert status(staging).events(["shop_orders"]) == []


@pytest.mark.parametrize(
    ("action", "given", "told"),
    [
        ("replay", OF_RUN, "is of the DAG 'unknown', and 'harvest_actions__shop' acts on 'shop' alone"),
        ("accept_gap", {**OF_RUN, "note": "why"}, "is of the DAG 'another', and"),
        ("undo_gap", {**OF_RUN, "run": "nope"}, "is of the DAG 'unknown', and"),
        ("stop", {"connection": "shop"}, "is not of one run"),
        ("resume", {"connection": "shop"}, "is not of one run"),
        ("snooze", {"cause": "late"}, "is not of one run"),
    ],
)
@pytest.mark.usefixtures("rejected")
def test_the_actions_of_one_dag_refuse_all_that_is_not_of_it(
    act: Callable[..., dict[str, Any]], staging: Staging, action: str, given: dict[str, Any], told: str
) -> None:
    if "another" in told:
        staging.note(Run(*OF_RUN.values(), "another"), "harvest a", {"answered": 2})
    with pytest.raises(BadParameter, match=told):
        act(action, of_dag="shop", **given)
    assert len(left(staging)) == 6
    assert staging.accepted_gaps(RUN) == {}
    assert staging.stop("shop") is None

    staging.note(Run(*OF_RUN.values(), "shop"), "harvest a", {"answered": 2})
    accepted = act("accept_gap", of_dag="shop", **OF_RUN, note="why")
    assert accepted["keys"] == 8


def test_a_snooze_is_an_event_with_its_end(act: Callable[..., dict[str, Any]], staging: Staging) -> None:
    figures = act("snooze", cause="late|shop_orders", hours=2)

    (record,) = staging.alerts()
    assert (record["cause"], record["snoozed_by"]) == ("late|shop_orders", "ada")
    assert record["snoozed_until"] > datetime.now(UTC).isoformat()
    (event,) = status(staging).events(["alerts"])
    assert (event.action, event.what) == ("snooze", "alert late|shop_orders")
    assert "no alert of it is sent until" in figures["result"]
