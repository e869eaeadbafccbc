"""The examples of declared sources, from the API to the table, each in one run after the other."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.sdk.exceptions import TaskDeferred
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.settings import PROJECT_ID, Settings
from tests.dag_run import AssetStates, DagRun, load
from tests.integration.conftest import KEY, rows
from tests.integration.tables import AthenaTables, Tables
from tests.scripted_api import Asked, Reply, ScriptedApi
from windrow.airflow.dags import harvest_dag, harvest_dags
from windrow.airflow.hooks.staging import staging
from windrow.cli.main import main
from windrow.declare.stream import Declared
from windrow.declare.times import Days
from windrow.model.contract import Column, Kind
from windrow.model.errors import CheckFailed, WindrowError
from windrow.model.plan import Run
from windrow.model.plausible import Plausible
from windrow.model.table import Table, Warehouse, Write

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def day_of_weather(place: str, field: str, day: str) -> float:
    return round(Random(f"{place}{field}{day}").uniform(-5, 30), 1)


def weather(asked: Asked) -> Reply:
    """An archive that returns an array for each field."""
    params = dict(asked.params)
    if params.get("apikey") != KEY:
        return Reply({"error": True, "reason": "invalid key"}, 401)
    first, last = (date.fromisoformat(params[name]) for name in ("start_date", "end_date"))
    days = [(first + timedelta(days=number)).isoformat() for number in range((last - first).days + 1)]
    fields = {
        name: [day_of_weather(params["latitude"], name, day) for day in days] for name in params["daily"].split(",")
    }
    return Reply({"latitude": float(params["latitude"]), "longitude": 1.5, "daily": {"time": days} | fields})


def ticket(number: int, changed: timedelta = timedelta(0)) -> dict[str, Any]:
    at = NOON - timedelta(days=10) + timedelta(hours=number, microseconds=number) + changed
    return {
        "id": f"T-{number:05d}", "subject": f"Ticket {number} ü", "status": "open",
        "requester": {"id": number, "name": "Ann"}, "tags": ["vip"], "deleted": number % 50 == 0,
        "amount": {"value": f"{number}.{number:02d}1234567", "currency": "EUR"},
        "created_at": "2026-11-01T00:00:00Z", "updated_at": at.isoformat(),
    }  # fmt: skip


class Desk:
    """A help desk with a cursor in the body."""

    def __init__(self) -> None:
        self.tickets = [ticket(number) for number in range(1, 46)]

    def __call__(self, asked: Asked) -> Reply:
        if asked.method != "POST" or asked.headers.get("X-Api-Key") != KEY:
            return Reply({"error": "bad key"}, 401)
        body = json.loads(asked.body)
        since = datetime.fromisoformat(body["filter"]["updated_since"])
        found = [one for one in self.tickets if datetime.fromisoformat(one["updated_at"]) >= since]
        start, limit = int(body.get("cursor") or 0), body["limit"]
        more = str(start + limit) if start + limit < len(found) else None
        return Reply({"results": found[start : start + limit], "next_cursor": more})


class Clients:
    """Counts the clients of clouds that each task makes."""

    def __init__(self) -> None:
        self.made: dict[str, Counter[str]] = {}
        self.now: Counter[str] = Counter()

    def of(self, task: Any, instance: Any) -> None:
        """Count those since the last task as this one's."""
        self.made[task.task_id], self.now = self.now, Counter()


def counted_clients(monkeypatch: pytest.MonkeyPatch) -> Clients:
    """Count clients from now on."""
    clients = Clients()
    make_aws, make_bigquery = AwsGenericHook.get_client_type, BigQueryHook.get_client

    def aws(hook: Any, *args: Any, **kwargs: Any) -> Any:
        clients.now[hook.client_type] += 1
        return make_aws(hook, *args, **kwargs)

    def of_bigquery(hook: Any, *args: Any, **kwargs: Any) -> Any:
        clients.now["bigquery"] += 1
        return make_bigquery(hook, *args, **kwargs)

    monkeypatch.setattr(AwsGenericHook, "get_client_type", aws)
    monkeypatch.setattr(BigQueryHook, "get_client", of_bigquery)
    return clients


