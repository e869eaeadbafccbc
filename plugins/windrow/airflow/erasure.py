"""Erase a person from everything that harvests have stored: what `windrow erase` does.

It runs where Airflow's connections are. No Airflow database, log or DAG run gets the person's data.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.configuration import conf
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.sdk import Variable
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from windrow.airflow.hooks.athena import Athena
from windrow.airflow.hooks.bigquery import LONGEST_S, connect
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.staging import staging_and_status
from windrow.airflow.hooks.stores import open_store
from windrow.airflow.operators.bigquery import LANDING
from windrow.airflow.operators.defaults import prefix
from windrow.declare.files import load
from windrow.landing.erasure import LandingErasure, of_columns, rewrite
from windrow.landing.files import ObjectStore
from windrow.landing.housekeeping import LANDED, PURGED
from windrow.model import registry
from windrow.model.errors import BadParameter, WindrowError
from windrow.model.person import Person
from windrow.model.plan import Run
from windrow.model.stream import Stream
from windrow.store.erasure import Erasure
from windrow.store.staging import Staging
from windrow.store.status import StatusStore
from windrow.store.summary import Summary

ERASED = "erased"
"""Step of a run: how many queries of its plan were erased. It is not in summaries: it changes no run."""
_IDLE = timedelta(hours=2)
"""A run without a receipt that wrote nothing for so long has ended."""
_COMPARED = {"STRING", "INTEGER", "INT64", "NUMERIC", "BIGNUMERIC"}
"""Types of BigQuery's columns that may identify a person."""


class RunInProgress(WindrowError):
    """A run of the source has not ended."""


@dataclass(frozen=True, slots=True)
class Connections:
    """The Airflow connections of the stores."""

    mongo: str = "mongo_default"
    gcp: str = "google_cloud_default"
    aws: str = "aws_default"


def use_airflow_database() -> None:
    """Let connections be read from Airflow's database too, as its server does, and not from the environment alone."""
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")


def erase(
    source: str, given: Mapping[str, Iterable[str]], *, connections: Connections, dry_run: bool = True
) -> Erasure:
    """Find a person in everything that the streams of a source have stored, and erase them unless it is a dry run.

    Killed and run again it does the rest, and its receipt says what was found at first.

    :param given: values by column, as `Stream.person` declares them.
    :returns: the receipt. That of a dry run is not stored.
    :raises BadParameter: the source has no stream about persons, or no such column.
    :raises RunInProgress: a run of the source has not ended, or one has begun meanwhile.
    :raises WindrowError: a store does not answer; or the person is still there.
    """
    streams = streams_of(source)
    person = Person.of(streams, {name: frozenset(values) for name, values in given.items()})
    if not person.columns:
        raise BadParameter("No person is named.", advice="Give a column and a value, like user_id=17.")
    with staging_and_status(connections.mongo) as (state, status):
        everywhere = _Everywhere(state, status, streams, person, connections)
        everywhere.require_ended()
        found = everywhere.erase(dry_run=True)
        if dry_run:
            return Erasure.of(source, person, found)
        receipt = state.begin_erasure(source, person, found)
        everywhere.erase(dry_run=False)
        everywhere.require_ended()
        left = +everywhere.erase(dry_run=True)
        if left:
            raise WindrowError(
                f"The person is still in: {', '.join(sorted(left))}.",
                advice="Something wrote there meanwhile. Pause the DAGs of the source, and run this command again.",
            )
        return state.end_erasure(receipt)


def streams_of(source: str) -> list[Stream]:
    """Return the streams of a source that have records about persons, also those that DAG files declare.

    :raises BadParameter: there is none.
    """
    known = {name for name in registry.streams() if name.startswith(f"{source}_")}
    found = [registry.stream(name) for name in sorted(known)]
    for path in sorted(Path(conf.get("core", "dags_folder")).rglob("*.py")):
        text = path.read_text(errors="replace")
        if f"{source}_" in text and ("harvest_dag" in text or "Declared" in text):
            for one in load(path):
                if one.stream.dataset.startswith(f"{source}_") and one.stream.dataset not in known:
                    known.add(one.stream.dataset)
                    found.append(one.stream())
    about = [stream for stream in found if stream.person or stream.person_items]
    if not about:
        raise BadParameter(
            f"No stream of the source {source!r:.60} declares what identifies a person.",
            advice="Check the name: it is the first part of the name of a dataset, like 'shop' of shop_orders. Or set "
            "'person' in the declaration of its stream (docs/erasing-a-person.md).",
        )
    return about


