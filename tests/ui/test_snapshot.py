"""The state of all harvests as pages and terminals show it: what is known, and what is not."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo import MongoClient, monitoring

from local_cloud import airflow_env
from local_cloud.settings import Settings
from tests.shared_cloud import SharedCloud
from windrow.harvest.runbook import ROWS, row
from windrow.harvest.sizes import read_sizes
from windrow.harvest.status.facts import DagFact, Facts, RunFact
from windrow.harvest.status.interval import State, iso
from windrow.harvest.status.snapshot import Snapshot, take
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.watch import problems
from windrow.harvest.waterfall import waterfall
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.body import Place
from windrow.model.errors import ConnectionUnusable, CredentialsRejected, StagingUnavailable
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.redact import know
from windrow.store import documents
from windrow.store.quarantine import LIST
from windrow.store.staging import Staging
from windrow.store.status import StatusStore, open_status

NOW = datetime.now(UTC)
DAG = DagFact("shop", {"harvest": "orders", "prove": "orders"}, {"orders": ("shop_api",)}, {"orders": ("prove",)})
RUN = Run("orders", "scheduled__2026-11-26T00:00:00+00:00", "shop")
RECEIPT = {"agrees": True, "planned": 10, "staged": 10, "gaps": 0, "quarantined": 0}


@pytest.fixture(scope="session")
def cloud(shared: SharedCloud) -> Settings:
    return shared.need("mongo")


class Commands(monitoring.CommandListener):
    """The commands that a client sends."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@pytest.fixture
def database(mongo: MongoClient[dict[str, Any]]) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    yield name
    mongo.drop_database(name)


@pytest.fixture
def staging(mongo: MongoClient[dict[str, Any]], database: str) -> Staging:
    opened = Staging(mongo, database)
    opened.prepare("orders")
    return opened


@pytest.fixture
def store(mongo: MongoClient[dict[str, Any]], database: str) -> StatusStore:
    return StatusStore(mongo, database)


def queries(count: int) -> list[Query]:
    return [Query.of("/order", {"number": str(number)}) for number in range(count)]


def figures(answered: int = 10, planned: int = 10, **changes: Any) -> dict[str, Any]:
    calls = dict.fromkeys(("sent", "retried", "throttled", "unchanged", "tokens"), 0)
    known = {"settled_before": 0, "answered": answered, "gaps": 0, "rejected": 0, "planned": planned}
    return {"state": "ended", "seconds": 1.0, **known, **calls, **changes}


def fact(state: str = "success", run: Run = RUN, **changes: Any) -> RunFact:
    return RunFact("shop", run.run_id, state, due_at="2026-11-26T00:00:00.000+00:00", **changes)


def facts(*runs: RunFact, dag: DagFact = DAG) -> Facts:
    return Facts(asked=True, dags={"shop": dag}, runs={"shop": runs})


def only(snapshot: Snapshot) -> Stream:
    (stream,) = snapshot.streams
    return stream


# --- what a run is -----------------------------------------------------------------------------


def test_only_a_receipt_that_agrees_makes_a_run_complete(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "harvest 1", figures())
    before = only(take(store, facts(fact())))
    staging.note(RUN, "receipt", RECEIPT)
    after = take(store, facts(fact()))

    assert (before.health, before.intervals[0].state) == (Health.UNKNOWN, State.UNKNOWN)
    assert before.why == "Airflow says success, but no receipt was written"
    assert only(after).health is Health.COMPLETE
    counts = only(after).intervals[0].counts
    assert (counts.planned, counts.done, counts.missing, counts.exact) == (10, 10, 0, True)
    assert after.sentence == "1 of 1 streams complete."


