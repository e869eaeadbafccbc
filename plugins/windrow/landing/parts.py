"""Writes staged answers as Parquet files to an object store, with a manifest that lists them.

``<prefix>/part-00000.parquet ...`` and last ``<prefix>/_manifest.json``; the parts of a stream with a partition are
in folders by its day, ``<prefix>/dt=2026-11-20/part-00000.parquet``. A second landing leaves the same files: parts
have the order of the plan, and files of an earlier landing are deleted.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from windrow.harvest.replay import replay
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import ManifestMissing, Unreadable
from windrow.model.plan import Plan, Run
from windrow.model.stream import Stream
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

MANIFEST = "_manifest.json"
PART_RECORDS = 50_000
"""Minimum records in a part, but for the last one: a part ends with the answer that fills it."""
APART = 4
"""How many parts are split by day together. A split of each part would make thousands of files of two years."""


class ObjectStore(Protocol):
    """The operations of GCS or S3 that a landing needs. Names are keys inside one bucket."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object, and replace an existing one."""

    def get(self, name: str) -> bytes | None:
        """Return the content of an object; None if it does not exist."""

    def names(self, prefix: str) -> list[str]:
        """List the objects whose name has this prefix."""

    def delete(self, name: str) -> None:
        """Delete an object."""


@dataclass(frozen=True, slots=True)
class Part:
    """A landed file."""

    name: str
    records: int
    bytes: int
    md5: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a landing holds.

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

    @classmethod
    def read(cls, store: ObjectStore, prefix: str) -> "Manifest":
        """Read the manifest below a prefix.

        :raises ManifestMissing: it does not exist.
        """
        data = store.get(f"{prefix}/{MANIFEST}")
        if data is None:
            raise ManifestMissing(
                f"There is no {MANIFEST} below {prefix}.", advice="Clear the task 'land' with all tasks downstream."
            )
        fields = orjson.loads(data)
        parts = tuple(Part(**part) for part in fields.pop("parts"))
        return cls(**fields, parts=parts)


