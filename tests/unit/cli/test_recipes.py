"""Every recipe of docs/recipes.md runs, against a server that answers as the recipe expects."""

import asyncio
import importlib.util
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.connect.environment import EnvironmentApi
from windrow.declare import bigquery
from windrow.declare.infer import infer
from windrow.declare.rows import Arrays, OneRow, Rows
from windrow.declare.stream import Declared, Each
from windrow.declare.times import Days, Since
from windrow.model.answer import Answer
from windrow.model.contract import Column, Kind
from windrow.model.formats import Csv, Ndjson, Xml
from windrow.model.paging import Cursor, LinkHeader, NextUrl, Offset, PageNumber
from windrow.model.query import Query
from windrow.model.table import Table, Warehouse, Write
from windrow.store import local
from windrow.testing import Call, Recording, replay

DOCS = Path(__file__).resolve().parents[3] / "docs"
TEXT = (DOCS / "recipes.md").read_text()
RECIPES: dict[str, tuple[str, str]] = {}
"""The part and the code of each recipe, by its heading."""
for part in TEXT.split("\n## ")[1:]:
    for recipe in part.split("\n### ")[1:]:
        fenced = re.search(r"```\w+\n(.*?)```", recipe, re.DOTALL)
        RECIPES[recipe.splitlines()[0]] = (part.splitlines()[0], fenced[1] if fenced else "")
NAMES = {one.__name__: one for one in (
    *(Arrays, OneRow, Rows, Each, Days, Since, Column, Kind, Csv, Ndjson, Xml, Cursor, LinkHeader, NextUrl, Offset),
    *(PageNumber, Table, Write, timedelta),
)}  # fmt: skip
ID = Column("id", "id", Kind.INTEGER, "Id.", required=True)
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def of(part: str) -> list[str]:
    return [name for name, (where, _) in RECIPES.items() if where == part]


def items(*ids: int) -> list[dict[str, int]]:
    return [{"id": number} for number in ids]


