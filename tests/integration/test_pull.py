"""pull and acknowledge over real connections: Pub/Sub, GCS, MongoDB, BigQuery. How they run in a DAG: tests/e2e."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud import airflow_env
from local_cloud.settings import BUCKET, PROJECT_ID, Settings
from tests.local_cloud.pubsub.bench import Bench, texts
from tests.shared_cloud import SharedCloud
from tests.x_table import NOW, SQL, land, post, run
from windrow.airflow.hooks.pubsub import Subscription
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.acknowledge import AcknowledgeOperator
from windrow.airflow.operators.pull import PullOperator
from windrow.airflow.triggers.pubsub import MessagesWaiting
from windrow.landing.batch import ACKS, Bounds, gather
from windrow.landing.files import Manifest, Sizes
from windrow.model.errors import ConnectionUnusable, CountsDisagree, ManifestMissing
from windrow.model.plan import Run, slug
from windrow.store.warnings import Warned

GCP = "google_cloud_default"


@pytest.fixture(scope="module")
def pubsub(shared: SharedCloud) -> Settings:
    return shared.need("pubsub")


@pytest.fixture
def bench(pubsub: Settings, cloud: Settings, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A topic with its subscription, and Airflow's connections to it."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.pubsub_address)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.gcs_url)
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", cloud.bigquery_url)
    extra = {"is_anonymous": True, "project": PROJECT_ID, "use_legacy_sql": False}
    google = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", json.dumps(google))
    mongo = airflow_env.mongo_connection(cloud, "pull")
    monkeypatch.setenv("AIRFLOW_CONN_MONGO_DEFAULT", json.dumps(mongo))
    made = Bench(pubsub.pubsub_port, pubsub.pubsub_http_port)
    made.make(ack_deadline_seconds=600)
    return made


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        for dataset in ("x", "windrow_landing"):
            client.create_dataset(dataset, exists_ok=True)
        run(client, "posts/create.sql")
        yield client


class Task:
    """The two tasks of one run."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.run_id = f"test__{uuid.uuid4().hex}"
        self.prefix = f"x/{self.run_id}"
        self.batch = {
            "dataset": "x_posts",
            "subscription": bench.name.rpartition("/")[2],
            "to": f"gs://{BUCKET}",
            "prefix": self.prefix,
        }
        self.context: Any = {"run_id": self.run_id, "dag_run": SimpleNamespace(conf={}), "outlet_events": {}}

    def pull(self, **bounds: Any) -> dict[str, Any]:
        """Pull all that there is, and no more: only at the end of an empty queue a pull waits for seconds."""
        report = self.bench.report()
        bounds = {"max_seconds": 5, "max_messages": max(1, report["waiting"] + report["leased"])} | bounds
        return PullOperator(task_id="pull", **self.batch, **bounds).execute(self.context)

    def acknowledge(self) -> dict[str, Any]:
        sql = (
            (SQL / "posts/prove.sql")
            .read_text()
            .replace("{{ run_id | slug }}", slug(self.run_id))
            .replace("{{ prefix() }}", "")
        )
        return AcknowledgeOperator(task_id="acknowledge", **self.batch, sql=sql).execute(self.context)

    @property
    def manifest(self) -> Manifest:
        return Manifest.read(open_store(f"gs://{BUCKET}", GCP), self.prefix)

    def quarantine(self) -> list[str]:
        with staging("mongo_default", "x_posts") as state:
            return [rejected.reason for _, rejected in state.quarantined(Run("x_posts", self.run_id))]


@pytest.fixture
def task(bench: Bench) -> Task:
    return Task(bench)


def messages(*numbers: int) -> list[str]:
    return [json.dumps({name: value for name, value in post(n).items() if value is not None}) for n in numbers]


def merged(warehouse: bigquery.Client, task: Task, *numbers: int) -> None:
    land(warehouse, *(post(number) | {"_run_id": task.run_id} for number in numbers), run_id=task.run_id)
    run(warehouse, "posts/merge.sql", task.run_id)


