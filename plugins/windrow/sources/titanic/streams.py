"""Passengers of the Titanic, by name: the smallest API that shows every part of a harvest.

``GET /get_user_list`` lists names, each of them twice; ``GET /get_user_by_name?name=...`` returns one passenger.
"""

from collections.abc import Mapping, Sequence

from windrow.model.answer import Answer
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.query import Query
from windrow.model.stream import Asked, PlanFlow, Planned, Request, Stream
from windrow.model.table import Table


class Passengers(Stream):
    """One record for each passenger."""

    dataset = "titanic_passengers"
    one_record_an_answer = True
    contract = Contract((
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
    ))

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

    def plan(self, request: Request) -> PlanFlow:
        """Plan one call for each name of the param ``names``; without it, for each name of the API's list."""
        names = request.params.get("names")
        if not names:
            listed: Answer = yield Asked(Query.of("/get_user_list"), _names)
            names, strange = _names(listed.parsed)
            if strange:
                yield Unreadable(f"the names must be non-empty strings; {len(strange)} are not: {strange!r:.80}")
        elif not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise BadParameter(
                f"The param 'names' must be a list of non-empty strings, not {str(names)[:80]!r}.",
                advice='Set it like {"names": ["Braund, Mr. Owen Harris"]}, or leave it empty for all passengers.',
            )
        yield Planned(Query.of("/get_user_by_name", {"name": name}) for name in names)

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Read one passenger; it must be the requested one."""
        record = self.contract.record(answer)
        asked = dict(query.params)["name"]
        if record["name"] != asked:
            raise Unreadable(f"the answer is about {record['name']!r}, but {asked!r} was requested")
        return (record,)


def _names(page: object) -> tuple[list[str], list[object]]:
    """Read the list of names, and what is none in it."""
    names = page.get("users") if isinstance(page, Mapping) else None
    if not isinstance(names, list):
        raise Unreadable('the list of passengers must look like {"users": ["name", ...]}')
    good = [name for name in names if isinstance(name, str) and name]
    return good, [name for name in names if not isinstance(name, str) or not name]
