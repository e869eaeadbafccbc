"""The contract: what is converted, what is kept, what is refused, and that nothing is lost in silence."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from windrow.model import exact_json
from windrow.model.contract import LINEAGE, Column, Contract, Kind
from windrow.model.errors import Unreadable
from windrow.model.message import from_message, to_message

CONTRACT = Contract((
    Column("id", "Id", Kind.INTEGER, "Number.", required=True),
    Column("label", "Label", Kind.STRING, "Text."),
    Column("count", "Count", Kind.INTEGER, "Whole number."),
    Column("share", "Share", Kind.FLOAT, "Any number."),
    Column("is_open", "Open", Kind.BOOLEAN, "Yes or no."),
))
KNOWN = {"Id", "Label", "Count", "Share", "Open"}
INT64 = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
DEEP = orjson.loads("[" * 300 + "]" * 300)


def one(field: str, value: object) -> object:
    """Pass one value through the contract."""
    column = next(column.name for column in CONTRACT.columns if column.field == field)
    return CONTRACT.record({"Id": 1} | {field: value})[column]


# --- conversions -------------------------------------------------------------------------------


@given(INT64)
@example(2**63 - 1)
@example(-(2**63))
def test_a_whole_number_of_64_bits_stays_as_it_is(number: int):
    read = one("Count", number)
    assert read == number
    assert type(read) is int


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
@example(2**63)
@example(-(2**63) - 1)
@example(2**64)
@example(10**400)
def test_a_whole_number_beyond_64_bits_is_refused(number: int):
    with pytest.raises(Unreadable, match="'Count' must be INTEGER"):
        one("Count", number)


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_written_as_a_fraction_becomes_one(number: int):
    read = one("Count", float(number))
    assert read == number
    assert type(read) is int


@given(st.floats().filter(lambda number: not number.is_integer()))
@example(math.nan)
@example(math.inf)
@example(-math.inf)
@example(0.5)
def test_a_fraction_is_no_whole_number(number: float):
    with pytest.raises(Unreadable, match="'Count' must be INTEGER"):
        one("Count", number)


@given(st.integers(-(2**70), 2**70), st.sampled_from(["", ".0", ".5", "e0", "e3"]))
@example(-(2**63) - 1, "")  # the parser makes it the float -2**63, which is in range
@example(2**63, "")
@example(2**64, "")
@example(2**53 + 1, ".0")  # the parser makes it 2**53
@example(-(2**53) - 1, ".0")
@example(9_007_199_254_741, "e3")
def test_a_number_out_of_json_is_read_exactly_or_refused(number: int, ending: str):
    written = f"{number}{ending}"
    try:
        read = one("Count", orjson.loads(written))
    except Unreadable:
        assert Decimal(written) % 1 or abs(Decimal(written)) >= 2**53, "an exact number was refused"
    else:
        assert read == Decimal(written)


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_a_number(number: int):
    read = one("Share", number)
    assert read == number
    assert type(read) is float


@given(st.integers())
@example(2**53 + 1)
@example(2**63 - 1)
@example(10**400)
def test_a_whole_number_that_a_float_cannot_hold_is_refused(number: int):
    try:
        read = one("Share", number)
    except Unreadable:
        assert abs(number) > 2**53, "an exact number was refused"
    else:
        assert read == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_stays_as_it_is(number: float):
    assert one("Share", number) == number


@given(st.text())
def test_a_text_stays_as_it_is(text: str):
    assert one("Label", text) == text


@pytest.mark.parametrize("value", [True, False])
def test_a_boolean_stays_as_it_is(value: bool):
    assert one("Open", value) is value


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("Count", wrong) for wrong in (True, False, "1", "", [], [1], {}, {"a": 1})),
        *(("Share", wrong) for wrong in (True, False, "1.5", "NaN", "", [], {})),
        *(("Label", wrong) for wrong in (1, 1.5, True, [], ["a"], {})),
        *(("Open", wrong) for wrong in (0, 1, 1.0, "true", "", [], {})),
    ],
)
def test_another_type_is_refused_with_field_and_value(field: str, wrong: object):
    with pytest.raises(Unreadable) as refused:
        one(field, wrong)
    assert repr(field) in refused.value.reason
    assert orjson.dumps(wrong).decode() in refused.value.reason


def of_kind(kind: Kind, **settings: Any) -> Column:
    columns = (Column("city", "C", Kind.STRING, "Anything."),) if kind is Kind.RECORD else ()
    return Column("a", "A", kind, "Anything.", columns=columns, **settings)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_can_be_filled_by_an_api(kind: Kind):
    written = {
        Kind.STRING: ("a", "a"),
        Kind.INTEGER: (1, 1),
        Kind.FLOAT: (1.5, 1.5),
        Kind.NUMERIC: ("12.50", Decimal("12.50")),
        Kind.BOOLEAN: (True, True),
        Kind.TIMESTAMP: ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        Kind.DATE: ("2026-01-02", date(2026, 1, 2)),
        Kind.BIGNUMERIC: ("0.000000000000000001", Decimal("1e-18")),
        Kind.DATETIME: ("2026-01-02T03:04:05.5", datetime(2026, 1, 2, 3, 4, 5, 500_000)),  # noqa: DTZ001
        Kind.JSON: ({"b": [1, None]}, '{"b":[1,null]}'),
        Kind.RECORD: ({"C": "x"}, {"city": "x"}),
    }
    value, read = written[kind]
    contract = Contract((of_kind(kind),))
    assert contract.record({"A": value})["a"] == read


INSTANTS = Contract((Column("a", "A", Kind.TIMESTAMP, "An instant."),))


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.timezones()))  # noqa: DTZ001 - bounds are naive by contract of hypothesis
def test_an_instant_stays_the_same_instant(moment: datetime):
    read = INSTANTS.record({"A": moment.isoformat()})["a"]
    # In UTC: a local time that a change of clocks makes ambiguous equals no time of another zone (PEP 495).
    assert read == moment.astimezone(UTC)
    assert pa.array([read], Kind.TIMESTAMP.arrow).to_pylist() == [moment.astimezone(UTC)]


@pytest.mark.parametrize(
    "wrong",
    [
        "2026-01-02T03:04:05",  # in which zone?
        "2026-01-02",
        "2026-13-02T03:04:05Z",
        "yesterday",
        "",
        1_767_323_045,
        True,
        "0001-01-01T00:00:00+23:59",  # before the first instant in UTC
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_what_is_no_instant_is_refused(wrong: object):
    with pytest.raises(Unreadable, match="'A' must be TIMESTAMP"):
        INSTANTS.record({"A": wrong})


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05.5-00:00", "2026-01-02T03:04:05.500000+00:00"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2017-01-01T05:29:60.25+05:30", "2017-01-01T00:00:00+00:00"),
    ],
)
def test_timestamps_of_rfc_3339_are_read_in_all_their_forms(written: str, read: str):
    assert INSTANTS.record({"A": written})["a"] == datetime.fromisoformat(read)


@pytest.mark.parametrize(
    ("format", "zone", "written", "read"),
    [
        ("epoch", "", 1_767_323_045, "2026-01-02T03:04:05+00:00"),
        ("epoch", "", "1767323045.25", "2026-01-02T03:04:05.250000+00:00"),
        ("epoch", "", -1, "1969-12-31T23:59:59+00:00"),
        ("epoch_ms", "", 1_767_323_045_678, "2026-01-02T03:04:05.678000+00:00"),
        ("epoch_us", "", 1_767_323_045_678_901, "2026-01-02T03:04:05.678901+00:00"),
        ("epoch_ns", "", 1_767_323_045_678_901_234, "2026-01-02T03:04:05.678901+00:00"),
        ("%d/%m/%Y %H:%M", "Europe/Berlin", "02/07/2026 03:04", "2026-07-02T01:04:00+00:00"),
        ("%d/%m/%Y %H:%M %z", "Europe/Berlin", "02/07/2026 03:04 +0000", "2026-07-02T03:04:00+00:00"),
        ("", "America/New_York", "2026-01-02T03:04:05", "2026-01-02T08:04:05+00:00"),
        ("", "America/New_York", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
    ],
)
def test_a_timestamp_is_read_in_its_declared_format(format: str, zone: str, written: object, read: str):
    contract = Contract((Column("a", "A", Kind.TIMESTAMP, "An instant.", format=format, zone=zone),))
    assert contract.record({"A": written})["a"] == datetime.fromisoformat(read)


@pytest.mark.parametrize(
    ("format", "wrong"),
    [("epoch", "soon"), ("epoch", "NaN"), ("epoch", True), ("epoch", 10**30), ("%d/%m/%Y", "2026-01-02"), ("%H", 3)],
)
def test_a_timestamp_in_another_format_is_refused(format: str, wrong: object):
    contract = Contract((Column("a", "A", Kind.TIMESTAMP, "An instant.", format=format, zone="UTC"),))
    with pytest.raises(Unreadable, match=f"'A' must be TIMESTAMP in the format '{format}'"):
        contract.record({"A": wrong})


CITY = Column("city", "C", Kind.STRING, "Anything.")


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": Kind.STRING, "format": "epoch"},
        {"kind": Kind.DATE, "format": "epoch"},
        {"kind": Kind.TIMESTAMP, "zone": "Europe/Bielefeld"},
        {"kind": Kind.DATETIME, "zone": "UTC"},
        {"kind": Kind.RECORD},
        {"kind": Kind.STRING, "columns": (CITY,)},
        {"kind": Kind.RECORD, "columns": (CITY, CITY)},
        {"kind": Kind.RECORD, "columns": (Column("b", "B", Kind.JSON, "Anything."),)},
    ],
)
def test_a_column_with_a_setting_that_it_cannot_have_is_refused(settings: dict[str, Any]):
    with pytest.raises(ValueError, match="column 'a'"):
        Column("a", "A", description="Anything.", **settings)


AMOUNTS = Contract((Column("a", "A", Kind.NUMERIC, "An amount."),))


@given(st.decimals(min_value=-(10**28), max_value=10**28, places=9))
@example(Decimal("0.1"))
@example(Decimal("12345678901234567890.123456789"))
@example(Decimal("99999999999999999999999999999.999999999"))
def test_a_decimal_is_exact_from_the_wire_to_parquet(amount: Decimal):
    for body in (f'{{"A":{amount:f}}}', f'{{"A":"{amount:f}"}}'):
        read = AMOUNTS.record(exact_json.loads(body.encode()))["a"]
        assert read == amount
        assert pa.array([read], Kind.NUMERIC.arrow).to_pylist() == [amount]


@pytest.mark.parametrize("wrong", ["1,5", "", "NaN", "Infinity", "0.0000000001", 10**29, True, [], "1 2"])
def test_a_number_that_a_decimal_cannot_hold_is_refused(wrong: object):
    with pytest.raises(Unreadable, match="'A' must be NUMERIC"):
        AMOUNTS.record({"A": wrong})


DAYS = Contract((Column("a", "A", Kind.DATE, "A day."),))


@given(st.dates())
@example(date.min)
@example(date.max)
@example(date(2024, 2, 29))
def test_a_day_stays_the_same_day(day: date):
    read = DAYS.record({"A": day.isoformat()})["a"]
    assert read == day
    assert type(read) is date, "an instant would be another day in another zone"
    assert pa.array([read], Kind.DATE.arrow).to_pylist() == [day]


@pytest.mark.parametrize(
    "wrong",
    [
        "2026-02-29",
        "2026-13-01",
        "2026-00-01",
        "2026-1-2",
        "20260102",
        "2026-W01-1",  # ISO 8601 has it, and it is ten characters long as well
        "2026-01-02T00:00:00Z",
        "2026-01-02 ",
        "02.01.2026",
        "２０２６-01-02",  # noqa: RUF001 - digits of another alphabet
        "",
        20_260_102,
        1_767_323_045,
        True,
    ],
)
def test_what_is_no_day_is_refused(wrong: object):
    with pytest.raises(Unreadable, match="'A' must be DATE"):
        DAYS.record({"A": wrong})


# --- missing, null, unknown --------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "state"), [({}, "missing"), ({"Id": None}, "null")])
def test_a_required_field_has_to_be_there(fields: dict[str, object], state: str):
    with pytest.raises(Unreadable, match=f"field 'Id' is {state}"):
        CONTRACT.record(fields)


@pytest.mark.parametrize("fields", [{"Id": 1}, {"Id": 1, "Label": None, "Count": None, "Share": None, "Open": None}])
def test_other_fields_may_be_missing_or_null(fields: dict[str, object]):
    assert CONTRACT.record(fields) == {
        "id": 1, "label": None, "count": None, "share": None, "is_open": None, "_extra": None
    }  # fmt: skip


@pytest.mark.parametrize("falsy", [("Count", 0), ("Share", 0.0), ("Label", ""), ("Open", False)])
def test_nothing_is_not_the_same_as_null(falsy: tuple[str, object]):
    field, value = falsy
    assert one(field, value) == value


@given(st.dictionaries(st.text().filter(lambda name: name not in KNOWN), JSON, min_size=1, max_size=5))
def test_unknown_fields_are_kept_whole(unknown: dict[str, object]):
    record = CONTRACT.record({"Id": 1, "Label": "x"} | unknown)
    assert orjson.loads(str(record["_extra"])) == unknown
    assert (record["id"], record["label"]) == (1, "x")


def test_the_order_of_unknown_fields_does_not_matter():
    assert CONTRACT.record({"Id": 1, "b": 1, "a": 2}) == CONTRACT.record({"a": 2, "b": 1, "Id": 1})


def test_an_unknown_field_that_is_null_is_kept_too():
    assert CONTRACT.record({"Id": 1, "new": None})["_extra"] == '{"new":null}'


def test_field_names_are_taken_to_the_letter():
    assert CONTRACT.record({"Id": 1, "label": "x"})["label"] is None


def test_a_record_is_not_the_answer_itself():
    fields = {"Id": 1, "new": 2}
    CONTRACT.record(fields)
    assert fields == {"Id": 1, "new": 2}


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, [], [{"Id": 1}], "x", 1, 1.5, True])
def test_only_an_object_is_a_record(answer: object):
    with pytest.raises(Unreadable, match="must be a JSON object"):
        CONTRACT.record(answer)


def test_the_first_broken_field_is_named():
    with pytest.raises(Unreadable, match="'Label'"):
        CONTRACT.record({"Open": 1, "Count": "x", "Label": 2, "Id": 1})


@given(JSON)
@example(DEEP)
@example({"Id": DEEP})
@example({"Id": 1, "new": DEEP})  # the parser takes it, so the reader must not break on it
@example({"Id": 2**64})
@example("x\ny" * 10_000)
def test_whatever_json_holds_gives_a_record_or_one_short_reason(answer: object):
    reason = ""
    try:
        record = CONTRACT.record(answer)
    except Unreadable as refused:
        reason = refused.reason
    assert reason or record["id"] is not None
    assert len(reason) < 200
    assert len(reason.splitlines()) <= 1


# --- schemas -----------------------------------------------------------------------------------


def test_parquet_and_bigquery_are_told_the_same():
    arrow = {
        Kind.STRING: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.FLOAT: pa.float64(),
        Kind.NUMERIC: pa.decimal128(38, 9),
        Kind.BIGNUMERIC: pa.decimal128(38, 18),
        Kind.BOOLEAN: pa.bool_(),
        Kind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
        Kind.DATETIME: pa.timestamp("us"),
        Kind.DATE: pa.date32(),
        Kind.JSON: pa.string(),
        Kind.RECORD: pa.struct([("city", pa.string())]),
    }
    contract = Contract(tuple(map(of_kind, Kind)))
    assert contract.arrow_schema.types[: len(Kind)] == [arrow[kind] for kind in Kind]
    assert [field["type"] for field in contract.bigquery_fields][: len(Kind)] == [
        "STRING" if kind is Kind.JSON else kind.name for kind in Kind
    ], "BigQuery loads no JSON from Parquet"


NESTED = Contract((
    Column("tags", "Tags", Kind.STRING, "Texts.", repeated=True),
    Column(
        "visits",
        "Visits",
        Kind.RECORD,
        "Visits.",
        repeated=True,
        columns=(
            Column("day", "Day", Kind.DATE, "Day.", required=True),
            Column("at", "At", Kind.RECORD, "Place.", columns=(Column("city", "City", Kind.STRING, "City."),)),
            Column("minutes", "Min", Kind.INTEGER, "Minutes.", repeated=True),
        ),
    ),
))


def test_nested_and_repeated_columns_have_the_types_of_each_warehouse():
    tags, visits = NESTED.columns
    assert (tags.bigquery, tags.athena) == ("ARRAY<STRING>", "array<string>")
    assert visits.bigquery == "ARRAY<STRUCT<`day` DATE, `at` STRUCT<`city` STRING>, `minutes` ARRAY<INT64>>>"
    assert visits.athena == "array<struct<day:date,at:struct<city:string>,minutes:array<bigint>>>"
    assert (of_kind(Kind.JSON).bigquery, of_kind(Kind.JSON).athena) == ("JSON", "string")
    field = visits.bigquery_field
    assert (field["type"], field["mode"]) == ("RECORD", "REPEATED")
    assert [(each["name"], each["mode"]) for each in field["fields"]] == [
        ("day", "REQUIRED"), ("at", "NULLABLE"), ("minutes", "REPEATED")
    ]  # fmt: skip


def test_nested_values_are_read_and_what_is_unknown_within_them_is_kept():
    visits = [{"Day": "2026-01-02", "At": {"City": "Kiel", "Zip": 1}, "Min": [5, 6.0]}, {"Day": "2026-01-03"}]
    record = NESTED.record({"Tags": ["a", "b"], "Visits": visits, "New": None})
    assert record == {
        "tags": ["a", "b"],
        "visits": [
            {"day": date(2026, 1, 2), "at": {"city": "Kiel"}, "minutes": [5, 6]},
            {"day": date(2026, 1, 3), "at": None, "minutes": []},
        ],
        "_extra": '{"New":null,"Visits":[{"At":{"Zip":1}},null]}',
    }
    assert NESTED.record({"Tags": None}) == {"tags": [], "visits": [], "_extra": None}
    assert NESTED.record({"Visits": visits})["_extra"] == '{"Visits":[{"At":{"Zip":1}},null]}'


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Tags": "a"}, "field 'Tags' must be an array of STRING, not \"a\""),
        ({"Tags": ["a", None]}, "field 'Tags[1]' must be STRING, not null"),
        ({"Tags": ["a", 1]}, "field 'Tags[1]' must be STRING, not 1"),
        ({"Visits": {"Day": "2026-01-02"}}, 'field \'Visits\' must be an array of RECORD, not {"Day":"2026-01-02"}'),
        ({"Visits": [7]}, "field 'Visits[0]' must be RECORD, not 7"),
        ({"Visits": [{}]}, "field 'Visits[0].Day' is missing"),
        ({"Visits": [{"Day": "2026-01-02", "At": {"City": 1}}]}, "field 'Visits[0].At.City' must be STRING, not 1"),
    ],
)
def test_a_nested_value_that_does_not_match_is_refused_with_its_path(fields: dict[str, object], reason: str):
    with pytest.raises(Unreadable) as refused:
        NESTED.record(fields)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Kind.DATETIME, "2026-01-02T03:04:05Z"),
        (Kind.DATETIME, "2026-01-02T03:04:05+01:00"),
        (Kind.DATETIME, "2026-01-02"),
        (Kind.DATETIME, "2026-02-30T00:00:00"),
        (Kind.DATETIME, 1_700_000_000),
        (Kind.BIGNUMERIC, "0.0000000000000000001"),
        (Kind.BIGNUMERIC, 10**20),
        (Kind.JSON, DEEP),
        (Kind.STRING, "\ud800"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: Kind, wrong: object):
    with pytest.raises(Unreadable, match=f"'A' must be {kind.name}"):
        Contract((of_kind(kind),)).record({"A": wrong})


def test_the_schema_is_the_columns_in_order_then_the_lineage():
    assert CONTRACT.arrow_schema.names == [
        "id", "label", "count", "share", "is_open", "_extra", "_key", "_fetched_at", "_run_id"
    ]  # fmt: skip
    modes = {field["name"]: field["mode"] for field in CONTRACT.bigquery_fields}
    assert [name for name, mode in modes.items() if mode == "REQUIRED"] == ["id", "_key", "_fetched_at", "_run_id"]
    assert all(field["description"] for field in CONTRACT.bigquery_fields)


@given(st.lists(st.fixed_dictionaries({"Id": INT64, "Label": st.text(), "Share": st.none() | st.floats(0, 1)})))
def test_records_fit_their_parquet_schema(answers: list[dict[str, object]]):
    fetched_at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    lineage = {"_key": "k", "_fetched_at": fetched_at, "_run_id": "r"}
    records = [CONTRACT.record(answer) | lineage for answer in answers]
    assert pa.Table.from_pylist(records, CONTRACT.arrow_schema).to_pylist() == records


def test_the_record_and_its_lineage_fill_every_column():
    record = CONTRACT.record({"Id": 1})
    assert {*record} | {column.name for column in LINEAGE} == {*CONTRACT.arrow_schema.names}


def test_a_record_of_every_kind_survives_its_trip_as_a_message():
    contract = Contract((
        *NESTED.columns,
        Column("amount", "Amount", Kind.BIGNUMERIC, "Amount."),
        Column("at", "At", Kind.TIMESTAMP, "Moment.", format="epoch_ms"),
        Column("local", "Local", Kind.DATETIME, "Moment.", format="%d.%m.%Y %H:%M"),
        Column("raw", "Raw", Kind.JSON, "Anything."),
    ))
    visits = [{"Day": "2026-01-02", "At": {"City": "Kiel", "Zip": 1}}]
    fields = {"Visits": visits, "Amount": "0.5", "At": 1_700_000_000_123, "Local": "02.01.2026 03:04", "Raw": {"a": 1}}
    record = contract.record(fields) | {"_key": "k", "_fetched_at": datetime(2026, 1, 2, tzinfo=UTC), "_run_id": "r"}
    assert from_message(to_message(record), contract) == record


TYPED = Contract((
    Column("n", "n", Kind.INTEGER, "A number.", required=True),
    Column("x", "x", Kind.FLOAT, "A decimal."),
    Column("b", "b", Kind.BOOLEAN, "Yes or no."),
    Column("s", "s", Kind.STRING, "A text."),
))


def test_texts_are_read_in_the_types_of_their_columns():
    row = {"n": "-007", "x": "1.5e3", "b": "TRUE", "s": "12", "other": "1"}
    assert TYPED.text_record(row) == {"n": -7, "x": 1500.0, "b": True, "s": "12", "_extra": '{"other":"1"}'}
    assert TYPED.text_record({"n": "1", "x": None, "b": None})["x"] is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"n": "1.0"}, 'field .n. must be INTEGER, not "1.0"'),
        ({"n": "1 000"}, "must be INTEGER"),
        ({"n": "9" * 19}, "must be INTEGER"),
        ({"n": "\u0663"}, "must be INTEGER"),
        ({"n": None}, "field 'n' is null"),
        ({"n": "1", "x": "nan"}, "must be FLOAT"),
        ({"n": "1", "x": "1,5"}, "must be FLOAT"),
        ({"n": "1", "b": "yes"}, "must be BOOLEAN"),
        (["1"], "a record must be a JSON object"),
    ],
)
def test_texts_that_are_not_clear_are_unreadable(row: object, reason: str):
    with pytest.raises(Unreadable, match=reason):
        TYPED.text_record(row)
