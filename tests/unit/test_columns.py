"""Columns: converting answers column by column gives the rows and the reasons of the contract, whatever arrives."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from windrow.declare.rows import OneRow, Rows
from windrow.declare.stream import Declared, Each
from windrow.landing.columns import Converter
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Contract, Kind
from windrow.model.errors import Unreadable
from windrow.model.formats import Csv
from windrow.model.paging import LinkHeader
from windrow.model.plan import Run
from windrow.model.query import Query
from windrow.model.rows import RawRows
from windrow.model.stream import PlanFlow, Request, Stream

RUN = Run("odd_things", "manual__2026-01-02")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
CITY = Column("city", "C", Kind.STRING, "City.")
SIMPLE = tuple(Column(f"{kind.name.lower()}_1", kind.name, kind, "One.") for kind in Kind if kind is not Kind.RECORD)
COLUMNS = (
    Column("id", "Id", Kind.INTEGER, "Number.", required=True),
    *SIMPLE,
    Column("epoch", "Epoch", Kind.TIMESTAMP, "Seconds.", format="epoch"),
    Column("nano", "Nano", Kind.TIMESTAMP, "Nanoseconds.", format="epoch_ns"),
    Column("local", "Local", Kind.TIMESTAMP, "Without a zone.", zone="Europe/Berlin"),
    Column("german", "German", Kind.DATE, "Day.", format="%d.%m.%Y"),
    Column("numbers", "Numbers", Kind.INTEGER, "Many.", repeated=True),
    Column("place", "Place", Kind.RECORD, "Place.", columns=(CITY,)),
    Column("places", "Places", Kind.RECORD, "Places.", repeated=True, columns=(CITY,)),
    Column("about", "About", Kind.STRING, "What the query is about."),
)
FIELDS = [column.field for column in COLUMNS]


class Odd(Stream):
    """Answers with rows, in one of three forms. Its records are those of the contract."""

    dataset = RUN.dataset
    contract: ClassVar[Contract] = Contract(COLUMNS)

    def plan(self, request: Request) -> PlanFlow:
        yield from ()

    def raw_rows(self, query: Query, answer: Any) -> RawRows:
        constants = {"About": dict(query.params)["about"]}
        match answer:
            case {"columns": columns}:
                return RawRows.of_columns(columns, constants)
            case {"names": names, "rows": rows}:
                return RawRows.of_lists(names, rows, constants)
            case list():
                return RawRows(answer, constants)
        raise Unreadable("it is none of the three")


class Slow(Odd):
    """The same, without rows."""

    def raw_rows(self, query: Query, answer: Any) -> None:
        return None

    def records(self, query: Query, answer: Any) -> Sequence[dict[str, object]]:
        return [self.contract.record(row) for row in super().raw_rows(query, answer)]


PLACES = {"STRING": "a.b", "INTEGER": "a.c.d", "FLOAT": "a.c.e", "Place": "p.q", "About": "{about}", "DATE": "^day"}
"""Where a declared stream finds a field, if not at its name."""


class Declaration(Declared):
    """The same columns, declared: of rows, of the page and of the query."""

    dataset = "odd_declared"
    get = "/odd"
    each = Each("about", param="abouts")
    rows = Rows("data")
    paging = LinkHeader()
    columns = tuple(replace(column, field=PLACES.get(column.field, column.field)) for column in COLUMNS)


class Lines(Declaration):
    """The same in CSV."""

    dataset = "odd_lines"
    format = Csv()
    rows = Rows()
    columns = tuple(column for column in COLUMNS if column.kind is not Kind.RECORD and not column.repeated)


class Nested(Declaration):
    """One row an answer, of the same columns as far as they are of the row."""

    dataset = "odd_nested"
    rows = OneRow("data.row")
    paging = None
    columns = tuple(column for column in Declaration.columns if column.field[:1] not in "^{")


class Flat(Nested):
    """The same at the names of their fields, and the answer is the row."""

    dataset = "odd_flat"
    rows = OneRow()
    columns = tuple(column for column in COLUMNS if column.field not in {"About", "DATE"})


def row_by_row(stream: type[Declared]) -> Declared:
    """Return the same stream, of which one method is overridden, so that each row is read by itself."""

    def record(self: Declared, query: Query, page: object, row: object) -> dict[str, object]:
        return stream.record(self, query, page, row)

    return type("RowByRow", (stream,), {"record": record, "dataset": f"{stream.dataset}_row"})()


def answers(bodies: Sequence[bytes]) -> list[Answer]:
    return [
        Answer(Query.of("/odd", about | {"n": str(place)}, about=about), Outcome.ANSWERED, 200, body.decode(), NOW)
        for place, body in enumerate(bodies)
        for about in [{"about": f"number {place}"}]
    ]


def converted(stream: Stream, bodies: Sequence[bytes]) -> list[object]:
    """Return all records, and the reason for each answer without, then those for records that are left out."""
    found: list[object] = []
    reasons: list[object] = []
    converter = Converter(stream, RUN)
    for some, batch, left_out in converter.convert(answers(bodies)):
        reasons += [(answer.query.key, [error.reason for error in errors]) for answer, errors in left_out]
        if isinstance(batch, Unreadable):
            found.append((some[0].query.key, batch.reason))
        else:
            assert batch.schema.equals(stream.contract.arrow_schema)
            batch.validate(full=True)
            found += map(repr, batch.to_pylist())  # as 1 == 1.0, and NaN is not itself
    return found + reasons


ODD = [
    *("1", "0", "-1", "3.0", "1e3", "3.5", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "9007199254740992.0", "1e16", "36893488147419103232"),
    *("true", "false", "null", '"x"', '""', '"1"', "[1]", "[1,null]", "[]", '{"a":1}', '{"C":"Kiel"}', '{"C":1}'),
    *('[{"C":"Kiel"},{"C":null,"D":1}]', '{"C":"Kiel","D":1}', "[null]", '["x"]', "[[1]]", "{}", '"\\u0000"'),
    *('"2026-11-20"', '"2026-1-2"', '"2026-W47-5"', '"20261120"', '"2026-02-30"', '"0000-01-01"', '"0001-01-01"'),
    *('"20.11.2026"', '"31.02.2026"', '"2026-11-20T10:00:00Z"', '"2026-11-20T10:00:00"', '"2026-11-20t10:00:00z"'),
    *('"2026-11-20 10:00:00+02:00"', '"2026-11-20T10:00:00+0200"', '"2026-11-20T10:00:00.1234567Z"'),
    *('"2026-11-20T10:00:00.123Z"', '"2026-11-20T24:00:00Z"', '"2026-11-20T10:00Z"', '"2026-11-20T10:00:60Z"'),
    *('"2026-11-20T10:00:00+24:00"', '"2026-11-20T10:00:00,5Z"', '"2026-11-20T10:00:00\\n"', '"2026-10-25T02:30:00"'),
    *('"1883-11-18T00:00:00-12:00"', '"9999-12-31T23:59:59-12:00"', '"9999-12-31T23:59:59Z"', '"0001-01-01T00:00:00Z"'),
    *("-0.0", "-0", "0.1", "12345678901234567890.5", "0.1000000000000000055511151231257827", "1e400", "1e-400"),
    *('"12.50"', '"-0"', '"0.123456789"', '"0.1234567890"', '"0.1234567891"', '"1e3"', '" 1"', '"NaN"', '"Infinity"'),
    *('"123456789012345678901"', '"\\u0661"', '"99999999999999999999999999999.5"', '"+1"', '"1_000"', '"1."', '".5"'),
    *("1700000000", "1700000000000000000", "-1", "-1001", "1700000000.5", "253402300800", "-62135596801"),
    *("1.7976931348623157e308", "1e23", '"\\ud83d\\ude00"', '"\\u0660\\u0661"', '"' + "é" * 70 + '"'),
]  # fmt: skip
"""Values as an API may write them, most of them of the wrong type for most columns."""


MIXED = [(b"FLOAT", b"true"), (b"INTEGER", b"true"), (b"INTEGER", b"1.0"), (b"BOOLEAN", b"1"), (b"BOOLEAN", b"0.0")]
"""Values that Arrow could take for one of the type of the value before."""


def value(field: str) -> st.SearchStrategy[str]:
    """Values for a field; usually good ones, as otherwise no answer is ever converted at once."""
    good = {
        "Id": ["1", "2"], "STRING": ['"a"', "null"], "INTEGER": ["7", "null"], "FLOAT": ["0.5", "7", "null"],
        "NUMERIC": ['"1.5"', "7", "null"], "BIGNUMERIC": ['"0.000000000000000001"', "1"], "BOOLEAN": ["true", "null"],
        "TIMESTAMP": ['"2026-01-02T03:04:05Z"', '"2026-01-02T03:04:05.5+01:00"'], "DATE": ['"2026-01-02"', "null"],
        "DATETIME": ['"2026-01-02T03:04:05"', "null"], "JSON": ['{"a":[1]}', "1"], "Epoch": ["1700000000", "null"],
        "Nano": ["1700000000000000001", "-1"], "Local": ['"2026-01-02T03:04:05"'], "German": ['"02.01.2026"'],
        "Numbers": ["[1,2]", "[]", "null"], "Place": ['{"C":"Kiel"}', "null"], "Places": ["[]", '[{"C":"Kiel"}]'],
        "About": ["null", '"itself"'], "New": ["1", "null"], "Newer": ["[1]"],
    }  # fmt: skip
    return st.integers(0, 40).flatmap(lambda dice: st.sampled_from(good[field] if dice else ODD))


def bodies() -> st.SearchStrategy[list[bytes]]:
    """Answers in all three forms, of rows with some of the fields."""

    @st.composite
    def body(draw: Any) -> bytes:
        extra = draw(st.sampled_from([[], [], ["New"], ["New", "Newer"]]))
        fields = draw(st.lists(st.sampled_from(FIELDS[1:]), unique=True, max_size=6))
        names = (["Id"] if draw(st.integers(0, 20)) else []) + fields + extra
        rows = [[draw(value(name)) for name in names] for _ in range(draw(st.integers(0, 3)))]
        match draw(st.sampled_from(["objects", "columns", "lists"])):
            case "columns":
                columns = (f'"{name}":[{",".join(row[place] for row in rows)}]' for place, name in enumerate(names))
                return f'{{"columns":{{{",".join(columns)}}}}}'.encode()
            case "lists":
                lists = (f"[{','.join(row)}]" for row in rows)
                return f'{{"names":{orjson.dumps(names).decode()},"rows":[{",".join(lists)}]}}'.encode()
        objects = (
            "{"
            + ",".join(f'"{name}":{one}' for name, one in zip(names, row, strict=True) if draw(st.integers(0, 9)))
            + "}"
            for row in rows
        )
        return f"[{','.join(objects)}]".encode()

    return st.lists(body(), max_size=8)


@given(bodies())
@settings(max_examples=150)
@example([b'[{"Id":1,"FLOAT":1.5,"INTEGER":1,"BOOLEAN":true},{"Id":2,"%s":%s}]' % odd for odd in MIXED])
@example([b"[1]", b'["ab"]', b"[[0,1]]", b"[null]", b"{}", b'{"names":["Id"],"rows":[[1,2]]}'])
@example([b'{"columns":{"Id":[1],"New":[1,2]}}', b'{"columns":{"Id":1}}', b'{"names":["Id","Id"],"rows":[[1,2]]}'])
@example([b'[{"Id":1},{"Id":2,"About":null}]', b'[{"Id":1,"About":"x"},{"Id":1}]', b"[]", b'{"columns":{}}'])
def test_columns_give_the_rows_and_the_reasons_of_the_contract(found: list[bytes]):
    assert converted(Odd(), found) == converted(Slow(), found)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_each_odd_value_is_converted_as_by_the_contract_alone_and_among_others(column: Column):
    good = {"Id": 1}
    for odd in ODD:
        body = orjson.dumps([good, good | {column.field: orjson.Fragment(odd)}])
        assert converted(Odd(), [b"[]", body, orjson.dumps([good])]) == converted(
            Slow(), [b"[]", body, orjson.dumps([good])]
        )


def pages() -> st.SearchStrategy[list[bytes]]:
    """Answers of a declared stream, of some pages each."""

    @st.composite
    def row(draw: Any) -> str:
        tree: dict[str, Any] = {}
        names = draw(st.lists(st.sampled_from([*FIELDS[1:], "New", "a.New", "a.c.New"]), unique=True, max_size=6))
        for name in (["Id"] if draw(st.integers(0, 20)) else []) + names:
            *path, last = PLACES.get(name, name).split(".")
            branch = tree
            for part in path:
                branch = branch.setdefault(part, {})
            branch[last] = orjson.Fragment(draw(value(name.rpartition(".")[2])))
        if not draw(st.integers(0, 9)):
            tree["a"] = orjson.Fragment(draw(st.sampled_from(ODD)))
        return orjson.dumps(tree).decode() if draw(st.integers(0, 30)) else draw(st.sampled_from(ODD))

    @st.composite
    def page(draw: Any) -> str:
        day = draw(st.sampled_from(['"2026-01-02"'] * 5 + ['"2026-01-03"', "null", "1"]))
        return f'{{"data":[{",".join(draw(st.lists(row(), max_size=3)))}],"day":{day}}}'

    several = st.lists(page(), min_size=1, max_size=3).map(
        lambda some: some[0] if len(some) == 1 else f"[{','.join(some)}]"
    )
    return st.lists(several.map(str.encode), max_size=6)


@given(pages())
@settings(max_examples=60)
@example([b'{"data":[{"Id":1,"p":{"q":{"C":"Kiel","D":1}},"New":2,"a":{"c":1}}],"day":"2026-01-02"}', b'{"data":1}'])
def test_a_declared_stream_has_the_same_rows_and_reasons_column_by_column(found: list[bytes]):
    assert converted(Declaration(), found) == converted(row_by_row(Declaration), found)


@pytest.mark.parametrize("stream", [Nested, Flat])
def test_answers_of_one_row_are_converted_together_with_the_same_rows_and_reasons(stream: type[Declared]):
    def body(field: str, value: str) -> bytes:
        row: dict[str, Any] = {"Id": 1}
        *path, last = field.split(".")
        inner = row
        for name in path:
            inner = inner.setdefault(name, {})
        inner[last] = orjson.Fragment(value)
        return orjson.dumps(row if stream is Flat else {"data": {"row": row}})

    slow, good = row_by_row(stream), body("New", "1")
    for odd in ODD[::5]:
        found = [good, *(body(column.field, odd) for column in stream.columns), good, odd.encode(), b"{", good]
        assert converted(stream(), found) == converted(slow, found)
    fast = stream()
    fast.read = fast.raw_rows = lambda *_: pytest.fail("an answer is read by itself")  # type: ignore[method-assign]
    assert converted(fast, [good, good]) == converted(slow, [good, good])


@pytest.mark.parametrize("column", Lines.columns, ids=lambda column: column.name)
def test_texts_of_a_declared_stream_are_read_as_row_by_row(column: Column):
    texts = [odd.strip('"') for odd in ODD if not {*odd} & {",", "\\"}] + ["TRUE", "+7", "007", "1e5", "", "-.5"]
    found = [f"Id,{column.field},New\n1,{text},x\n2,,\n".encode() for text in texts if column.field != "Id"]
    assert converted(Lines(), found) == converted(row_by_row(Lines), found)
    assert isinstance(Lines().raw_rows(Query.of("/odd"), [{"Id": "1"}]), RawRows)


def test_clear_rows_of_a_declared_stream_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch):
    row = {"Id": 1, "a": {"b": "x", "c": {"d": 7}}, "BOOLEAN": True, "p": {"q": {"C": "Kiel"}}, "New": 1}
    stream = Declaration()
    found = [orjson.dumps({"data": [row, {"Id": 2}], "day": "2026-01-02"})]
    expected = converted(row_by_row(Declaration), found)
    monkeypatch.setattr(stream, "read", lambda query, answer: pytest.fail("a row is read by itself"))
    assert converted(stream, found) == expected


def test_only_a_stream_that_reads_rows_as_declared_has_columns():
    assert row_by_row(Declaration).raw_rows(Query.of("/odd"), {"data": [{"Id": 1}]}) is None
    pages = [{"data": [{"Id": 1}], "day": day} for day in (1, 1.0)]
    assert Declaration().raw_rows(Query.of("/odd"), pages) is None