def get(path: str, answer: Any, params: dict[str, str] | None = None, **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call("GET", path, [[*pair] for pair in (params or {}).items()], "", 200, named, answer)


def post(answer: Any, **body: Any) -> Call:
    return Call("POST", "/items/search", [], json.dumps(body), 200, {}, answer)


CALLS: dict[str, list[Call]] = {
    "A Link header": [
        get("/items", items(1, 2), Link='</items?page=2>; rel="next"'), get("/items", items(3), {"page": "2"}),
    ],
    "The next URL in the body": [
        get("/items", {"data": items(1, 2), "links": {"next": "/items?p=2"}}),
        get("/items", {"data": items(3), "links": {}}, {"p": "2"}),
    ],
    "A cursor in the body": [
        get("/items", {"data": items(1, 2), "meta": {"next": "c"}}),
        get("/items", {"data": items(3), "meta": {"next": None}}, {"after": "c"}),
    ],
    "A cursor in the body of a POST": [
        post({"data": items(1, 2), "next": "c"}, limit=2), post({"data": items(3)}, limit=2, cursor="c"),
    ],
    "A cursor in a header": [get("/items", items(1, 2), X_Next="c"), get("/items", items(3), {"after": "c"})],
    "Numbered pages": [
        get("/items", items(1, 2), {"page": "1", "per_page": "2"}),
        get("/items", items(3), {"page": "2", "per_page": "2"}),
    ],
    "Rows to skip": [
        get("/items", items(1, 2), {"skip": "0", "top": "2"}), get("/items", items(3), {"skip": "2", "top": "2"}),
    ],
    "One JSON value a line": [get("/items", '{"id": 1}\n{"id": 2}\n{"id": 3}\n')],
    "CSV with semicolons": [get("/items", "id;name\n1;a\n2;b\n3;c\n")],
    "XML": [get("/items", "<items><item><id>1</id></item><item><id>2</id></item><item><id>3</id></item></items>")],
    "One object is the row": [get("/item", {"data": {"id": 1}})],
    "An array for each field": [get("/items", {"columns": {"id": [1, 2, 3]}})],
    "Lists in a list": [get("/orders", {"orders": [{"lines": items(1, 2)}, {"lines": items(3)}]})],
    "A call for each element of a param": [get(f"/items/{number}", {"id": number}) for number in (1, 2, 3)],
    "A call for each element of a list of the API": [
        get("/items", items(1, 2, 3)), *(get(f"/items/{number}", {"id": number}) for number in (1, 2, 3)),
    ],
    "The last three days, one call a day": [
        get("/items", items(number), {"from": f"2026-11-{16 + number}", "to": f"2026-11-{16 + number}"})
        for number in (1, 2, 3)
    ],
    "Changes since the last run": [get("/items", items(1, 2, 3), {"since": "2026-01-01T00:00:00Z"})],
}  # fmt: skip


def declared(code: str, **settings: Any) -> type[Declared]:
    found: dict[str, Any] = {}
    exec(code, dict(NAMES), found)  # noqa: S102 - our own documentation
    return type(
        "Recipe", (Declared,), {"dataset": "recipe_items", "get": "/items", "columns": (ID,)} | settings | found
    )


def test_every_recipe_is_short_and_has_a_test():
    assert len(RECIPES) == TEXT.count("\n### ")
    for name, (_, code) in RECIPES.items():
        assert len(code.splitlines()) <= 5, name
    assert {*CALLS} == {*of("Pages"), *of("Formats"), *of("Rows"), *of("Calls")}
    assert {*SIGNED} | {"Slower than the API allows"} == {*of("Auth")}
    assert ({*VALUES}, {*WRITES}) == ({*of("Columns")}, {*of("Writes")})
    assert {*INTO} == {*of("Warehouses")}


def test_types_are_inferred():
    rows = [
        {"a": 1, "b": 1.5, "c": "2026-11-20", "d": "2026-11-20T09:00:00", "e": "2026-11-20T09:00:00Z", "f": [1, 2],
         "g": [{"h": 1}], "i": {"j": "1.20"}, "k": True, "l": None, "m": {}, "n": [], "o": "x"},
        {"a": 2.5, "b": None, "c": "2026-02-30", "f": [], "g": [], "m": {}, "n": [], "o": 1},
    ]  # fmt: skip
    found = {path: str(one) for path, one in infer(rows).items()}
    assert found == {
        "a": "FLOAT", "b": "FLOAT", "c": "STRING", "d": "DATETIME", "e": "TIMESTAMP", "f": "INTEGER repeated",
        "g": "JSON", "i.j": "NUMERIC", "k": "BOOLEAN", "l": "STRING", "m": "JSON", "n": "JSON", "o": "STRING",
    }  # fmt: skip


def test_the_reference_is_that_of_the_code():
    spec = importlib.util.spec_from_file_location("declarations", DOCS / "declarations.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), "run .venv/bin/python docs/declarations.py"


@pytest.mark.parametrize("name", CALLS)
def test_what_is_read(name: str):
    code = RECIPES[name][1]
    stream = declared(code, get="") if "post" in code else declared(code)
    params = {"items": [1, 2, 3]} if "param" in name else {}
    records = replay(stream, Recording(params, AT.isoformat(), calls=CALLS[name]))
    assert [record["id"] for record in records] == ([1] if "One object" in name else [1, 2, 3])


VALUES: dict[str, tuple[dict[str, Any], object]] = {
    "An exact amount": ({"amount": {"value": "12.345678901"}}, Decimal("12.345678901")),
    "A field of a nested object": ({"address": {"city": "Köln"}}, "Köln"),
    "A field of the page, in each row": ({}, "EUR"),
    "A timestamp without a time zone": ({"sold": "20.07.2026 14:00"}, datetime(2026, 7, 20, 12, tzinfo=UTC)),
    "An amount with up to 18 digits after the point": (
        {"amount": "1.000000000000000001"},
        Decimal("1.000000000000000001"),
    ),
    "A time of day without a zone, on purpose": ({"opens": "2026-11-20T09:00:00"}, datetime(2026, 11, 20, 9)),  # noqa: DTZ001
    "A list": ({"tags": ["a", "b"]}, ["a", "b"]),
    "Objects in a list": ({"lines": [{"sku": "x", "n": 2}]}, [{"article": "x", "pieces": 2}]),
    "Anything else, as JSON": ({"settings": {"a": [1]}}, '{"a":[1]}'),
    "A timestamp as a number": ({"sold": 1_795_176_000_000}, datetime(2026, 11, 20, 12, tzinfo=UTC)),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_a_column_is(name: str):
    row, expected = VALUES[name]
    *before, last = RECIPES[name][1].strip().splitlines()
    names = dict(NAMES)
    exec("\n".join(before), names)  # noqa: S102 - our own documentation
    column = eval(last, names)  # noqa: S307
    stream = declared("", rows=Rows("rows"), columns=(ID, column))
    (record,) = stream().records(Query.of("/items"), {"currency": "EUR", "rows": [{"id": 1} | row]})
    assert record[column.name] == expected


WRITES = {
    "The newest record of a key": "WHEN MATCHED AND (landed.`updated_at` > final.`updated_at`",
    "Add the records of each run": "WHEN NOT MATCHED BY SOURCE AND final._run_id = ",
    "Only the records of the newest run": "final._fetched_at <= ",
    "Marks of deleted rows": "WHEN MATCHED AND landed.`is_deleted`",
}


@pytest.mark.parametrize("name", WRITES)
def test_how_it_is_written(name: str):
    updated = Column("updated_at", "updated_at", Kind.TIMESTAMP, "When.", required=True)
    deleted = Column("is_deleted", "deleted", Kind.BOOLEAN, "Whether.")
    assert WRITES[name] in bigquery.write(declared(RECIPES[name][1], columns=(ID, updated, deleted)))


INTO: dict[str, object] = {"Into Athena": Warehouse.ATHENA, "Into BigQuery and Athena": tuple(Warehouse)}


@pytest.mark.parametrize("name", INTO)
def test_which_warehouses_it_goes_into(name: str):
    given: dict[str, Any] = {}
    names = {"harvest_dag": lambda _, **settings: given.update(settings), "Items": None, "Warehouse": Warehouse}
    exec(RECIPES[name][1], names)  # noqa: S102 - our own documentation
    assert given == {"conn_id": "shop", "into": INTO[name]}


SIGNED: dict[str, Callable[[Asked], object]] = {
    "A bearer token": lambda asked: asked.signature == "Bearer change-me",
    "A user and a password": lambda asked: asked.signature == "Basic bWU6Y2hhbmdlLW1l",
    "A key in a header": lambda asked: asked.headers["X-Api-Key"] == "change-me",
    "A key in the URL": lambda asked: dict(asked.params)["apikey"] == "change-me",
    "OAuth 2.0 client credentials": lambda asked: asked.signature == "Bearer fresh-token",
    "OAuth 2.0 with the consent of a person": lambda asked: asked.signature == "Bearer fresh-token",
    "A pool of tokens": lambda asked: asked.signature in {"Bearer token-of-one", "Bearer token-of-two"},
    "AWS Signature Version 4": lambda asked: "Credential=access-key-id/" in str(asked.signature),
}


@pytest.mark.parametrize("name", of("Auth"))
def test_how_it_is_signed(name: str, scripted: ScriptedApi):
    scripted.script = lambda asked: Reply(
        {"access_token": "fresh-token", "expires_in": 60} if asked.path == "/oauth/token" else items(1)
    )
    connection = RECIPES[name][1].replace("https://api.example.com", scripted.url)
    api, stream = EnvironmentApi("shop", {"AIRFLOW_CONN_SHOP": connection}), declared("")()

    async def call(state: local.LocalStaging) -> object:
        async with api.client(stream, state) as client:
            return await client.ask(Query.of("/items"), lambda query, parsed: None)

    with local.opened() as state:
        assert isinstance(asyncio.run(call(state)), Answer)
    asked = scripted.asked[-1]
    if name in SIGNED:
        assert SIGNED[name](asked), asked
    else:
        limits, quotas = api.cost(stream)
        assert (limits.connections, limits.rate_per_s, quotas[0].units) == (2, 5, 5000)
