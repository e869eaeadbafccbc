import base64
import contextlib
import datetime
import hashlib
import io
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from local_cloud import ports
from local_cloud.settings import BUCKET, Settings
from local_cloud.supervisor import LocalCloud
from local_cloud.testing import ROOT, running
from tests.local_cloud.conftest import eventually, gcs_bucket, is_alive, pid_of

Row = tuple[object, ...]

CLOUD_PYTHON = ROOT / ".venv-cloud" / "bin" / "python"

SCHEMA = [bigquery.SchemaField("day", "DATE"), bigquery.SchemaField("n", "INT64")]
FIRST, SECOND = datetime.date(2026, 1, 1), datetime.date(2026, 1, 2)


def query(client: bigquery.Client, sql: str) -> list[Row]:
    return [row.values() for row in client.query(sql).result()]


def upload_parquet(bucket: storage.Bucket, name: str, rows: list[tuple[datetime.date, int]]) -> str:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"day": [day for day, _ in rows], "n": [n for _, n in rows]}), buffer)
    bucket.blob(name).upload_from_string(buffer.getvalue())
    return f"gs://{BUCKET}/{name}"


def load(client: bigquery.Client, uri: str, table: str, disposition: str = "WRITE_TRUNCATE") -> None:
    config = bigquery.LoadJobConfig(source_format="PARQUET", schema=SCHEMA, write_disposition=disposition)
    client.load_table_from_uri(uri, f"windrow.landing.{table}", job_config=config).result()


# --- Cloud Storage -----------------------------------------------------------------------------


def test_bytes_and_checksums_are_exact(bucket: storage.Bucket) -> None:
    content = os.urandom(300_000)
    bucket.blob("exact.bin").upload_from_string(content)

    blob = bucket.get_blob("exact.bin")

    assert blob is not None
    assert blob.download_as_bytes() == content
    assert blob.md5_hash == base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    assert blob.crc32c == base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def test_a_resumable_upload_in_chunks(bucket: storage.Bucket) -> None:
    content = os.urandom(700_000)
    blob = bucket.blob("chunks.bin", chunk_size=256 * 1024)

    blob.upload_from_file(io.BytesIO(content), size=len(content))

    assert bucket.blob("chunks.bin").download_as_bytes() == content


