"""How long a million staged rows take to a merged table, on the local cloud.

``python -m benchmarks.merge [--rows 1000000]``, with the environment of Airflow (``make bench-merge``). Reports of 730
rows are staged in the stand-in of MongoDB, landed in that of Cloud Storage, loaded, checked, merged and counted in
that of BigQuery, as the tasks do it but without Airflow between them; then they are merged once more.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jinja2
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as client
from pymongo import MongoClient

from benchmarks.landing import DAYS, NOW, Reports
from benchmarks.options import positive
from local_cloud import airflow_env
from local_cloud.settings import PROJECT_ID
from local_cloud.testing import running
from windrow.airflow.operators.bigquery import LANDING
from windrow.airflow.operators.warehouse import PARQUET
from windrow.declare import bigquery
from windrow.landing.parts import Landing
from windrow.model.answer import Answer, Outcome
from windrow.model.plan import CHUNK, Run, slug
from windrow.model.table import Table
from windrow.store.staging import Staging

RUN = Run("bench_days", "manual__2026")
BUCKET = "bench"


class VideoDays(Reports):
    """The figures of a video and day, with a table."""

    dataset = RUN.dataset
    table = Table(key=("video", "day"), partition="day", description="Figures.")


def main() -> None:
    """Stage, and measure each step after it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=positive, default=1_000_000)
    answers = -(-options.parse_args().rows // len(DAYS))
    with tempfile.TemporaryDirectory() as folder, running({"mongo", "gcs", "bigquery"}, Path(folder) / "var") as cloud:
        os.environ.update(airflow_env.airflow_environment(cloud, {}))
        staging = Staging(MongoClient(airflow_env.mongo_url(cloud)), "bench")
        _stage(staging, answers)
        warehouse = client.Client(
            PROJECT_ID, AnonymousCredentials(), client_options={"api_endpoint": cloud.bigquery_url}
        )
        with _timed("all, of the first merge"):
            _bring(staging, warehouse)
        with _timed("merged once more"):
            warehouse.query_and_wait(_rendered(bigquery.write(VideoDays)))


def _stage(staging: Staging, answers: int) -> None:
    stream = VideoDays()
    staging.prepare(RUN.dataset)
    queries = [stream.query_of(number) for number in range(answers)]
    staging.save_plan(RUN, queries)
    bodies = [stream.text(number) for number in range(32)]
    for first in range(0, answers, 100):
        some = range(first, min(first + 100, answers))
        staging.stage(
            RUN,
            [
                (number // CHUNK, Answer(queries[number], Outcome.ANSWERED, 200, bodies[number % 32], NOW))
                for number in some
            ],
        )


def _bring(staging: Staging, warehouse: client.Client) -> None:
    from windrow.airflow.hooks.stores import GcsStore  # noqa: PLC0415 - Airflow reads its environment on import

    store = GcsStore(BUCKET, "google_cloud_default")
    store._hook.create_bucket(bucket_name=BUCKET, project_id=PROJECT_ID)  # that of a deployment is there
    with _timed("land"):
        manifest = Landing(staging, VideoDays(), store, "days").land(staging.plan(RUN))
    for name in (LANDING, "bench"):
        warehouse.create_dataset(name)
    warehouse.query_and_wait(_rendered(bigquery.create(VideoDays)))
    with _timed("load"):
        config = client.LoadJobConfig(
            schema=[client.SchemaField.from_api_repr(field) for field in VideoDays.contract.bigquery_fields],
            source_format="PARQUET",
            write_disposition="WRITE_TRUNCATE",
            parquet_options=client.ParquetOptions.from_api_repr(PARQUET["parquetOptions"]),
        )
        table = f"{PROJECT_ID}.{LANDING}.{RUN.dataset}_{slug(RUN.run_id)}"
        names = [f"gs://{BUCKET}/{part.name}" for part in manifest.parts]
        warehouse.load_table_from_uri(names, table, job_config=config).result()
    for step in (bigquery.audit, bigquery.write, bigquery.prove):
        with _timed(step.__name__):
            rows = list(warehouse.query_and_wait(_rendered(step(VideoDays))))
    print(dict(rows[0]))


def _rendered(sql: str) -> str:
    jinja = jinja2.Environment(autoescape=False)  # noqa: S701 - SQL, no HTML
    jinja.filters["slug"] = slug
    return jinja.from_string(sql).render(run_id=RUN.run_id, prefix=lambda: "")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    """Print the time of a step, and this process's CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures: tuple[Any, ...] = (time.perf_counter() - began, time.process_time() - cpu, peak, os.getloadavg()[0])
    print(
        "{:<26} {:6.1f} s, of this process {:5.1f} s of CPU, peak {} MB, load {:.1f}".format(what, *figures), flush=True
    )


if __name__ == "__main__":
    main()
