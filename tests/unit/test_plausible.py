"""Which rows of a run are not plausible, and what landing measures of them."""

from typing import Any

import pytest

from tests.unit.measured import measured
from tests.unit.test_declared import declare
from windrow.landing.profile import ProfileCount
from windrow.model import registry
from windrow.model.contract import Column, Kind
from windrow.model.plausible import Plausible, empty_columns
from windrow.model.query import Query
from windrow.model.table import Table

BEFORE = [f"2026-11-{day}" for day in range(10, 19)]
SUNDAY = "2026-11-22"
QUERY = Query.of("/orders")


def profile(rows: int = 100, nulls: int = 0, **days: int) -> dict[str, Any]:
    return {"rows": rows, "nulls": [["note", nulls]], "days": [[day.strip("d"), n] for day, n in days.items()]}


def asked(first: str, last: str = "") -> dict[str, str]:
    return {"first": first, "last": last or first}


DAILY = [(profile(**{day: 100}), asked(day)) for day in reversed(BEFORE)]
SUNDAYS = [(profile(**{day: 2}), asked(day)) for day in ("2026-11-15", "2026-11-08", "2026-11-01")]
WHOLE = [(profile(rows, **{"2026-11-18": 1}), {}) for rows in (90, 100, 110)]


@pytest.mark.parametrize(
    ("mine", "before", "scope", "doubts"),
    [
        (profile(**{"2026-11-19": 50}), DAILY, asked("2026-11-19"), []),
        (profile(**{"2026-11-19": 49}), DAILY, asked("2026-11-19"), ["2026-11-19 has 49 rows, usually 100"]),
        (profile(**{"2026-11-19": 49}), DAILY[:2], asked("2026-11-19"), []),
        (profile(**{"2026-11-19": 99}), DAILY, asked("2026-11-18", "2026-11-19"), [
            "2026-11-18 has 0 rows, usually 100"
        ]),
        (profile(**{SUNDAY: 2}), DAILY + SUNDAYS, asked(SUNDAY), []),
        (profile(**{SUNDAY: 0}), DAILY + SUNDAYS, asked(SUNDAY), ["2026-11-22 has 0 rows, usually 2"]),
        (profile(**{"2026-11-18": 100}), DAILY, asked("2026-11-18", "2026-11-20"), [
            "the newest day is 2026-11-18, 2 days before the last requested day 2026-11-20; "
            "at most 0 days in earlier runs"
        ]),
        (profile(100, 30, **{"2026-11-19": 100}), DAILY, asked("2026-11-19"), [
            "the column 'note' is null in 30% of the rows, usually in 0%"
        ]),
        (profile(19, 19, **{"2026-11-19": 99}), DAILY, asked("2026-11-19"), []),
        (profile(49, **{"2026-11-18": 1}), WHOLE, {}, ["49 rows, usually 100"]),
        (profile(99, **{"2026-11-17": 1}), WHOLE, {}, [
            "the newest day is 2026-11-17, and 2026-11-18 in the run before"
        ]),
        (profile(1, **{"2026-11-17": 1}), WHOLE, {"since": "2026-11-17T00:00:00Z"}, []),
    ],
)  # fmt: skip
def test_what_is_not_plausible(mine: Any, before: Any, scope: dict[str, str], doubts: list[str]):
    assert Plausible().doubts(mine, before, scope) == doubts
    assert Plausible(rows=0, nulls=1).doubts(mine, before, scope) == [one for one in doubts if "newest" in one]


def test_a_column_without_any_value_is_named():
    assert empty_columns(profile(20, 20), []) == ["note"]
    assert empty_columns(profile(20, 20), [profile(20, 19)]) == []
    assert empty_columns(profile(19, 19), []) == []


@pytest.mark.parametrize("dataset", sorted(registry.streams()))
def test_each_source_says_which_of_its_columns_are_compared(dataset: str):
    stream = registry.stream(dataset)
    assert stream.plausible
    columns, left_out = stream.contract.columns, stream.plausible.not_compared
    compared = {one.name for one in columns if not one.required} - {*left_out}
    assert {*left_out} <= {one.name for one in columns}
    filled, empty = ProfileCount(stream).figures(), ProfileCount(stream).figures()
    for one, nulls in ((filled, 0), (empty, 20)):
        one |= {"rows": 20, "nulls": [[name, nulls] for name, _ in one["nulls"]]}
    doubts = stream.plausible.doubts(empty, [(filled, {})] * 3, {})
    assert {one.split("'")[1] for one in doubts} == compared


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float):
    with pytest.raises(ValueError, match="rows must be a share from 0 to 1"):
        Plausible(rows=share)


def test_landing_measures_rows_nulls_days_and_unknown_fields():
    city = Column("city", "city", Kind.STRING, "")
    columns = (
        Column("id", "id", Kind.INTEGER, "", required=True),
        Column("at", "at", Kind.TIMESTAMP, ""),
        Column("name", "person.name", Kind.STRING, ""),
        Column("homes", "person.homes", Kind.RECORD, "", repeated=True, columns=(city,)),
        Column("work", "work", Kind.RECORD, "", columns=(city,)),
    )
    stream = declare(columns=columns, ignored=("note",), table=Table(key=("id",), watermark="at"))()
    rows = [
        {"id": 1, "at": "2026-11-20T23:59:59Z", "note": 1, "tags": {"any": 1},
         "person": {"name": "A", "age": 1, "homes": [{"city": "X", "zip": 1}, {"zip": 2}]}, "work": {"zip": 3}},
        {"id": 2, "at": None, "note": 2, "tags": [], "work": {"city": "Y"}},
    ]  # fmt: skip
    records = [stream.record(QUERY, rows, row) for row in rows]
    assert records[0]["_extra"] == (
        '{"note":1,"person":{"age":1,"homes":[{"zip":1},{"zip":2}]},"tags":{"any":1},"work":{"zip":3}}'
    )
    assert measured(stream, records) == {
        "rows": 2,
        "nulls": [["at", 1], ["name", 1], ["work", 0]],
        "days": [["2026-11-20", 1]],
        "unknown_fields": [["tags", 2], ["person.age", 1], ["person.homes[].zip", 1], ["work.zip", 1]],
    }


def test_the_number_and_the_length_of_unknown_fields_are_bounded():
    stream = declare()()
    records = [stream.record(QUERY, None, {"id": 1, f"{number:03}" * 50: 1}) for number in range(600)]
    fields = dict(measured(stream, records)["unknown_fields"])
    assert len(fields) == 501
    assert fields["(others)"] == 100
    assert max(map(len, fields)) == 100
