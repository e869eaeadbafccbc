"""The raw archive: the answers of a run as the API returned them, compressed, beside its landed files.

``<prefix>/_answers-00000.parquet ...`` have a row for each query of the plan, in its order, with the answer if there is
one. Then follow the answers that are only in the quarantine. Athena ignores files whose names begin with ``_``.

When MongoDB no longer has a run, `Archive.restore` copies it back: it can then be landed, replayed and proved as if it
had never been away.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from operator import attrgetter
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.landing.files import Manifest, ObjectStore, ParquetFiles, Part, Sizes, moments
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import ManifestMissing, PlanMissing
from windrow.model.plan import Chunk, Plan, Run
from windrow.model.query import Query
from windrow.store.staging import Staging

_NAME = "_answers-{:05d}.parquet"
SCHEMA = pa.schema([
    pa.field("chunk", pa.int32(), nullable=False),
    pa.field("query", pa.string(), nullable=False),
    ("outcome", pa.string()),  # that of a staged answer, `QUARANTINED`, or null if there is no answer
    ("status", pa.int32()),
    ("fetched_at", pa.timestamp("us", tz="UTC")),
    ("body", pa.string()),
    ("next_link", pa.string()),
    ("is_paged", pa.bool_()),
    ("reason", pa.string()),
    ("incomplete", pa.bool_()),
    ("raw", pa.binary()),
    ("content_type", pa.string()),
])
PLAIN = ("query", "fetched_at", "body")
"""Columns whose values are hardly ever repeated."""
QUARANTINED = "quarantined"
"""In place of an outcome: this answer is only in the quarantine."""
_FIELDS = {name: attrgetter(name) for name in ("outcome", "status", "body", "next_link", "is_paged", "fetched_at")}
"""What the archive holds of a staged answer, besides its query."""
_ROW, _BREAK = attrgetter("row"), orjson.Fragment(b"\n")
_AT_ONCE = 4_000_000
"""Characters of bodies that are staged together."""


def archive_files(store: ObjectStore, prefix: str, sizes: Sizes) -> ParquetFiles:
    """Return the writer of an archive's files. Its row groups are smaller, as text is compressed well in any size."""
    small = Sizes(sizes.answers, sizes.group // 2, sizes.file)
    return ParquetFiles(store, prefix, _NAME, SCHEMA, small, plain=PLAIN)


class ArchiveWriter:
    """Writes the archive of a run."""

    def __init__(self, files: ParquetFiles) -> None:
        self._files = files

    def add(self, chunk: int, queries: Sequence[Query], answers: Sequence[Answer | None]) -> None:
        """Add queries of the plan, each with its staged answer if it has one."""
        if not queries:
            return
        size = len(queries)
        made = {"chunk": pa.repeat(pa.scalar(chunk, pa.int32()), size), "query": _as_json(queries)}
        is_whole = all(answers)
        for name, get in _FIELDS.items():
            values: list[Any] = list(map(get, answers)) if is_whole else [one and get(one) for one in answers]
            made[name] = moments(values) if name == "fetched_at" else _array(values, SCHEMA.field(name).type)
        arrays = [made[field.name] if field.name in made else pa.nulls(size, field.type) for field in SCHEMA]
        self._files.write(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA))

    def add_quarantined(self, rejected: Iterable[tuple[int, Rejected]]) -> None:
        """Add answers that are only in the quarantine."""
        for chunk, one in rejected:
            row = {name: getattr(one, name, None) for name in SCHEMA.names}
            row |= {"chunk": chunk, "query": orjson.dumps(one.query.row), "outcome": QUARANTINED}
            self._files.write(pa.RecordBatch.from_pylist([row], SCHEMA))

    def close(self) -> tuple[Part, ...]:
        """Write what is left, and return the files."""
        return self._files.close()


