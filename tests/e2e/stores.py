"""All that the local cloud keeps and shows, written out as files in which a text can be searched."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import bson
import psycopg2
import psycopg2.extras
import pyarrow as pa
import pyarrow.parquet as pq
import redis
import requests
from pymongo import MongoClient

from local_cloud import airflow_env, aws_resources, processes
from local_cloud.settings import LAKE
from tests.e2e.system import System

STORES = ("postgres", "mongo", "redis", "gcs", "s3", "dynamodb", "bigquery", "processes", "pages")
"""Each is a folder of what `write_out` writes; the files of the local cloud's own folder are searched beside them."""


def write_out(system: System, folder: Path) -> None:
    """Write all that is there into a folder for each store, decoded."""
    for store in STORES:
        (folder / store).mkdir(parents=True)
        with (folder / store / "all").open("wb") as file:
            for piece in globals()[f"_{store}"](system):
                file.write(piece if isinstance(piece, bytes) else str(piece).encode("utf-8", "surrogatepass"))
                file.write(b"\n")


def _postgres(system: System) -> Iterator[bytes | str]:
    """Every value of every table of Airflow's database."""
    with closing(psycopg2.connect(airflow_env.database_url(system.settings))) as connection:
        for known in (psycopg2.extras.register_default_json, psycopg2.extras.register_default_jsonb):
            known(connection, loads=str)
        with connection.cursor() as cursor:
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            for (table,) in cursor.fetchall():
                cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name from the database itself
                for row in cursor:
                    yield from (bytes(value) if isinstance(value, memoryview) else str(value) for value in row)


def _mongo(system: System) -> Iterator[bytes]:
    with MongoClient(airflow_env.mongo_url(system.settings)) as client:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names():
                yield from (bson.encode(document) for document in client[database][collection].find())


def _redis(system: System) -> Iterator[bytes]:
    """Every key, as Redis itself writes it down."""
    for database in (0, 1):
        with redis.Redis.from_url(f"{airflow_env.redis_url(system.settings)}/{database}") as client:
            for key in client.scan_iter():
                yield from (key, *_values(client, key))


def _values(client: "redis.Redis", key: bytes) -> list[bytes]:
    read = {
        b"string": lambda: [client.get(key)],
        b"list": lambda: client.lrange(key, 0, -1),
        b"set": lambda: client.smembers(key),
        b"zset": lambda: client.zrange(key, 0, -1),
        b"hash": lambda: [word for pair in client.hgetall(key).items() for word in pair],
        b"stream": lambda: [word for _, fields in client.xrange(key) for pair in fields.items() for word in pair],
    }
    return list(read[client.type(key)]())


def _gcs(system: System) -> Iterator[bytes | str]:
    for blob in system.bucket.list_blobs():
        yield from (blob.name, str(blob.metadata), *_object(blob.name, blob.download_as_bytes()))


