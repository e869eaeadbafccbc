"""Parquet files in an object store, with a manifest that lists them and is written last.

A file is written to a temporary file first, row group by row group, and uploaded when it is complete: memory holds one
row group, however large the file is.
"""

import hashlib
import io
import logging
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.model.errors import ManifestMissing
from windrow.model.plan import Run

log = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
_DICTIONARY = 65_536
"""Bytes of a dictionary in Parquet. A column with more different values is written without one, which is smaller and
faster."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ObjectStore(Protocol):
    """The operations of GCS or S3 that landing needs. Names are keys inside one bucket."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object. It replaces an object of the same name."""

    def put_file(self, name: str, file: IO[bytes]) -> None:
        """Write a file, from its beginning, as an object. It replaces an object of the same name."""

    def get(self, name: str) -> bytes | None:
        """Return the content of an object, or None if it does not exist."""

    def get_file(self, name: str, file: IO[bytes]) -> bool:
        """Copy an object to a file. Return False if the object does not exist."""

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name starts with ``prefix``."""

    def delete(self, name: str) -> None:
        """Delete an object; it may already be deleted."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """When something is cut, in bytes. Memory is a small multiple of ``group``."""

    answers: int = 400_000
    """Bodies that are converted together: about as many as stay in the cache of a processor."""
    group: int = 16 * 1024 * 1024
    """A row group, before it is encoded: what BigQuery asks for at least."""
    file: int = 256_000_000
    """A file. It ends with the row group that reaches this size."""


@dataclass(frozen=True, slots=True)
class Part:
    """A landed file."""

    name: str
    records: int
    bytes: int
    md5: str


@dataclass(slots=True)
class Count:
    """What the files of a landing are made of, so far."""

    quarantined: set[str] = field(default_factory=set)
    answers: int = 0
    gaps: int = 0
    unreadable: int = 0
    left_out: int = 0
    rejected: set[str] = field(default_factory=set)
    """Keys of what this landing has put into the quarantine."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a landing.

    ``answers`` are queries with records, ``unreadable`` ones are in the quarantine. ``left_out`` are records of answers
    that could be read but for these; they are in the quarantine too.
    """

    dataset: str
    run_id: str
    answers: int
    gaps: int
    unreadable: int
    records: int
    parts: tuple[Part, ...]
    left_out: int = 0
    archive: tuple[Part, ...] = ()
    """Files with the answers as the API returned them, see `windrow.landing.archive`."""
    listed: int = 0
    """Queries that the source planned, repetitions included."""
    erased: int = 0
    """Of ``gaps`` those that had records of a person, whom `windrow erase` took out since the landing."""

    @classmethod
    def read(cls, store: ObjectStore, prefix: str) -> "Manifest":
        """Read the manifest below a prefix.

        :raises ManifestMissing: it does not exist.
        """
        data = store.get(f"{prefix}/{MANIFEST}")
        if data is None:
            raise ManifestMissing(
                f"{MANIFEST} below {prefix} does not exist.", advice="Clear the task 'land' with all tasks downstream."
            )
        fields = orjson.loads(data)
        for name in ("parts", "archive"):
            fields[name] = tuple(Part(**part) for part in fields.get(name, ()))
        return cls(**fields)


class ParquetFiles:
    """Writes tables to numbered files below a prefix. A context manager, which deletes the temporary file.

    :param name: of the files, with a field for their number, like ``part-{:05d}.parquet``.
    :param partition: a column that has a folder for each of its values. Each row group is then a file for each value.
    :param plain: columns whose values are hardly ever repeated, such as bodies of answers.
    """

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        name: str,
        schema: pa.Schema,
        sizes: Sizes,
        *,
        partition: str = "",
        plain: Sequence[str] = (),
    ) -> None:
        self.parts: list[Part] = []
        self._store = store
        self._prefix = prefix
        self._name = name
        self._schema = schema
        self._sizes = sizes
        self._partition = partition
        self._encoded = [column for column in schema.names if column not in plain]
        self._batches: list[pa.RecordBatch] = []
        self._bytes = 0
        self._number = 0
        self._file: io.BufferedRandom | None = None
        self._writer: pq.ParquetWriter | None = None
        self._records = 0

    def __enter__(self) -> "ParquetFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add records."""
        if batch.num_rows:
            self._batches.append(batch)
            self._bytes += batch.nbytes
            if self._bytes >= self._sizes.group:
                self._write_group()

    def close(self, *, at_least_one: bool = False) -> tuple[Part, ...]:
        """Write what is left, and return all files.

        :param at_least_one: whether to write an empty file if there is no record.
        """
        self._write_group()
        if at_least_one and not self.parts and self._writer is None and not self._partition:
            self._write(self._schema.empty_table())
        self._end_file(f"{self._name.format(self._number)}")
        return tuple(self.parts)

    def _write_group(self) -> None:
        batches, self._batches, self._bytes = self._batches, [], 0
        if not batches:
            return
        self._write_table(pa.Table.from_batches(batches, self._schema))

    def _write_table(self, table: pa.Table) -> None:
        if not self._partition:
            self._write(table)
            if self._file is not None and self._file.tell() >= self._sizes.file:
                self._end_file(self._name.format(self._number))
                self._number += 1
            return
        column = table[self._partition]
        for value in sorted(pc.unique(column).to_pylist()):
            self._write(table.filter(pc.equal(column, pa.scalar(value))))
            self._end_file(f"dt={value}/{self._name.format(self._number)}")
        self._number += 1

    def _write(self, table: pa.Table) -> None:
        """Add a row group to the present file, which is begun if there is none."""
        if self._writer is None:
            self._file = tempfile.TemporaryFile(prefix="windrow-")  # noqa: SIM115 - closed by _end_file or __exit__
            self._writer = parquet_writer(self._file, self._schema, self._encoded)
        self._writer.write_table(table, row_group_size=table.num_rows or None)
        self._records += table.num_rows

    def _end_file(self, name: str) -> None:
        """Upload the present file, if there is one."""
        if self._writer is None or self._file is None:
            return
        self._writer.close()
        part = part_of(f"{self._prefix}/{name}", self._file, self._records)
        self._store.put_file(part.name, self._file)
        self._file.close()
        log.info("landed %s: %s records, %s bytes", part.name, f"{part.records:,}", f"{part.bytes:,}")
        self.parts.append(part)
        self._writer, self._file, self._records = None, None, 0


