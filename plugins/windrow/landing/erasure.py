"""Erasing a person from landings: rows leave the Parquet files, answers the raw archive, and the manifest follows.

A file is replaced as a whole, and the manifest of a landing last. What is counted follows from the files and the old
manifest, so an erasure that is killed anywhere is simply run again.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.landing.archive import PLAIN, QUARANTINED, SCHEMA, answer_of, rejected_of
from windrow.landing.files import MANIFEST, Manifest, ObjectStore, Part, parquet_writer, part_of
from windrow.model.answer import Answer, Outcome
from windrow.model.errors import ManifestMissing
from windrow.model.person import Person, erase_from, erased
from windrow.model.query import Query
from windrow.model.stream import Stream

_ARCHIVE = "_answers-"
_ROWS = 100
"""Rows of an archive in memory."""
_HAD_RECORDS = "answered"
"""Reason of an erased row whose answer had records."""
_Rows = list[dict[str, Any]]
_Change = Callable[[pa.Table], tuple[pa.Table, int]]
"""Returns a table without the person, and how many rows changed."""


class LandingErasure:
    """Erases a person from the landings of one stream in one bucket."""

    def __init__(self, store: ObjectStore, stream: Stream, person: Person, *, dry_run: bool) -> None:
        self._store = store
        self._stream = stream
        self._person = person
        self._dry_run = dry_run

    def erase(self, root: str, prefixes: Iterable[str] = ()) -> Counter[str]:
        """Erase the person from all landings of the stream below a folder, and return how many rows had them.

        :param prefixes: landings of the stream that may have lost their manifest, as when a task was killed.
        """
        found: Counter[str] = Counter()
        names = self._store.names(f"{root}/")
        complete = {name.removesuffix(f"/{MANIFEST}") for name in names if name.endswith(f"/{MANIFEST}")}
        for prefix in sorted(complete):
            manifest = Manifest.read(self._store, prefix)
            if manifest.dataset == self._stream.dataset:
                found += self._erase_landing(prefix, manifest)
        for prefix in sorted(set(prefixes) - complete):
            there = [name for name in names if name.startswith(f"{prefix}/") and name.endswith(".parquet")]
            archive = [name for name in there if f"/{_ARCHIVE}" in name]
            found["landing"] += self._erase_rows([name for name in there if name not in archive])[1]
            found["archive"] += self._erase_answers(archive)[1]
        return found

    def _erase_landing(self, prefix: str, manifest: Manifest) -> Counter[str]:
        parts, rows = self._erase_rows([part.name for part in manifest.parts])
        archive, answers, counted = self._erase_answers([part.name for part in manifest.archive])
        records = sum(part.records for part in parts)
        changed = replace(manifest, parts=tuple(parts), archive=tuple(archive), records=records)
        if not manifest.archive:  # messages, each with one record
            changed = replace(changed, answers=manifest.answers + records - manifest.records)
        else:
            without = counted.had_records - manifest.erased
            changed = replace(
                changed, answers=manifest.answers - without, gaps=counted.gaps, erased=counted.had_records
            )
        if changed != manifest and not self._dry_run:
            self._store.put(f"{prefix}/{MANIFEST}", orjson.dumps(asdict(changed), option=orjson.OPT_INDENT_2))
        return Counter({"landing": rows, "archive": answers})

    def _erase_rows(self, names: Sequence[str]) -> tuple[list[Part], int]:
        parts, found = [], 0
        for name in names:
            part, rows = rewrite(self._store, name, of_columns(self._person.columns), dry_run=self._dry_run)
            parts.append(part)
            found += rows
        return parts, found

    def _erase_answers(self, names: Sequence[str]) -> tuple[list[Part], int, "_Answers"]:
        """Return the files, how many answers had the person, and the counts of all."""
        refused: set[tuple[int, str]] = set()

        def look(rows: _Rows) -> tuple[_Rows, int]:
            refused.update(
                (row["chunk"], rejected_of(row).query.key)
                for row in rows
                if row["outcome"] == QUARANTINED and self._is_rejected(row)
            )
            return rows, 0

        for name in names:
            rewrite(self._store, name, _by_rows(look), dry_run=True)
        answers = _Answers(self._stream, self._person, refused)
        parts, found = [], 0
        for name in names:
            part, changed = rewrite(self._store, name, _by_rows(answers.erase), PLAIN, dry_run=self._dry_run)
            parts.append(part)
            found += changed
        return parts, found, answers

    def _is_rejected(self, row: Mapping[str, Any]) -> bool:
        rejected = rejected_of(row)
        texts = (rejected.body or "", (rejected.raw or b"").decode("utf-8", "replace"))
        return self._person.is_asked_by(rejected.query) or any(map(self._person.is_in_text, texts))


class _Answers:
    """The rows of an archive in their order, without a person."""

    def __init__(self, stream: Stream, person: Person, refused: set[tuple[int, str]]) -> None:
        self.gaps = 0
        """Queries of the plan whose answers have no record."""
        self.had_records = 0
        """Of them, those that were erased and had records."""
        self._stream = stream
        self._person = person
        self._refused = refused
        self._chunk, self._place = -1, 0

    def erase(self, rows: _Rows) -> tuple[_Rows, int]:
        """Return rows without the person, and how many of them changed."""
        kept, changed = [], 0
        for row in rows:
            left = self._erase_one(row)
            changed += left is not row
            if left is not None:
                kept.append(left)
                self.gaps += left["outcome"] in {Outcome.MISSING, Outcome.ERASED}
                self.had_records += left["outcome"] == Outcome.ERASED and left["reason"] == _HAD_RECORDS
        return kept, changed

    def _erase_one(self, row: dict[str, Any]) -> dict[str, Any] | None:
        query = Query.from_row(orjson.loads(row["query"]))
        is_refused = (row["chunk"], query.key) in self._refused
        if row["outcome"] == QUARANTINED:
            return None if is_refused else row
        if row["chunk"] != self._chunk:
            self._chunk, self._place = row["chunk"], -1
        self._place += 1
        left: Answer | None = None
        if row["outcome"] is None:
            if not is_refused and not self._person.is_asked_by(query):
                return row
        else:
            before = answer_of(row)
            left, _ = erase_from(before, self._stream, self._person)
            if left is before:
                return row
        if left is not None:
            return row | {"body": left.body}
        answer = erased(self._chunk, self._place)
        blank = dict.fromkeys(SCHEMA.names) | {"chunk": self._chunk, "query": orjson.dumps(answer.query.row).decode()}
        blank |= {name: getattr(answer, name) for name in ("status", "fetched_at", "body", "next_link", "is_paged")}
        had_records = row["outcome"] in {Outcome.ANSWERED, Outcome.PARTIAL}
        return blank | {"outcome": str(answer.outcome), "reason": _HAD_RECORDS if had_records else None}


def of_columns(columns: Mapping[str, Iterable[str]]) -> _Change:
    """Return the change that takes out rows in which one of these columns has one of its values."""

    def change(table: pa.Table) -> tuple[pa.Table, int]:
        theirs = pa.array([False] * table.num_rows)
        for name, values in columns.items():
            if name in table.column_names and _is_comparable(table.schema.field(name).type):
                texts = pc.cast(table[name], pa.string())
                theirs = pc.or_(theirs, pc.fill_null(pc.is_in(texts, pa.array(values, pa.string())), False))
        count = pc.sum(theirs).as_py() or 0
        return (table.filter(pc.invert(theirs)) if count else table), count

    return change


def _is_comparable(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _by_rows(erase: Callable[[_Rows], tuple[_Rows, int]]) -> _Change:
    def change(table: pa.Table) -> tuple[pa.Table, int]:
        kept, changed = [], 0
        for batch in table.to_batches(max_chunksize=_ROWS):
            rows, some = erase(batch.to_pylist())
            kept.append(pa.RecordBatch.from_pylist(rows, table.schema) if some else batch)
            changed += some
        return pa.Table.from_batches(kept, table.schema), changed

    return change


def rewrite(
    store: ObjectStore, name: str, change: _Change, plain: Sequence[str] = (), *, dry_run: bool
) -> tuple[Part, int]:
    """Replace a Parquet file by one without a person, row group by row group.

    :returns: the file as it is then, and how many rows changed. If none did, it is not written.
    :raises ManifestMissing: the file does not exist.
    """
    with tempfile.TemporaryFile(prefix="windrow-") as file, tempfile.TemporaryFile(prefix="windrow-") as new:
        if not store.get_file(name, file):
            raise ManifestMissing(
                f"The file {name} does not exist, but a manifest lists it.",
                advice="Restore it from a backup of the bucket, or clear 'land' of its run with all tasks downstream. "
                "Then run this command again: it does the rest.",
            )
        file.seek(0)
        parquet = pq.ParquetFile(file)
        schema, changed, records = parquet.schema_arrow, 0, 0
        int96 = any(parquet.schema.column(at).physical_type == "INT96" for at in range(len(parquet.schema)))
        encoded = [column for column in schema.names if column not in plain]
        with parquet_writer(new, schema, encoded, int96=int96) as writer:
            for group in range(parquet.num_row_groups):
                left, some = change(parquet.read_row_group(group))
                changed += some
                records += left.num_rows
                writer.write_table(left, row_group_size=left.num_rows or None)
        if not changed or dry_run:
            return part_of(name, file, parquet.metadata.num_rows), changed
        part = part_of(name, new, records)
        store.put_file(name, new)
        return part, changed
