"""The SQL files, run on BigQuery as the DAG runs them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.settings import PROJECT_ID, Settings
from windrow.plan import slug
from windrow.sources.titanic import Passengers

SQL = Path(__file__).resolve().parents[2] / "include" / "sql" / "bigquery" / "titanic"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Iterator[bigquery.Client]:
    options = {"api_endpoint": cloud.bigquery_url}
    with bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options) as client:
        client.create_dataset("titanic", exists_ok=True)
        client.create_dataset("windrow_landing", exists_ok=True)
        yield client


@pytest.fixture
def final(warehouse: bigquery.Client) -> bigquery.Client:
    """The warehouse with an empty final table."""
    warehouse.delete_table("titanic.passengers", not_found_ok=True)
    run(warehouse, "passengers/create.sql")
    return warehouse


def run(warehouse: bigquery.Client, file: str, run_id: str = "one") -> list[dict[str, Any]]:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - SQL, no HTML
    environment.filters["slug"] = slug
    text = environment.from_string((SQL / file).read_text()).render(run_id=run_id)
    return [dict(row) for row in warehouse.query_and_wait(text)]


def passenger(number: int, fetched_at: datetime = NOON, run_id: str = "one", **changes: Any) -> dict[str, Any]:
    record = {
        "PassengerId": number, "Survived": 1, "Pclass": 3, "Name": f"Nilsson, Mr. {number}", "Sex": "male",
        "Age": 20.5, "SibSp": 0, "Parch": 0, "Ticket": "1", "Fare": 7.25, "Cabin": None, "Embarked": "S",
    }  # fmt: skip
    lineage = {"_key": f"key {number}", "_fetched_at": fetched_at.isoformat(), "_run_id": run_id}
    return Passengers.contract.record(record | changes) | lineage


def land(warehouse: bigquery.Client, *rows: dict[str, Any], run_id: str = "one") -> None:
    schema = [bigquery.SchemaField.from_api_repr(field) for field in Passengers.contract.bigquery_fields]
    config = bigquery.LoadJobConfig(schema=schema, write_disposition="WRITE_TRUNCATE")
    table = f"{PROJECT_ID}.windrow_landing.titanic_passengers_{slug(run_id)}"
    warehouse.load_table_from_json(rows, table, job_config=config).result()


def table(warehouse: bigquery.Client) -> list[dict[str, Any]]:
    return [dict(row) for row in warehouse.query_and_wait("SELECT * FROM titanic.passengers ORDER BY passenger_id")]


def test_the_final_table_has_the_columns_of_the_contract(final):
    columns = final.get_table("titanic.passengers").schema
    declared = Passengers.contract.bigquery_fields
    assert [(column.name, column.field_type, column.mode) for column in columns] == [
        (field["name"], field["type"], field["mode"]) for field in declared
    ]
    described = (SQL / "passengers" / "create.sql").read_text()
    for field in declared:
        assert f"'{field['description']}'" in described, f"{field['name']} is described otherwise in create.sql"


def test_creating_twice_keeps_the_rows(final):
    land(final, passenger(1))
    run(final, "passengers/merge.sql")
    run(final, "passengers/create.sql")
    assert len(table(final)) == 1


def test_merging_twice_changes_nothing(final):
    land(final, passenger(1), passenger(2, Age=None))
    run(final, "passengers/merge.sql")
    once = table(final)
    run(final, "passengers/merge.sql")
    assert [row["passenger_id"] for row in once] == [1, 2]
    assert table(final) == once


def test_every_column_of_a_newer_answer_replaces_the_older(final):
    land(final, passenger(1))
    run(final, "passengers/merge.sql")
    changed = passenger(
        1, NOON + timedelta(hours=1), "two", Survived=0, Pclass=1, Name="Other, Miss. A", Sex="female", Age=3.5,
        SibSp=2, Parch=4, Ticket="T", Fare=9.5, Cabin="C1", Embarked="C", Deck="B",
    ) | {"_key": "other key"}  # fmt: skip
    land(final, changed, run_id="two")
    run(final, "passengers/merge.sql", "two")
    (row,) = table(final)
    assert row == changed | {"_fetched_at": NOON + timedelta(hours=1)}


def test_an_older_answer_does_not_turn_the_table_back_and_still_counts_as_merged(final):
    land(final, passenger(1, NOON + timedelta(hours=1), "new", Fare=9.0), run_id="new")
    run(final, "passengers/merge.sql", "new")
    land(final, passenger(1, run_id="old", Fare=1.0), run_id="old")
    run(final, "passengers/merge.sql", "old")
    assert [row["fare"] for row in table(final)] == [9.0]
    assert run(final, "passengers/prove.sql", "old") == [{"loaded": 1, "merged": 1, "total": 1}]


def test_proof_sees_a_record_that_was_not_merged(final):
    land(final, passenger(1), passenger(2))
    run(final, "passengers/merge.sql")
    final.query_and_wait("DELETE FROM titanic.passengers WHERE passenger_id = 2")
    assert run(final, "passengers/prove.sql") == [{"loaded": 2, "merged": 1, "total": 1}]


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ([passenger(1), passenger(2)], set()),
        ([passenger(1), passenger(1) | {"_key": "another"}], {"one_row_a_passenger"}),
        ([passenger(1), passenger(2) | {"_key": "key 1"}], {"one_row_a_query"}),
        ([passenger(1), passenger(2, Pclass=4)], {"class_is_known"}),
        ([passenger(1), passenger(2, Survived=2)], {"survived_is_known"}),
        ([passenger(1), passenger(2, Sex="")], {"sex_is_known"}),
    ],
)
def test_the_audit_finds_what_should_not_be_merged(final, rows, failed):
    land(final, *rows)
    (verdict,) = run(final, "passengers/audit.sql")
    assert {name for name, holds in verdict.items() if not holds} == failed


def test_survival_is_counted_by_class_and_sex(final):
    land(
        final,
        passenger(1, Pclass=1, Sex="female", Age=30, Fare=100),
        passenger(2, Pclass=1, Sex="female", Age=None, Fare=50, Survived=0),
        passenger(3, Pclass=1, Sex="female", Age=20, Fare=60),
        passenger(4, Survived=0),
    )
    run(final, "passengers/merge.sql")
    run(final, "survival/query.sql")
    rows = [dict(row) for row in final.query_and_wait("SELECT * FROM titanic.survival ORDER BY class, sex")]
    assert [{name: value for name, value in row.items() if name != "fetched_at"} for row in rows] == [
        {"class": 1, "sex": "female", "passengers": 3, "survivors": 2, "survival_rate": 0.6667, "mean_age": 25.0,
         "mean_fare": 70.0},
        {"class": 3, "sex": "male", "passengers": 1, "survivors": 0, "survival_rate": 0.0, "mean_age": 20.5,
         "mean_fare": 7.25},
    ]  # fmt: skip
