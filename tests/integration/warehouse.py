"""BigQuery as the DAGs use it: SQL files rendered and run, records loaded into a run's landing table."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from google.api_core.exceptions import BadRequest, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_cloud.settings import PROJECT_ID, Settings
from windrow.airflow.operators.bigquery import LANDING
from windrow.airflow.operators.defaults import SQL_FOLDER
from windrow.declare import bigquery as declared_sql
from windrow.model import registry
from windrow.model.contract import Contract
from windrow.model.plan import slug
from windrow.model.stream import Stream

Row = dict[str, Any]


class Warehouse:
    """One source's dataset in the BigQuery of the local cloud, and the SQL files that fill it."""

    def __init__(self, cloud: Settings, dataset: str) -> None:
        options = {"api_endpoint": cloud.bigquery_url}
        self.client = bigquery.Client(PROJECT_ID, AnonymousCredentials(), client_options=options)
        self.dataset = dataset
        loader = jinja2.FileSystemLoader(f"{SQL_FOLDER}/bigquery/{dataset}")
        self._files = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - SQL, no HTML
        self._files.filters["slug"] = slug
        self._files.globals["prefix"] = lambda: ""
        for name in (dataset, LANDING):
            self.client.create_dataset(name, exists_ok=True)

    def text(self, file: str, **context: Any) -> str:
        """Render a file of the dataset's folder as Airflow does. SQL without a file is made from the contract."""
        return self._files.from_string(source(self.dataset, file)).render({"run_id": "one", **context})

    def made(self, sql: str, run_id: str = "one") -> list[Row]:
        """Render and run SQL that was made from a declaration, as a task of this run does."""
        return self.query(self._files.from_string(sql).render(run_id=run_id))

    def run(self, file: str, run_id: str = "one", **context: Any) -> list[Row]:
        """Run a file as a task of this run does."""
        return self.query(self.text(file, run_id=run_id, **context))

    def query(self, sql: str) -> list[Row]:
        return [dict(row) for row in self.client.query_and_wait(sql)]

    def rows(self, table: str, order: str) -> list[Row]:
        """Return a table of the dataset."""
        return self.query(f"SELECT * FROM {self.dataset}.{table} ORDER BY {order}")  # noqa: S608 - names of tests

    def drop(self, *tables: str) -> None:
        for table in tables:
            self.client.delete_table(f"{self.dataset}.{table}", not_found_ok=True)

    def empty(self, *tables: str) -> None:
        """Have these tables without rows."""
        empty(self.client, self.dataset, tables, lambda table: self.run(f"{table}/create.sql"))

    def land(self, stream: type[Stream], *rows: Row, run_id: str = "one") -> None:
        """Load records into the landing table of a run, in place of what is there."""
        fields = [bigquery.SchemaField.from_api_repr(field) for field in stream.contract.bigquery_fields]
        config = bigquery.LoadJobConfig(schema=fields, write_disposition="WRITE_TRUNCATE")
        table = f"{PROJECT_ID}.{LANDING}.{stream.dataset}_{slug(run_id)}"
        texts = [
            {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
            for row in rows
        ]
        self.client.load_table_from_json(texts, table, job_config=config).result()


def source(dataset: str, file: str) -> str:
    """Return the template of a step, like ``orders/merge.sql``: of its file, or made from the table of the stream."""
    path = Path(SQL_FOLDER) / "bigquery" / dataset / file
    if path.exists():
        return path.read_text(encoding="utf-8")
    folder, _, step = file.removesuffix(".sql").partition("/")
    made = {"create": declared_sql.create, "audit": declared_sql.audit, "merge": declared_sql.write}
    return (made | {"prove": declared_sql.prove})[step](registry.stream(f"{dataset}_{folder}"))


def empty(client: bigquery.Client, dataset: str, tables: Sequence[str], create: Callable[[str], Any]) -> None:
    """Have these tables without rows. They are made where one is missing: to empty them is quicker."""
    try:
        client.query_and_wait("; ".join(f"TRUNCATE TABLE {dataset}.{table}" for table in tables))
    except (NotFound, BadRequest):
        for table in tables:
            client.delete_table(f"{dataset}.{table}", not_found_ok=True)
            create(table)


def declared(contract: Contract) -> list[tuple[str, str, str]]:
    """What a table's schema should be, as `columns` gives it."""
    return [(field["name"], field["type"], field["mode"]) for field in contract.bigquery_fields]


def columns(table: bigquery.Table) -> list[tuple[str, str, str]]:
    return [(field.name, field.field_type, field.mode) for field in table.schema]


def undescribed(text: str, contract: Contract) -> list[str]:
    """Name the columns that a create.sql describes otherwise than the contract does."""
    fields = contract.bigquery_fields
    return [field["name"] for field in fields if f"'{field['description']}'" not in text]


def broken(decision: list[Row]) -> set[str]:
    """Name the columns of an audit or check that are not true."""
    (row,) = decision
    return {name for name, holds in row.items() if not holds}