@pytest.mark.parametrize(
    ("airflow", "state", "health"),
    [
        (Facts(), State.INCOMPLETE, Health.ACTION),  # a terminal, at night
        (facts(), State.INCOMPLETE, Health.INCOMPLETE),  # the run was deleted in Airflow
        (facts(fact("failed", failed=("harvest",))), State.INCOMPLETE, Health.ACTION),
        (facts(fact("running")), State.RUNNING, Health.RUNNING),
        (facts(fact("success")), State.UNKNOWN, Health.UNKNOWN),
    ],
)
def test_a_run_killed_in_its_first_attempt_is_never_complete(
    staging: Staging, store: StatusStore, airflow: Facts, state: State, health: Health
) -> None:
    staging.save_plan(RUN, queries(10))  # and before the first second was over, it was killed

    stream = only(take(store, airflow, now=NOW + timedelta(hours=1)))

    assert (stream.intervals[0].state, stream.health) == (state, health)
    assert (stream.intervals[0].counts.planned, stream.intervals[0].counts.done) == (10, 0)
    assert stream.newest == ""


@pytest.mark.parametrize("airflow", [Facts(), facts(), facts(fact(skipped=frozenset({"prove"})))])
def test_a_dry_run_leaves_the_health_of_its_stream_alone(staging: Staging, store: StatusStore, airflow: Facts) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "cost", {"plan_only": True, "ways": []})

    stream = only(take(store, airflow))

    assert stream.intervals[0].why == "a dry run: it planned, and made none of the planned calls"
    assert (stream.intervals[0].state, stream.health) == (State.NOT_DUE, Health.NEW)


def test_forty_dry_runs_push_out_no_interval(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT)
    dry = [replace(RUN, run_id=f"plan__2026-11-27T00:00:{number:02d}.000Z") for number in range(40)]
    for one in dry:
        staging.note(one, "cost", {"plan_only": True, "ways": []})

    stream = only(take(store, facts(*map(fact_of, dry[:30]), fact())))

    assert (stream.health, len(stream.intervals)) == (Health.COMPLETE, 11)


def fact_of(run: Run) -> RunFact:
    return RunFact("shop", run.run_id, "success", due_at="2026-11-27T00:00:00.000+00:00")


def test_a_dry_run_that_fails_needs_nobody(store: StatusStore) -> None:
    failed = fact("failed", replace(RUN, run_id="plan__2026-11-26T00:00:00.000Z"), failed=("plan",))

    stream = only(take(store, facts(failed)))

    assert (stream.intervals[0].state, stream.health) == (State.NOT_DUE, Health.NEW)


def test_a_receipt_of_an_earlier_try_proves_nothing(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT)
    until(staging, RUN, "harvest 2", figures(answered=4))

    stream = only(take(store, Facts(), now=NOW + timedelta(hours=1)))

    assert stream.intervals[0].state is State.INCOMPLETE
    assert stream.intervals[0].counts.done == 4


def until(staging: Staging, run: Run, step: str, note: dict[str, Any]) -> None:
    """Note figures at a later millisecond than all before."""
    before = datetime.now(UTC) + timedelta(milliseconds=2)
    while datetime.now(UTC) < before:
        pass
    staging.note(run, step, note)


def test_counts_that_differ_say_what_to_do(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT | {"agrees": False, "staged": 7, "gaps": 1})
    staging.note(RUN, "verdict", {"points": ["2 of 10 planned queries are not staged: clear 'harvest'"]})
    staging.reject(RUN, [(0, Rejected(queries(1)[0], 200, "<html>", "invalid JSON", NOW))])

    snapshot = take(store, facts(fact("failed", failed=("prove",))))

    counts = only(snapshot).intervals[0].counts
    assert (counts.done, counts.gaps, counts.quarantined, counts.missing) == (8, 1, 1, 1)
    (attention,) = snapshot.attention
    assert (attention.person, attention.safe) == (True, "everything")
    assert "clear 'harvest'" in attention.cause
    assert snapshot.sentence == "0 of 1 streams complete, 1 needs you."


