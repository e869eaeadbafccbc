"""Passengers of the Titanic, by name: the smallest API that shows every part of a harvest.

``GET /get_user_list`` lists names, each of them twice; ``GET /get_user_by_name?name=...`` returns one passenger.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from windrow.declare.rows import OneRow, Rows
from windrow.declare.stream import Declared, Each
from windrow.model.contract import Column, Kind
from windrow.model.errors import Unreadable
from windrow.model.query import Query
from windrow.model.rows import RawRows
from windrow.model.table import Table


class Passengers(Declared):
    """One record for each passenger."""

    dataset = "titanic_passengers"
    one_record_an_answer = True
    get = "/get_user_by_name"
    params: ClassVar = {"name": "{name}"}
    each = Each("name", param="names", listed_by="/get_user_list", rows=Rows("users"))
    rows = OneRow()
    columns = (
        Column("passenger_id", "PassengerId", Kind.INTEGER, "Number of the passenger.", required=True),
        Column("survived", "Survived", Kind.INTEGER, "1 if the passenger survived, else 0.", required=True),
        Column("class", "Pclass", Kind.INTEGER, "Class of the ticket: 1, 2 or 3.", required=True),
        Column("name", "Name", Kind.STRING, "Name as listed, including spaces and quotes.", required=True),
        Column("sex", "Sex", Kind.STRING, "female or male.", required=True),
        Column("age", "Age", Kind.FLOAT, "Age in years; fractions for infants; null if unknown."),
        Column("siblings_spouses", "SibSp", Kind.INTEGER, "Siblings and spouses aboard.", required=True),
        Column("parents_children", "Parch", Kind.INTEGER, "Parents and children aboard.", required=True),
        Column("ticket", "Ticket", Kind.STRING, "Number of the ticket, with its prefix."),
        Column("fare", "Fare", Kind.FLOAT, "Fare in pounds sterling of 1912."),
        Column("cabin", "Cabin", Kind.STRING, "Cabin or cabins; null if unknown."),
        Column("embarked", "Embarked", Kind.STRING, "Port: C Cherbourg, Q Queenstown, S Southampton."),
    )
    person: ClassVar = {"passenger_id": ("PassengerId",), "name": ("Name", "users")}
    table = Table(
        key=("passenger_id",),
        cluster=("class", "sex"),
        checks={
            "one_row_a_passenger": "COUNT(*) = COUNT(DISTINCT passenger_id)",
            "one_row_a_query": "COUNT(*) = COUNT(DISTINCT _key)",
            "class_is_known": "LOGICAL_AND(class IN (1, 2, 3))",
            "survived_is_known": "LOGICAL_AND(survived IN (0, 1))",
            "sex_is_known": "LOGICAL_AND(sex IN ('female', 'male'))",
        },
        description="Passengers of the Titanic, one row each.",
    )

    def one_row_each(self, queries: Sequence[Query], answers: Sequence[Any]) -> RawRows | None:
        """Return the passengers for landing, if all are the requested ones. `record` decides about others."""
        requested = [
            query.params == (("name", answer.get("Name")),) for query, answer in zip(queries, answers, strict=True)
        ]
        return RawRows(answers) if all(requested) else None

    def record(self, query: Query, page: object, row: object) -> dict[str, object]:
        """Read one passenger; it must be the requested one."""
        record = super().record(query, page, row)
        asked = dict(query.params)["name"]
        if record["name"] != asked:
            raise Unreadable(f"the answer is about {record['name']!r}, but {asked!r} was requested")
        return record
