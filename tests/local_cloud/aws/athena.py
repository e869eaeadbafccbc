"""Athena as a client of the AWS API sees it, for the tests of the emulator."""

import contextlib
import io
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

Row = tuple[str | None, ...]


class Failed(Exception):
    """A query ended as FAILED; the text is the reason."""


@dataclass(frozen=True)
class Athena:
    """Queries in one database, with one bucket."""

    api: Any
    s3: Any
    glue: Any
    name: str
    """Of the bucket and of the database; bucket names have no underscores, so neither has it."""

    @classmethod
    @contextlib.contextmanager
    def fresh(cls, client: Callable[[str], Any]) -> Iterator[Self]:
        name = f"test{uuid.uuid4().hex[:12]}"
        athena = cls(client("athena"), client("s3"), client("glue"), name)
        athena.s3.create_bucket(Bucket=name)
        athena.glue.create_database(DatabaseInput={"Name": name})
        yield athena

    def start(self, sql: str, **more: Any) -> str:
        output = {"OutputLocation": f"s3://{self.name}/results/"}
        context = {"Database": self.name}
        request = {"QueryString": sql, "ResultConfiguration": output, "QueryExecutionContext": context} | more
        return str(self.api.start_query_execution(**request)["QueryExecutionId"])

    def wait(self, query_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            execution = self.api.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
            if execution["Status"]["State"] in {"SUCCEEDED", "FAILED", "CANCELLED"}:
                return dict(execution)
            assert time.monotonic() < deadline, execution
            time.sleep(0.02)

    def run(self, sql: str) -> dict[str, Any]:
        execution = self.wait(self.start(sql))
        if execution["Status"]["State"] != "SUCCEEDED":
            raise Failed(execution["Status"]["StateChangeReason"])
        return execution

    def rows(self, sql: str) -> list[Row]:
        """Run a query; give its rows without the names."""
        pages = self.api.get_paginator("get_query_results").paginate(QueryExecutionId=self.run(sql)["QueryExecutionId"])
        rows = [
            tuple(one.get("VarCharValue") for one in row["Data"]) for page in pages for row in page["ResultSet"]["Rows"]
        ]
        return rows[1:]

    def put(self, key: str, rows: Sequence[dict[str, Any]], schema: pa.Schema | None = None) -> None:
        """Write a Parquet file."""
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer)
        self.s3.put_object(Bucket=self.name, Key=key, Body=buffer.getvalue())

    def keys(self, prefix: str) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]