def test_a_wait_is_not_red_and_says_until_when(staging: Staging, store: StatusStore) -> None:
    ends = (NOW + timedelta(minutes=30)).isoformat()
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "harvest 1", figures(answered=4, stopped_by="RateLimited", error="it waits", waits_until=ends))

    snapshot = take(store, facts(fact("running", deferred=("harvest",))))

    (attention,) = snapshot.attention
    assert (only(snapshot).health, attention.person, attention.until) == (Health.WAITING, False, ends)
    assert only(take(store, Facts())).health is Health.WAITING
    later = only(take(store, facts(fact("running")), now=NOW + timedelta(hours=1)))
    assert later.health is Health.RUNNING, "the wait is over"


def test_a_run_that_waits_for_an_approval_needs_a_person(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(10))

    snapshot = take(store, facts(fact("running", awaiting=("approve",))))

    (attention,) = snapshot.attention
    assert (only(snapshot).health, attention.person) == (Health.ACTION, True)
    assert attention.cause == "approve waits for the approval of a person"
    assert "Required Actions" in attention.do


def test_accepted_gaps_nothing_to_do_and_batches_of_messages(staging: Staging, store: StatusStore) -> None:
    other, third = replace(RUN, run_id="manual__2026-11-27T00:00:00+00:00"), replace(RUN, run_id="batch")
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT | {"staged": 9, "gaps": 1})
    staging.note(third, "pull", {"pulled": 5, "records": 4, "unreadable": 1})
    staging.note(third, "receipt", {"agrees": True, "loaded": 4, "merged": 4})

    stream = only(take(store, facts(fact(run=third), fact(run=other, skipped=frozenset({"prove"})), fact())))

    found = {one.run_id: one for one in stream.intervals}
    assert found[RUN.run_id].state is State.GAPS
    assert found[other.run_id].state is State.NOT_DUE
    assert found["batch"].state is State.COMPLETE
    assert (found["batch"].counts.done, found["batch"].counts.quarantined, found["batch"].counts.missing) == (4, 1, 0)
    assert stream.health is Health.COMPLETE


@pytest.mark.parametrize(("paused", "health"), [(False, Health.LATE), (True, Health.PAUSED)])
def test_a_time_of_the_schedule_without_a_run_is_missing(
    staging: Staging, store: StatusStore, paused: bool, health: Health
) -> None:
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT)
    due = ("2026-11-27T00:00:00.000+00:00", "2026-11-26T00:00:00.000+00:00", "2026-11-25T00:00:00.000+00:00")
    dag = replace(DAG, due=due, paused=paused)

    stream = only(take(store, facts(fact(), dag=dag), now=datetime(2026, 11, 27, 6, tzinfo=UTC)))

    assert [(one.due_at[:10], one.state) for one in stream.intervals] == [
        ("2026-11-27", State.MISSING),
        ("2026-11-26", State.COMPLETE),
    ], "before its first run nothing was wanted of it"
    assert stream.health is health


def test_one_dead_credential_of_several_streams_is_one_line(staging: Staging, store: StatusStore) -> None:
    names = [f"orders_{number}" for number in range(7)]
    provers = {name: (f"{name}.prove",) for name in names}
    dag = replace(DAG, provers=provers, connections=dict.fromkeys(names, ("shop_api",)))
    for name in names:
        run = replace(RUN, dataset=name)
        staging.save_plan(run, queries(10))
        note = figures(answered=0, stopped_by="CredentialsRejected", error=f"rejected at {name}", advice="new token")
        staging.note(run, "harvest 1", note)

    snapshot = take(store, facts(fact("failed", failed=("orders_1.harvest",)), dag=dag))

    (attention,) = snapshot.attention
    assert len(attention.streams) == 7
    assert (attention.do, attention.safe) == ("new token", "every answer so far")


