"""What a person does to a harvest: events, switches, replays, accepted gaps."""

from datetime import UTC, datetime, timedelta

from windrow.model.redact import know
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
