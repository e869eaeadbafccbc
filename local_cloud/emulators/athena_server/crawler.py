"""A Glue crawler's run: tables and partitions, found in the folders of S3."""
# ruff: noqa: S608 - SQL is what this module makes; names in it are quoted, and values are literals

import contextlib
import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from local_cloud.emulators.athena_server import lake
from local_cloud.emulators.athena_server.ddl import Name, table_input
from local_cloud.emulators.athena_server.errors import QueryFailed
from local_cloud.emulators.athena_server.lake import Lake, Object
from local_cloud.emulators.athena_server.relations import literal
from local_cloud.emulators.athena_server.types import WIDENED, result_type


def crawl(store: Lake, crawler: Mapping[str, Any]) -> None:
    """Enter what a crawler's targets hold into the catalogue.

    A target is one table, named after its folder; folders `key=value/` below it are its partitions. Raises
    QueryFailed for files that are no Parquet, or that differ in their columns' types.
    """
    database = crawler["DatabaseName"]
    with contextlib.suppress(store.glue.exceptions.AlreadyExistsException):
        store.glue.create_database(DatabaseInput={"Name": database})
    for target in crawler["Targets"].get("S3Targets", ()):
        path = lake.folder(target["Path"])
        objects = [one for one in store.all_objects(path) if not _excluded(one, path, target.get("Exclusions", ()))]
        if not objects:
            continue
        name = Name(database, f"{crawler.get('TablePrefix', '')}{_table_name(path)}")
        keys = [{"Name": key, "Type": "string"} for key in _keys(objects[0], path)]
        parameters = {"classification": "parquet", "EXTERNAL": "TRUE", "UPDATED_BY_CRAWLER": crawler["Name"]}
        table = table_input(name, _columns(store, objects), keys, path, parameters)
        known = store.table(database, name.table)
        (store.glue.update_table if known else store.glue.create_table)(DatabaseName=database, TableInput=table)
        if keys:
            registered = {one.values for one in store.partitions(database, name.table)}
            new = [one for one in store.discovered(table) if one.values not in registered]
            store.add_partitions(database, table, new)


def _excluded(one: Object, path: str, patterns: Sequence[str]) -> bool:
    """Say whether a pattern of the crawler names an object. Raises QueryFailed for patterns that are not known."""
    for pattern in patterns:
        name = pattern.removeprefix("**")
        if name in {pattern, ""} or any(letter in name for letter in "[]{}") or "**" in name:
            raise QueryFailed(f"NOT_SUPPORTED: the exclusion {pattern!r}; the local crawler knows **name and **.ending")
        if fnmatch.fnmatchcase(f"s3://{one.bucket}/{one.key}"[len(path) :], f"*{name}"):
            return True
    return False


def _table_name(path: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", path.rstrip("/").rpartition("/")[2].lower())


def _keys(one: Object, path: str) -> list[str]:
    folders = one.folder[len(path) :].strip("/").split("/")
    return [part.partition("=")[0].lower() for part in folders if "=" in part]


def _columns(store: Lake, objects: list[Object]) -> list[dict[str, str]]:
    """Return the columns of all files, each in the wider of the types it has."""
    found: dict[str, str] = {}
    with duckdb.connect() as connection:
        for one, file in zip(objects, store.files(objects), strict=True):
            where = f"s3://{one.bucket}/{one.key}"
            try:
                sql = f"DESCRIBE SELECT * FROM read_parquet({literal(str(file))})"
                described = connection.execute(sql).fetchall()
            except duckdb.Error as error:
                raise QueryFailed(f"{where} is no Parquet file, and no exclusion names it: {error}") from None
            for name, kind, *_ in described:
                plain = "TIMESTAMP" if kind.startswith("TIMESTAMP") else kind
                before = found.setdefault(name.lower(), plain)
                if plain in WIDENED.get(before, ()) or plain == before:
                    continue
                if before not in WIDENED.get(plain, ()):
                    raise QueryFailed(f"{where} has {name} as {kind}, and an earlier file as {before}")
                found[name.lower()] = plain
    return [{"Name": name, "Type": result_type(kind, name).hive} for name, kind in found.items()]
