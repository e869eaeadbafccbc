"""A declared stream into Athena, and into both warehouses: one harvest, and the same rows in each."""

import json
import os
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import jsonschema
import pytest
from airflow.providers.openlineage.extractors import ExtractorManager
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.utils.state import TaskInstanceState
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.dag_run import AssetStates, DagRun
from tests.integration.conftest import KEY
from tests.integration.tables import AthenaTables, Tables
from tests.scripted_api import Reply, ScriptedApi
from windrow.airflow.dags import harvest_dag
from windrow.airflow.hooks.staging import staging
from windrow.airflow.operators.base import HarvestStep
from windrow.declare.stream import Declared
from windrow.declare.times import Since
from windrow.model.contract import Column, Kind
from windrow.model.plan import Run
from windrow.model.table import Table, Warehouse

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
BOTH = tuple(Warehouse)
ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs/operations.md"


class Orders(Declared):
    """Orders of a shop."""

    dataset = "both_orders"
    get = "/orders"
    params: ClassVar = {"since": "{since}"}
    time = Since(first="2026-01-01T00:00:00Z")
    columns = (
        Column("id", "id", Kind.INTEGER, "Id.", required=True),
        Column("at", "at", Kind.TIMESTAMP, "When it was changed.", required=True),
    )
    table = Table(
        key=("id",), newest_by=("at",), partition="at", watermark="at", checks={"ids_are_positive": "MIN(id) > 0"}
    )


