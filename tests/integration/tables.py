"""The tables of a warehouse as a person reads them: the same rows in the same types, whichever warehouse it is."""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from google.cloud import bigquery

from local_cloud.settings import LAKE
from windrow.model.table import Warehouse

Row = dict[str, Any]


class Tables(Protocol):
    """The tables of one warehouse."""

    kind: Warehouse

    def rows(self, sql: str) -> list[Row]:
        """Return the rows of a query that both warehouses read."""

    def columns(self, table: str) -> dict[str, str]:
        """Return the types of a table's columns, by name, without the lineage."""

    def drop(self, table: str) -> None:
        """Delete a table and its files."""


class BigQueryTables:
    """Tables of BigQuery."""

    kind = Warehouse.BIGQUERY

    def __init__(self, client: bigquery.Client) -> None:
        self.client = client

    def rows(self, sql: str) -> list[Row]:
        return [dict(row) for row in self.client.query_and_wait(sql)]

    def columns(self, table: str) -> dict[str, str]:
        fields = [field for field in self.client.get_table(table).schema if not field.name.startswith("_")]
        return {field.name: f"{field.field_type} {field.mode}" for field in fields}

    def drop(self, table: str) -> None:
        self.client.delete_table(table, not_found_ok=True)


_READ: dict[str, Callable[[str], Any]] = {
    "bigint": int,
    "integer": int,
    "double": float,
    "decimal": Decimal,
    "boolean": "true".__eq__,
    "date": date.fromisoformat,
    "timestamp": lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
}
"""By the type in the result of a query; others stay texts."""


class AthenaTables:
    """Tables of Athena."""

    kind = Warehouse.ATHENA

    def __init__(self, athena: Any, glue: Any, s3: Any) -> None:
        self.athena, self.glue, self.s3 = athena, glue, s3

    def rows(self, sql: str) -> list[Row]:
        output = {"OutputLocation": f"s3://{LAKE}/results/"}
        query = self.athena.start_query_execution(QueryString=sql, ResultConfiguration=output)
        while (status := self._status(query))["State"] in {"QUEUED", "RUNNING"}:
            time.sleep(0.02)
        assert status["State"] == "SUCCEEDED", status
        result = self.athena.get_query_results(QueryExecutionId=query["QueryExecutionId"])["ResultSet"]
        described = [(one["Name"], _READ.get(one["Type"], str)) for one in result["ResultSetMetadata"]["ColumnInfo"]]
        return [
            {
                name: read(value["VarCharValue"]) if "VarCharValue" in value else None
                for (name, read), value in zip(described, row["Data"], strict=True)
            }
            for row in result["Rows"][1:]
        ]

    def _status(self, query: Any) -> dict[str, str]:
        execution = self.athena.get_query_execution(QueryExecutionId=query["QueryExecutionId"])
        return dict(execution["QueryExecution"]["Status"])

    def columns(self, table: str) -> dict[str, str]:
        database, name = table.split(".")
        described = self.glue.get_table(DatabaseName=database, Name=name)["Table"]["StorageDescriptor"]["Columns"]
        return {one["Name"]: one["Type"] for one in described if not one["Name"].startswith("_")}

    def drop(self, table: str) -> None:
        database, name = table.split(".")
        for one in (database, f"{database}_landed"):
            try:
                self.glue.delete_table(DatabaseName=one, Name=name)
            except self.glue.exceptions.EntityNotFoundException:
                continue
        for prefix in (f"tables/{database}/{name}/", f"{database}/{name}/"):
            found = self.s3.list_objects_v2(Bucket=LAKE, Prefix=prefix).get("Contents", ())
            for one in found:
                self.s3.delete_object(Bucket=LAKE, Key=one["Key"])
