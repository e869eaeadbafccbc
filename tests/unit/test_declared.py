"""Declared streams: what is refused, which calls are planned, and what is read of an answer."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow.declare import athena
from windrow.declare.files import load
from windrow.declare.rows import Arrays, OneRow, Rows
from windrow.declare.stream import Declared, Each
from windrow.declare.times import Days, Since
from windrow.model import registry
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Kind
from windrow.model.errors import BadParameter, Unreadable
from windrow.model.paging import Cursor, LinkHeader, Offset
from windrow.model.plausible import Plausible
from windrow.model.query import Query
from windrow.model.stream import Asked, Planned, Request
from windrow.model.table import Table, Write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ID = Column("id", "id", Kind.INTEGER, "Id.", required=True)


def declare(**settings: Any) -> type[Declared]:
    return type("Orders", (Declared,), {"dataset": "made_orders", "get": "/orders", "columns": (ID,)} | settings)


def planned(stream: type[Declared], request: Request | None = None, *answers: object) -> list[Query]:
    """Lead the flow of a plan; answers are what the API returns, one after the other."""
    flow, left, found = stream().plan(request or Request(at=NOON)), list(answers), []
    try:
        step = next(flow)
        while True:
            if isinstance(step, Planned):
                found += step.queries
                step = flow.send(None)
            else:
                body = orjson.dumps(left.pop(0)).decode()
                query = step.query if isinstance(step, Asked) else step
                step = flow.send(Answer(query, Outcome.ANSWERED, 200, body, NOON))
    except StopIteration:
        return found


def read(stream: type[Declared], answer: object, query: Query | None = None) -> Sequence[dict[str, object]]:
    return stream().records(query or Query.of("/orders"), answer)


# --- declarations that are refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"parms": {"a": "b"}}, "Orders: the setting 'parms' is unknown. Did you mean 'params'?"),
        ({"dataset": "Orders"}, "dataset must be like shop_orders"),
        ({"get": ""}, "set either 'get' or 'post'"),
        ({"post": "/search"}, "set either 'get' or 'post'"),
        ({"body": {"a": 1}}, "a GET has no body"),
        ({"columns": ()}, "there must be 1 to 1,000 columns, not 0"),
        ({"columns": (ID, ID)}, "the column 'id' is declared twice"),
        ({"columns": (Column("_key", "k", Kind.STRING, ""),)}, "the column '_key' is declared twice"),
        (
            {"columns": (Column("_partition_day", "d", Kind.DATE, ""),)},
            "'_partition_day' begins like a column of BigQuery",
        ),
        (
            {"columns": (Column("a", "a", Kind.RECORD, "", columns=(Column("B", "b", Kind.DATE, ""),)),)},
            "the column 'B' must have lower case letters",
        ),
        ({"plausible": Plausible(not_compared=("nope",))}, "not_compared names 'nope', which is no column"),
        ({"ignored": "tags"}, "ignored must be a tuple of fields, like ('tags',)"),
        ({"columns": (Column("Id", "id", Kind.STRING, ""),)}, "'Id' must have lower case letters"),
        (
            {"columns": tuple(Column(f"c{place}", "c", Kind.STRING, "") for place in range(2_000))},
            "there must be 1 to 1,000 columns, not 2,000",
        ),
        ({"each": Each("account", param="ids")}, "an element cannot have the name 'account'"),
        ({"each": Each("place")}, "'each' needs param, listed_by or records_of"),
        ({"each": Each("id", listed_by="/ids", paging=Cursor(header="X-Next"))}, "whose cursor is in a header"),
        ({"params": {"a": "{place.lat}"}}, "{place.lat} is unknown. Known names: account"),
        ({"params": {"a": "{frist}"}, "time": Days()}, "{frist} is unknown. Known names: account, first, last"),
        ({"columns": (Column("a", "{place.name}", Kind.STRING, ""),)}, "{place.name} is unknown"),
        ({"table": Table(key=("order",))}, "key names the column 'order', which is not in the contract"),
    ],
)
def test_an_invalid_declaration_is_refused_by_name_when_it_is_made(settings: dict[str, Any], reason: str):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared below
        declare(**settings)
    assert reason in str(refused.value)


def test_a_since_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="first must be an instant with a time zone"):
        Since(first="yesterday")


def test_a_method_may_be_overridden_and_the_stream_is_known():
    class Orders(Declared):
        dataset = "made_overridden"
        get = "/orders"
        columns = (ID,)

        def record(self, query: Query, page: object, row: object) -> dict[str, object]:
            return super().record(query, page, row) | {"id": 7}

    assert read(Orders, [{"id": 1}])[0]["id"] == 7
    assert isinstance(registry.stream("made_overridden"), Orders)


# --- calls -------------------------------------------------------------------------------------


PLACES = [{"name": "Berlin", "lat": 52.5}, {"name": "São Paulo & more", "lat": -23.5}]
WEATHER = {
    "get": "/archive/{place.name}",
    "each": Each("place", param="places", key="name"),
    "params": {"latitude": "{place.lat}", "span": "{first}/{last}", "daily": "rain"},
    "columns": (ID, Column("place", "{place.name}", Kind.STRING, ""), Column("lat", "{place.lat}", Kind.FLOAT, "")),
}


def test_one_query_is_planned_for_each_element_and_part_of_the_time():
    stream = declare(**WEATHER, time=Days(trailing=3, per_query=2))
    queries = planned(stream, Request({"places": PLACES}, NOON, "2026-11-19"))
    assert [query.key for query in queries[:2]] == [
        "archive/Berlin?first=2026-11-17&last=2026-11-18&place=Berlin",
        "archive/Berlin?first=2026-11-19&last=2026-11-19&place=Berlin",
    ]
    assert len(queries) == 4
    assert queries[3].params == (("latitude", "-23.5"), ("span", "2026-11-19/2026-11-19"), ("daily", "rain"))
    assert Query.from_row(orjson.loads(orjson.dumps(queries[3].row))) == queries[3]
    (record,) = read(stream, [{"id": 1}], queries[3])
    assert (record["place"], record["lat"]) == ("São Paulo & more", -23.5)


@pytest.mark.parametrize("places", [None, [], "Berlin", [{"lat": 1}], [{"name": "x", "lat": {"a": 1}}]])
def test_elements_that_cannot_be_used_fail_before_the_first_call(places: object):
    with pytest.raises(BadParameter):
        planned(declare(**WEATHER, time=Days()), Request({"places": places}, NOON))


def test_elements_may_come_from_a_list_of_the_api_or_from_a_param():
    stream = declare(each=Each("id", param="ids", listed_by="/ids", rows=Rows("data")), params={"id": "{id}"})
    assert [query.key for query in planned(stream, None, {"data": [7, 9]})] == ["orders?id=7", "orders?id=9"]
    assert [query.key for query in planned(stream, Request({"ids": [5]}, NOON))] == ["orders?id=5"]
    with pytest.raises(Unreadable, match="there must be a list of rows at 'data'"):
        planned(stream, None, {"date": []})


def test_elements_may_be_the_records_of_another_stream():
    parent = declare(dataset="made_customers", get="/customers")
    stream = declare(each=Each("customer", records_of=parent, key="id"), get="/orders/{customer.id}")
    queries = planned(stream, None, [{"id": 1}, {"id": 2}, {"id": "bad"}])
    assert [query.key for query in queries] == ["orders/1?customer=1", "orders/2?customer=2"]


def test_elements_come_from_all_pages_of_a_list():
    each = Each("id", listed_by="/ids", rows=Rows("data"), paging=Offset(limit=2, rows="data"))
    queries = planned(declare(each=each, params={"id": "{id}"}), None, {"data": [1, 2]}, {"data": [3]})
    assert [dict(query.params)["id"] for query in queries] == ["1", "2", "3"]
    parent = declare(dataset="made_customers", get="/customers", paging=Offset(limit=2))
    stream = declare(each=Each("customer", records_of=parent, key="id"), get="/orders/{customer.id}")
    queries = planned(stream, None, [{"id": 1}, {"id": 2}], [{"id": 3}])
    assert [query.path for query in queries] == ["/orders/1", "/orders/2", "/orders/3"]


def test_a_body_keeps_the_types_of_its_values():
    stream = declare(get="", post="/search", body={"ids": ["{id}"], "limit": 20, "note": "id {id}"},
                     each=Each("id", param="ids"))  # fmt: skip
    (query,) = planned(stream, Request({"ids": [7]}, NOON))
    assert orjson.loads(query.body) == {"ids": [7], "limit": 20, "note": "id 7"}


@pytest.mark.parametrize(
    ("settings", "conn_ids", "reason"),
    [
        ({"table": Table(write=Write.APPEND)}, ["a"], "needs a column with the field '{account}'"),
        ({}, [], "must be a list of connections, not []"),
        ({}, "shop", "must be a list of connections, not 'shop'"),
        ({}, ["shop.a", "shop-a"], "must have different names, not ['shop.a', 'shop-a']"),
    ],
)
def test_accounts_that_cannot_be_told_apart_are_refused(settings: dict[str, Any], conn_ids: list[str], reason: str):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared below
        declare(**settings).of_accounts(conn_ids)
    assert str(refused.value).startswith("made_orders: ")
    assert reason in str(refused.value)


def test_the_account_is_in_the_calls_and_in_the_rows():
    columns = (ID, Column("shop", "{account}", Kind.STRING, "Connection."))
    north, south = declare(columns=columns, get="/{account}/orders").of_accounts(["Shop-North", "south"])
    assert (north.dataset, south.dataset) == ("made_orders__shop_north", "made_orders__south")
    assert isinstance(registry.stream(north.dataset), north)
    (query,) = planned(north)
    assert query.path == "/Shop-North/orders"
    assert read(north, [{"id": 1}], query)[0]["shop"] == "Shop-North"


# --- time --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "params", "mark", "scope"),
    [
        (Days(), {}, "", ("2026-11-19", "2026-11-19")),
        (Days(trailing=3), {}, "2026-11-10", ("2026-11-08", "2026-11-19")),
        (Days(trailing=3), {}, "2026-12-10", ("2026-11-17", "2026-11-19")),
        (Days(until=0, zone="Pacific/Auckland"), {}, "", ("2026-11-21", "2026-11-21")),
        (Days(), {"start_date": "2026-01-01", "end_date": "2026-01-31"}, "2026-11-10", ("2026-01-01", "2026-01-31")),
    ],
)
def test_days_of_a_run(time: Days, params: dict[str, object], mark: str, scope: tuple[str, str]):
    assert tuple(time.scope(Request(params, NOON, mark)).values()) == scope
    assert time.follows_watermark(params) is not bool(params)


def test_a_run_goes_back_behind_the_watermark_by_the_overlap():
    time = Since(first="2020-01-01T00:00:00Z", overlap=timedelta(minutes=5))
    assert time.scope(Request({}, NOON)) == {"since": "2020-01-01T00:00:00Z", "until": "2026-11-20T12:00:00Z"}
    assert time.scope(Request({}, NOON, "2026-11-19 10:00:00+00"))["since"] == "2026-11-19T09:55:00Z"
    assert (
        time.scope(Request({"since": "2026-01-01T01:00:00+01:00"}, NOON, "2026-11-19"))["since"]
        == "2026-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    ("time", "params"),
    [
        (Days(), {"start_date": "2026-02-30"}),
        (Days(), {"start_date": "2026-11-20"}),
        (Since(first="2020-01-01T00:00:00Z"), {"since": "yesterday"}),
    ],
)
def test_a_time_that_is_invalid_is_refused(time: Days | Since, params: dict[str, object]):
    with pytest.raises(BadParameter):
        time.scope(Request(params, NOON))


def test_only_what_is_final_moves_the_watermark_without_a_record():
    assert declare(time=Days(past_is_final=True))().reached(Request({}, NOON)) == "2026-11-19"
    assert declare(time=Days())().reached(Request({}, NOON)) == ""


# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        (Rows(), [{"id": 1}, {"id": 2}]),
        (Rows("data.items"), {"data": {"items": [{"id": 1}, {"id": 2}]}}),
        (Rows("shops[].orders"), {"shops": [{"orders": [{"id": 1}]}, {"orders": []}, {"orders": [{"id": 2}]}]}),
        (Arrays("daily"), {"daily": {"id": [1, 2], "x": [3, 4]}}),
    ],
)
def test_rows_are_found_where_they_are(rows: Any, answer: object):
    assert [record["id"] for record in read(declare(rows=rows), answer)] == [1, 2]
    pages = [answer, answer]
    assert [record["id"] for record in read(declare(rows=rows, paging=LinkHeader()), pages)] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        (Rows(), {"id": 1}),
        (Rows("data"), {"date": []}),
        (Rows("data"), {"data": {"id": 1}}),
        (Rows("data"), None),
        (OneRow("order"), {"order": [1]}),
        (OneRow(), "text"),
        (Arrays("daily"), {"daily": {"id": [1, 2], "x": [3]}}),
        (Arrays("daily"), {"daily": {"id": 1}}),
    ],
)
def test_rows_that_are_not_there_are_unreadable(rows: Any, answer: object):
    with pytest.raises(Unreadable, match=r"there must be|must have one length"):
        read(declare(rows=rows), answer)


def test_a_bad_row_leaves_the_others():
    stream, answer = declare(), [{"id": 1}, {"id": "x"}, None, {"id": 2}]
    records, errors = stream().read(Query.of("/orders"), answer)
    assert [record["id"] for record in records] == [1, 2]
    assert [error.reason for error in errors] == [
        "field 'id' must be INTEGER, not \"x\"",
        "a row must be an object, not None",
    ]


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        ("n/a", "field 'amount.value' must be NUMERIC, not \"n/a\""),
        (True, "field 'amount.value' must be NUMERIC, not true"),
        ({"of": 1}, "field 'amount.value' must be NUMERIC, not {\"of\":1}"),
        (None, "field 'amount.value' is null"),
    ],
)
def test_a_bad_value_is_named_with_its_path(amount: object, reason: str):
    stream = declare(columns=(Column("total", "amount.value", Kind.NUMERIC, "", required=True),))()
    records, errors = stream.read(Query.of("/orders"), [{"amount": {"value": "1.5"}}, {"amount": {"value": amount}}])
    assert (len(records), [error.reason for error in errors]) == (1, [reason])


def test_a_since_that_is_no_instant_is_refused_with_the_name_of_the_declaration():
    stream = declare(time=Since(first="2020-01-01T00:00:00Z"))()
    with pytest.raises(BadParameter, match="made_orders: The param 'since' must be an instant, not 'yesterday'"):
        stream.scope(Request({"since": "yesterday"}, NOON))


def test_names_that_athena_reserves_are_quoted_and_its_partitions_are_refused():
    stream = declare(dataset="made_table", columns=(Column("order", "o", Kind.STRING, ""),))
    assert "`{{ prefix() }}made_landed`.`table` (\n  `order` string" in athena.create(stream, "bucket")
    assert "`_extra` string" in athena.create(stream, "bucket")
    with pytest.raises(ValueError, match="made_table: the column 'dt' has the name of a partition"):
        athena.create(declare(dataset="made_table", columns=(Column("dt", "d", Kind.STRING, ""),)), "bucket")


def test_an_answer_without_a_good_row_is_unreadable():
    with pytest.raises(Unreadable, match="field 'id' must be INTEGER"):
        read(declare(), [{"id": "x"}, {"id": "y"}])


TREE = st.recursive(
    st.integers(-9, 9), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), TREE))
def test_no_field_is_lost(row: dict[str, Any]):
    columns = (Column("x", "a.b", Kind.INTEGER, ""), Column("a", "c", Kind.INTEGER, ""))

    def leaves(value: object, path: str = "") -> set[tuple[str, object]]:
        if not isinstance(value, dict):
            return {(path, value)}
        return {leaf for name, each in value.items() for leaf in leaves(each, f"{path}.{name}")}

    try:
        (record,) = read(declare(columns=columns), [row])
    except (Unreadable, ValueError):
        return  # an object where a number is declared
    kept = leaves(orjson.loads(record["_extra"])) if record["_extra"] else set()
    kept |= {(path, record[name]) for path, name in ((".a.b", "x"), (".c", "a")) if record[name] is not None}
    assert kept == {leaf for leaf in leaves(row) if leaf[0]}


def test_a_command_finds_each_account_of_a_file(tmp_path: Path):
    path = tmp_path / "shop_orders.py"
    path.write_text(
        "from windrow.airflow.dags import harvest_dags\n"
        "from windrow.declare.stream import Declared\n"
        "from windrow.model.contract import Column, Kind\n"
        "class Orders(Declared):\n"
        "    dataset = 'shop_orders'\n"
        "    get = '/v1/orders'\n"
        "    columns = (Column('id', 'id', Kind.INTEGER, 'Id.'),)\n"
        "harvest_dags(Orders, conn_ids=('shop_north', 'shop_south'))\n"
    )
    assert [(one.stream.dataset, one.stream.account, one.conn_id) for one in load(path)] == [
        (f"shop_orders__{name}", name, name) for name in ("shop_north", "shop_south")
    ]