@pytest.fixture
def warehouse(cloud: Settings, connections: None) -> Iterator[bigquery.Client]:
    client = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": cloud.bigquery_url})
    for table in ("weather.days", "desk.tickets"):
        client.delete_table(table, not_found_ok=True)
    return client


def test_weather(warehouse: bigquery.Client, scripted: ScriptedApi):
    scripted.script = weather
    dag, states = load(EXAMPLES / "weather_days.py").dag, AssetStates()
    places = [{"name": "Berlin", "lat": 52.5, "lon": 13.4}, {"name": "São Paulo & more", "lat": -23.5, "lon": -46.6}]
    run = DagRun(dag, "one", at=NOON, states=states, places=places, start_date="2026-11-01")
    first = run.run()
    assert first["prove"] | {"agrees": True, "planned": 2, "sent": 2, "exported": 38, "merged": 38} == first["prove"]
    assert [(one["dataset"], one["calls"]) for one in run.pushed["cost", "costs"]] == [("weather_days", 2)]
    assert states.values == {}, "a run with a day of its own does not move the watermark"
    second = DagRun(dag, "two", at=NOON + timedelta(days=1), states=states, places=places).run()
    assert (second["prove"]["exported"], second["prove"]["table"]) == (6, 40)
    assert states.values["weather_days"] == {"watermark": "2026-11-20"}
    found = rows(warehouse, "SELECT * EXCEPT (_fetched_at) FROM weather.days WHERE day = '2026-11-20' ORDER BY place")
    assert [row["place"] for row in found] == ["Berlin", "São Paulo & more"]
    assert found[0]["temperature_max"] == day_of_weather("52.5", "temperature_2m_max", "2026-11-20")
    assert found[0]["_key"] == "v1/archive?first=2026-11-18&last=2026-11-20&place=Berlin"
    assert KEY not in str(rows(warehouse, "SELECT * FROM weather.days"))


def test_tickets(warehouse: bigquery.Client, scripted: ScriptedApi):
    scripted.script = desk = Desk()
    dag, states = load(EXAMPLES / "desk_tickets.py").dag, AssetStates()
    first = DagRun(dag, "one", at=NOON, states=states).run()
    assert first["prove"] | {"agrees": True, "planned": 1, "sent": 3, "exported": 45, "merged": 45} == first["prove"]
    nothing = DagRun(dag, "two", at=NOON, states=states).run()
    assert nothing["prove"] | {"agrees": True, "exported": 1, "table": 45} == nothing["prove"], "the overlap"
    desk.tickets[6] = ticket(7, changed=timedelta(days=20)) | {"status": "closed"}
    third = DagRun(dag, "three", at=NOON, states=states).run()
    assert (third["prove"]["exported"], third["prove"]["table"]) == (2, 45)
    before = {name: dict(state) for name, state in states.values.items()}
    (found,) = rows(warehouse, "SELECT * FROM desk.tickets WHERE ticket_id = 'T-00007'")
    assert (found["status"], found["requester_id"], found["amount"]) == ("closed", 7, Decimal("7.071234567"))
    assert json.loads(found["_extra"]) == {"requester": {"name": "Ann"}, "tags": ["vip"]}
    desk.tickets = []
    last = DagRun(dag, "four", at=NOON, states=states).run()
    assert last["prove"] | {"agrees": True, "nothing_new": True, "exported": 0, "table": 45} == last["prove"]
    assert states.values == before, "what is past may still change: the watermark stays"


