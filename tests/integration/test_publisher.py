"""The publisher between the fake X API, Pub/Sub and MongoDB: as a process that is killed, and what stops it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from local_cloud.apis import testing as fake_api
from local_cloud.settings import X_TOKEN, Settings
from local_cloud.testing import ROOT, running
from tests.apis.x.bench import RULES, SIGNED, STREAM, X
from tests.local_cloud.conftest import eventually
from tests.local_cloud.pubsub.bench import Bench, launched
from tests.scripted_api import Reply, ScriptedApi
from tests.shared_cloud import SharedCloud
from tests.x_table import post
from windrow.http.auth import StaticToken
from windrow.http.bounds import LARGEST_ASIDE
from windrow.http.client import Client
from windrow.sources.x.publisher.intake import RUN, Intake
from windrow.sources.x.publisher.outlet import Outlet
from windrow.sources.x.publisher.publisher import STEP, Publisher, Tempo
from windrow.sources.x.publisher.reconnect import Pauses
from windrow.sources.x.streams import POLICY
from windrow.store.staging import Staging

DISCONNECTS = ("OperationalDisconnect", "UpstreamOperationalDisconnect", "ForceDisconnect", "SlowReader")


@pytest.fixture(scope="session")
def pubsub(shared: SharedCloud) -> Settings:
    return shared.need("pubsub")


@pytest.fixture
def x(api: fake_api.FakeApi) -> X:
    made = X(api)
    made.admin("DELETE")
    made.scene(search_lag_s=0, duplicate_share=0, repost_share=0, heartbeat_s=0.2)
    return made


@dataclass
class Desk:
    """Where one publisher works: its API, its topic, its state."""

    x: X
    bench: Bench
    staging: Staging
    mongo_url: str
    database: str
    folder: Path
    rules: str = "tesla"
    rules_lag: float = 0
    starts: int = 0

    @property
    def state(self) -> dict[str, Any]:
        return self.staging.notes(RUN).get(STEP, {})

    @property
    def log(self) -> str:
        return (self.folder / f"log-{self.starts}").read_text()

    def start(self, **environment: str) -> "subprocess.Popen[bytes]":
        """Start the process; it notes its state often."""
        self.starts += 1
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("X_")},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]),
            "PUBSUB_EMULATOR_HOST": f"127.0.0.1:{self.bench.port}",
            "MONGO_URL": self.mongo_url,
            "MONGO_DATABASE": self.database,
            "X_API_URL": self.x.api.url,
            "X_BEARER_TOKEN": X_TOKEN,
            "X_RULES": self.rules,
            "X_PROJECT": "windrow",
            "X_TOPIC": self.bench.topic.rpartition("/")[2],
            "X_SUBSCRIPTION": self.bench.name.rpartition("/")[2],
            **environment,
        }
        command = [
            sys.executable,
            "-m",
            "windrow.sources.x.publisher",
            *("--search-lag", "0.5"),
            *("--rules-lag", str(self.rules_lag)),
            "--beat",
            str(self.folder / "beat"),
        ]
        with (self.folder / f"log-{self.starts}").open("wb") as log:
            return subprocess.Popen(command, env=variables, cwd=ROOT, stderr=log)

    @contextmanager
    def publishing(self, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the process until the block ends; on entry the stream is open."""
        process = self.start(**environment)
        try:
            eventually(lambda: self.connected(process), "the stream is open", 40)
            yield process
        finally:
            process.kill()
            process.wait(10)

    def connected(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, self.log
        return bool(self.x.admin("GET")["connected"])

    def messages(self) -> list[dict[str, Any]]:
        """Take all that is published, once it is."""
        found: list[dict[str, Any]] = []
        while received := self.bench.pull(wait=False):
            found += [json.loads(message.message.data) for message in received]
            self.bench.acknowledge(received)
        return found

    def published(self, ids: set[str], seconds: float = 60) -> list[dict[str, Any]]:
        """Wait until these posts are published; return all messages."""
        found: list[dict[str, Any]] = []

        def complete() -> bool:
            found.extend(self.messages())
            return ids <= {message["post_id"] for message in found}

        eventually(complete, f"{len(ids)} posts are published", seconds)
        return found


@pytest.fixture
def desk(x: X, pubsub: Settings, staging: Staging, mongo: MongoClient, tmp_path: Path) -> Desk:
    host, port = mongo.address or ("", 0)
    bench = Bench(pubsub.pubsub_port, pubsub.pubsub_http_port)
    url = os.environ.get("MONGO_URL") or f"mongodb://{host}:{port}"
    return Desk(x, bench, staging, url, staging._database.name, tmp_path)


def ids(x: X, query: str = "tesla") -> set[str]:
    return set(x.ids(query))


# --- what it publishes -------------------------------------------------------------------------


def test_each_post_that_matches_is_published_once_with_its_id(desk: Desk) -> None:
    before = ids(desk.x)
    desk.x.scene(duplicate_share=0.5)
    with desk.publishing(X_USERNAMES="1"):
        desk.x.make(300)
        wanted = ids(desk.x) - before
        messages = desk.published(wanted)
        received_ids = [message["post_id"] for message in messages]

    assert sorted(received_ids) == sorted(wanted), "none twice, none besides"
    assert {"text", "author_id", "username", "lang", "created_at", "_fetched_at", "_key"} <= set(messages[0])
    assert {message["_key"] for message in messages} == {"stream"}


def test_the_post_id_is_an_attribute_of_the_message(desk: Desk) -> None:
    with desk.publishing():
        desk.x.make(30)
        received = desk.bench.pull()

    message = received[0].message
    assert message.attributes["post_id"] == json.loads(message.data)["post_id"]
    assert message.attributes["kind"] == "post"


def test_lines_of_every_kind_have_a_clear_outcome(desk: Desk) -> None:
    good = '{"data": {"id": "1800000000000000001", "text": "\U0001f697\U0001f44d"}}'
    long = json.dumps({"data": {"id": "1800000000000000002", "text": "x" * 65_536}})
    lines = (
        *(good, good, long, '{"data": {"id": "1800000000000000003"}}', '{"data": {"id"'),
        '{"data": {"delete": {"tweet": {"id": "1800000000000000001", "author_id": "1"}, "event_at": "x"}}}',
        '{"data": {"withheld": {"tweet": {"id": "1800000000000000002"}, "withheld_in_countries": ["DE"]}}}',
        '{"data": {"id": "1800000000000000004", "text": "b", "edit_history_post_ids": ["17", "1800000000000000004"]}}',
    )
    with desk.publishing():
        desk.x.send(*lines)
        messages = desk.published({"1800000000000000001", "1800000000000000002", "1800000000000000004"})
        eventually(lambda: desk.state.get("unreadable") == 2, "it is counted", 20)
        state = desk.state

    assert [(m["post_id"][-1], "deleted_at" in m) for m in messages] == [
        ("1", False),
        ("2", False),
        ("1", True),
        ("2", False),
        ("4", False),
    ]
    assert messages[1]["text"] == "x" * 65_536
    assert messages[3]["withheld_in"] == "DE"
    assert messages[4]["edit_of"] == "17"
    assert (state["posts"], state["deletions"], state["withholdings"], state["repeated"]) == (3, 1, 1, 1)
    reasons = [rejected.reason for _, rejected in desk.staging.quarantined(RUN)]
    assert sorted(reasons)[0] == "field 'text' is missing"
    assert sorted(reasons)[1].startswith("invalid JSON")


def test_a_line_that_is_too_long_goes_into_the_quarantine_and_the_stream_is_opened_again(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        desk.x.send("x" * (LARGEST_ASIDE + 40_000))
        eventually(lambda: desk.staging.quarantined(RUN), "it is in the quarantine")
        eventually(lambda: desk.connected(process), "the stream is open again")
        desk.x.make(20)
        desk.published(ids(desk.x) - before)

    ((_, rejected),) = desk.staging.quarantined(RUN)
    assert "a line of more than 1,000,000 bytes" in rejected.reason
    assert rejected.body == "x" * LARGEST_ASIDE


def test_rules_are_kept_in_step_with_the_settings(desk: Desk) -> None:
    desk.x.add_rules("tesla", "bicycle", tag="old")
    desk.rules = '{"cars": "tesla", "de": "tesla lang:de"}'

    with desk.publishing():
        found = desk.x.api.request("GET", RULES, headers=SIGNED).json()["data"]

    assert sorted((rule["tag"], rule["value"]) for rule in found) == [("cars", "tesla"), ("de", "tesla lang:de")]


# --- breaks ------------------------------------------------------------------------------------


def killed(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_a_kill_loses_nothing_and_the_gap_is_filled(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        eventually(lambda: desk.state.get("through"), "its state is there", 20)
        desk.x.scene(rate_per_s=100, long_share=0.3)
        eventually(lambda: len(ids(desk.x) - before) > 200, "posts are made", 20)
        killed(process)
    eventually(lambda: not desk.x.admin("GET")["connected"], "the stream is closed", 20)
    made_in_the_gap = ids(desk.x)
    desk.x.make(150)
    made_in_the_gap = ids(desk.x) - made_in_the_gap
    assert len(made_in_the_gap) > 100

    with desk.publishing():
        count = len(ids(desk.x))
        eventually(lambda: len(ids(desk.x)) > count + 50, "the stream goes on")
        desk.x.scene(rate_per_s=0)
        wanted = ids(desk.x) - before
        messages = desk.published(wanted)
        eventually(lambda: "Filled the gap" in desk.log, "it says so")

    assert made_in_the_gap <= {m["post_id"] for m in messages if m["_key"] != "stream"}, "the search brought them"
    assert {m["rules"] for m in messages} == {"x-posts"}
    assert any(len(m["text"]) > 280 for m in messages if m["_key"] != "stream"), "long posts are whole"
    assert "no reposts and no deletions" in desk.log


@pytest.mark.parametrize(
    "break_it",
    [lambda x: x.admin("POST", "/cut"), lambda x: x.admin("POST", "/end?kind=ForceDisconnect")],
    ids=["cut", "ended"],
)
def test_a_stream_that_breaks_is_opened_again_at_once(desk: Desk, break_it: Callable[[X], object]) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        desk.x.make(50)
        break_it(desk.x)
        eventually(lambda: desk.x.api.counters()["routes"]["GET /2/tweets/search/stream"]["requests"] == 2, "again")
        eventually(lambda: desk.connected(process), "it is open again")
        desk.x.make(50)
        desk.published(ids(desk.x) - before)


@pytest.mark.parametrize(("refuse", "told"), [("credits", "credits"), ("spend_cap", "cap"), ("usage_cap", "cap")])
def test_what_costs_money_stops_it_with_what_to_do(desk: Desk, refuse: str, told: str) -> None:
    desk.x.scene(refuse=refuse)
    process = desk.start()

    assert process.wait(60) == 2
    assert "What to do:" in desk.log
    assert told in desk.log
    assert X_TOKEN not in desk.log


def test_a_revoked_token_stops_it_with_what_to_do(desk: Desk) -> None:
    with desk.publishing() as process:
        desk.x.admin("DELETE", "/token")
        desk.x.admin("POST", "/cut")
        assert process.wait(60) == 2

    assert "X_BEARER_TOKEN" in desk.log
    assert X_TOKEN not in desk.log


def test_rules_that_vanish_are_set_again(desk: Desk) -> None:
    with desk.publishing():
        rules = desk.x.api.request("GET", RULES, headers=SIGNED).json()["data"]
        desk.x.api.request("POST", RULES, json.dumps({"delete": {"ids": [rule["id"] for rule in rules]}}), SIGNED)
        desk.x.admin("POST", "/cut")

        eventually(lambda: len(desk.x.admin("GET")["rules"]) == 1, "the rule is there again", 30)


def test_a_sigterm_ends_it_in_order_and_what_was_read_is_published(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        desk.x.make(200)
        eventually(lambda: desk.state.get("posts", 0) > 0, "it reads", 20)
        process.terminate()
        assert process.wait(30) == 0
        assert desk.state["on_the_way"] == 0
        assert len(desk.messages()) == desk.state["acknowledged"] > 0
    assert ids(desk.x) - before


def test_what_new_rules_did_not_match_yet_is_filled_in(desk: Desk) -> None:
    """X says that a rule takes 20 s to hold; here it takes three."""
    before = ids(desk.x)
    desk.x.scene(rule_delay_s=3)
    desk.rules_lag = 4
    with desk.publishing():
        desk.x.make(50)
        deaf_to = ids(desk.x) - before
        assert desk.x.admin("GET")["sent_posts"] == 0
        messages = desk.published(deaf_to)
        eventually(lambda: desk.state.get("gaps") == 0, "the gap is closed", 20)

    assert sorted(message["post_id"] for message in messages) == sorted(deaf_to)


def test_a_gap_is_filled_though_the_stream_breaks_again_and_again(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        eventually(lambda: desk.state.get("through"), "its state is there", 20)
        killed(process)
    eventually(lambda: not desk.x.admin("GET")["connected"], "the stream is closed", 20)
    desk.x.make(1500)  # many pages
    missed = ids(desk.x) - before

    with desk.publishing() as process:
        for _ in range(4):
            eventually(lambda: desk.connected(process), "it is open")
            desk.x.admin("POST", "/cut")
            desk.x.make(20)
        eventually(lambda: desk.connected(process), "it is open")
        wanted = ids(desk.x) - before
        messages = desk.published(wanted)
        eventually(lambda: desk.state["reading"] and desk.state["gaps"] == 0, "no gap is left", 30)

    assert missed <= wanted
    assert len(messages) == len(wanted), "none twice, none besides"


def test_a_gap_is_filled_though_the_search_gives_up_in_the_middle(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.publishing() as process:
        eventually(lambda: desk.state.get("through"), "its state is there", 20)
        killed(process)
    eventually(lambda: not desk.x.admin("GET")["connected"], "the stream is closed", 20)
    desk.x.make(1500)
    wanted = ids(desk.x) - before

    desk.x.api.faults(error_share=0.3, error_status=503, cut_share=0.1, malformed_share=0.1)
    with desk.publishing():
        messages = desk.published(wanted, 200)  # a stream that is refused three times in a row pauses for 35 s

    assert sorted(message["post_id"] for message in messages) == sorted(wanted)


def test_without_mongodb_it_reads_on(desk: Desk, tmp_path: Path) -> None:
    before = ids(desk.x)
    with running({"mongo"}, tmp_path / "var") as mongo:
        process = desk.start(MONGO_URL=mongo.mongo_url)
        eventually(lambda: desk.connected(process), "the stream is open", 40)
    try:
        eventually(lambda: "Saving the state failed" in desk.log, "it is told", 60)
        desk.x.make(50)
        desk.published(ids(desk.x) - before)
        process.terminate()  # as it looks for MongoDB again
        assert process.wait(10) == 0, "it does not wait for it"
    finally:
        killed(process)


# --- the end -----------------------------------------------------------------------------------


def test_a_topic_that_is_taken_away_ends_it_with_what_to_do(desk: Desk) -> None:
    with desk.publishing() as process:
        desk.bench.publisher.delete_topic(topic=desk.bench.topic)
        desk.x.make(10)
        assert process.wait(30) == 2

    assert "X_TOPIC" in desk.log
    assert "Traceback" not in desk.log

    assert desk.start().wait(30) == 2, "the topic is made anew, and the subscription stays one of the old"
    assert "it would receive no posts" in desk.log


def test_the_end_waits_for_pubsub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with launched(tmp_path / "full", "--most-waiting", "1") as bench:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
        bench.make()

        async def two_at_the_end() -> int:
            outlet = Outlet(*names(bench))
            await outlet.publish(b"one", 1.0)
            await outlet.flushed()
            await outlet.publish(b"two", 2.0)
            closing = asyncio.create_task(outlet.close(20))
            await asyncio.sleep(0.5)
            assert not closing.done(), "the second waits for the first to be taken"
            await asyncio.to_thread(lambda: bench.acknowledge(bench.pull()))
            await closing
            return outlet.waiting

        assert asyncio.run(two_at_the_end()) == 0


def test_a_post_that_was_given_up_while_it_waited_for_room_may_come_again(
    staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with launched(tmp_path / "full", "--most-waiting", "1") as bench:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
        bench.make()

        async def again() -> list[bool]:
            intake = Intake(Outlet(*names(bench), room=1), staging)

            def publish(number: int) -> "asyncio.Task[bool]":
                return asyncio.create_task(intake.publish(post(number), "stream", float(number)))

            taken = [await publish(1), await publish(2)]  # the second is on its way, and there is no room for more
            waiting = publish(3)
            await asyncio.sleep(0.1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await asyncio.to_thread(lambda: bench.acknowledge(bench.pull()))
            taken += [await publish(3), await publish(3)]
            # the search for another rule finds it, too: it comes again with that rule, once
            other = asyncio.create_task(intake.publish(post(3) | {"rules": "de"}, "stream", 3.0))
            while not other.done():
                await asyncio.to_thread(lambda: bench.acknowledge(bench.pull(wait=False)))
            return [*taken, await other, await intake.publish(post(3) | {"rules": "de"}, "stream", 3.0)]

        assert asyncio.run(again()) == [True, True, True, False, True, False]


def names(bench: Bench) -> tuple[str, str]:
    """The project and the topic of a bench."""
    return "windrow", bench.topic.rpartition("/")[2]


def script(scripted: ScriptedApi, stream: Reply) -> None:
    """Let X have the rule, such a stream, and nothing to find."""
    rules = Reply({"data": [{"id": "1", "value": "tesla", "tag": "cars"}], "meta": {}})
    nothing = Reply({"meta": {"result_count": 0}})
    scripted.script = lambda asked: {RULES: rules, STREAM: stream}.get(asked.path, nothing)


LIMIT = {"title": "ConnectionException", "detail": "limit", "connection_issue": "TooManyConnections"}


def ended(kind: str) -> Reply:
    """A stream that ends with the error that X documents for it."""
    told = {"title": "operational-disconnect", "disconnect_type": kind, "detail": "The stream ends."}
    return Reply(json.dumps({"errors": [told]}).encode() + b"\r\n")


@pytest.mark.parametrize(
    ("stream", "pauses"),
    [
        (Reply(LIMIT, 429), ["60.0"]),
        (Reply(json.dumps(LIMIT).encode() + b"\r\n"), ["60.0"]),
        (Reply({"title": "Service Unavailable"}, 503), ["5.0"]),
        *((ended(kind), ["0.0", "0.2", "0.5"]) for kind in DISCONNECTS),
    ],
    ids=["429", "429 as a line", "503", *DISCONNECTS],
)
def test_the_pause_before_a_reconnect_is_the_one_that_x_asks_for(
    scripted: ScriptedApi,
    staging: Staging,
    outlet: Callable[[], Outlet],
    caplog: pytest.LogCaptureFixture,
    stream: Reply,
    pauses: list[str],
) -> None:
    script(scripted, stream)

    def told() -> list[str]:
        return re.findall(r"reconnecting in (\S+) s", caplog.text)[: len(pauses)]

    publish_until(lambda: len(told()) == len(pauses), scripted, staging, outlet, Tempo(closing=1), "it pauses")

    assert told() == pauses


def publish_until(
    condition: Callable[[], bool],
    api: ScriptedApi,
    staging: Staging,
    outlet: Callable[[], Outlet],
    tempo: Tempo,
    what: str,
    noted: Callable[[], None] = lambda: None,
) -> None:
    async def publish() -> None:
        async with Client(api.url, StaticToken("token"), name="x", policy=POLICY) as client:
            publisher = Publisher(client, outlet(), staging, {"cars": "tesla"}, tempo=tempo, noted=noted)
            running = asyncio.create_task(publisher.run())
            await asyncio.to_thread(lambda: eventually(lambda: running.done() or condition(), what))
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), running.exception()

    asyncio.run(publish())


@pytest.fixture
def outlet(pubsub: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Outlet]:
    """What opens an outlet to a topic, in the loop that is running."""
    bench = Bench(pubsub.pubsub_port, pubsub.pubsub_http_port)
    bench.make()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.pubsub_address)
    return lambda: Outlet(*names(bench))


@pytest.mark.parametrize(
    ("told", "beats"),
    [(b"\r\n", True), (b'{"errors": [{"title": "operational-disconnect"}]}\r\n', False), (b"<html>\r\n", False)],
    ids=["a heartbeat", "trouble", "a page"],
)
def test_the_beat_shows_that_something_arrived(
    scripted: ScriptedApi, staging: Staging, outlet: Callable[[], Outlet], told: bytes, beats: bool
) -> None:
    script(scripted, Reply(told))
    tempo = Tempo(note=0.05, pauses=Pauses(broken_step=0.05), closing=1)
    found: list[None] = []
    notes: set[str] = set()

    def noted_often() -> bool:
        notes.add(str(staging.notes(RUN).get(STEP, {}).get("noted_at")))
        return len(notes) > 5

    publish_until(noted_often, scripted, staging, outlet, tempo, "it is noted", lambda: found.append(None))

    assert bool(found) == beats


def test_the_watermark_is_told_by_the_clock_of_x(
    scripted: ScriptedApi, staging: Staging, outlet: Callable[[], Outlet]
) -> None:
    script(scripted, Reply(b"\r\n", headers={"Date": "Fri, 20 Nov 2026 12:00:00 GMT"}))

    def told() -> float | None:
        through: float | None = staging.notes(RUN).get(STEP, {}).get("through")
        return through

    publish_until(lambda: told() is not None, scripted, staging, outlet, Tempo(search_lag=0, closing=1), "it is noted")

    assert abs((told() or 0) - datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()) < 10


def test_a_full_pubsub_holds_the_stream_back_and_nothing_is_lost(desk: Desk, tmp_path: Path) -> None:
    before = ids(desk.x)
    with launched(tmp_path / "full", "--most-waiting", "50") as bench:
        desk.bench = bench
        with desk.publishing():
            desk.x.make(400)
            wanted = ids(desk.x) - before
            eventually(lambda: bench.report()["waiting"] >= 50, "it is full")
            messages = desk.published(wanted)

    assert sorted(message["post_id"] for message in messages) == sorted(wanted)


def test_without_settings_it_says_which(desk: Desk) -> None:
    process = desk.start(X_RULES="", X_PROJECT="")

    assert process.wait(30) == 2
    assert "X_RULES, X_PROJECT" in desk.log