class _Everywhere:
    """All places that may have a person."""

    def __init__(
        self,
        state: Staging,
        status: StatusStore,
        streams: Sequence[Stream],
        person: Person,
        connections: Connections,
    ) -> None:
        self._state = state
        self._status = status
        self._streams = streams
        self._person = person
        self._connections = connections
        self._source = streams[0].dataset.partition("_")[0]

    def require_ended(self) -> None:
        """Check that no run is in progress.

        :raises RunInProgress: one is.
        """
        now = datetime.now(UTC)
        for stream in self._streams:
            for summary in self._status.summaries(stream.dataset):
                if not _has_ended(summary, now):
                    raise RunInProgress(
                        f"The run {summary.run_id!r} of {summary.dataset} has not ended: its last step was at "
                        f"{summary.updated_at[:16]} UTC, and it has no receipt after it.",
                        advice="Pause its DAG, and wait until the run has ended, or clear it if it failed. A run that "
                        f"does nothing for {_IDLE.seconds // 3600} hours counts as ended. Then run this command again.",
                    )

    def erase(self, *, dry_run: bool) -> Counter[str]:
        """Erase the person, or only look for them; return how many answers, rows or items each place had."""
        found: Counter[str] = Counter()
        places: dict[tuple[str, str, str], set[str]] = {}
        for stream in self._streams:
            of_stream: dict[tuple[str, str, str], set[str]] = {}
            for summary in self._status.summaries(stream.dataset):
                run = Run(stream.dataset, summary.run_id)
                found += self._state.erase_from_run(run, stream, self._person, dry_run=dry_run)
                if not dry_run and (erased := self._state.erased_queries(run)):
                    self._state.note(run, ERASED, {"queries": erased})
                for place in self._landed(run, summary):
                    of_stream.setdefault((place["to"], place["gcp"], place["aws"]), set()).add(place["prefix"])
            for (to, gcp, aws), prefixes in of_stream.items():
                erasure = LandingErasure(open_store(to, gcp, aws), stream, self._person, dry_run=dry_run)
                for root in sorted({each.partition("/")[0] for each in prefixes}):
                    found += erasure.erase(root, {each for each in prefixes if each.startswith(f"{root}/")})
                places.setdefault((to, gcp, aws), set()).update(prefixes)
        datasets = {stream.dataset for stream in self._streams}
        found["staging"] += self._state.erase_cached(datasets, self._person, dry_run=dry_run)
        if any(to.startswith("gs://") for to, *_ in places):
            found["bigquery"] = self._erase_from_bigquery(dry_run=dry_run)
        if any(to.startswith("s3://") for to, *_ in places):
            found["athena"] = self._erase_from_athena(dry_run=dry_run)
        items = {name: attributes for stream in self._streams for name, attributes in stream.person_items.items()}
        for table, attributes in items.items():
            found["dynamodb"] += self._erase_items(table, attributes, dry_run=dry_run)
        return found

    def _landed(self, run: Run, summary: Summary) -> list[Mapping[str, Any]]:
        """Return where a run has landed: in a bucket for each warehouse."""
        places: list[Mapping[str, Any]] = [
            figures for step, figures in self._state.notes(run).items() if step.split(" ")[0] == LANDED
        ]
        return places or [one for one in (summary.steps.get(LANDED),) if one]

    # --- BigQuery ------------------------------------------------------------------------------

    def _erase_from_bigquery(self, *, dry_run: bool) -> int:
        """Delete rows of all tables of the source, and of its landing tables, that have a column of the person."""
        client = connect(self._connections.gcp)
        found = 0
        for table in self._bigquery_tables(client):
            fields = [field for field in table.schema if field.field_type in _COMPARED and field.mode != "REPEATED"]
            names = [field.name for field in fields if field.name in self._person.columns]
            if not names:
                continue
            where = " OR ".join(f"CAST(`{name}` AS STRING) IN UNNEST(@p{at})" for at, name in enumerate(names))
            values = [
                bigquery.ArrayQueryParameter(f"p{at}", "STRING", sorted(self._person.columns[name]))
                for at, name in enumerate(names)
            ]
            place, config = f"`{table.reference}`", bigquery.QueryJobConfig(query_parameters=values)

            def ask(sql: str, config: bigquery.QueryJobConfig = config) -> Any:
                return client.query_and_wait(sql, job_config=config, wait_timeout=LONGEST_S)

            ((count,),) = ask(f"SELECT COUNT(*) FROM {place} WHERE {where}")  # noqa: S608 - names of BigQuery itself
            if count and not dry_run:
                ask(f"DELETE FROM {place} WHERE {where}")  # noqa: S608 - as above
            found += count
        return found

    def _bigquery_tables(self, client: bigquery.Client) -> Iterator[bigquery.Table]:
        datasets = tuple(f"{stream.dataset}_" for stream in self._streams)
        for dataset, of_source in ((f"{prefix()}{self._source}", True), (f"{prefix()}{LANDING}", False)):
            with suppress(NotFound):
                for listed in client.list_tables(dataset):
                    if listed.table_type == "TABLE" and (of_source or listed.table_id.startswith(datasets)):
                        with suppress(NotFound):  # it has expired
                            yield client.get_table(listed.reference)

    # --- Athena --------------------------------------------------------------------------------

    def _erase_from_athena(self, *, dry_run: bool) -> int:
        """Delete rows of Iceberg tables of the source, and rewrite the files of the others.

        The landed tables are the landings.
        """
        database = f"{prefix()}{self._source}"
        glue = AwsBaseHook(aws_conn_id=self._connections.aws, client_type="glue").get_conn()
        found, folders = 0, set()
        try:
            pages = list(glue.get_paginator("get_tables").paginate(DatabaseName=database))
        except glue.exceptions.EntityNotFoundException:
            return 0
        for table in [table for page in pages for table in page["TableList"]]:
            about = table.get("StorageDescriptor", {})
            types = {one["Name"]: one["Type"] for one in about.get("Columns", ())}
            if table.get("Parameters", {}).get("table_type", "").upper() == "ICEBERG":
                found += self._erase_from_iceberg(f'"{database}"."{table["Name"]}"', types, dry_run=dry_run)
            elif about.get("Location", "").startswith("s3://"):
                folders.add(about["Location"].rstrip("/"))
        for folder in sorted(folders):
            found += self._erase_files(folder, dry_run=dry_run)
        return found

    @cached_property
    def _athena(self) -> Athena:
        bucket = Variable.get("windrow_s3_bucket")
        return Athena(self._connections.aws, f"s3://{bucket}/athena-results/")

    def _erase_from_iceberg(self, place: str, types: Mapping[str, str], *, dry_run: bool) -> int:
        conditions = []
        for name, values in self._person.columns.items():
            if types.get(name) == "string":
                conditions.append(f'"{name}" IN ({", ".join(map(_literal, sorted(values)))})')
            elif types.get(name) in {"bigint", "int"} and (numbers := sorted(filter(str.isdecimal, values))):
                conditions.append(f'"{name}" IN ({", ".join(numbers)})')
        if not conditions:
            return 0
        where = " OR ".join(conditions)
        (row,) = self._athena.ask(f"SELECT count(*) AS n FROM {place} WHERE {where}")  # noqa: S608 - values are literals
        count = int(row["n"] or 0)
        if count and not dry_run:
            for _ in self._athena.ask(f"DELETE FROM {place} WHERE {where}"):  # noqa: S608 - as above
                pass
        return count

    def _erase_files(self, location: str, *, dry_run: bool) -> int:
        """Rewrite the Parquet files of a table. A table whose location moves has its other builds beside it."""
        bucket, _, folder = location.removeprefix("s3://").partition("/")
        if folder.rpartition("/")[2].startswith("run="):
            folder = folder.rpartition("/")[0]
        store = open_store(f"s3://{bucket}", self._connections.gcp, self._connections.aws)
        return sum(_erase_file(store, name, self._person, dry_run) for name in store.names(f"{folder}/"))

    # --- DynamoDB ------------------------------------------------------------------------------

    def _erase_items(self, table: str, attributes: Sequence[str], *, dry_run: bool) -> int:
        values = {value for values in self._person.columns.values() for value in values}
        items = DynamoTable(self._connections.aws, table, key=attributes[0])
        found = [item for item in items.all() if any(str(item.get(name)) in values for name in attributes)]
        for item in found if not dry_run else ():
            items.delete(item)
        return len(found)


def _erase_file(store: ObjectStore, name: str, person: Person, dry_run: bool) -> int:
    if name.rpartition("/")[2].startswith(("_", ".")) or name.endswith("/"):
        return 0
    return rewrite(store, name, of_columns(person.columns), dry_run=dry_run)[1]


def _has_ended(summary: Summary, now: datetime) -> bool:
    """Whether the last word about a run is a receipt that agrees, or that its answers were deleted, or it is old."""
    last = max(summary.times.values(), default="")
    if summary.steps.get("receipt", {}).get("agrees") is True and not summary.trouble:
        ended = max(summary.times.get(name, "") for name in ("receipt", "verdict", PURGED))
        if ended >= last:
            return True
    until = str(summary.trouble.get("waits_until", "")) or summary.updated_at
    return bool(until) and max(datetime.fromisoformat(until), datetime.fromisoformat(summary.updated_at)) < now - _IDLE


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