def test_stock(tables: Tables, athena_tables: AthenaTables, scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch):
    lines = {
        "A1": ["Möhre;7;0.50;29.03.2026 03:30", "Möhre;7;0.50;29.03.2026 03:30", "Zwiebel;2;;"],
        "B2": ["Kohl;1;2;"],
    }

    def stock(asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != "Basic ZXhwb3J0OnNlY3JldC1vZi1zdG9jaw==":
            return Reply("no", 401)
        if asked.path == "/sites":
            return Reply({"sites": [{"code": code} for code in lines]})
        code = asked.path.removeprefix("/export/").removesuffix(".csv")
        text = "\n".join(["Product;Quantity;Price;Counted", *lines[code]])
        return Reply(text.encode("latin-1"), headers={"Content-Type": "text/csv"})

    def connect(units: int) -> None:
        quota = {"stock.exports": {"units": units, "per": "month"}}
        extra = {"auth": "basic", "patience_s": 1, "quota": quota}
        fields = {"conn_type": "http", "host": scripted.url, "login": "export", "password": "secret-of-stock"}
        monkeypatch.setenv("AIRFLOW_CONN_STOCK", json.dumps(fields | {"extra": extra}))

    scripted.script = stock
    for one in (tables, athena_tables):
        one.drop("stock.levels")
    dag = load(EXAMPLES / "stock_levels.py").dag
    connect(units=1)
    run = DagRun(dag, "one", at=NOON)
    with pytest.raises(TaskDeferred):
        run.run("plan", "harvest")
    with staging("mongo_default", "stock_levels") as state:
        noted = state.notes(Run("stock_levels", "one"))["connection"]
    assert noted == {"conn_id": "stock", "account": "export", "quotas": [["stock.exports", 1, "month", "UTC"]]}
    connect(units=10)
    receipt = run.run(*(task.task_id for task in dag.topological_sort() if task.task_id != "plan"))["prove"]
    assert receipt | {"agrees": True, "planned": 2, "exported": 4, "merged": 4, "table": 4} == receipt
    assert (receipt["table_bigquery"], receipt["table_athena"]) == (4, 4)
    assert [asked.path for asked in scripted.asked] == ["/sites", "/export/A1.csv", "/export/B2.csv"]
    del lines["A1"][1:]
    clients = counted_clients(monkeypatch)
    receipt = DagRun(dag, "two", at=NOON, ended=clients.of).run()["prove"]
    assert receipt | {"agrees": True, "exported": 2, "table": 2} == receipt, "equal lines count, and a run replaces all"
    assert clients.made["athena.load"] == {"athena": 1, "glue": 1}, "one for all statements of a task"
    assert clients.made["bigquery.load"] == {"bigquery": 2}, "one more for the load, which is Airflow's"
    counted = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    for one in (tables, athena_tables):
        found = one.rows("SELECT site, product, quantity, price, counted_at FROM stock.levels ORDER BY site")
        assert [tuple(row.values()) for row in found] == [
            ("A1", "Möhre", 7, Decimal("0.5"), counted), ("B2", "Kohl", 1, Decimal(2), None)
        ]  # fmt: skip


@pytest.mark.parametrize("write", list(Write))
@pytest.mark.parametrize("tables", list(Warehouse), indirect=True)
def test_a_refused_account_leaves_the_others(tables: Tables, scripted: ScriptedApi, write: Write):
    accepted = {KEY}

    def shop(asked: Asked) -> Reply:
        if asked.headers.get("X-Api-Key") not in accepted:
            return Reply({"error": "unknown key"}, 401)
        return Reply([{"id": number, "day": dict(asked.params)["day"]} for number in (1, 2)])

    class Sales(Declared):
        """Sales of two shops, whose numbers both begin at 1."""

        dataset = f"accounts_{tables.kind}_{write}"
        get = "/sales"
        params: ClassVar = {"day": "{last}"}
        time = Days()
        columns = (
            Column("account", "{account}", Kind.STRING, "Connection of the shop.", required=True),
            Column("id", "id", Kind.INTEGER, "Number of the sale.", required=True),
            Column("day", "day", Kind.DATE, "Day.", required=True),
        )
        table = Table(key=("account", "id", "day"), write=write, watermark="day", description="Sales.")

    scripted.script = shop
    table = f"accounts.{tables.kind}_{write}"
    for name in ("", "__shop_north", "__shop_south"):
        tables.drop(f"{table}{name}")
    north, south = harvest_dags(Sales, conn_ids=("shop_north", "shop_south"), schedule=None, into=tables.kind)
    states = AssetStates()
    with pytest.raises(WindrowError, match="401"):
        DagRun(south, "one", at=NOON, states=states).run()
    receipt = DagRun(north, "one", at=NOON, states=states).run()["prove"]
    assert receipt | {"agrees": True, "planned": 1, "merged": 2, "table": 2} == receipt
    assert states.values[north.dag_id] == {"watermark": "2026-11-19"}
    assert not states.values[south.dag_id]
    accepted.add(f"{KEY}-of-the-south")
    for _ in range(2):
        receipt = DagRun(south, "one", at=NOON, states=states).run()["prove"]
        assert receipt | {"agrees": True, "merged": 2, "table": 4} == receipt
    assert {state["watermark"] for state in states.values.values()} == {"2026-11-19"}
    found = tables.rows(f"SELECT account, id FROM {table} ORDER BY account, id")  # noqa: S608 - a name of this test
    assert [(row["account"], row["id"]) for row in found] == [
        ("shop_north", 1), ("shop_north", 2), ("shop_south", 1), ("shop_south", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_unknown_or_not_plausible_is_a_warning_until_it_is_accepted(
    warehouse: bigquery.Client, scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch, fails: bool
):
    alerts: list[str] = []
    sold, further = 10, {}

    def shop(asked: Asked) -> Reply:
        if asked.path == "/alerts":
            alerts.append(json.loads(asked.body)["text"])
            return Reply({})
        params = dict(asked.params)
        counts = {params["first"]: 10} | {params["last"]: sold}
        return Reply([
            {"id": number, "day": day, **further} for day, count in counts.items() for number in range(count)
        ])

    scripted.script = shop
    alert = json.dumps({"conn_type": "http", "host": f"{scripted.url}/alerts"})
    monkeypatch.setenv("AIRFLOW_CONN_WINDROW_ALERTS", alert)
    columns = (
        Column("id", "id", Kind.INTEGER, "Number of the sale.", required=True),
        Column("day", "day", Kind.DATE, "Day.", required=True),
    )
    settings = {
        "dataset": f"doubts_{fails}".lower(), "get": "/sales", "time": Days(),
        "params": {"first": "{first}", "last": "{last}"},
        "columns": columns, "table": Table(key=("id", "day"), watermark="day"), "plausible": Plausible(fails=fails),
    }  # fmt: skip
    sales = type("Sales", (Declared,), settings)
    warehouse.delete_table(sales.dataset.replace("_", "."), not_found_ok=True)
    dag, states = harvest_dag(sales, conn_id="orders", schedule=None), AssetStates()

    def day(number: int) -> DagRun:
        return DagRun(dag, f"day {number}", at=NOON + timedelta(days=number), states=states)

    def command(*arguments: str) -> tuple[int, str]:
        out = StringIO()
        return main(arguments, os.environ, out), out.getvalue()

    for number in range(3):
        assert "warnings" not in day(number).run()["prove"]
    sold, further = 4, {"tax": 1}
    run = day(3)
    if fails:
        with pytest.raises(CheckFailed, match="2026-11-22 has 4 rows, usually 10") as failed:
            run.run()
        assert f"windrow accept {sales.dataset} 'day 3'" in failed.value.advice
        assert command("accept", sales.dataset, "day 3")[0] == 0
        receipt = run.run("load", "merge", "prove")["prove"]
    else:
        receipt = run.run()["prove"]
    assert receipt | {"agrees": True, "unknown_fields": "tax 14", "warnings": 1 if fails else 2} == receipt
    assert len(alerts) == 1
    assert "tax: unknown field in 14 rows, kept in _extra" in alerts[0]
    assert ("day 3: 2026-11-22 has 4 rows, usually 10" in alerts[0]) is not fails
    sold = 10
    assert day(4).run()["prove"]["warnings"] == 1
    assert len(alerts) == 1, "of a field that is known to be unknown there is one alert"
    assert command("accept", sales.dataset, "taxes") == (
        1, f"{sales.dataset} has no warning 'taxes'. `windrow warnings {sales.dataset}` lists them.\n"
    )  # fmt: skip
    assert command("accept", sales.dataset)[0] == 0
    last = day(5).run()["prove"]
    assert (last["unknown_fields"], "warnings" in last) == ("tax 20", False)
    assert "open" not in command("warnings", sales.dataset)[1]
