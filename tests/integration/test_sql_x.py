"""The SQL files of x, run on BigQuery as the DAG runs them."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.settings import PROJECT_ID, Settings
from tests.integration.warehouse import empty
from tests.x_table import MARTS, NOW, SQL, deletion, land, merge, post, run, withholding
from windrow.model.query import Query
from windrow.sources.x.streams import Posts


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("x", exists_ok=True)
        client.create_dataset("windrow_landing", exists_ok=True)
        yield client


@pytest.fixture
def final(warehouse: bigquery.Client) -> bigquery.Client:
    """The warehouse with an empty final table."""
    empty(warehouse, "x", ["posts"], lambda table: run(warehouse, f"{table}/create.sql"))
    return warehouse


def table(warehouse: bigquery.Client) -> list[dict[str, Any]]:
    return [dict(row) for row in warehouse.query_and_wait("SELECT * FROM x.posts ORDER BY post_id")]


def test_the_final_table_has_the_columns_of_the_contract(final):
    columns = final.get_table("x.posts").schema
    declared = Posts.contract.bigquery_fields
    assert [(column.name, column.field_type, column.mode) for column in columns] == [
        (field["name"], field["type"], field["mode"]) for field in declared
    ]
    described = (SQL / "posts" / "create.sql").read_text()
    for field in declared:
        assert f"'{field['description']}'" in described, f"{field['name']} is described otherwise in create.sql"


def test_merging_twice_changes_nothing_and_a_post_that_came_twice_is_one_row(final):
    merge(final, post(1), post(1, NOW + timedelta(seconds=1), lang="de"), post(2))
    once = table(final)
    run(final, "posts/merge.sql")

    assert [(row["text"], row["lang"]) for row in once] == [("tesla 1", "de"), ("tesla 2", "en")]
    assert table(final) == once


def test_every_column_of_a_newer_record_replaces_the_older(final):
    merge(final, post(1))
    other = {
        "text": "other", "author_id": "2", "username": "ada", "lang": "fr", "hashtags": "a b", "repost_of": "3",
        "quote_of": "4", "reply_to": "5", "edit_of": "6", "first_version": "5", "rules": "a b", "withheld_in": "DE",
        "_extra": "{}", "_key": "k", "_run_id": "two",
    }  # fmt: skip
    changed = post(1, NOW + timedelta(hours=1), **other)
    merge(final, changed, run_id="two")
    (row,) = table(final)

    wanted = changed | {"_fetched_at": NOW + timedelta(hours=1), "created_at": NOW}
    assert row == wanted


def test_an_older_record_does_not_turn_the_table_back_and_still_counts_as_merged(final):
    merge(final, post(1, NOW + timedelta(hours=1), lang="de"), run_id="new")
    merge(final, post(1, lang="en"), run_id="old")

    assert [row["lang"] for row in table(final)] == ["de"]
    assert run(final, "posts/prove.sql", "old") == [{"loaded": 1, "distinct": 1, "merged": 1, "total": 1}]


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(hours=-1)], ids=["late post", "early post"])
def test_a_deletion_takes_the_text_and_no_post_brings_it_back(final, later):
    merge(final, post(1), run_id="a")
    merge(final, deletion(1), run_id="b")
    merge(final, post(1, NOW + later), run_id="c")
    (row,) = table(final)

    assert (row["text"], row["author_id"], row["deleted_at"]) == (None, None, NOW)
    assert run(final, "posts/prove.sql", "c")[0]["merged"] == 1


LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "batches",
    [
        [(post(1, rules="cars"), post(1, LATER, rules="de cars"))],
        [(post(1, rules="cars"),), (post(1, LATER, rules="de"),)],
        [(post(1, LATER, rules="de"),), (post(1, rules="cars"),)],
    ],
    ids=["one batch", "in order", "the later first"],
)
def test_a_post_has_the_rules_of_all_its_records(final, batches):
    for number, batch in enumerate(batches):
        merge(final, *batch, run_id=str(number))
        run(final, "posts/merge.sql", str(number))

    assert [(row["rules"], row["_fetched_at"]) for row in table(final)] == [("cars de", LATER)]


@pytest.mark.parametrize(
    "batches",
    [
        [(post(1), withholding(1, LATER))],
        [(post(1),), (withholding(1, LATER),)],
        [(withholding(1, LATER),), (post(1),)],
        [(post(1, LATER),), (withholding(1),)],
    ],
    ids=["one batch", "in order", "the notice first", "an old notice"],
)
def test_a_notice_of_withholding_changes_nothing_else_and_counts_as_merged(final, batches):
    for number, batch in enumerate(batches):
        merge(final, *batch, run_id=str(number))

    assert [(row["text"], row["lang"], row["withheld_in"]) for row in table(final)] == [("tesla 1", "en", "DE FR")]
    for number in range(len(batches)):
        assert run(final, "posts/prove.sql", str(number))[0]["merged"] == 1


def test_a_deletion_in_the_same_batch_wins(final):
    merge(final, deletion(1), post(1, NOW + timedelta(minutes=1)))

    assert [row["deleted_at"] for row in table(final)] == [NOW]


def test_proof_sees_a_post_that_was_not_merged(final):
    merge(final, post(1), post(2), post(2))
    final.query_and_wait("DELETE FROM x.posts WHERE text = 'tesla 2'")

    assert run(final, "posts/prove.sql") == [{"loaded": 3, "distinct": 2, "merged": 1, "total": 1}]


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ([post(1), deletion(2), post(1)], set()),
        ([withholding(1)], set()),
        ([post(1, text=None)], {"only_notices_lack_a_text"}),
        ([post(1, created_at=(NOW + timedelta(hours=2)).isoformat())], {"no_post_is_of_the_future"}),
    ],
)
def test_the_audit_finds_what_should_not_be_merged(final, rows, failed):
    land(final, *rows)
    (decision,) = run(final, "posts/audit.sql")
    assert {name for name, holds in decision.items() if not holds} == failed


def test_marts_count_what_is_there_now(final):
    old = post(9)
    merge(
        final,
        post(1, hashtags="ev tesla", rules="cars"),
        post(2, hashtags="ev", author_id="2", repost_of="1"),
        post(3, author_id="2", username="ada", lang=None, age=timedelta(hours=3)),
        post(4, age=timedelta(days=3), hashtags="late"),
        deletion(5),
        old,
        post(10, edit_of=old["post_id"], first_version=old["post_id"], lang="de", hashtags="ev", rules="cars de"),
        withholding(11),
    )
    for mart in MARTS:
        run(final, f"{mart}/query.sql")

    def rows(mart: str, columns: str) -> list[tuple[Any, ...]]:
        found = final.query_and_wait(f"SELECT {columns} FROM x.{mart} ORDER BY {columns}")  # noqa: S608
        return [tuple(row.values()) for row in found]

    minute, hour = NOW.replace(second=0), NOW.replace(minute=0, second=0)
    early = NOW - timedelta(hours=3)
    assert rows("by_minute", "minute, lang, posts, reposts, authors") == [
        (early.replace(second=0), "und", 1, 0, 1),
        (minute, "de", 1, 0, 1),
        (minute, "en", 2, 1, 2),
    ]
    assert [row[:3] for row in rows("by_hour", "hour, lang, posts")][-2:] == [(hour, "de", 1), (hour, "en", 2)]
    assert rows("by_rule", "rule, hour, posts, reposts, authors") == [("cars", hour, 2, 0, 1), ("de", hour, 1, 0, 1)]
    assert rows("hashtags", "hashtag, posts, reposts, authors") == [("ev", 3, 1, 2), ("tesla", 1, 0, 1)]
    assert rows("accounts", "author_id, account, posts, reposts") == [("1", "1", 2, 0), ("2", "ada", 2, 1)]


@pytest.mark.parametrize(
    "batches",
    [
        lambda edit, gone: [(edit,), (gone,)],
        lambda edit, gone: [(gone,), (edit,)],
        lambda edit, gone: [(edit, gone)],
    ],
    ids=["deleted later", "deleted before it came", "in one batch"],
)
def test_of_a_chain_of_edits_the_last_counts_and_none_when_that_is_deleted(final, batches):
    first = post(1)
    second = post(2, edit_of=first["post_id"], first_version=first["post_id"])
    third = post(3, edit_of=second["post_id"], first_version=first["post_id"])
    merge(final, first, second, run_id="chain")
    for number, batch in enumerate(batches(third, deletion(3))):
        merge(final, *batch, run_id=f"late{number}")
    run(final, "by_hour/query.sql")

    assert [(row["text"], row["edit_of"]) for row in table(final)] == [
        ("tesla 1", None),
        ("tesla 2", first["post_id"]),
        (None, second["post_id"]),
    ]
    assert list(final.query_and_wait("SELECT * FROM x.by_hour")) == []


@pytest.mark.parametrize("came", [(3, 2, 1), (1, 3)], ids=["all", "one version never came"])
def test_of_a_chain_of_edits_only_the_last_counts(final, came):
    def told(number: int) -> dict[str, Any]:
        history = [{"id": post(number)["post_id"], "text": "t", "edit_history_post_ids": versions}]
        (record,) = Posts().records(Query.of("/"), {"data": history, "meta": {}})
        changes = {name: record[name] for name in ("edit_of", "first_version")}
        return post(number, **changes, lang={1: "de", 2: "fr", 3: "ja"}[number])

    versions = [post(number)["post_id"] for number in (1, 2, 3)]  # each version carries the whole history
    merge(final, *map(told, came))
    run(final, "by_hour/query.sql")

    assert [row["lang"] for row in final.query_and_wait("SELECT lang FROM x.by_hour")] == ["ja"]


def test_marts_of_an_empty_table_are_empty(final):
    for mart in MARTS:
        run(final, f"{mart}/query.sql")
        assert list(final.query_and_wait(f"SELECT * FROM x.{mart}")) == []  # noqa: S608