def test_if_generation_match_guards_writes_and_deletes(bucket: storage.Bucket) -> None:
    blob = bucket.blob("guarded.txt")
    blob.upload_from_string("one", if_generation_match=0)
    first = blob.generation

    with pytest.raises(PreconditionFailed):
        bucket.blob("guarded.txt").upload_from_string("two", if_generation_match=0)
    assert bucket.blob("guarded.txt").download_as_bytes() == b"one"

    bucket.blob("guarded.txt").upload_from_string("three", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.blob("guarded.txt").delete(if_generation_match=first)
    assert bucket.blob("guarded.txt").download_as_bytes() == b"three"


def test_a_listing_comes_in_pages(bucket: storage.Bucket) -> None:
    names = [f"paged/{n:02}.txt" for n in range(7)]
    for name in names:
        bucket.blob(name).upload_from_string(name)

    pages = list(bucket.list_blobs(prefix="paged/", page_size=3).pages)

    assert [page.num_items for page in pages] == [3, 3, 1]
    assert [blob.name for blob in bucket.list_blobs(prefix="paged/", page_size=3)] == names
    folders = bucket.list_blobs(prefix="", delimiter="/")
    assert list(folders) is not None
    assert "paged/" in folders.prefixes


def test_a_folder_marker_lives_beside_what_is_in_the_folder(bucket: storage.Bucket) -> None:
    bucket.blob("marked/").upload_from_string("")
    bucket.blob("marked/a.txt").upload_from_string("a")

    assert [blob.name for blob in bucket.list_blobs(prefix="marked/")] == ["marked/", "marked/a.txt"]
    assert bucket.blob("marked/").exists()


def test_names_that_collide_on_disk_get_an_error(bucket: storage.Bucket) -> None:
    bucket.blob("collide").upload_from_string("a file")

    with pytest.raises(BadRequest, match="cannot hold both"):
        bucket.blob("collide/inside").upload_from_string("needs a folder", retry=None)


def test_an_idle_connection_stalls_nobody(emulators: Settings, bucket: storage.Bucket) -> None:
    with socket.create_connection(("127.0.0.1", emulators.gcs_port)) as idle:
        idle.sendall(b"POST /upload/storage/v1/b/x/o?uploadType=media&name=y HTTP/1.1\r\nContent-Length: 10\r\n\r\n1")
        bucket.blob("busy.txt").upload_from_string("done", timeout=5, retry=None)


def test_a_file_that_another_process_wrote_is_an_object(emulators: Settings, bucket: storage.Bucket) -> None:
    (emulators.var / "gcs" / "objects" / BUCKET / "shared.txt").write_text("from elsewhere")

    assert bucket.blob("shared.txt").download_as_bytes() == b"from elsewhere"


def test_acknowledged_objects_survive_a_kill(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with running({"gcs"}, var) as settings:
        bucket = gcs_bucket(settings)
        for n in range(40):
            bucket.blob(f"kept/{n}").upload_from_string(str(n))
        victim = pid_of(var, "emulators.gcs")

        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_alive(victim), "it is dead")
        cloud = LocalCloud(settings, os.environ, {"gcs"})
        eventually(lambda: cloud.states() == {"gcs": "healthy"}, "it is healthy again")

        found = {blob.name: blob.download_as_bytes() for blob in bucket.list_blobs(prefix="kept/")}
        assert found == {f"kept/{n}": str(n).encode() for n in range(40)}


# --- BigQuery ----------------------------------------------------------------------------------


def test_parquet_is_loaded_from_the_bucket_by_a_wildcard(warehouse: bigquery.Client, bucket: storage.Bucket) -> None:
    upload_parquet(bucket, "wild/part-0.parquet", [(FIRST, 1), (FIRST, 2)])
    upload_parquet(bucket, "wild/part-1.parquet", [(SECOND, 3)])
    upload_parquet(bucket, "wild/other.parquet", [(SECOND, 4)])

    load(warehouse, f"gs://{BUCKET}/wild/part-*.parquet", "wild")

    assert query(warehouse, "SELECT day, n FROM landing.wild ORDER BY n") == [(FIRST, 1), (FIRST, 2), (SECOND, 3)]


def test_an_overwritten_object_is_loaded_as_it_is_now(warehouse: bigquery.Client, bucket: storage.Bucket) -> None:
    for n in (1, 2):
        load(warehouse, upload_parquet(bucket, "again.parquet", [(FIRST, n)]), "again")

    assert query(warehouse, "SELECT n FROM landing.again") == [(2,)]


@pytest.fixture
def days(warehouse: bigquery.Client) -> str:
    """A table with a row in each of two partitions."""
    query(warehouse, "CREATE OR REPLACE TABLE landing.days (day DATE, n INT64) PARTITION BY day")
    query(warehouse, "INSERT INTO landing.days VALUES ('2026-01-01', 1), ('2026-01-02', 2)")
    return "SELECT day, n FROM landing.days ORDER BY day, n"


def test_a_load_into_a_partition_replaces_it_alone(
    warehouse: bigquery.Client, bucket: storage.Bucket, days: str
) -> None:
    load(warehouse, upload_parquet(bucket, "p.parquet", [(SECOND, 7), (SECOND, 8)]), "days$20260102")

    assert query(warehouse, days) == [(FIRST, 1), (SECOND, 7), (SECOND, 8)]
    assert sorted(warehouse.list_partitions("landing.days")) == ["20260101", "20260102"]
    assert not [table for table in warehouse.list_tables("landing") if "$" in table.table_id]


def test_a_load_appends_to_a_partition(warehouse: bigquery.Client, bucket: storage.Bucket, days: str) -> None:
    load(warehouse, upload_parquet(bucket, "p.parquet", [(SECOND, 7)]), "days$20260102", "WRITE_APPEND")

    assert query(warehouse, days) == [(FIRST, 1), (SECOND, 2), (SECOND, 7)]


def test_rows_of_another_partition_are_refused_and_nothing_is_lost(
    warehouse: bigquery.Client, bucket: storage.Bucket, days: str
) -> None:
    uri = upload_parquet(bucket, "p.parquet", [(SECOND, 7), (FIRST, 8)])

    with pytest.raises(BadRequest, match="different partitions"):
        load(warehouse, uri, "days$20260102")

    assert query(warehouse, days) == [(FIRST, 1), (SECOND, 2)]


def test_merge_updates_inserts_and_can_run_again(warehouse: bigquery.Client, days: str) -> None:
    merge = """
        MERGE landing.days AS target
        USING (SELECT DATE '2026-01-02' AS day, 20 AS n UNION ALL SELECT DATE '2026-01-03', 30) AS source
        ON target.day = source.day
        WHEN MATCHED THEN UPDATE SET n = source.n
        WHEN NOT MATCHED THEN INSERT (day, n) VALUES (source.day, source.n)
    """
    for _ in range(2):
        query(warehouse, merge)

    assert query(warehouse, days) == [(FIRST, 1), (SECOND, 20), (datetime.date(2026, 1, 3), 30)]


def test_a_script_of_several_statements_and_a_transaction(warehouse: bigquery.Client, days: str) -> None:
    script = """
        DECLARE wanted DATE DEFAULT DATE '2026-01-02';
        BEGIN TRANSACTION;
        DELETE FROM landing.days WHERE day = wanted;
        INSERT INTO landing.days SELECT wanted, x FROM UNNEST([5, 6]) AS x;
        COMMIT TRANSACTION;
        SELECT SUM(n) FROM landing.days WHERE day = wanted;
    """

    assert query(warehouse, script) == [(11,)]
    assert query(warehouse, days) == [(FIRST, 1), (SECOND, 5), (SECOND, 6)]


def test_an_export_is_seen_in_the_bucket(warehouse: bigquery.Client, bucket: storage.Bucket) -> None:
    for word in ("one", "two"):  # of the same size: the second must not be taken for the first
        query(
            warehouse,
            f"EXPORT DATA OPTIONS(uri='gs://{BUCKET}/export/*.csv', format='CSV', overwrite=true, header=false)"
            f" AS SELECT '{word}' AS word",
        )
        (blob,) = bucket.list_blobs(prefix="export/")
        assert blob.download_as_bytes().decode().strip() == word


WITH_TWO_RESULTS = """
from local_cloud.emulators import bigquery, bigquery_tables
bigquery_tables.KEPT_RESULTS = 2
bigquery.main()
"""


@contextlib.contextmanager
def own_bigquery(folder: Path, port: int) -> Iterator[bigquery.Client]:
    """Serve BigQuery from `folder`, which keeps two results; kill it at the end."""
    command = (
        *(str(CLOUD_PYTHON), "-c", WITH_TWO_RESULTS, "serve", "--host", "127.0.0.1", "--port", str(port)),
        *("--grpc-port", "0", "--project", "p", "--data-dir", str(folder / "data")),
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GCS_LOCAL_ROOT": str(folder / "objects")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: listens(port), "BigQuery listens")
            options = {"api_endpoint": f"http://127.0.0.1:{port}"}
            with bigquery.Client("p", AnonymousCredentials(), client_options=options) as client:
                yield client
        finally:
            process.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_tables_and_the_last_results_survive_a_kill(tmp_path: Path) -> None:
    (port,) = ports.find_free(1)
    with own_bigquery(tmp_path, port) as client:
        client.create_dataset("d")
        query(client, "CREATE TABLE d.t (n INT64 NOT NULL)")
        query(client, "INSERT INTO d.t VALUES (1), (2)")
        jobs = [client.query_and_wait("SELECT n FROM d.t ORDER BY n").job_id for _ in range(3)]

    with own_bigquery(tmp_path, port) as client:
        assert [[row.n for row in client.get_job(job).result()] for job in jobs[1:]] == [[1, 2], [1, 2]]
        with pytest.raises(NotFound):
            client.get_job(jobs[0]).result(retry=None)
        assert query(client, "SELECT n FROM d.t ORDER BY n") == [(1,), (2,)]
        assert [(field.field_type, field.mode) for field in client.get_table("d.t").schema] == [("INTEGER", "REQUIRED")]
        with pytest.raises(BadRequest):
            query(client, "SELECT n FROM d.t FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-01'")


def test_a_table_of_another_name_or_kind_is_not_taken_for_one_that_was_seen(warehouse: bigquery.Client) -> None:
    query(warehouse, "CREATE OR REPLACE TABLE landing.seen AS SELECT 1 AS n")
    assert query(warehouse, "SELECT n FROM landing.seen") == [(1,)]
    with pytest.raises(NotFound):
        query(warehouse, "SELECT n FROM landing.Seen")

    query(warehouse, "DROP TABLE landing.seen")
    with pytest.raises(NotFound):
        query(warehouse, "SELECT n FROM landing.seen")
    query(warehouse, "CREATE VIEW landing.seen AS SELECT 2 AS n")
    assert query(warehouse, "SELECT n FROM landing.seen") == [(2,)]
    assert warehouse.get_table("landing.seen").table_type == "VIEW"
    warehouse.delete_table("landing.seen")


def test_tables_of_an_earlier_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lake = tmp_path / "data" / "p.ducklake"
    lake.touch()
    done = subprocess.run(
        (str(CLOUD_PYTHON), "-m", "local_cloud.emulators.bigquery", "serve", "--data-dir", str(lake.parent)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert f"cannot read {lake}" in done.stderr
    assert "make clean" in done.stderr


def test_duckdbs_extensions_are_links_in_the_data_folder(emulators: Settings, warehouse: bigquery.Client) -> None:
    links = list((emulators.var / "home" / ".duckdb").rglob("*.duckdb_extension"))

    assert len(links) == 4
    assert all(link.is_symlink() and link.exists() for link in links)
