"""posts_to_bigquery, packaged and served: pushed to by Pub/Sub, writing to BigQuery."""

import base64
import json
import uuid
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from include.functions import package
from local_cloud.settings import PROJECT_ID, Settings
from local_cloud.testing import running
from tests.functions.harness import ACCOUNT, AUDIENCE, Function, Issuer, serving
from tests.local_cloud.conftest import eventually
from tests.local_cloud.pubsub.bench import Bench
from tests.x_table import SQL, post, run

PUSHED = "windrow_landing.x_posts_pushed"
"""Each test pushes posts of its own: what was inserted once is known by its id, also when the table is made anew."""


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        for dataset in ("x", "windrow_landing"):
            client.create_dataset(dataset, exists_ok=True)
        yield client


@pytest.fixture
def tables(warehouse: bigquery.Client) -> bigquery.Client:
    """The warehouse with an empty final table, and an empty one that is pushed into."""
    for table in ("x.posts", PUSHED):
        warehouse.delete_table(table, not_found_ok=True)
        create = (SQL / "posts" / "create.sql").read_text().replace("{{ prefix() }}x.posts (", f"{table} (")
        list(warehouse.query_and_wait(create))
    return warehouse


@pytest.fixture(scope="module")
def pushed_to(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip as it is deployed, unpacked."""
    folder = tmp_path_factory.mktemp("posts")
    package.write_zip(package.contents("posts_to_bigquery"), folder / "function.zip")
    with zipfile.ZipFile(folder / "function.zip") as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.fixture(scope="module")
def variables(cloud: Settings) -> dict[str, str]:
    return {
        "BIGQUERY_TABLE": f"{PROJECT_ID}.{PUSHED}",
        "BIGQUERY_URL": cloud.bigquery_url,
        "BIGQUERY_ANONYMOUS": "1",
    }


@pytest.fixture(scope="module")
def posts(pushed_to: Path, issuer: Issuer, variables: dict[str, str]) -> Iterator[Function]:
    """The function, which lets everybody call."""
    with serving(pushed_to, issuer, variables, "posts_to_bigquery") as function:
        yield function


def push(function: Function, data: bytes, **headers: str) -> int:
    body = {"message": {"data": base64.b64encode(data).decode(), "messageId": uuid.uuid4().hex}, "subscription": "s"}
    return function.request("POST", json.dumps(body).encode(), headers).status


def message(number: int, **changes: Any) -> bytes:
    return json.dumps({name: value for name, value in post(number, **changes).items() if value is not None}).encode()


def rows(warehouse: bigquery.Client, table: str = PUSHED) -> list[dict[str, Any]]:
    return [dict(row) for row in warehouse.query_and_wait(f"SELECT * FROM {table} ORDER BY post_id")]  # noqa: S608


def test_what_pubsub_pushes_is_merged_to_one_row_a_post(
    tables: bigquery.Client, posts: Function, tmp_path: Path
) -> None:
    with running({"pubsub"}, tmp_path / "var") as settings:
        bench = Bench(settings.pubsub_port, settings.pubsub_http_port)
        bench.make(push_config={"push_endpoint": f"http://127.0.0.1:{posts.port}/"})
        for number in (*range(100), *range(10)):  # the last ten come twice
            bench.publish(message(number).decode())
        eventually(lambda: bench.report()["acknowledged"] == 110, "all are pushed", 60)

    assert {row["text"] for row in rows(tables)} == {f"tesla {number}" for number in range(100)}
    assert {row["_run_id"] for row in rows(tables)} == {"push"}
    run(tables, "posts/merge.sql", source=PUSHED)
    assert len(rows(tables, "x.posts")) == 100


def test_a_message_that_cannot_be_read_ends_with_the_dead_letters(
    tables: bigquery.Client, posts: Function, tmp_path: Path
) -> None:
    with running({"pubsub"}, tmp_path / "var") as settings:
        bench = Bench(settings.pubsub_port, settings.pubsub_http_port)
        graves, watching = f"{bench.topic}-dead", f"{bench.name}-dead"
        bench.publisher.create_topic(name=graves)
        bench.subscriber.create_subscription(name=watching, topic=graves)
        bench.make(
            push_config={"push_endpoint": f"http://127.0.0.1:{posts.port}/"},
            dead_letter_policy={"dead_letter_topic": graves},
        )
        bench.publish("no record", message(1000).decode())

        (letter,) = bench.pull(name=watching)

    assert letter.message.data == b"no record"
    assert [row["text"] for row in rows(tables)] == ["tesla 1000"]


def test_posts_that_come_at_once_go_in_few_calls(tables: bigquery.Client, posts: Function) -> None:
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda number: push(posts, message(number)), range(2000, 2200)))

    assert set(statuses) == {204}
    assert len(rows(tables)) == 200


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no json", "invalid JSON"),
        (b"{}", "'post_id' is missing"),
        (b'{"post_id": "1"}', "created_at"),
        (message(1, text=None), "has no text"),
    ],
)
def test_a_message_that_is_none_is_refused_and_told(posts: Function, data: bytes, reason: str) -> None:
    before = len(posts.lines())

    assert push(posts, data) == 422
    line = posts.lines(before)[-1]
    assert (line["severity"], line["outcome"]) == ("ERROR", "unreadable")
    assert reason in line["reason"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"message": {}}', b'{"message": {"messageId": "1", "data": "?"}}']
)
def test_a_body_that_is_no_push_is_refused(posts: Function, body: bytes) -> None:
    assert posts.request("POST", body, {}).status == 400


def test_only_the_account_of_the_subscription_may_push(
    tables: bigquery.Client, pushed_to: Path, issuer: Issuer, variables: dict[str, str]
) -> None:
    checked = {"OIDC_AUDIENCE": AUDIENCE, "OIDC_SERVICE_ACCOUNT": ACCOUNT, "OIDC_CERTS_URL": issuer.url}
    with serving(pushed_to, issuer, variables | checked, "posts_to_bigquery") as function:
        assert push(function, message(3000)) == 401
        assert push(function, message(3000), Authorization=f"Bearer {issuer.token(email='other@x.test')}") == 403
        assert push(function, message(3000), Authorization=f"Bearer {issuer.token()}") == 204

    assert len(rows(tables)) == 1


def test_without_bigquery_the_message_comes_again(pushed_to: Path, issuer: Issuer, variables: dict[str, str]) -> None:
    nowhere = variables | {"BIGQUERY_URL": "http://127.0.0.1:9"}
    with serving(pushed_to, issuer, nowhere, "posts_to_bigquery") as function:
        assert push(function, message(1)) == 503
        assert function.lines()[-1]["outcome"] == "not written"


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"BIGQUERY_TABLE": "x.posts"}, "BIGQUERY_TABLE"), ({"OIDC_AUDIENCE": AUDIENCE}, "OIDC_SERVICE_ACCOUNT")],
)
def test_settings_that_cannot_be_meant_are_named(
    pushed_to: Path, issuer: Issuer, variables: dict[str, str], changes: dict[str, str], told: str
) -> None:
    with (
        pytest.raises(AssertionError, match=told),
        serving(pushed_to, issuer, variables | changes, "posts_to_bigquery"),
    ):
        pass


def test_the_package_holds_nothing_of_airflow_or_mongodb(pushed_to: Path) -> None:
    names = {str(path.relative_to(pushed_to)) for path in pushed_to.rglob("*.py")}

    assert names >= {
        "main.py",
        "writer.py",
        "caller.py",
        "windrow/model/logs.py",
        "windrow/model/message.py",
        "windrow/sources/x/streams.py",
    }
    assert not [name for name in names if "hooks" in name or "staging" in name or "operators" in name]
