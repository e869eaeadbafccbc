"""The SQL files of Titanic, run on BigQuery as the DAG runs them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local_cloud.settings import Settings
from tests.integration.warehouse import Row, Warehouse, broken, columns, declared, undescribed
from windrow.sources.titanic.streams import Passengers

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def warehouse(cloud: Settings) -> Warehouse:
    return Warehouse(cloud, "titanic")


@pytest.fixture
def final(warehouse: Warehouse) -> Warehouse:
    """The warehouse with an empty final table."""
    warehouse.empty("passengers")
    return warehouse


def passenger(number: int, fetched_at: datetime = NOON, run_id: str = "one", **changes: Any) -> Row:
    record = {
        "PassengerId": number, "Survived": 1, "Pclass": 3, "Name": f"Nilsson, Mr. {number}", "Sex": "male",
        "Age": 20.5, "SibSp": 0, "Parch": 0, "Ticket": "1", "Fare": 7.25, "Cabin": None, "Embarked": "S",
    }  # fmt: skip
    lineage = {"_key": f"key {number}", "_fetched_at": fetched_at, "_run_id": run_id}
    return Passengers.contract.record(record | changes) | lineage


def table(warehouse: Warehouse) -> list[Row]:
    return warehouse.rows("passengers", "passenger_id")


def test_the_final_table_has_the_columns_of_the_contract(final):
    assert columns(final.client.get_table("titanic.passengers")) == declared(Passengers.contract)
    assert undescribed(final.text("passengers/create.sql"), Passengers.contract) == []


def test_creating_twice_keeps_the_rows(final):
    final.land(Passengers, passenger(1))
    final.run("passengers/merge.sql")
    final.run("passengers/create.sql")
    assert len(table(final)) == 1


def test_merging_twice_changes_nothing(final):
    final.land(Passengers, passenger(1), passenger(2, Age=None))
    final.run("passengers/merge.sql")
    once = table(final)
    final.run("passengers/merge.sql")
    assert [row["passenger_id"] for row in once] == [1, 2]
    assert table(final) == once


def test_every_column_of_a_newer_answer_replaces_the_older(final):
    final.land(Passengers, passenger(1))
    final.run("passengers/merge.sql")
    changed = passenger(
        1, NOON + timedelta(hours=1), "two", Survived=0, Pclass=1, Name="Other, Miss. A", Sex="female", Age=3.5,
        SibSp=2, Parch=4, Ticket="T", Fare=9.5, Cabin="C1", Embarked="C", Deck="B",
    ) | {"_key": "other key"}  # fmt: skip
    final.land(Passengers, changed, run_id="two")
    final.run("passengers/merge.sql", "two")
    assert table(final) == [changed]


def test_an_older_answer_does_not_turn_the_table_back_and_still_counts_as_merged(final):
    final.land(Passengers, passenger(1, NOON + timedelta(hours=1), "new", Fare=9.0), run_id="new")
    final.run("passengers/merge.sql", "new")
    final.land(Passengers, passenger(1, run_id="old", Fare=1.0), run_id="old")
    final.run("passengers/merge.sql", "old")
    assert [row["fare"] for row in table(final)] == [9.0]
    assert final.run("passengers/prove.sql", "old") == [{"loaded": 1, "merged": 1, "total": 1}]


def test_proof_sees_a_record_that_was_not_merged(final):
    final.land(Passengers, passenger(1), passenger(2))
    final.run("passengers/merge.sql")
    final.query("DELETE FROM titanic.passengers WHERE passenger_id = 2")
    assert final.run("passengers/prove.sql") == [{"loaded": 2, "merged": 1, "total": 1}]


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
    final.land(Passengers, *rows)
    assert broken(final.run("passengers/audit.sql")) == failed


def test_survival_is_counted_by_class_and_sex(final):
    final.land(
        Passengers,
        passenger(1, Pclass=1, Sex="female", Age=30, Fare=100),
        passenger(2, Pclass=1, Sex="female", Age=None, Fare=50, Survived=0),
        passenger(3, Pclass=1, Sex="female", Age=20, Fare=60),
        passenger(4, Survived=0),
    )
    final.run("passengers/merge.sql")
    final.run("survival/query.sql")
    rows = final.rows("survival", "class, sex")
    assert [{name: value for name, value in row.items() if name != "fetched_at"} for row in rows] == [
        {"class": 1, "sex": "female", "passengers": 3, "survivors": 2, "survival_rate": 0.6667, "mean_age": 25.0,
         "mean_fare": 70.0},
        {"class": 3, "sex": "male", "passengers": 1, "survivors": 0, "survival_rate": 0.0, "mean_age": 20.5,
         "mean_fare": 7.25},
    ]  # fmt: skip
