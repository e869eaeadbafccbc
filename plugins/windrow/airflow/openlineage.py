"""What the tasks of a harvest report to OpenLineage, through Airflow's provider: datasets, and the receipt of the run.

The provider is optional, and all that it needs is in this module. Operators import it in the method that the provider
calls, so nothing here runs without ``[openlineage]`` in the configuration of Airflow.

=====================  ==================================  =================================
dataset                namespace                           name
=====================  ==================================  =================================
endpoint of an API     ``https://api.example.com``         ``/v2/orders/{id}``
answers                ``mongodb://host:27017``            ``windrow.shop_orders``
subscription           ``pubsub``                          ``subscription:project:x-posts``
landed files           ``gs://bucket``, ``s3://bucket``    ``shop/orders``
table of BigQuery      ``bigquery``                        ``project.shop.orders``
table of Athena        ``awsathena://athena.(region)...``  ``AwsDataCatalog.shop.orders``
=====================  ==================================  =================================
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

import attr
from airflow.providers.amazon.aws.hooks.athena import AthenaHook
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset, OutputDataset
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    output_statistics_output_dataset,
    schema_dataset,
    symlinks_dataset,
)

from windrow.airflow.hooks.api import ApiHook
from windrow.airflow.hooks.staging import DATABASE
from windrow.airflow.operators.defaults import prefix as of_tables
from windrow.declare import athena, bigquery
from windrow.landing.files import Manifest
from windrow.model.contract import LINEAGE, Column
from windrow.model.redact import blot
from windrow.model.stream import Stream

COUNTS = ("agrees", "planned", "staged", "gaps", "quarantined", "exported", "loaded", "merged")
"""Figures of a receipt that are reported."""
Lineage = OperatorLineage[Any, Any]
SCHEMA = "urn:windrow:openlineage:receipt-run-facet:1"
"""Id of ``deploy/openlineage/receipt-run-facet.json``."""


@attr.define
class ReceiptRunFacet(RunFacet):
    """The counts of a run in every system; a count that the run does not have is None."""

    stream: str
    run: str
    agrees: bool | None = None
    planned: int | None = None
    staged: int | None = None
    gaps: int | None = None
    quarantined: int | None = None
    exported: int | None = None
    loaded: int | None = None
    merged: int | None = None

    @staticmethod
    def _get_schema() -> str:
        return SCHEMA


def lineage(
    inputs: Sequence[Dataset], outputs: Sequence[Dataset], receipt: Mapping[str, RunFacet] | None = None
) -> Lineage:
    """Return what a task reports."""
    return OperatorLineage(inputs=list(inputs), outputs=list(outputs), run_facets=dict(receipt or {}))


def receipt_of(stream: Stream, run_id: str, figures: Mapping[str, Any]) -> dict[str, RunFacet]:
    """Return the receipt of a run by the name of its facet; empty without figures."""
    counts: dict[str, Any] = {name: figures.get(name) for name in COUNTS}
    return {"windrow_receipt": ReceiptRunFacet(stream.dataset, run_id, **counts)} if figures else {}


def endpoint(conn_id: str, stream: Stream) -> Dataset:
    """Return the endpoint that the calls of a stream go to, without parameters.

    :raises ConnectionUnusable: the connection does not exist, or its host is invalid.
    """
    url = urlsplit(ApiHook(conn_id).base_url)
    path = stream.endpoint or stream.dataset.partition("_")[2]
    return Dataset(f"{url.scheme}://{url.netloc}", blot(f"{url.path.rstrip('/')}/{path.lstrip('/')}"))


def answers(mongo_conn_id: str, stream: Stream) -> Dataset:
    """Return the answers to the calls of a stream, which are a collection of MongoDB."""
    connection = MongoHook(mongo_conn_id=mongo_conn_id).connection
    port = f":{connection.port}" if connection.port else ""
    return Dataset(f"mongodb://{connection.host}{port}", f"{connection.schema or DATABASE}.{stream.dataset}")


def subscription(gcp_conn_id: str, name: str) -> Dataset:
    """Return a subscription of Pub/Sub."""
    return Dataset("pubsub", f"subscription:{PubSubHook(gcp_conn_id=gcp_conn_id).project_id}:{name}")


def files(to: str, prefix: str, manifest: Manifest | None = None) -> Dataset:
    """Return the landed files of a stream, with the folder of this run as a symlink.

    :param to: the bucket, like ``gs://bucket``; ``prefix`` is the folder of this run in it.
    :param manifest: what the run has landed, for a task that writes.
    """
    name = "/".join(takewhile(lambda part: "=" not in part, prefix.split("/"))) or prefix  # without dt= and run=
    of_run = symlinks_dataset.Identifier(namespace=to, name=prefix, type="DIRECTORY")
    facets: dict[str, DatasetFacet] = {"symlinks": symlinks_dataset.SymlinksDatasetFacet(identifiers=[of_run])}
    if manifest is None:
        return Dataset(to, name, facets=facets)
    size = sum(part.bytes for part in manifest.parts)
    counts = _statistics(manifest.records, size, len(manifest.parts))
    return OutputDataset(to, name, facets=facets, outputFacets=counts)


def bigquery_table(gcp_conn_id: str, stream: Stream, rows: int | None) -> OutputDataset:
    """Return the table of a stream in BigQuery, with the schema of its contract.

    :param rows: how many rows the run has merged.
    """
    project = BigQueryHook(gcp_conn_id=gcp_conn_id, use_legacy_sql=False).project_id
    return _table("bigquery", f"{project}.{_named(bigquery.final(stream))}", stream, "bigquery", rows)


def athena_table(aws_conn_id: str, stream: Stream, rows: int | None) -> OutputDataset:
    """Return the table of a stream in Athena, with the schema of its contract.

    :param rows: how many rows the run has merged.
    """
    region = AthenaHook(aws_conn_id=aws_conn_id).region_name
    name = f"AwsDataCatalog.{_named(athena.final(type(stream)))}"
    return _table(f"awsathena://athena.{region}.amazonaws.com", name, stream, "athena", rows)


def _table(namespace: str, name: str, stream: Stream, types: str, rows: int | None) -> OutputDataset:
    columns = [_field(column, types) for column in (*stream.contract.columns, *LINEAGE)]
    facets: dict[str, DatasetFacet] = {"schema": schema_dataset.SchemaDatasetFacet(fields=columns)}
    return OutputDataset(namespace, name, facets=facets, outputFacets={} if rows is None else _statistics(rows))


def _field(column: Column, types: str) -> schema_dataset.SchemaDatasetFacetFields:
    kind, inner = getattr(column, types), [_field(one, types) for one in column.columns]
    return schema_dataset.SchemaDatasetFacetFields(column.name, kind, column.description, fields=inner)


def _statistics(rows: int, size: int | None = None, count: int | None = None) -> dict[str, Any]:
    return {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rows, size, count)}


def _named(table: str) -> str:
    """Return the name of a table of a template."""
    return table.replace("{{ prefix() }}", of_tables()).replace("`", "").replace('"', "")
