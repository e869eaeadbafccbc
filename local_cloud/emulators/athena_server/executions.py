"""Athena's API: queries that are started, looked at, read and stopped. What is known of them survives a kill."""

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path
from typing import Any

import duckdb
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

from local_cloud.emulators.athena_server import lake
from local_cloud.emulators.athena_server.errors import QueryFailed, Refused
from local_cloud.emulators.athena_server.lake import Lake
from local_cloud.emulators.athena_server.statements import Result, Running, Statement, statement_type

log = logging.getLogger(__name__)

Json = Mapping[str, Any]

WORKERS = 4
"""Queries that run at once; further ones are QUEUED."""
PAGE = 1000
"""Rows in a page of results, at most."""
STARTS_WITH = {"QueryString", "ClientRequestToken", "QueryExecutionContext", "ResultConfiguration", "WorkGroup"}
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


class Executions:
    """The queries, each with its state and its result.

    :param folder: where they are kept.
    """

    def __init__(self, store: Lake, folder: Path) -> None:
        self._lake = store
        self._folder = folder / "executions"
        self._scratch = folder / "scratch"
        self._pool = ThreadPoolExecutor(WORKERS)
        self._running = Running()
        self._executions: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, str] = {}

    def load(self) -> None:
        """Find the queries of before; those that were under way have failed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for file in self._folder.glob("*.json"):
            execution = json.loads(file.read_text())
            self._remember(execution)
            if execution["Status"]["State"] not in ENDED:
                self._end(execution, "FAILED", "INTERNAL_ERROR: the local Athena was restarted", retryable=True)

    @property
    def calls(self) -> Mapping[str, Callable[[Json], Json]]:
        """The calls of the API that are served."""
        return {
            "StartQueryExecution": self.start,
            "GetQueryExecution": self.get,
            "GetQueryResults": self.results,
            "StopQueryExecution": self.stop,
        }

    def start(self, request: Json) -> Json:
        """StartQueryExecution."""
        unknown = {name for name, value in request.items() if value and name not in STARTS_WITH}
        if unknown:
            raise _invalid(f"The local Athena does not know {', '.join(sorted(unknown))} of StartQueryExecution")
        if request.get("WorkGroup", "primary") != "primary":
            raise _invalid(f"WorkGroup {request['WorkGroup']} is not found.")
        output = request.get("ResultConfiguration", {}).get("OutputLocation")
        if not output:
            raise _invalid("No output location provided. The local Athena needs it as an API input.")
        token = request.get("ClientRequestToken")
        if token in self._tokens:
            return {"QueryExecutionId": self._tokens[token]}
        kind = statement_type(request["QueryString"])
        query_id = str(uuid.uuid4())
        context = request.get("QueryExecutionContext", {})
        execution = {
            "QueryExecutionId": query_id,
            "Query": request["QueryString"],
            "StatementType": kind,
            "ResultConfiguration": {
                "OutputLocation": f"{lake.folder(output)}{query_id}{'.csv' if kind == 'DML' else '.txt'}"
            },
            "QueryExecutionContext": {"Database": context.get("Database", "default"), "Catalog": "AwsDataCatalog"},
            "Status": {"State": "QUEUED", "SubmissionDateTime": time.time()},
            "Statistics": {},
            "WorkGroup": "primary",
            "EngineVersion": {
                "SelectedEngineVersion": "AUTO",
                "EffectiveEngineVersion": "Athena engine version 3",
            },
            "_token": token,
            "_result": None,
        }
        self._save(execution)
        self._remember(execution)
        self._pool.submit(self._work, execution, lake.folder(output))
        return {"QueryExecutionId": query_id}

    def get(self, request: Json) -> Json:
        """GetQueryExecution."""
        execution = self._find(request)
        return {"QueryExecution": {name: value for name, value in execution.items() if not name.startswith("_")}}

    def results(self, request: Json) -> Json:
        """GetQueryResults."""
        execution = self._find(request)
        state = execution["Status"]["State"]
        if state != "SUCCEEDED":
            ended = "did not finish successfully. Final" if state in ENDED else "has not yet finished. Current"
            raise _invalid(f"Query {ended} query state: {state}")
        result = execution["_result"]
        header = [[name for name, *_ in result["columns"]]] if execution["StatementType"] == "DML" else []
        rows = [*header, *result["rows"]] if result["columns"] else []
        start, size = int(request.get("NextToken") or 0), min(int(request.get("MaxResults") or PAGE), PAGE)
        page = {
            "UpdateCount": result["written"],
            "ResultSet": {
                "Rows": [
                    {"Data": [{} if value is None else {"VarCharValue": value} for value in row]}
                    for row in rows[start : start + size]
                ],
                "ResultSetMetadata": {"ColumnInfo": [_column_info(*column) for column in result["columns"]]},
            },
        }
        return page | ({"NextToken": str(start + size)} if start + size < len(rows) else {})

    def stop(self, request: Json) -> Json:
        """StopQueryExecution."""
        execution = self._find(request)
        if execution["Status"]["State"] not in ENDED:
            self._end(execution, "CANCELLED", "Query cancelled by user")
            self._running.interrupt(execution["QueryExecutionId"])
        return {}

    def _work(self, execution: dict[str, Any], output: str) -> None:
        """Run one query to its end."""
        if execution["Status"]["State"] in ENDED:
            return
        execution["Status"]["State"] = "RUNNING"
        query_id, began = execution["QueryExecutionId"], time.monotonic()
        statement = Statement(
            sql=execution["Query"],
            database=execution["QueryExecutionContext"]["Database"].lower(),
            output=output,
            query_id=query_id,
            store=self._lake,
            folder=self._scratch / query_id,
        )
        self._running.add(statement)
        retryable = False
        try:
            result = statement.run()
            self._write(execution, result)
            execution["_result"] = {
                "columns": [(name, *astuple(kind)) for name, kind in result.columns],
                "rows": result.rows,
                "written": result.written,
            }
            state, reason = "SUCCEEDED", ""
        except (QueryFailed, Refused) as error:
            state, reason = "FAILED", str(error)
        except duckdb.Error as error:
            state, reason = "FAILED", f"GENERIC_USER_ERROR: {error}"
        except Exception as error:
            log.exception("the query %s failed", query_id)
            state, reason = "FAILED", f"GENERIC_INTERNAL_ERROR: {type(error).__name__}: {error}"
            retryable = _is_passing(error)
        finally:
            self._running.remove(statement)
        milliseconds = int((time.monotonic() - began) * 1000)
        execution["Statistics"] = {
            "EngineExecutionTimeInMillis": milliseconds,
            "TotalExecutionTimeInMillis": milliseconds,
            "DataScannedInBytes": statement.scanned,
        }
        if execution["Status"]["State"] not in ENDED:  # it may have been cancelled meanwhile
            self._end(execution, state, reason, retryable=retryable)

    def _write(self, execution: Json, result: Result) -> None:
        """Write the result where Athena does: rows of a query as CSV, all else as text."""
        location = execution["ResultConfiguration"]["OutputLocation"]
        if not location.endswith(".csv"):
            text = "\n".join("\t".join(value or "" for value in row) for row in result.rows)
            self._lake.write(location, text.encode(), "text/plain")
        elif result.columns:
            lines = [[name for name, _ in result.columns], *result.rows]
            self._lake.write(location, "".join(map(_csv, lines)).encode(), "text/csv")

    def _end(self, execution: dict[str, Any], state: str, reason: str, *, retryable: bool = False) -> None:
        status = execution["Status"]
        status |= {"State": state, "CompletionDateTime": time.time()}
        if reason:
            status["StateChangeReason"] = reason[:1500]
        if state == "FAILED":
            status["AthenaError"] = {"ErrorMessage": reason[:1500], "Retryable": retryable}
        self._save(execution)

    def _find(self, request: Json) -> dict[str, Any]:
        query_id = request.get("QueryExecutionId")
        if query_id not in self._executions:
            raise _invalid(f"QueryExecution {query_id} was not found")
        return self._executions[query_id]

    def _remember(self, execution: dict[str, Any]) -> None:
        self._executions[execution["QueryExecutionId"]] = execution
        if execution["_token"]:
            self._tokens[execution["_token"]] = execution["QueryExecutionId"]

    def _save(self, execution: Json) -> None:
        file = self._folder / f"{execution['QueryExecutionId']}.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(execution))
        fresh.replace(file)


def _is_passing(error: Exception) -> bool:
    """Return whether S3 or Glue did not answer, or failed: Athena itself calls such queries retryable."""
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
    return isinstance(error, (ConnectionError, HTTPClientError))


def _column_info(name: str, athena: str, _hive: str, precision: int, scale: int) -> Json:
    return {
        "CatalogName": "hive",
        "SchemaName": "",
        "TableName": "",
        "Name": name,
        "Label": name,
        "Type": athena,
        "Precision": precision,
        "Scale": scale,
        "Nullable": "UNKNOWN",
        "CaseSensitive": athena in {"varchar", "string"},
    }


def _csv(values: Sequence[str | None]) -> str:
    """Write a line as Athena does: every value in quotes, and nothing for a null."""
    return ",".join("" if value is None else '"' + value.replace('"', '""') + '"' for value in values) + "\n"


def _invalid(message: str) -> Refused:
    return Refused("InvalidRequestException", message)
