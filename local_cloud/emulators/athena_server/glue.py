"""Glue's API: the emulator behind answers what it does right; filters of partitions and crawlers are done here."""
# ruff: noqa: S608 - SQL is what this module makes; names in it are quoted, and values are literals

import datetime
import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import duckdb
from sqlglot import exp

from local_cloud.emulators.athena_server import dialect
from local_cloud.emulators.athena_server.crawler import crawl
from local_cloud.emulators.athena_server.errors import QueryFailed, Refused
from local_cloud.emulators.athena_server.lake import Lake
from local_cloud.emulators.athena_server.relations import quoted
from local_cloud.emulators.athena_server.types import duckdb_type

log = logging.getLogger(__name__)

Json = Mapping[str, Any]

FORWARDED = frozenset({
    *("CreateDatabase", "GetDatabase", "GetDatabases", "UpdateDatabase", "DeleteDatabase"),
    *("CreateTable", "GetTable", "GetTables", "UpdateTable", "DeleteTable", "BatchDeleteTable"),
    *("CreatePartition", "BatchCreatePartition", "GetPartition", "UpdatePartition"),
    *("DeletePartition", "BatchDeletePartition"),
    *("CreateCrawler", "UpdateCrawler", "DeleteCrawler", "ListCrawlers"),
    *("GetTags", "TagResource", "UntagResource"),
})
"""Calls that the emulator behind answers."""
PAGE = 1000


class Glue:
    """The calls that are answered here."""

    def __init__(self, store: Lake) -> None:
        self._lake = store
        self._guard = threading.Lock()
        self._crawls: dict[str, dict[str, Any]] = {}

    @property
    def calls(self) -> Mapping[str, Callable[[Json], Json]]:
        """The calls of the API that are served here."""
        return {
            "GetPartitions": self.partitions,
            "StartCrawler": self.start_crawler,
            "GetCrawler": self.crawler,
        }

    def partitions(self, request: Json) -> Json:
        """GetPartitions, with its Expression; the emulator behind ignores that, and a sensor would find anything."""
        database, name = request["DatabaseName"], request["TableName"]
        table = self._lake.table(database, name)
        if table is None:
            raise Refused("EntityNotFoundException", f"Table {name} not found.")
        pages = self._lake.glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name)
        found = [one for page in pages for one in page["Partitions"]]
        if request.get("Expression"):
            found = _filtered(request["Expression"], table.get("PartitionKeys") or [], found)
        start, size = int(request.get("NextToken") or 0), min(int(request.get("MaxResults") or PAGE), PAGE)
        page = {"Partitions": json.loads(json.dumps(found[start : start + size], default=datetime.datetime.timestamp))}
        return page | ({"NextToken": str(start + size)} if start + size < len(found) else {})

    def start_crawler(self, request: Json) -> Json:
        """StartCrawler."""
        crawler = self._crawler(request["Name"])
        with self._guard:
            if self._crawls.get(crawler["Name"], {}).get("State") == "RUNNING":
                raise Refused("CrawlerRunningException", f"Crawler with name {crawler['Name']} has already started")
            self._crawls[crawler["Name"]] = {"State": "RUNNING"}
        threading.Thread(target=self._crawl, args=(crawler,), daemon=True).start()
        return {}

    def crawler(self, request: Json) -> Json:
        """GetCrawler, with the state of the crawl that ran here."""
        crawler = self._crawler(request["Name"])
        state = {"State": "READY"} | self._crawls.get(crawler["Name"], {})
        return {"Crawler": json.loads(json.dumps(crawler | state, default=datetime.datetime.timestamp))}

    def _crawler(self, name: str) -> dict[str, Any]:
        try:
            found = dict(self._lake.glue.get_crawler(Name=name)["Crawler"])
        except self._lake.glue.exceptions.EntityNotFoundException:
            raise Refused("EntityNotFoundException", f"Crawler with name {name} does not exist") from None
        found.pop("LastCrawl", None)
        return found

    def _crawl(self, crawler: dict[str, Any]) -> None:
        began = datetime.datetime.now(datetime.UTC)
        last = {"Status": "SUCCEEDED", "StartTime": began, "LogGroup": "/aws-glue/crawlers"}
        try:
            crawl(self._lake, crawler)
        except QueryFailed as error:
            last |= {"Status": "FAILED", "ErrorMessage": str(error)}
        except Exception as error:
            log.exception("the crawler %s failed", crawler["Name"])
            last |= {"Status": "FAILED", "ErrorMessage": f"{type(error).__name__}: {error}"}
        with self._guard:
            self._crawls[crawler["Name"]] = {"State": "READY", "LastCrawl": last}


def _filtered(expression: str, keys: list[dict[str, str]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the partitions that an expression like `dt = '2026-01-02' AND run = 'x'` holds for."""
    try:
        query = dialect.parse(f"SELECT 1 FROM partitions WHERE {expression}")
        dialect.check(query)
        condition = dialect.to_duckdb(query.find(exp.Where).this)
        columns = [f"CAST(? AS {duckdb_type(key['Type'], key['Name'])}) AS {quoted(key['Name'])}" for key in keys]
        with duckdb.connect() as connection:
            sql = f"SELECT 1 FROM (SELECT {', '.join(columns)}) WHERE {condition}"
            return [one for one in found if connection.execute(sql, one["Values"]).fetchone()]
    except (QueryFailed, Refused, duckdb.Error) as error:
        raise Refused("InvalidInputException", f"Unsupported expression {expression!r}: {error}") from None