def parquet_writer(
    file: IO[bytes], schema: pa.Schema, encoded: Sequence[str], *, int96: bool = False
) -> pq.ParquetWriter:
    """Return the writer of a file.

    :param encoded: columns with a dictionary and statistics.
    :param int96: write times as Hive and Athena do.
    """
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        use_dictionary=encoded,
        dictionary_pagesize_limit=_DICTIONARY,
        write_statistics=encoded,
        use_deprecated_int96_timestamps=int96,
    )


def part_of(name: str, file: IO[bytes], records: int) -> Part:
    """Describe a file, and leave it at its beginning."""
    size = file.seek(0, 2)
    file.seek(0)
    md5 = hashlib.file_digest(file, _md5).hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return Part(name, records, size, md5)


def moments(times: Iterable[datetime | None]) -> pa.Array:
    """Return times with a zone as a column. Arrow takes four times as long for them as for differences."""
    since = [None if time is None else time - _EPOCH for time in times]
    return pa.array(since, pa.duration("us")).view(pa.timestamp("us", tz="UTC"))


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


class Output:
    """All objects of a landing. They replace those of an earlier landing below the same prefix.

    Until the new manifest is written there is none: a crash must not leave the old manifest beside new files.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._before = set(store.names(f"{prefix}/"))
        self._others: set[str] = set()
        if self._manifest in self._before:
            store.delete(self._manifest)

    @property
    def _manifest(self) -> str:
        return f"{self._prefix}/{MANIFEST}"

    def put(self, name: str, data: bytes) -> None:
        """Write an object that is not in the manifest."""
        self._others.add(f"{self._prefix}/{name}")
        self._store.put(f"{self._prefix}/{name}", data)

    def finish(
        self,
        run: Run,
        count: Count,
        parts: Iterable[Part],
        archive: Iterable[Part] = (),
        *,
        listed: int = 0,
    ) -> Manifest:
        """Delete what an earlier landing left, and write the manifest."""
        manifest = Manifest(
            dataset=run.dataset,
            run_id=run.run_id,
            answers=count.answers,
            gaps=count.gaps,
            unreadable=count.unreadable,
            records=sum(part.records for part in parts),
            parts=tuple(parts),
            left_out=count.left_out,
            archive=tuple(archive),
            listed=listed,
        )
        written = {part.name for part in (*manifest.parts, *manifest.archive)}
        for name in self._before - {self._manifest, *self._others, *written}:
            self._store.delete(name)
        self._store.put(self._manifest, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
        return manifest
