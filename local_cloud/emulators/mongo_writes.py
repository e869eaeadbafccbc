"""Whole documents that replace others by ``_id``, written for nx-27017 in one transaction.

nx-27017 looks for each document of an `update` command, copies it several times and commits it by itself: 126 us of CPU
for an answer of 300 bytes. So a harvest was as fast as its stand-in. Here a command is one statement and one commit.
"""

import json
import sqlite3
from datetime import datetime
from itertools import chain
from typing import Any

from bson import ObjectId
from neosqlite.binary import Binary
from neosqlite.objectid import ObjectId as StoredObjectId
from neosqlite.sql_utils import quote_table_name

Document = dict[str, Any]

_FORM = {"q", "u", "upsert", "multi"}


def replace(database: Any, collection: str, updates: list[Document]) -> Document | None:
    """Write the documents of an `update` command, all or none, and return the answer to it.

    Unlike MongoDB, it counts a document that was replaced by an equal one as modified.

    :param database: neosqlite's connection. The caller has its lock.
    :return: None if nothing was written: the command is another one, or fails; nx-27017 then knows what to say.
    """
    if not updates or not all(map(_is_whole, updates)) or database.db.in_transaction:
        return None
    keys = [update["q"]["_id"] for update in updates]
    if len(set(keys)) < len(keys):
        return None
    table = quote_table_name(database[collection].name)  # makes the table
    try:
        rows = [(key, _ENCODER.encode(update["u"])) for key, update in zip(keys, updates, strict=True)]
        with database.transaction():
            known = f"SELECT _id FROM {table} WHERE _id IN (SELECT value FROM json_each(?))"  # noqa: S608 - quoted
            there = set(chain.from_iterable(database.db.execute(known, (json.dumps(keys),))))
            write = (
                f"INSERT INTO {table} (_id, data) VALUES (?, ?) ON CONFLICT (_id) DO UPDATE SET data = excluded.data"  # noqa: S608
            )
            database.db.executemany(write, rows)
    except (sqlite3.Error, TypeError, ValueError):
        return None
    new = [{"index": index, "_id": key} for index, key in enumerate(keys) if key not in there]
    return {"ok": 1, "n": len(keys), "nModified": len(there), **({"upserted": new} if new else {})}


def _is_whole(update: Document) -> bool:
    """Return whether an update replaces a document by its text ``_id``, or inserts it."""
    key, document = update["q"].get("_id"), update["u"]
    return bool(
        update.keys() <= _FORM
        and update.get("upsert")
        and not update.get("multi")
        and len(update["q"]) == 1
        and isinstance(key, str)
        and isinstance(document, dict)
        and document.get("_id") == key
        and not any(name.startswith("$") for name in document)
    )


def _stored(value: Any) -> Any:
    """Return what neosqlite keeps of a value that JSON does not have."""
    if isinstance(value, bytes):
        return Binary(value).encode_for_storage()
    if isinstance(value, datetime):
        return {"$date": value.isoformat()}
    if isinstance(value, ObjectId):
        return StoredObjectId(value.binary).encode_for_storage()
    raise TypeError(type(value).__name__)


_ENCODER = json.JSONEncoder(default=_stored, allow_nan=False)
