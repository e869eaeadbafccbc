"""The publisher between the fake X API, Pub/Sub and MongoDB: in this process, and as one that is killed."""

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, TaskStatus
from anyio.from_thread import start_blocking_portal
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.apis import testing as fake_api
from local_cloud.settings import X_TOKEN, Settings
from local_cloud.testing import ROOT
from tests.apis.x.bench import RULES, SIGNED, STREAM, X
from tests.local_cloud.conftest import eventually
from tests.local_cloud.pubsub.bench import Bench, launched
from tests.scripted_api import Reply, ScriptedApi
from tests.shared_cloud import SharedCloud
from tests.x_table import post
from windrow.http.auth import StaticToken
from windrow.http.bounds import LARGEST_ASIDE
from windrow.http.client import Client, Limits
from windrow.model.errors import Misconfigured
from windrow.model.policy import Backoff
from windrow.sources.x.publisher import __main__ as program
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


OFTEN = Tempo(note=0.1, search_lag=0.3, rules_lag=0, closing=5)
"""The state is saved often, and gaps are filled soon."""
GIVES_UP = Limits(connections=2, backoff=Backoff(base_s=0.01, cap_s=0.01, attempts=2))


@dataclass
class Desk:
    """Where one publisher works: its API, its topic, its state."""

    x: X
    bench: Bench
    staging: Staging
    environment: dict[str, str]
    folder: Path
    caplog: pytest.LogCaptureFixture

    @property
    def state(self) -> dict[str, Any]:
        return self.staging.notes(RUN).get(STEP, {})

    @contextmanager
    def publishing(
        self, rules: dict[str, str] | None = None, tempo: Tempo = OFTEN, staging: Staging | None = None, **options: Any
    ) -> Iterator["Future[None]"]:
        """Publish in a thread until the block ends; on entry the stream is open."""
        self.caplog.set_level(logging.INFO)

        async def publish() -> None:
            try:
                outlet = Outlet(*names(self.bench))
                await asyncio.to_thread(outlet.prepare, self.bench.name.rpartition("/")[2])
                async with Client(
                    self.x.api.url, StaticToken(X_TOKEN), name="x", policy=POLICY, limits=GIVES_UP
                ) as client:
                    given = rules or {"x-posts": "tesla"}
                    await Publisher(client, outlet, staging or self.staging, given, tempo=tempo, **options).run()
            finally:
                ended.set()

        ended = threading.Event()
        with start_blocking_portal() as portal:
            running = asyncio.run_coroutine_threadsafe(publish(), portal.call(asyncio.get_running_loop))
            try:
                eventually(lambda: self.connected(running.done), "the stream is open")
                yield running
            finally:
                running.cancel()
                assert ended.wait(30)

    def start(self, **environment: str) -> "subprocess.Popen[str]":
        """Start a process that publishes."""
        return subprocess.Popen(
            [sys.executable, "-m", program.__spec__.name, "--beat", str(self.folder / "beat")],
            env={**os.environ, **self.environment, **environment},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def process(self, **environment: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a process that publishes until the block ends; on entry the stream is open and the state is saved."""
        process = self.start(**environment)
        try:
            eventually(lambda: self.connected(lambda: process.poll() is not None), "the stream is open", 40)
            eventually(lambda: self.state.get("through"), "its state is there")
            yield process
        finally:
            process.kill()
            process.communicate()

    def connected(self, ended: Callable[[], bool]) -> bool:
        assert not ended(), "the publisher has ended"
        return bool(self.x.admin("GET")["connected"])

    def closed(self) -> None:
        """Wait until nobody reads the stream."""
        eventually(lambda: not self.x.admin("GET")["connected"], "the stream is closed")

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
def desk(
    x: X,
    pubsub: Settings,
    staging: Staging,
    mongo: MongoClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Desk:
    bench = Bench(pubsub.pubsub_port, pubsub.pubsub_http_port)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.pubsub_address)
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]),
        "MONGO_URL": os.environ.get("MONGO_URL") or airflow_env.mongo_url(pubsub),
        "MONGO_DATABASE": staging._database.name,
        "X_API_URL": x.api.url,
        "X_BEARER_TOKEN": X_TOKEN,
        "X_RULES": "tesla",
        "X_PROJECT": "windrow",
        "X_TOPIC": bench.topic.rpartition("/")[2],
        "X_SUBSCRIPTION": bench.name.rpartition("/")[2],
    }
    return Desk(x, bench, staging, environment, tmp_path, caplog)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What a program in this process wrote to standard error. It may configure logging."""
    monkeypatch.setattr(logging.root, "handlers", [])
    return lambda: capsys.readouterr().err


def ids(x: X, query: str = "tesla") -> set[str]:
    return set(x.ids(query))


# --- what it publishes -------------------------------------------------------------------------


def test_each_post_that_matches_is_published_once_with_its_id(desk: Desk) -> None:
    before = ids(desk.x)
    desk.x.scene(duplicate_share=0.5)
    with desk.publishing(usernames=True):
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
    with desk.publishing() as running:
        desk.x.send("x" * (LARGEST_ASIDE + 40_000))
        eventually(lambda: desk.staging.quarantined(RUN), "it is in the quarantine")
        eventually(lambda: desk.connected(running.done), "the stream is open again")
        desk.x.make(20)
        desk.published(ids(desk.x) - before)

    ((_, rejected),) = desk.staging.quarantined(RUN)
    assert "a line of more than 1,000,000 bytes" in rejected.reason
    assert rejected.body == "x" * LARGEST_ASIDE


def test_rules_are_kept_in_step_with_the_settings(desk: Desk) -> None:
    desk.x.add_rules("tesla", "bicycle", tag="old")

    with desk.publishing({"cars": "tesla", "de": "tesla lang:de"}):
        found = desk.x.api.request("GET", RULES, headers=SIGNED).json()["data"]

    assert sorted((rule["tag"], rule["value"]) for rule in found) == [("cars", "tesla"), ("de", "tesla lang:de")]


# --- breaks ------------------------------------------------------------------------------------


def test_a_kill_loses_nothing_and_the_gap_is_filled(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.process():
        desk.x.scene(rate_per_s=200, long_share=0.3)
        eventually(lambda: len(ids(desk.x) - before) > 200, "posts are made")
    desk.closed()
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
        eventually(lambda: "Filled the gap" in desk.caplog.text, "it says so")

    assert made_in_the_gap <= {m["post_id"] for m in messages if m["_key"] != "stream"}, "the search brought them"
    assert {m["rules"] for m in messages} == {"x-posts"}
    assert any(len(m["text"]) > 280 for m in messages if m["_key"] != "stream"), "long posts are whole"
    assert "no reposts and no deletions" in desk.caplog.text


@pytest.mark.parametrize(
    "break_it",
    [lambda x: x.admin("POST", "/cut"), lambda x: x.admin("POST", "/end?kind=ForceDisconnect")],
    ids=["cut", "ended"],
)
def test_a_stream_that_breaks_is_opened_again_at_once(desk: Desk, break_it: Callable[[X], object]) -> None:
    before = ids(desk.x)
    with desk.publishing() as running:
        desk.x.make(50)
        break_it(desk.x)
        eventually(lambda: desk.x.api.counters()["routes"]["GET /2/tweets/search/stream"]["requests"] == 2, "again")
        eventually(lambda: desk.connected(running.done), "it is open again")
        desk.x.make(50)
        desk.published(ids(desk.x) - before)


@pytest.mark.parametrize(("refuse", "told"), [("credits", "credits"), ("spend_cap", "cap"), ("usage_cap", "cap")])
def test_what_costs_money_stops_it_with_what_to_do(
    desk: Desk, refuse: str, told: str, monkeypatch: pytest.MonkeyPatch, stderr: Callable[[], str]
) -> None:
    desk.x.scene(refuse=refuse)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["publisher"])

    assert program.main() == 2
    log = stderr()
    assert "What to do:" in log
    assert told in log
    assert X_TOKEN not in log


def test_a_revoked_token_stops_it_with_what_to_do(desk: Desk) -> None:
    with desk.process(X_LOG_FORMAT="json") as process:
        desk.x.admin("DELETE", "/token")
        desk.x.admin("POST", "/cut")
        _, log = process.communicate(timeout=60)

    assert process.returncode == 2
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"The stream is open"} < {line["message"] for line in lines}
    assert {(line["stream"], line["run"]) for line in lines} == {("x_posts", "stream")}
    assert (lines[-1]["severity"], "X_BEARER_TOKEN" in lines[-1]["message"]) == ("ERROR", True)
    assert "Traceback" not in log
    assert X_TOKEN not in log


def test_rules_that_vanish_are_set_again(desk: Desk) -> None:
    with desk.publishing():
        rules = desk.x.api.request("GET", RULES, headers=SIGNED).json()["data"]
        desk.x.api.request("POST", RULES, json.dumps({"delete": {"ids": [rule["id"] for rule in rules]}}), SIGNED)
        desk.x.admin("POST", "/cut")

        eventually(lambda: len(desk.x.admin("GET")["rules"]) == 1, "the rule is there again", 30)


def test_a_sigterm_ends_it_in_order_and_what_was_read_is_published(desk: Desk) -> None:
    before = ids(desk.x)
    with desk.process() as process:
        desk.x.make(200)
        eventually(lambda: desk.bench.report()["waiting"] > 0, "it reads")
        process.terminate()
        assert process.wait(30) == 0
        assert desk.state["on_the_way"] == 0
        assert len(desk.messages()) == desk.state["acknowledged"] > 0
        assert (desk.folder / "beat").exists()
    assert ids(desk.x) - before


def test_what_new_rules_did_not_match_yet_is_filled_in(desk: Desk) -> None:
    """X says that a rule takes 20 s to hold; the publisher allows two for it here, and it never does."""
    before = ids(desk.x)
    desk.x.scene(rule_delay_s=3600)
    with desk.publishing(tempo=replace(OFTEN, rules_lag=2)):
        desk.x.make(50)
        deaf_to = ids(desk.x) - before
        messages = desk.published(deaf_to)
        assert desk.x.admin("GET")["sent_posts"] == 0
        eventually(lambda: desk.state.get("gaps") == 0, "the gap is closed")

    assert_once(messages, deaf_to, before)


def assert_once(messages: list[dict[str, Any]], wanted: set[str], before: set[str]) -> None:
    """Each post is there once. The search begins with a whole second, so some from before may be found again."""
    found = [message["post_id"] for message in messages]
    assert wanted <= set(found) <= wanted | before
    assert len(found) == len(set(found))


def missed(desk: Desk, posts: int) -> None:
    """Publish, stop, and let posts be made meanwhile."""
    with desk.publishing():
        eventually(lambda: desk.state.get("through"), "its state is there")
    desk.closed()
    desk.x.make(posts)


def test_a_gap_is_filled_though_the_stream_breaks_again_and_again(desk: Desk) -> None:
    before = ids(desk.x)
    missed(desk, 500)  # several pages

    with desk.publishing() as running:
        for _ in range(4):
            eventually(lambda: desk.connected(running.done), "it is open")
            desk.x.admin("POST", "/cut")
            desk.x.make(20)
        eventually(lambda: desk.connected(running.done), "it is open")
        wanted = ids(desk.x) - before
        messages = desk.published(wanted)
        eventually(lambda: desk.state["reading"] and desk.state["gaps"] == 0, "no gap is left")

    assert_once(messages, wanted, before)


def test_a_gap_is_filled_though_the_search_gives_up_in_the_middle(desk: Desk) -> None:
    before = ids(desk.x)
    missed(desk, 500)
    wanted = ids(desk.x) - before

    faults = [fault for fault in ("unavailable", "cut", "malformed") for _ in range(GIVES_UP.backoff.attempts)]
    desk.x.scene(search_faults=faults)
    with desk.publishing():
        messages = desk.published(wanted)

    assert_once(messages, wanted, before)
    assert desk.caplog.text.count("The search continues in") == 3
    assert desk.x.admin("GET")["scene"]["search_faults"] == []


async def copy(source: ByteStream, sink: ByteStream) -> None:
    async for data in source:
        await sink.send(data)


async def relay(port: int, *, task_status: TaskStatus[int]) -> None:
    """Lead to a server on this machine, until it is cancelled; say from which port."""

    async def lead(here: ByteStream) -> None:
        async with here, await anyio.connect_tcp("127.0.0.1", port) as there, anyio.create_task_group() as both:
            both.start_soon(copy, here, there)
            await copy(there, here)
            both.cancel_scope.cancel()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        task_status.started(listener.extra(SocketAttribute.local_port))  # noqa: S610 - no Django
        await listener.serve(lead)


@contextmanager
def mongo_away(cloud: Settings) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give an address that leads to MongoDB, and what ends that."""
    with start_blocking_portal() as portal:
        leading, port = portal.start_task(relay, cloud.mongo_port)
        yield airflow_env.mongo_url(replace(cloud, mongo_port=port)), leading.cancel
        leading.cancel()


def test_without_mongodb_it_reads_on(desk: Desk, cloud: Settings) -> None:
    before = ids(desk.x)
    with (
        mongo_away(cloud) as (url, cut),
        MongoClient(url, serverSelectionTimeoutMS=200) as client,
        desk.publishing(staging=Staging(client, desk.staging._database.name)),
    ):
        cut()
        eventually(lambda: "Saving the state failed" in desk.caplog.text, "it is in the log")
        desk.x.make(50)
        desk.published(ids(desk.x) - before)


def test_without_mongodb_it_ends_in_order_and_does_not_wait_for_it(desk: Desk, cloud: Settings) -> None:
    with mongo_away(cloud) as (url, cut), desk.process(MONGO_URL=url) as process:
        cut()
        servers: list[socket.socket] = []

        def takes_its_place() -> bool:
            with suppress(OSError):  # the relay is still there
                servers.append(socket.create_server(("127.0.0.1", urlsplit(url).port or 0)))
            return bool(servers)

        eventually(takes_its_place, "the port is free")
        with servers[0] as silent:
            silent.settimeout(30)
            silent.accept()  # it looks for MongoDB, and would wait for an answer
            process.terminate()
            _, log = process.communicate(timeout=15)

    assert process.returncode == 0
    assert "Traceback" not in log


# --- the end -----------------------------------------------------------------------------------


def test_a_topic_that_is_taken_away_ends_it_with_what_to_do(desk: Desk) -> None:
    with desk.publishing() as running:
        desk.bench.publisher.delete_topic(topic=desk.bench.topic)
        desk.x.make(10)
        with pytest.raises(Misconfigured, match="X_TOPIC"):
            running.result(30)

    async def start() -> None:
        Outlet(*names(desk.bench)).prepare(desk.bench.name.rpartition("/")[2])

    with pytest.raises(Misconfigured, match="it would receive no posts"):  # the topic is made anew, and is another one
        asyncio.run(start())


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


def test_a_full_pubsub_holds_the_stream_back_and_nothing_is_lost(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ids(desk.x)
    with launched(tmp_path / "full", "--most-waiting", "50") as bench:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{bench.port}")
        desk.bench = bench
        with desk.publishing():
            desk.x.make(400)
            wanted = ids(desk.x) - before
            eventually(lambda: bench.report()["waiting"] >= 50, "it is full")
            messages = desk.published(wanted)

    assert sorted(message["post_id"] for message in messages) == sorted(wanted)


def test_without_settings_it_says_which(monkeypatch: pytest.MonkeyPatch, stderr: Callable[[], str]) -> None:
    for name in ("X_BEARER_TOKEN", "MONGO_URL"):
        monkeypatch.setenv(name, "mongodb://127.0.0.1:1")
    monkeypatch.setattr(sys, "argv", ["publisher"])

    assert program.main() == 2
    assert "X_RULES, X_PROJECT" in stderr()
