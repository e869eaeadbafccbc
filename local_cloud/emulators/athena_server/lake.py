"""The data and its catalogue: S3 and Glue of the emulator behind this one."""

import hashlib
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud.emulators.athena_server.errors import QueryFailed

LOCATION = re.compile(r"s3://(?P<bucket>[^/]+)(?:/(?P<key>.*))?")
PARQUET = {
    "InputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
    "OutputFormat": "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
    "SerdeInfo": {"SerializationLibrary": "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"},
}
"""The part of a table's StorageDescriptor that says Parquet."""
BATCH = 100
"""Partitions that Glue takes in one call."""

Table = Mapping[str, Any]
"""A table as Glue describes it."""


@dataclass(frozen=True)
class Object:
    """An object of S3."""

    bucket: str
    key: str
    etag: str
    size: int

    @property
    def folder(self) -> str:
        """The location that the object is in, with a slash at its end."""
        return f"s3://{self.bucket}/{self.key.rpartition('/')[0]}/"


@dataclass(frozen=True)
class Partition:
    """A partition of a table: the values of its keys, and where its files are."""

    values: tuple[str, ...]
    location: str


class Lake:
    """Buckets, tables and partitions.

    :param upstream: address of the emulator that holds them.
    :param cache: folder for copies of objects, kept by content.
    """

    def __init__(self, upstream: str, cache: Path) -> None:
        self.cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(8)
        self._guard = threading.Lock()
        config = Config(s3={"addressing_style": "path"}, max_pool_connections=32, retries={"max_attempts": 2})
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")  # noqa: S106
        self._s3, self.glue = (
            session.client(service, endpoint_url=upstream, config=config) for service in ("s3", "glue")
        )

    # --- objects ---

    def objects(self, location: str) -> list[Object]:
        """List the files below a location that Athena reads: none whose path below it has a part with _ or . in front.

        Raises QueryFailed when there is no such bucket.
        """
        return [one for one in self.all_objects(location) if not _is_hidden(one.key[len(split(location)[1]) :])]

    def all_objects(self, location: str) -> list[Object]:
        """List all objects below a location that hold something. Raises QueryFailed when there is no such bucket."""
        bucket, prefix = split(location)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        try:
            return [
                Object(bucket, one["Key"], one["ETag"].strip('"'), one["Size"])
                for page in pages
                for one in page.get("Contents", ())
                if one["Size"]
            ]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise QueryFailed(f"PERMISSION_DENIED: the bucket {bucket} does not exist") from None
            raise

    def files(self, objects: Sequence[Object]) -> list[Path]:
        """Return local copies of objects, in their order."""
        return list(self._threads.map(self._file, objects))

    def _file(self, wanted: Object) -> Path:
        name = hashlib.sha256(f"{wanted.bucket}/{wanted.key}/{wanted.etag}/{wanted.size}".encode()).hexdigest()
        file = self.cache / name
        if not file.exists():
            fresh = self.cache / uuid.uuid4().hex
            self._s3.download_file(wanted.bucket, wanted.key, str(fresh))
            fresh.replace(file)
        return file

    def upload(self, files: Iterable[tuple[Path, str]]) -> None:
        """Write files to the locations beside them."""
        for file, location in files:
            self._s3.upload_file(str(file), *split(location, folder=False))

    def write(self, location: str, content: bytes, content_type: str) -> None:
        """Write an object. Raises QueryFailed when there is no such bucket."""
        bucket, key = split(location, folder=False)
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType=content_type)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                raise QueryFailed(f"Unable to write the results: the bucket {bucket} does not exist") from None
            raise

    # --- the catalogue ---

    def table(self, database: str, name: str) -> Table | None:
        """Return a table; None when there is none."""
        try:
            return dict(self.glue.get_table(DatabaseName=database, Name=name)["Table"])
        except self.glue.exceptions.EntityNotFoundException:
            return None

    def partitions(self, database: str, name: str) -> list[Partition]:
        """List the partitions of a table that the catalogue knows."""
        pages = self.glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name)
        return [
            Partition(tuple(one["Values"]), one["StorageDescriptor"]["Location"])
            for page in pages
            for one in page["Partitions"]
        ]

    def add_partitions(self, database: str, table: Table, partitions: Sequence[Partition]) -> None:
        """Enter partitions that the catalogue does not know yet."""
        descriptor = table["StorageDescriptor"]
        for start in range(0, len(partitions), BATCH):
            self.glue.batch_create_partition(
                DatabaseName=database,
                TableName=table["Name"],
                PartitionInputList=[
                    {"Values": list(one.values), "StorageDescriptor": {**descriptor, "Location": one.location}}
                    for one in partitions[start : start + BATCH]
                ],
            )

    def discovered(self, table: Table) -> list[Partition]:
        """Find the partitions in the folders below a table: `key=value/` for each of its keys, in their order."""
        names = keys(table)
        location = folder(table["StorageDescriptor"]["Location"])
        found = {}
        for one in self.objects(location):
            parts = [part.partition("=") for part in f"s3://{one.bucket}/{one.key}"[len(location) :].split("/")[:-1]]
            if [name.lower() for name, equals, _ in parts if equals][: len(names)] != names or len(parts) < len(names):
                continue
            values = tuple(urllib.parse.unquote(value) for _, _, value in parts[: len(names)])
            path = "/".join("".join(part) for part in parts[: len(names)])
            found[values] = Partition(values, f"{location}{path}/")
        return [found[values] for values in sorted(found)]


def split(location: str, *, folder: bool = True) -> tuple[str, str]:
    """Return bucket and key of a location; as a folder, the key ends with a slash or is empty.

    Raises QueryFailed when it is no location of S3.
    """
    found = LOCATION.fullmatch(location)
    if not found:
        raise QueryFailed(f"Invalid S3 location: {location!r}. It must be like s3://bucket/folder/")
    key = found["key"] or ""
    return found["bucket"], f"{key}/" if folder and key and not key.endswith("/") else key


def folder(location: str) -> str:
    """Return a location with a slash at its end."""
    return location if location.endswith("/") else f"{location}/"


def keys(table: Table) -> list[str]:
    """Return the names of a table's partition keys."""
    return [key["Name"] for key in table.get("PartitionKeys") or ()]


def column_types(table: Table) -> list[tuple[str, str]]:
    """Return the names of a table's columns in lower case, with their types."""
    return [(one["Name"].lower(), one["Type"].lower()) for one in table["StorageDescriptor"].get("Columns") or ()]


def is_view(table: Table) -> bool:
    """Say whether a table of the catalogue is a view."""
    return table.get("TableType") == "VIRTUAL_VIEW"


def is_parquet(table: Table) -> bool:
    """Say whether a table's files are Parquet."""
    serde = table["StorageDescriptor"].get("SerdeInfo", {}).get("SerializationLibrary", "")
    return "parquet" in serde.lower()


def _is_hidden(path: str) -> bool:
    return any(part.startswith(("_", ".")) for part in path.split("/"))