class Lineage:
    """A server for OpenLineage on this machine, and the provider that is configured to send to it."""

    def __init__(self) -> None:
        events = self.events = {}

        class Server(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                events[event["job"]["name"]] = event
                self.send_response(201)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.secrets: tuple[str, ...] = ()
        self.server = HTTPServer(("127.0.0.1", 0), Server)

    def way(self, task_id: str) -> tuple[tuple[str, str], ...]:
        """Return what a task read and wrote, without the addresses of this machine."""
        event = self.events[task_id]
        sets = [(one["namespace"], one["name"]) for one in (*event["inputs"], *event["outputs"])]
        return tuple((re.sub(r"(//127|//athena).*", "//...", space), name) for space, name in sets)

    def report(self, task: Any, instance: Any) -> None:
        """Do what the provider does after a task of ours."""
        if not isinstance(task, HarvestStep):
            return
        found = ExtractorManager().extract_metadata(instance, task, TaskInstanceState.SUCCESS, instance)
        OpenLineageAdapter().complete_task(
            str(uuid.uuid4()), task.task_id, NOON.isoformat(), found, None, None, None, None, None
        )


@pytest.fixture
def lineage(monkeypatch: pytest.MonkeyPatch, connections: None) -> Iterator[Lineage]:
    """What a run reports to OpenLineage through Airflow's configuration."""
    receiver = Lineage()
    with receiver.server as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        (transport,) = re.findall(r"^AIRFLOW__OPENLINEAGE__TRANSPORT='(.*)'", DOCS.read_text("utf-8"), re.MULTILINE)
        transport = transport.replace("marquez.example.com:5000", f"127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", transport)
        extra = {"auth": "query_key", "param": "apikey", "api_key": KEY}
        orders, mongo = (json.loads(os.environ[f"AIRFLOW_CONN_{name}"]) for name in ("ORDERS", "MONGO_DEFAULT"))
        monkeypatch.setenv("AIRFLOW_CONN_ORDERS", json.dumps(orders | {"extra": extra}))
        receiver.secrets = KEY, mongo["password"]
        yield receiver
        server.shutdown()


def test_a_stream_into_both_is_harvested_once_and_each_warehouse_has_its_own_tasks(
    tables: Tables, athena_tables: AthenaTables, scripted: ScriptedApi, lineage: Lineage
):
    both = (tables, athena_tables)
    for one in both:
        one.drop("both.orders")
    good = [{"id": 1, "at": "2026-11-01T10:00:00Z"}, {"id": 2, "at": "2026-11-02T10:00:00.000600Z"}]
    scripted.answers(Reply([*good, {"id": "x", "at": good[0]["at"]}, {"id": None, "at": good[0]["at"]}]))
    dag, states = harvest_dag(Orders, conn_id="orders", schedule=None, into=BOTH), AssetStates()
    run = DagRun(dag, "both one", at=NOON, states=states, ended=lineage.report, max_gaps=2)
    assert {task.split(".")[0] for task in dag.task_ids} == {"plan", "cost", "harvest", "more_workers", *BOTH, "prove"}
    first = {task for task in dag.task_ids if not task.startswith(Warehouse.ATHENA) and task != "prove"}
    run.run(*first)
    assert states.values == {"both_orders": {}}, "a warehouse has not counted yet"
    with staging("mongo_default", "both_orders") as state:
        assert "receipt" not in state.notes(Run("both_orders", "both one"))
        ((_, rejected),) = state.quarantined(Run("both_orders", "both one"))
    assert rejected.reason.endswith("field 'id' must be INTEGER, not \"x\"; field 'id' is null")
    rest = [task for task in dag.task_ids if task not in first]
    receipt = run.run(*rest)["prove"]
    counts = {"agrees": True, "planned": 1, "sent": 1, "exported": 2, "loaded": 2, "merged": 2, "table": 2, "gaps": 2}
    assert receipt | counts | {"table_bigquery": 2, "table_athena": 2} == receipt
    assert receipt["landed"].startswith("s3://")
    # that of Athena: it has milliseconds, and rounds up
    assert states.values == {"both_orders": {"watermark": "2026-11-02 10:00:00+00"}}
    assert len(scripted.asked) == 1
    names = [(row["id"], row["at"].replace(microsecond=0)) for row in tables.rows("SELECT id, at FROM both.orders")]
    assert sorted(names) == [(1, datetime(2026, 11, 1, 10, tzinfo=UTC)), (2, datetime(2026, 11, 2, 10, tzinfo=UTC))]
    assert [row["id"] for row in athena_tables.rows("SELECT id FROM both.orders ORDER BY id")] == [1, 2]
    cleared = dag.get_task("athena.land").get_flat_relatives(upstream=False)
    assert {task.task_id.split(".")[0] for task in cleared} == {"athena", "prove"}
    run.run("athena.land", *(task.task_id for task in cleared))
    assert run.results["prove"] | counts == run.results["prove"]
    with staging("mongo_default", "both_orders") as state:
        assert state.notes(Run("both_orders", "both one"))["receipt"]["agrees"]

    answers = ("mongodb://...", "windrow.both_orders")
    tasks = {
        "harvest": (("http://...", "/orders"), answers),
        "bigquery.land": (answers, ("gs://windrow-landing", "both/orders")),
        "bigquery.prove": (("gs://windrow-landing", "both/orders"), ("bigquery", "windrow.both.orders")),
        "athena.land": (answers, ("s3://windrow-lake", "both/orders")),
        "athena.prove": (("s3://windrow-lake", "both/orders"), ("awsathena://...", "AwsDataCatalog.both.orders")),
    }
    assert {name: lineage.way(name) for name in tasks} == tasks
    for name in ("bigquery.land", "bigquery.prove", "athena.land", "athena.prove"):
        (written,) = lineage.events[name]["outputs"]
        assert written["outputFacets"]["outputStatistics"]["rowCount"] == 2
        if name.endswith("prove"):
            fields = {field["name"]: field["type"] for field in written["facets"]["schema"]["fields"]}
            assert fields | {"id": {"b": "INT64", "a": "bigint"}[name[0]]} == fields
            assert {"at", "_key", "_run_id"} < fields.keys()
    facet = lineage.events["prove"]["run"]["facets"]["windrow_receipt"]
    jsonschema.validate(facet, json.loads((ROOT / "deploy/openlineage/receipt-run-facet.json").read_text("utf-8")))
    assert facet | {name: receipt[name] for name in counts if name in facet} == facet
    assert facet | {"stream": "both_orders", "run": "both one", "staged": 1, "quarantined": 1} == facet
    assert not [secret for secret in lineage.secrets if secret in json.dumps(lineage.events)]


INNER = (Column("end", "end", Kind.STRING, ""), Column("having", "having", Kind.NUMERIC, ""))


class Everything(Declared):
    """A column of each kind. Their names are reserved words of BigQuery, Hive or Trino."""

    dataset = "both_everything"
    get = "/everything"
    columns = (
        Column("order", "order", Kind.STRING, "", required=True),
        Column("select", "select", Kind.INTEGER, ""),
        Column("timestamp", "timestamp", Kind.FLOAT, ""),
        Column("values", "values", Kind.NUMERIC, ""),
        Column("decimal", "decimal", Kind.BIGNUMERIC, ""),
        Column("table", "table", Kind.BOOLEAN, ""),
        Column("date", "date", Kind.DATE, ""),
        Column("partition", "partition", Kind.TIMESTAMP, ""),
        Column("from", "from", Kind.DATETIME, ""),
        Column("user", "user", Kind.JSON, ""),
        Column("where", "where", Kind.STRING, "", repeated=True),
        Column("group", "group", Kind.RECORD, "", columns=INNER),
        Column("union", "union", Kind.RECORD, "", repeated=True, columns=INNER),
    )
    table = Table(key=("order",), partition="date")


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
MOMENT = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - of a clock on the wall


def decimals(places: int) -> st.SearchStrategy[str]:
    """Texts of numbers with 38 digits at most."""
    whole = st.integers(1 - 10**38, 10**38 - 1)
    return whole.map(lambda digits: f"{Decimal(digits).scaleb(-places, Context(prec=38)):f}")


OBJECT = st.fixed_dictionaries({}, optional={"end": TEXT | st.none(), "having": decimals(9) | st.none()})
RECORD = st.fixed_dictionaries(
    {"order": TEXT},
    optional={
        "select": st.integers(-(2**63), 2**63 - 1),
        "timestamp": st.floats(allow_nan=False, allow_infinity=False),
        "values": decimals(9),
        "decimal": decimals(18),
        "table": st.booleans() | st.none(),
        "date": st.dates(date(1, 1, 2)).map(date.isoformat),
        "partition": MOMENT.map(lambda moment: f"{moment.isoformat()}Z"),
        "from": MOMENT.map(datetime.isoformat),
        "user": st.recursive(st.none() | st.booleans() | TEXT, lambda inner: st.dictionaries(TEXT, inner, max_size=3)),
        "where": st.lists(TEXT, max_size=3) | st.none(),
        "group": OBJECT | st.none(),
        "union": st.lists(OBJECT, max_size=3),
    },
)


def as_athena(name: str, value: Any) -> Any:
    """Return a value of BigQuery as Athena has it: instants have milliseconds, arrays and rows are texts."""
    match value:
        case datetime():
            rounded = value + timedelta(microseconds=500)
            return rounded.replace(microsecond=rounded.microsecond // 1000 * 1000, tzinfo=UTC)
        case list():
            return f"[{', '.join(map(within, value))}]"
        case dict() if name == "group":
            return within(value)
    return value


def within(value: Any) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return f"{{{', '.join(f'{name}={within(one)}' for name, one in value.items())}}}"
        case Decimal():
            return f"{value:.9f}"
    return str(value)


@settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(records=st.lists(RECORD, min_size=1, max_size=30, unique_by=lambda record: record["order"]))
def test_the_same_records_are_the_same_rows_in_both_warehouses(
    tables: Tables, athena_tables: AthenaTables, scripted: ScriptedApi, records: list[dict[str, Any]]
):
    for one in (tables, athena_tables):
        one.drop("both.everything")
    scripted.answers(Reply(records))
    dag = harvest_dag(Everything, conn_id="orders", schedule=None, into=BOTH)
    assert DagRun(dag, f"both {uuid.uuid4().hex}", at=NOON).run()["prove"]["merged"] == len(records)
    in_athena = athena_tables.rows("SELECT * FROM both.everything")
    for row in in_athena:
        row["user"] = json.loads(row["user"] or "null")
    in_bigquery = tables.rows("SELECT *, TO_JSON_STRING(user) AS as_json FROM both.everything")
    for row in in_bigquery:
        row["user"] = json.loads(row.pop("as_json") or "null")
    expected = [{name: as_athena(name, value) for name, value in row.items()} for row in in_bigquery]
    assert sorted(in_athena, key=lambda row: row["order"]) == sorted(expected, key=lambda row: row["order"])
    assert {row["order"]: row["select"] for row in in_athena} == {row["order"]: row.get("select") for row in records}
