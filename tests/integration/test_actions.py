"""What a person does to a harvest: events, switches, replays, accepted gaps."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.harvest.engine import Harvester, Tally
from windrow.harvest.feeds import PlanFeed
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.http.pacing import Stop
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import CallsStopped, Unreadable
from windrow.model.plan import Plan, Run
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.redact import know
from windrow.model.stream import PlanFlow, Request, Stream
from windrow.store.events import LONGEST, Event, of_connection
from windrow.store.staging import Staging
from windrow.store.status import StatusStore

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