def _as_json(queries: Sequence[Query]) -> pa.Array:
    """Write each query as JSON, all of them at once: a line break in a text is escaped, and one between two is not."""
    rows: list[Any] = [_BREAK] * (2 * len(queries) - 1)
    rows[::2] = map(_ROW, queries)
    return pc.split_pattern(pa.array([orjson.dumps(rows)[1:-1]], pa.string()), ",\n,").flatten()


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return values as a column. Mostly they are all the same, which is faster to see than to convert."""
    if values.count(values[0]) == len(values):
        return pa.repeat(pa.scalar(values[0], kind), len(values))
    return pa.array(values, kind)


class Archive:
    """Reads the archive of a landing."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def missing(self, staging: Staging, run: Run) -> str:
        """Say what of a run in MongoDB is not in the archive; empty if all of it is."""
        try:
            manifest = Manifest.read(self._store, self._prefix)
        except ManifestMissing:
            return "there is no manifest"
        if manifest.run_id != run.run_id or not manifest.archive:
            return "there is no archive"
        there = set(self._store.names(f"{self._prefix}/"))
        if lost := [part.name for part in manifest.archive if part.name not in there]:
            return f"the file {lost[0]} is missing"
        try:
            staged = _count(staging, staging.plan(run))
        except PlanMissing:  # an earlier deletion was killed
            return ""
        archived = manifest.answers + manifest.gaps + manifest.unreadable
        later = max(0, staged - archived) or self._not_archived(staging, run, manifest)
        return f"{later:,} answers came after it" if later else ""

    def _not_archived(self, staging: Staging, run: Run, manifest: Manifest) -> int:
        """Count the answers of the quarantine in MongoDB that are not in the archive."""
        found = {(one.query.key, one.fetched_at) for _, one in staging.quarantined(run, with_bodies=False)}
        if found:
            rows = (rejected_of(row) for row in self._rows(manifest) if row["outcome"] == QUARANTINED)
            found -= {(one.query.key, one.fetched_at) for one in rows}
        return len(found)

    def restore(self, staging: Staging, run: Run) -> int:
        """Copy to MongoDB what it no longer has of a run, and return how many answers that are.

        What is there stays as it is. If the plan is missing, it and the quarantine are copied too; its size is written
        last, so a killed copy is repeated. With a plan, the quarantine is what MongoDB says: answers leave it when they
        are called again.

        :raises ManifestMissing: the archive is incomplete.
        """
        try:
            manifest = Manifest.read(self._store, self._prefix)
        except ManifestMissing:
            return 0
        try:
            plan = staging.plan(run)
        except PlanMissing:
            plan = None
        staged = manifest.answers + manifest.gaps + manifest.unreadable
        is_empty = manifest.run_id == run.run_id and not manifest.archive and not staged
        if plan is None and is_empty:  # a plan without queries has no archived rows
            staging.save_size(Plan(run, manifest.listed, 0, 0))
        if not manifest.archive or (plan and _count(staging, plan) >= staged):
            return 0
        return _Restoration(staging, run, plan).restore(self._rows(manifest), manifest.listed)

    def manifest(self) -> Manifest:
        """Return the manifest of the landing.

        :raises ManifestMissing: it does not exist, or has no archive.
        """
        manifest = Manifest.read(self._store, self._prefix)
        if not manifest.archive and manifest.answers + manifest.gaps + manifest.unreadable:
            raise ManifestMissing(
                f"The landing {self._prefix} has no archived answers: it was written by an older version.",
                advice="Clear the task 'land' of its run while MongoDB has the answers.",
            )
        return manifest

    def staged(self) -> Iterator[Answer]:
        """Yield the answers to land, in the order of the plan.

        :raises ManifestMissing: as `manifest`, or a file is missing.
        """
        for row in self._rows(self.manifest()):
            if row["outcome"] not in {None, QUARANTINED, Outcome.MISSING, Outcome.ERASED}:
                yield answer_of(row)

    def _rows(self, manifest: Manifest) -> Iterator[dict[str, Any]]:
        for part in manifest.archive:
            with tempfile.TemporaryFile(prefix="windrow-") as file:
                if not self._store.get_file(part.name, file):
                    raise ManifestMissing(
                        f"The archive file {part.name} does not exist, but the manifest beside it lists it.",
                        advice="Restore it from a backup of the bucket, or trigger a new run.",
                    )
                yield from _read(file)