class Landing:
    """Lands one run of a stream below a prefix of an object store."""

    def __init__(
        self, staging: Staging, stream: Stream, store: ObjectStore, prefix: str, *, part_records: int = PART_RECORDS
    ) -> None:
        self._staging = staging
        self._stream = stream
        self._store = store
        self._prefix = prefix
        self._part_records = part_records

    def land(self, plan: Plan) -> Manifest:
        """Retry the quarantine, write the parts, delete files of an earlier landing, write the manifest.

        An answer that can no longer be read, because its reader has changed since, goes to the quarantine.
        """
        replayed = replay(self._staging, plan.run, self._stream)
        if replayed:
            log.info("%s answers of the quarantine can be read now", f"{replayed:,}")
        count = Count(quarantined=self._staging.quarantined_keys(plan.run))
        return write_all(self._store, self._prefix, plan.run, self._files(plan, count), count)

    def _files(self, plan: Plan, count: "Count") -> Iterator[tuple[str, pa.Table]]:
        """Yield the files of a landing: the name below the prefix, and the records."""
        tables = self._tables(plan, count)
        column = self._stream.partition
        if not column:
            yield from ((f"part-{number:05d}.parquet", table) for number, table in enumerate(tables))
            return
        number = 0
        while some := list(islice(tables, APART)):
            table = pa.concat_tables(some)
            for day in sorted(pc.unique(table[column]).to_pylist()):
                yield f"dt={day}/part-{number:05d}.parquet", table.filter(pc.equal(table[column], pa.scalar(day)))
            number += 1

    def _tables(self, plan: Plan, count: "Count") -> Iterator[pa.Table]:
        """Read the answers chunk by chunk, and collect their records in tables of the size of a part.

        A chunk of reports of two years has half a million records, so a table does not wait for the end of a chunk.
        """
        schema = self._stream.contract.arrow_schema
        records: list[dict[str, object]] = []
        for number in range(plan.chunks):
            for answer in self._staging.each_answer(self._staging.chunk(plan.run, number)):
                records += self._records(plan.run, number, answer, count)
                if len(records) >= self._part_records:
                    yield pa.Table.from_pylist(records, schema)
                    records = []
        if records:
            yield pa.Table.from_pylist(records, schema)

    def _records(self, run: Run, number: int, answer: Answer, count: "Count") -> list[dict[str, object]]:
        if answer.outcome is Outcome.MISSING:
            count.gaps += 1
            return []
        try:
            records, errors = self._stream.read(answer.query, answer.parsed_as(self._stream.format))
        except Unreadable as error:
            count.unreadable += 1
            rejected = Rejected(answer.query, answer.status, answer.body, error.reason, answer.fetched_at)
            self._staging.reject(run, [(number, rejected)])
            log.warning("%s goes into the quarantine: %s", answer.query.key, error.reason)
            return []
        if answer.query.key in count.quarantined:  # it was unreadable once, and was requested again since
            self._staging.release(run, answer.query.key)
        self._leave_out(run, number, answer, errors, count)
        count.answers += 1
        lineage = {"_key": answer.query.key, "_fetched_at": answer.fetched_at, "_run_id": run.run_id}
        return [record | lineage for record in records]

    def _leave_out(self, run: Run, number: int, answer: Answer, errors: Sequence[Unreadable], count: "Count") -> None:
        """Put the records that are left out of an answer into the quarantine: one entry beside that of its query."""
        beside = replace(answer.query, key=f"{answer.query.key}{_LEFT_OUT}")
        if errors:
            count.left_out += len(errors)
            reason = f"{len(errors)} records are left out: {'; '.join(error.reason for error in errors[:_REASONS])}"
            log.warning("%r: %s", answer.query.key, reason)
            rejected = Rejected(beside, answer.status, answer.body, reason, answer.fetched_at, incomplete=True)
            self._staging.reject(run, [(number, rejected)])
        elif beside.key in count.quarantined:  # an older reader left some out
            self._staging.release(run, beside.key)


_LEFT_OUT = "#left_out"
"""Behind the key of a query in the quarantine, for records of its answer. A key has no such sign."""
_REASONS = 5
"""Maximum reasons in one entry of the quarantine."""


@dataclass(slots=True)
class Count:
    """The counts of a landing, so far."""

    quarantined: set[str] = field(default_factory=set)
    answers: int = 0
    gaps: int = 0
    unreadable: int = 0
    left_out: int = 0


def write_all(
    store: ObjectStore,
    prefix: str,
    run: Run,
    files: Iterable[tuple[str, pa.Table]],
    count: Count,
    beside: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Write the files of a landing, delete what an earlier one left over, and write the manifest last.

    :param files: names and records; ``count`` is complete after the last one.
    :param beside: other objects.
    """
    # Until the new manifest is written, there is none: after a crash the old one must not list the new files.
    before, vouching = set(store.names(f"{prefix}/")), f"{prefix}/{MANIFEST}"
    if vouching in before:
        store.delete(vouching)
    parts = tuple(_write_part(store, f"{prefix}/{name}", table) for name, table in files)
    others = {f"{prefix}/{name}": data for name, data in (beside or {}).items()}
    for name, data in others.items():
        store.put(name, data)
    records = sum(part.records for part in parts)
    manifest = Manifest(
        run.dataset, run.run_id, count.answers, count.gaps, count.unreadable, records, parts, count.left_out
    )
    for name in before - {vouching, *others, *(part.name for part in parts)}:
        store.delete(name)
    store.put(vouching, orjson.dumps(asdict(manifest), option=orjson.OPT_INDENT_2))
    return manifest


def _write_part(store: ObjectStore, name: str, table: pa.Table) -> Part:
    """Write records as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="snappy")
    data = buffer.getvalue()
    store.put(name, data)
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    log.info("landed %s: %s records, %s bytes", name, f"{table.num_rows:,}", f"{len(data):,}")
    return Part(name, table.num_rows, len(data), digest)