def test_a_batch_is_landed_and_acknowledged_only_when_it_is_merged(bench, task, warehouse):
    bench.publish(*messages(1, 2, 3))

    returned = task.pull(max_messages=50)

    assert returned["records"] == 3
    assert returned["objects"] == [f"{task.prefix}/part-00000.parquet"]
    assert bench.report()["leased"] == 3
    assert bench.report()["acknowledged"] == 0

    merged(warehouse, task, 1, 2, 3)
    receipt = task.acknowledge()

    assert (receipt["agrees"], receipt["exported"], receipt["merged"], receipt["acknowledged"]) == (True, 3, 3, 3)
    assert bench.report()["acknowledged"] == 3
    assert bench.report()["leased"] == 0


def test_nothing_is_acknowledged_when_the_warehouse_lacks_a_record(bench, task, warehouse):
    bench.publish(*messages(11, 12))
    task.pull()
    merged(warehouse, task, 11)

    with pytest.raises(CountsDisagree, match=r"2 records landed, 1 loaded"):
        task.acknowledge()

    assert bench.report()["acknowledged"] == 0


def test_a_crash_before_the_acknowledgement_brings_the_messages_again(bench, task, warehouse):
    bench.publish(*messages(21, 22))
    task.pull()
    merged(warehouse, task, 21, 22)
    bench.lease(bench_leased(task), 0)  # as ten minutes after the crash

    again = Task(bench)
    assert again.pull()["records"] == 2
    merged(warehouse, again, 21, 22)
    again.acknowledge()

    assert bench.report()["acknowledged"] == 2
    found = warehouse.query_and_wait("SELECT COUNT(*) AS n FROM x.posts WHERE text IN ('tesla 21', 'tesla 22')")
    assert [row["n"] for row in found] == [2]


def test_two_runs_that_have_the_same_messages_merge_them_once(bench, task, warehouse):
    """The lease of a run that takes too long ends, and its messages go to the next, which is not even alone."""
    bench.publish(*messages(25, 26))
    task.pull()
    bench.lease(bench_leased(task), 0)
    bench.publish(*messages(27))
    other = Task(bench)
    assert other.pull()["records"] == 3

    merged(warehouse, task, 25, 26)
    merged(warehouse, other, 25, 26, 27)
    assert task.acknowledge()["agrees"]
    assert other.acknowledge()["agrees"]

    assert (bench.report()["waiting"], bench.report()["leased"]) == (0, 0)
    found = warehouse.query_and_wait("SELECT text FROM x.posts WHERE text BETWEEN 'tesla 25' AND 'tesla 27'")
    assert sorted(row["text"] for row in found) == ["tesla 25", "tesla 26", "tesla 27"]


def test_messages_are_ours_for_longer_than_the_subscription_says_once_their_ids_are_stored(bench, task):
    impatient, other = f"{bench.name}-10", f"{bench.name}-too"
    for name in (impatient, other):
        bench.subscriber.create_subscription(name=name, topic=bench.topic, ack_deadline_seconds=10)
    bench.publish(*messages(28))
    task.batch["subscription"] = impatient.rpartition("/")[2]
    gather(Subscription(GCP, task.batch["subscription"]), Bounds(messages=1, seconds=30))
    assert 80 < bench.report(impatient)["leased_for_s"] <= 90, "a task that is killed now delays them for no longer"
    bench.publish(*messages(29))
    task.pull(max_messages=1)
    assert len(bench.pull(name=other)) == 2

    assert 0 < bench.report(other)["leased_for_s"] <= 10
    assert bench.report(impatient)["leased_for_s"] > 500


def bench_leased(task: Task) -> list[Any]:
    data = open_store(f"gs://{BUCKET}", GCP).get(f"{task.prefix}/{ACKS}")
    return [SimpleNamespace(ack_id=ack_id) for ack_id in orjson.loads(data or b"[]")]


def test_a_message_that_cannot_be_read_goes_to_the_quarantine_and_is_let_go(bench, task, warehouse):
    bench.publish("no json", *messages(31), '{"post_id": "1"}')

    assert task.pull()["records"] == 1
    merged(warehouse, task, 31)
    receipt = task.acknowledge()

    assert (receipt["exported"], receipt["unreadable"], receipt["acknowledged"]) == (1, 2, 3)
    assert len(task.quarantine()) == 2