def _s3(system: System) -> Iterator[bytes | str]:
    s3 = aws_resources.client(system.settings, "s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=LAKE):
        for one in page.get("Contents", ()):
            yield from (one["Key"], *_object(one["Key"], s3.get_object(Bucket=LAKE, Key=one["Key"])["Body"].read()))


def _object(name: str, data: bytes) -> Iterator[bytes | str]:
    """An object as it is, and the texts of Parquet, which is compressed."""
    yield data
    if data.startswith(b"PAR1"):
        table = pq.read_table(io.BytesIO(data))
        for column in table.itercolumns():
            if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                yield from (str(value) for value in column.unique().to_pylist())


def _dynamodb(system: System) -> Iterator[str]:
    client = aws_resources.client(system.settings, "dynamodb")
    for table in client.list_tables()["TableNames"]:
        for page in client.get_paginator("scan").paginate(TableName=table):
            yield from (text for item in page["Items"] for text in _texts(item))


def _texts(value: Any) -> Iterator[str]:
    """Every text in a structure: to write it out as a whole would escape them."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from (str(name), *_texts(each))
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)


def _bigquery(system: System) -> Iterator[str]:
    """Every text of every table, each once."""
    for dataset in system.warehouse.list_datasets():
        for listed in system.warehouse.list_tables(dataset.dataset_id):
            table = system.warehouse.get_table(listed.reference)
            texts = [column.name for column in table.schema if column.field_type == "STRING"]
            name = f"`{dataset.dataset_id}.{table.table_id}`"
            parts = [f"SELECT DISTINCT {column} AS told FROM {name}" for column in texts]  # noqa: S608
            yield from (str(row["told"]) for row in (system.rows(" UNION ALL ".join(parts)) if parts else ()))


def _processes(system: System) -> Iterator[str]:
    """The command lines of all processes of the local cloud."""
    yield from processes.marked(system.settings.var).values()


def _pages(system: System) -> Iterator[str]:
    """The board, and what it shows."""
    url = system.settings.airflow_url
    login = {"username": airflow_env.USER, "password": system.settings.admin_password}
    token = requests.post(f"{url}/auth/token", json=login, timeout=30).json()["access_token"]
    for path in ("/", "/board", "/data"):
        answer = requests.get(
            f"{url}/windrow/boards/x_posts{path}", headers={"Authorization": f"Bearer {token}"}, timeout=60
        )
        yield from (answer.text, str(answer.headers))


@contextmanager
def planted(system: System, text: str) -> Iterator[None]:
    """Put a text into every store, and take it away at the end."""
    with ExitStack() as stack:
        for plant in (_in_files, _in_postgres, _in_databases, _in_objects, _in_bigquery, _in_a_process):
            stack.enter_context(plant(system, text))
        yield


@contextmanager
def _in_files(system: System, text: str) -> Iterator[None]:
    log, task_log = (system.settings.var / place / "planted.log" for place in ("log", "airflow/logs"))
    for path in (log, task_log):
        path.write_text(text)
    yield
    for path in (log, task_log):
        path.unlink()


@contextmanager
def _in_postgres(system: System, text: str) -> Iterator[None]:
    with closing(psycopg2.connect(airflow_env.database_url(system.settings))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE planted (told text, octets bytea)")
            cursor.execute("INSERT INTO planted VALUES (%s, %s)", (text, text.encode()))
            try:
                yield
            finally:
                cursor.execute("DROP TABLE planted")


@contextmanager
def _in_databases(system: System, text: str) -> Iterator[None]:
    dynamodb = aws_resources.client(system.settings, "dynamodb")
    key = {"request": {"S": "planted"}}
    with (
        MongoClient(airflow_env.mongo_url(system.settings)) as mongo,
        redis.Redis.from_url(airflow_env.redis_url(system.settings)) as broker,
    ):
        mongo["planted"]["told"].insert_one({"told": text})
        broker.set("planted", text)
        dynamodb.put_item(TableName="artist_requests", Item={**key, "outcome": {"S": "found"}, "text": {"S": text}})
        try:
            yield
        finally:
            mongo.drop_database("planted")
            broker.delete("planted")
            dynamodb.delete_item(TableName="artist_requests", Key=key)


@contextmanager
def _in_objects(system: System, text: str) -> Iterator[None]:
    parquet = io.BytesIO()
    pq.write_table(pa.table({"told": [text] * 10}), parquet, compression="zstd")
    s3 = aws_resources.client(system.settings, "s3")
    blob = system.bucket.blob("planted.parquet")
    blob.upload_from_string(parquet.getvalue())
    s3.put_object(Bucket=LAKE, Key="planted.parquet", Body=parquet.getvalue())
    try:
        yield
    finally:
        blob.delete()
        s3.delete_object(Bucket=LAKE, Key="planted.parquet")


@contextmanager
def _in_bigquery(system: System, text: str) -> Iterator[None]:
    system.warehouse.create_dataset("planted")
    system.warehouse.load_table_from_json([{"told": text}], "planted.told").result()
    try:
        yield
    finally:
        system.warehouse.delete_dataset("planted", delete_contents=True)


@contextmanager
def _in_a_process(system: System, text: str) -> Iterator[None]:
    environ = os.environ | {processes.MARK: str(system.settings.var)}
    with subprocess.Popen([sys.executable, "-c", "input()", text], env=environ, stdin=subprocess.PIPE) as process:
        yield
        process.terminate()


def find(needles: Mapping[str, Any], folders: Mapping[str, Path], scratch: Path) -> set[tuple[Any, str, str]]:
    """Say what is found where: what each needle stands for, the folder's name, and the file in it."""
    patterns = scratch / "needles"
    patterns.write_text("".join(f"{needle}\n" for needle in needles))
    found = set()
    for name, folder in folders.items():
        command = ["grep", "-raoZF", "-f", str(patterns), str(folder)]
        lines = subprocess.run(command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
        assert lines.returncode in {0, 1, 2}, lines.stderr
        for line in filter(None, lines.stdout.split(b"\n")):
            path, _, text = line.partition(b"\0")
            found.add((needles[text.decode()], name, str(Path(os.fsdecode(path)).relative_to(folder))))
    return found