def test_gaps_of_records_are_no_queries(staging: Staging, store: StatusStore) -> None:
    """A receipt counts queries without an answer, lost pages and records that are left out together."""
    staging.save_plan(RUN, queries(10))
    records = {"exported": 40, "loaded": 40, "merged": 40}
    staging.note(RUN, "receipt", RECEIPT | {"staged": 8, "gaps": 6, "erased": 1, **records})
    staging.note(RUN, "verdict", {"points": [], "query_gaps": 1, "partial": 2, "records_left_out": 3})

    (interval,) = only(take(store, Facts())).intervals

    assert (interval.state, interval.counts.done, interval.counts.missing) == (State.GAPS, 10, 0)
    steps = {step.name: (step.value, step.kind) for step in waterfall(interval)}
    assert steps["answers staged (2 lack their last pages)"] == (8, "total")
    assert steps["gaps: the API has no such thing"] == steps["erased: they were about a person"] == (1, "minus")
    assert steps["records that cannot be read and are left out"] == (3, "minus")
    assert steps["records merged"] == (40, "records")


@pytest.fixture
def fail(cloud: Settings, database: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a task fail, as Airflow tells its callbacks."""
    from windrow.airflow.operators.failure import note_failure

    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(airflow_env.mongo_connection(cloud, database)))

    def failed(task_id: str, error: Exception, **task: Any) -> None:
        known = SimpleNamespace(dag_id="shop", **{"dataset": "orders", "mongo_conn_id": "mongo_default"} | task)
        instance = SimpleNamespace(task_id=task_id)
        note_failure({"task_instance": instance, "run_id": RUN.run_id, "task": known, "exception": error})  # type: ignore[typeddict-item]

    return failed


def test_a_task_that_fails_tells_the_terminal_why(
    staging: Staging, store: StatusStore, fail: Callable[..., None]
) -> None:
    know("s3cr3t-7Kq")
    fail("orders.plan", CredentialsRejected("The key s3cr3t-7Kq was rejected", advice="Set a new key."))

    snapshot = take(store, Facts())
    seen = take(store, facts(fact("failed", failed=("orders.plan",))))

    for one in (snapshot, seen):
        (attention,) = one.attention
        assert attention.cause == "failed in orders.plan: The key *** was rejected"
        assert (attention.do, attention.safe, attention.person) == ("Set a new key.", "nothing was fetched", True)
    staging.save_plan(RUN, queries(10))
    until(staging, RUN, "receipt", RECEIPT)
    after = only(take(store, Facts()))
    assert (after.health, after.intervals[0].error) == (Health.COMPLETE, ""), "a failure that was repaired is history"


def test_a_failure_that_cannot_be_stored_changes_nothing(
    staging: Staging, store: StatusStore, fail: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail("merge", KeyError("x"), dataset="")
    fail("plan", StagingUnavailable("MongoDB is away", advice="Wait."))
    monkeypatch.delenv("AIRFLOW_CONN_MONGO_DEFAULT")
    fail("plan", KeyError("x"))

    assert store.summary(RUN) is None


# --- everything at once ------------------------------------------------------------------------


def test_a_snapshot_takes_a_handful_of_reads_and_no_answer(cloud: Settings, staging: Staging, database: str) -> None:
    """However many answers are staged: benchmarks/status.py measures how long it takes."""
    for number in range(20):
        run = Run(f"stream_{number:02d}", RUN.run_id, "shop")
        staging.save_plan(run, queries(10))
        staging.stage(run, [(0, Answer(query, Outcome.ANSWERED, 200, "{}", NOW)) for query in queries(10)])
        staging.note(run, "receipt", RECEIPT)
    commands = Commands()
    with MongoClient[dict[str, Any]](airflow_env.mongo_url(cloud), event_listeners=[commands]) as client:
        commands.names.clear()
        snapshot = take(StatusStore(client, database), Facts())

    assert len(snapshot.streams) == 20
    assert {one.health for one in snapshot.streams} == {Health.COMPLETE}
    assert len([name for name in commands.names if name in {"find", "distinct", "getMore"}]) <= 8


def test_a_busy_stream_does_not_push_a_quiet_one_out(staging: Staging, store: StatusStore) -> None:
    quiet = replace(RUN, dataset="quiet")
    staging.save_plan(quiet, [])
    for number in range(70):
        staging.save_plan(replace(RUN, run_id=f"batch {number:03d}"), [])

    found = store.latest(["orders", "quiet"], each=30)

    assert (len(found["orders"]), len(found["quiet"])) == (30, 1)
    assert found["orders"][0].run_id == "batch 069"


def test_summaries_stay_small_however_often_a_harvest_is_tried(staging: Staging, store: StatusStore) -> None:
    for number in range(40):
        staging.note(RUN, f"harvest {number}", figures(answered=39 - number))
        staging.note(RUN, f"flow {number}", {"sent": 1})

    summary = store.summary(RUN)

    assert summary is not None
    assert set(summary.steps) == {"harvest"}
    assert (summary.done, summary.dag_id) == (39, "shop")
    assert len(store.notes(RUN)) == 80


def test_the_quarantine_is_counted_by_reason_without_its_bodies(staging: Staging, store: StatusStore) -> None:
    other = replace(RUN, dataset="others")
    bodies = [(0, Rejected(query, 200, "x" * 1000, "invalid JSON", NOW)) for query in queries(4)]
    staging.reject(RUN, bodies)
    staging.reject(other, [(0, Rejected(queries(1)[0], 422, "no", "refused " + "y" * 500, NOW))])

    reasons, complete = store.reasons()

    assert complete
    assert [(one.dataset, one.count, one.status) for one in reasons] == [("orders", 4, 200), ("others", 1, 422)]
    assert len(reasons[1].reason) == 160
    assert [one.dataset for one in store.reasons("others")[0]] == ["others"]
    assert store.reasons("orders", RUN.run_id)[0] == reasons[:1]
    found = store.quarantined(RUN, cause="invalid JSON", limit=2)
    assert [(one.reason, one.in_plan) for one in found] == [("invalid JSON", True)] * 2


@pytest.mark.parametrize("key", ["order?number=3", "a%7Cb ' \" <script> \U0001f6a2", "order?number=$gt"])
def test_a_key_is_found_whatever_its_characters(staging: Staging, store: StatusStore, key: str) -> None:
    query = Query(key, "/order")
    again = replace(RUN, run_id="manual__2")
    staging.stage(RUN, [(0, Answer(query, Outcome.ANSWERED, 200, '{"a": 1}', NOW))])
    staging.reject(again, [(0, Rejected(query, 200, "<html>", "invalid JSON", NOW - timedelta(hours=1)))])

    found = store.find(key, [RUN, again, replace(RUN, run_id="none")])

    assert [(one.run_id, one.state, one.reason) for one in found] == [
        (RUN.run_id, "answered", ""),
        ("manual__2", "quarantined", "invalid JSON"),
    ]


def test_sizes_are_by_stream_and_kind(staging: Staging, store: StatusStore) -> None:
    other = replace(RUN, dataset="others", run_id="old")
    staging.note(replace(other, run_id="purged"), "purged", {})  # the oldest
    for run in (other, RUN):
        staging.prepare(run.dataset)
        staging.save_plan(run, queries(3))
    answers = [(0, Answer(query, Outcome.ANSWERED, 200, "x" * 1_000, NOW)) for query in queries(3)]
    staging.stage(RUN, answers)
    staging.reject(RUN, [(0, Rejected(queries(1)[0], 200, "y" * 5_000, "invalid JSON", NOW))])

    found = read_sizes(store, ["orders", "others", "new"], "now")

    orders, *rest = found.streams
    assert orders.dataset == "orders"
    assert {kind: one.documents for kind, one in orders.kinds.items()} == {
        "answers": 3, "plans": 2, "quarantine": 1, "pages": 0, "receipts": 1,
    }  # fmt: skip
    assert 3_000 < orders.kinds["answers"].octets < 5_000 < orders.kinds["quarantine"].octets < 6_000
    assert orders.octets == sum(one.octets for one in orders.kinds.values())
    plans = [one.kinds["plans"] for one in (orders, rest[0])]
    assert plans[0] == plans[1], "each has half of the collection"
    assert 2 * plans[0].octets == pytest.approx(store.size("windrow_plans").octets, abs=1)
    assert [(one.dataset, one.kinds["receipts"].documents) for one in rest] == [("others", 3), ("new", 0)]
    summary = store.summary(other)
    assert summary is not None
    assert rest[0].oldest == summary.first_at


def test_a_body_is_read_from_where_it_is_as_far_as_one_document_holds_it(
    staging: Staging, store: StatusStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGEST", 1_000)
    small, large = queries(2)
    staging.stage(RUN, [(0, Answer(small, Outcome.ANSWERED, 200, '{"a": "é"}', NOW))])
    raw = b"\xff" + b"z" * 2_499
    staging.reject(RUN, [(0, Rejected(large, 200, "\ufffd", "no UTF-8", NOW, raw=raw, content_type="text/html"))])
    staging.reject(RUN, [(LIST, Rejected(small, 500, "<p>", "HTTP 500", NOW))])

    answer, binary, listed = (
        store.body(Place(RUN, query.key, of))
        for query, of in ((small, "answer"), (large, "quarantine"), (small, "quarantine"))
    )

    assert answer is not None
    assert (answer.text, answer.data, answer.is_whole) == ('{"a": "é"}', '{"a": "é"}'.encode(), True)
    assert binary is not None
    assert (binary.data, binary.content_type, binary.is_whole) == (raw[:1_000], "text/html", False)
    assert listed is not None
    assert (listed.text, listed.status) == ("<p>", 500)
    assert store.body(Place(RUN, large.key, "answer")) is None


def test_missing_keys_and_gaps_are_listed(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(4))
    first, second, *rest = queries(4)
    staging.stage(RUN, [(0, Answer(first, Outcome.ANSWERED, 200, "{}", NOW))])
    staging.stage(RUN, [(0, Answer(second, Outcome.MISSING, 404, "", NOW))])

    assert store.keys(RUN, "gap") == [second.key]
    assert store.keys(RUN, "open") == [query.key for query in rest]
    assert store.keys(RUN, "open", limit=1) == [rest[0].key]


def test_quotas_and_pauses_of_now(staging: Staging, store: StatusStore) -> None:
    from windrow.http.pacing import Pause

    ends = NOW + timedelta(hours=2)
    for number, units in enumerate((100, 100, -30)):
        staging.claim_block("client|shop.data|2026", number, units, by="me", ends_at=ends)
    staging.claim_block("client|shop.data|2025", 0, 999, by="me", ends_at=NOW - timedelta(hours=2))
    staging.close_window("client|shop.search|2026", ends)
    staging.keep_pause("shop_api", Pause(3, NOW))

    quotas = {one.name: one for one in store.quotas()}
    assert (quotas["shop.data"].taken, quotas["shop.data"].closed) == (170, False)
    assert (quotas["shop.search"].taken, quotas["shop.search"].closed) == (0, True)
    assert [(one.conn_id, one.times) for one in store.pauses()] == [("shop_api", 3)]


def test_a_warning_needs_attention_until_it_is_accepted_and_changes_no_state(
    staging: Staging, store: StatusStore
) -> None:
    other = replace(RUN, run_id="manual__1", dag_id="vault")
    staging.save_plan(RUN, queries(10))
    staging.note(RUN, "receipt", RECEIPT)
    staging.note(other, "receipt", RECEIPT)
    staging.warn(RUN, {"tax": "unknown field in 9 rows, kept in _extra"})
    staging.warn(other, dict.fromkeys(("a", "b", "c"), "x" * 300))

    before = take(store, Facts())
    (one,) = before.attention
    seen = only(before.only(lambda dags: "vault" not in dags or len(dags) > 1))
    staging.mark(staging.warnings("orders"), "accepted_at")

    assert only(before).health is Health.COMPLETE
    assert before.sentence == "1 of 1 streams complete, 1 with warnings."
    assert (one.health, one.streams, one.person) == (Health.WARNING, ("orders",), False)
    assert one.cause.startswith(f"a: {'x' * 197} ...; b: ")
    assert one.cause.endswith("; and 1 more")
    assert "windrow accept orders" in one.do
    assert [each.name for each in seen.warnings] == ["tax"], "of a run that one may not read there is nothing"
    assert take(store, Facts()).attention == []


def test_a_snoozed_alert_is_known_to_whom_sees_its_stream(staging: Staging, store: StatusStore) -> None:
    staging.save_plan(RUN, queries(2))
    stopped = figures(stopped_by="CredentialsRejected", error="The credentials were rejected.", advice="Get new ones.")
    staging.note(RUN, "harvest 1", stopped)
    (one,) = take(store, Facts()).attention
    for cause, hours in ((one.alert, 1), ("attention|of|others", 1), ("ended", -1)):
        staging.snooze(cause, iso(datetime.now(UTC) + timedelta(hours=hours)), by="ada")

    found = take(store, Facts())

    assert one.alert in {problem.cause for problem in problems(found, {}, NOW)}, "a snooze takes what the alert says"
    assert {each.cause for each in found.snoozes} == {one.alert, "attention|of|others"}
    assert [(each.cause, each.by) for each in found.only(lambda dags: True).snoozes] == [(one.alert, "ada")]
    assert found.only(lambda dags: False).snoozes == ()


# --- who sees what -----------------------------------------------------------------------------


def test_a_stream_of_a_dag_that_one_may_not_read_appears_nowhere(staging: Staging, store: StatusStore) -> None:
    secret = Run("secrets", RUN.run_id, "vault")
    for run in (RUN, secret):
        staging.save_plan(run, queries(2))
        staging.note(run, "receipt", RECEIPT)
        staging.reject(run, [(0, Rejected(queries(1)[0], 200, "", f"of {run.dataset}", NOW))])
    both = Facts(True, {"shop": DAG, "vault": DagFact("vault", provers={"secrets": ("prove",)})}, {})

    seen = take(store, both).only(lambda dags: list(dags) == ["shop"])

    assert [one.dataset for one in seen.streams] == ["orders"]
    assert [one.reason for one in seen.reasons] == ["of orders"]
    assert "1 of 1" in seen.sentence
    assert "vault" not in str(seen)
    assert "secrets" not in str(seen)


# --- trouble -----------------------------------------------------------------------------------


def test_a_server_that_is_away_and_a_bad_url_are_clear_errors() -> None:
    with open_status("mongodb://reader:hushhush@127.0.0.1:9/?serverSelectionTimeoutMS=100") as store:
        with pytest.raises(StagingUnavailable, match="MongoDB did not answer") as caught:
            store.datasets()
        assert "hushhush" not in str(caught.value)
    with (
        pytest.raises(ConnectionUnusable, match="in this program, or one of its options, is invalid") as invalid,
        open_status("mongodb://u:p@ss@:x/"),
    ):
        pass
    assert "p@ss" not in str(invalid.value)


def test_the_runbook_is_the_table_of_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if "|" in line]
    table: dict[str, list[str]] = {}
    for line in lines:
        if len(line) == 4:  # the first row of a task is the general one
            table.setdefault(" ".join(re.findall(r"`([\w*]+)`", line[0])), line[2:])

    for one in ROWS:
        assert table[one.tasks] == [one.safe, one.do]
    assert row(["users.sweep"]).tasks == "fetch sweep"
    assert row(["marts", "prove_albums"]).tasks == "merge check coverage mart*"


def test_the_store_is_reached_by_url(cloud: Settings, staging: Staging, database: str) -> None:
    staging.save_plan(RUN, [])
    with open_status(airflow_env.mongo_url(cloud, database)) as store:
        assert store.datasets() == ["orders"]
