"""The command that erases a person. It runs where Airflow is, as it needs Airflow's connections to every store."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from typing import Any

from windrow.cli.command import Result, add, table
from windrow.model.errors import BadParameter

_PLACES = {
    "staging": "answers and queries in MongoDB",
    "quarantine": "quarantined answers in MongoDB",
    "archive": "answers in raw archives",
    "landing": "rows in landed files",
    "bigquery": "rows in tables of BigQuery",
    "athena": "rows in tables of Athena",
    "dynamodb": "items in DynamoDB",
}
_DESCRIPTION = """\
It finds the records of a person in everything that the harvests of a source have stored, by the columns that its
streams declare as 'person'. Without --yes it only counts. Values are compared exactly: give each id and each spelling.

It uses the connections of Airflow, so run it where Airflow runs, like
docker compose run --rm airflow-scheduler python -m windrow erase ...
It refuses while a run of the source is in progress. Killed, it does the rest when it is run again."""
_NO_AIRFLOW = "Run it where Airflow is installed, like on a worker: there are the connections to the stores."


def register(commands: Any) -> None:
    """Add the command."""
    command = add(
        commands, "erase", _erase, "erase a person from everything that was stored", _DESCRIPTION,
        "  windrow erase shop customer_id=17 email=ada@example.com\n"
        "  windrow erase shop customer_id=17 email=ada@example.com --yes",
    )  # fmt: skip
    command.add_argument("source", help="like shop, for shop_orders and all other streams of the shop")
    command.add_argument("person", nargs="+", metavar="COLUMN=VALUE", help="what identifies the person; repeatable")
    command.add_argument("--yes", action="store_true", help="erase; without it, nothing is changed")
    for name, default in (("mongo", "mongo_default"), ("gcp", "google_cloud_default"), ("aws", "aws_default")):
        command.add_argument(f"--{name}-conn-id", default=default, metavar="ID", help=f"Airflow connection ({default})")


def _erase(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    given: dict[str, set[str]] = {}
    for text in options.person:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadParameter(f"{text!r:.60} has no value.", advice="Write it like user_id=17.")
        given.setdefault(name, set()).add(value)
    try:
        erasure = import_module("windrow.airflow.erasure")  # by name: the other commands do without Airflow
    except ModuleNotFoundError as error:
        raise BadParameter(f"The Python package {error.name!r} is not installed here.", advice=_NO_AIRFLOW) from None
    erasure.use_airflow_database()
    connections = erasure.Connections(options.mongo_conn_id, options.gcp_conn_id, options.aws_conn_id)
    receipt = erasure.erase(options.source, given, connections=connections, dry_run=not options.yes)
    rows = [(f"{count:,}", _PLACES[name]) for name, count in receipt.found.items() if count]
    found = table(rows, ("found", "in")) if rows else "The person was not found."
    if not options.yes:
        return Result(f"{found}\nNothing was changed. --yes erases it.", {"found": dict(receipt.found)})
    return Result(f"{found}\nErased. Receipt {receipt.id}, {receipt.done_at[:16]} UTC.", asdict(receipt))