@pytest.mark.parametrize(
    "poison",
    [{"text": None}, {"created_at": (NOW + timedelta(days=1)).isoformat()}, {"_extra": 7}],
    ids=["no text", "of the future", "extra of another type"],
)
def test_a_message_that_no_load_or_audit_would_pass_does_not_stop_the_others(bench, task, warehouse, poison):
    broken = {name: value for name, value in (post(91) | poison).items() if value is not None}
    bench.publish(json.dumps(broken), *messages(92))

    assert task.pull()["records"] == 1
    merged(warehouse, task, 92)
    (decision,) = run(warehouse, "posts/audit.sql", task.run_id)

    assert all(decision.values())
    assert task.acknowledge()["acknowledged"] == 2
    assert len(task.quarantine()) == 1


def test_an_unknown_field_of_messages_is_kept_and_a_warning_until_it_is_accepted(bench, task, warehouse):
    name = f"mood_{uuid.uuid4().hex}"
    bench.publish(*messages(71, 72), *(json.dumps(json.loads(one) | {name: 1}) for one in messages(73)))

    assert task.pull()["records"] == 3
    merged(warehouse, task, 71, 72, 73)
    receipt = task.acknowledge()

    def warned() -> Warned:
        with staging("mongo_default", "x_posts") as state:
            (found,) = [one for one in state.warnings("x_posts") if one.name == name]
        return found

    assert (receipt["agrees"], receipt["unknown_fields"], receipt["warnings"]) == (True, f"{name} 1", 1)
    before = warned()
    assert before.alerted_at
    with staging("mongo_default", "x_posts") as state:
        state.mark([before], "accepted_at")
    assert "warnings" not in task.acknowledge()
    assert warned().alerted_at == before.alerted_at


def test_a_batch_of_nothing_that_can_be_read_is_skipped_and_let_go(bench, task):
    bench.publish("no json")

    with pytest.raises(AirflowSkipException, match=r"None of .* could be read"):
        task.pull()

    assert bench.report()["acknowledged"] == 1
    assert len(task.quarantine()) == 1


def test_without_messages_the_task_is_skipped(task):
    with pytest.raises(AirflowSkipException, match="has no messages"):
        task.pull(max_seconds=1)


def test_a_batch_ends_at_its_bounds(bench, task):
    bench.publish(*messages(*range(40, 60)))

    assert task.pull(max_messages=7)["records"] == 7
    queue = Subscription(GCP, bench.name.rpartition("/")[2])
    assert len(gather(queue, Bounds(bytes=1))) == 13, "a pull is not cut"
    assert gather(queue, Bounds(seconds=0.5)) == []


def test_a_second_try_pulls_the_messages_of_the_first_again_and_leaves_nothing_of_it(bench, task, monkeypatch):
    monkeypatch.setattr("windrow.landing.batch.Sizes", lambda: Sizes(group=1, file=1))
    monkeypatch.setattr("windrow.landing.batch._AT_ONCE", 1)
    bench.publish(*messages(71, 72))
    task.pull()
    before = task.manifest
    bench.publish(*messages(73))

    task.pull(max_messages=1)

    assert before.records == 2
    assert task.manifest.records == 1
    assert (bench.report()["waiting"], bench.report()["leased"]) == (2, 1)
    names = open_store(f"gs://{BUCKET}", GCP).names(f"{task.prefix}/")
    assert len(names) == 3, "a part, the ids, the manifest"


def test_what_is_not_there_is_named(bench, task):
    with pytest.raises(ManifestMissing):
        task.acknowledge()
    task.batch["subscription"] = "never-made"
    with pytest.raises(ConnectionUnusable, match="subscriptions/never-made"):
        task.pull()


def test_the_trigger_wakes_and_takes_nothing(bench):
    trigger = MessagesWaiting(subscription=bench.name.rpartition("/")[2], quiet_s=3600)
    classpath, arguments = trigger.serialize()
    assert classpath == "windrow.airflow.triggers.pubsub.MessagesWaiting"
    bench.publish(*messages(81))

    async def first() -> Any:
        return (await anext(MessagesWaiting(**arguments).run())).payload

    assert asyncio.run(asyncio.wait_for(first(), 30)) == {"subscription": bench.name.rpartition("/")[2]}
    assert len(texts(bench.pull())) == 1


def test_the_trigger_waits_while_there_is_nothing(bench):
    trigger = MessagesWaiting(subscription=bench.name.rpartition("/")[2])

    async def first() -> Any:
        return await asyncio.wait_for(anext(trigger.run()), 2)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        asyncio.run(first())
    assert time.monotonic() - began < 15, "a check that nobody waits for any more goes on: the emulator takes 20 s"