def _read(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    file.seek(0)
    parquet = pq.ParquetFile(file)
    for group in range(parquet.num_row_groups):
        for batch in parquet.read_row_group(group).to_batches(max_chunksize=100):
            yield from batch.to_pylist()


def answer_of(row: Mapping[str, Any]) -> Answer:
    """Make the staged answer of a row."""
    query, outcome = Query.from_row(orjson.loads(row["query"])), Outcome(row["outcome"])
    moment = row["fetched_at"].astimezone(UTC)
    return Answer(query, outcome, row["status"], row["body"], moment, row["next_link"], row["is_paged"])


def rejected_of(row: Mapping[str, Any]) -> Rejected:
    """Make the quarantined answer of a row."""
    query, moment = Query.from_row(orjson.loads(row["query"])), row["fetched_at"].astimezone(UTC)
    rest = (row["incomplete"], row["raw"], row["content_type"])
    return Rejected(query, row["status"], row["body"], row["reason"], moment, *rest)


def _count(staging: Staging, plan: Plan) -> int:
    """Return how many answers MongoDB has of a plan."""
    return sum(len(staging.settled(plan.run, number)) for number in range(plan.chunks))


class _Restoration:
    """Copies the rows of an archive to MongoDB."""

    def __init__(self, staging: Staging, run: Run, plan: Plan | None) -> None:
        self._staging = staging
        self._run = run
        self._plan = plan
        self._quarantined = staging.quarantined_keys(run) if plan else set()
        self._number = -1
        self._queries: list[Query] = []
        """Of the present chunk, as far as it has been read."""
        self._absent: Callable[[str], bool]
        """Whether MongoDB lacks the answer to a query of the present chunk, by its key."""
        self._staged: list[tuple[int, Answer]] = []
        self._size = 0
        self._restored = self._planned = 0

    def restore(self, rows: Iterable[dict[str, Any]], listed: int) -> int:
        """Copy rows in their order, and return how many answers are copied."""
        for row in rows:
            if row["outcome"] == QUARANTINED:
                if self._plan is None:
                    self._staging.reject(self._run, [(row["chunk"], rejected_of(row))])
                    self._restored += 1
                continue
            if row["chunk"] != self._number:
                self._end_chunk()
                self._begin_chunk(row["chunk"])
            query = Query.from_row(orjson.loads(row["query"]))
            self._queries.append(query)
            if row["outcome"] and self._absent(query.key):
                self._stage(answer_of(row))
        self._end_chunk()
        if self._plan is None:
            self._staging.save_size(Plan(self._run, listed, self._planned, self._number + 1))
        return self._restored

    def _begin_chunk(self, number: int) -> None:
        self._number, self._queries = number, []
        settled = self._staging.settled(self._run, number).keys() | self._quarantined
        if self._plan is None:
            self._absent = lambda key: key not in settled
            return
        # a chunk that the plan no longer has is skipped
        queries = self._staging.chunk(self._run, number).queries if number < self._plan.chunks else ()
        self._absent = {query.key for query in queries if query.key not in settled}.__contains__

    def _end_chunk(self) -> None:
        self._flush()
        self._planned += len(self._queries)
        if self._plan is None and self._queries:
            self._staging.save_chunk(Chunk(self._run, self._number, tuple(self._queries)))

    def _stage(self, answer: Answer) -> None:
        self._staged.append((self._number, answer))
        self._size += len(answer.body)
        if self._size >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._staging.stage(self._run, self._staged)
        self._restored += len(self._staged)
        self._staged, self._size = [], 0
