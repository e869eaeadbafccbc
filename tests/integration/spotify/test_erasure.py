"""An artist who is a person leaves DynamoDB, the files of Athena's tables, and the builds beside them."""

import io
import uuid

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local_cloud.settings import LAKE
from windrow.airflow.erasure import Connections, erase
from windrow.airflow.hooks.athena import Athena
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.airflow.hooks.staging import staging
from windrow.airflow.hooks.stores import open_store
from windrow.model.plan import Run

ONE, OTHER = "0artist0one0000000000", "0artist0other00000000"


def test_an_artist_is_erased_from_items_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "test")
    tracks = DynamoTable("aws_default", "top_tracks", key="artist_id")
    requests = tracks.beside("artist_requests", key="request", version="asked_at")
    tracks.put({"artist_id": name, "fetched_at": "2026-01-02"} for name in (ONE, OTHER))
    at = "2026-01-02T00:00:00.000Z"
    requests.put({"request": f"please {name}", "artist_id": name, "asked_at": at} for name in (ONE, OTHER))
    place, table = f"erasure/{uuid.uuid4().hex}", f"spotify.erasure_{uuid.uuid4().hex[:8]}"
    store = open_store(f"s3://{LAKE}", "google_cloud_default")
    rows = pa.table({"artist_id": [ONE, OTHER, ONE], "at": pa.array([0, 1, 2], pa.timestamp("ms"))})
    for build in ("run=1", "run=2"):
        file = io.BytesIO()
        pq.write_table(rows, file, use_deprecated_int96_timestamps=True)
        store.put_file(f"{place}/{build}/part", file)
    athena = Athena("aws_default", f"s3://{LAKE}/results/")
    list(athena.ask("CREATE DATABASE IF NOT EXISTS spotify"))
    columns = "artist_id string, at timestamp"
    list(
        athena.ask(f"CREATE EXTERNAL TABLE {table} ({columns}) STORED AS PARQUET LOCATION 's3://{LAKE}/{place}/run=2/'")
    )
    with staging("mongo_default", "spotify_artists") as state:
        run = Run("spotify_artists", "manual__one")
        state.note(run, "landed", {"to": f"s3://{LAKE}", "prefix": f"{place}/landed", "gcp": "g", "aws": "aws_default"})
        state.note(run, "receipt", {"agrees": True})
    given = {"artist_id": [ONE]}
    try:
        found = erase("spotify", given, connections=Connections(), dry_run=False).found

        assert (found["dynamodb"], found["athena"]) == (2, 4)
        assert [one["artist_id"] for one in (*tracks.all(), *requests.all())] == [OTHER, OTHER]
        assert list(athena.ask(f"SELECT artist_id, at FROM {table}")) == [  # noqa: S608 - a name of this test
            {"artist_id": OTHER, "at": "1970-01-01 00:00:00.001"}
        ]
        assert ONE.encode() not in (store.get(f"{place}/run=1/part") or b"")
    finally:
        list(athena.ask(f"DROP TABLE {table}"))
