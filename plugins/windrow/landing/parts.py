"""The answers of a run to Parquet files in an object store.

``<prefix>/part-00000.parquet ...`` hold the records, ``<prefix>/_answers-00000.parquet ...`` the answers as the API
returned them, and ``<prefix>/_manifest.json``, which is written last, lists both. The parts of a stream with a
partition are in folders by day, ``<prefix>/dt=2026-11-20/part-00000.parquet``. A repeated landing gives the same
files: they are in the order of the plan, and files that an earlier landing left are deleted.
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from operator import attrgetter, is_

from windrow.harvest.replay import replay
from windrow.landing.archive import Archive, ArchiveWriter, archive_files
from windrow.landing.columns import Converted, Converter
from windrow.landing.files import Count, Manifest, ObjectStore, Output, ParquetFiles, Sizes
from windrow.landing.profile import ProfileCount
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import Unreadable
from windrow.model.logs import about
from windrow.model.plan import Plan, Run
from windrow.model.query import Query
from windrow.model.stream import Stream
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

_LEFT_OUT = "#left_out"
"""Behind the key of a query in the quarantine, for records of its answer. A key has no such sign."""
_NOTHING = frozenset({Outcome.MISSING, Outcome.ERASED})
_REASONS = 5
"""Maximum reasons in one entry of the quarantine."""


class Landing:
    """Lands one run of a stream below a prefix of an object store."""

    def __init__(
        self, staging: Staging, stream: Stream, store: ObjectStore, prefix: str, *, sizes: Sizes | None = None
    ) -> None:
        self._staging = staging
        self._stream = stream
        self._store = store
        self._prefix = prefix
        self._sizes = sizes or Sizes()

    def plan(self, run: Run) -> Plan:
        """Return the plan of a run. What MongoDB no longer has of it is first copied back from the archive.

        :raises PlanMissing: there is neither a plan nor an archive.
        """
        restored = Archive(self._store, self._prefix).restore(self._staging, run)
        if restored:
            log.warning("MongoDB did not have %s answers of %s; they are back from the archive.", f"{restored:,}", run)
        return self._staging.plan(run)

    def land(self, plan: Plan) -> Manifest:
        """Read the quarantine again, write the files, delete those that an earlier landing left, write the manifest.

        An answer that can no longer be read, because its reader changed after it was staged, goes to the quarantine.
        """
        replayed = replay(self._staging, plan.run, self._stream)
        if replayed:
            log.info("%s answers of the quarantine can be read now.", f"{replayed:,}")
        with fewer_collections():
            return self._land(plan)

    def _land(self, plan: Plan) -> Manifest:
        count = Count(quarantined=self._staging.quarantined_keys(plan.run))
        output = Output(self._store, self._prefix)
        with (
            part_files(self._store, self._prefix, self._stream, self._sizes) as parts,
            archive_files(self._store, self._prefix, self._sizes) as files,
        ):
            archive, converter = ArchiveWriter(files), Converter(self._stream, plan.run)
            profile = ProfileCount(self._stream)
            for chunk, answers in self._answers(plan, archive, count):
                for converted in converter.convert(answers):
                    if isinstance(converted.records, Unreadable):
                        self._reject(plan.run, chunk, converted.answers[0], converted.records, count)
                    else:
                        self._accept(plan.run, chunk, converted, count)
                        profile.add(converted.records)
                        parts.write(converted.records)
            quarantined = self._staging.each_quarantined(plan.run)
            archive.add_quarantined(one for one in quarantined if one[0] < 0 or one[1].query.key not in count.rejected)
            # an increment with nothing new is one empty file, so that all tasks downstream run as always
            is_complete = not (count.quarantined or count.unreadable or count.gaps)
            landed = parts.close(at_least_one=self._stream.may_be_empty and is_complete)
            archived = archive.close()
        self._staging.note(plan.run, "profile", profile.figures())
        return output.finish(plan.run, count, landed, archived, listed=plan.listed)

    def _answers(self, plan: Plan, archive: ArchiveWriter, count: Count) -> Iterator[tuple[int, Sequence[Answer]]]:
        """Yield answers to land, with the number of their chunk, while the archive gets the whole plan."""
        for number in range(plan.chunks):
            chunk = self._staging.chunk(plan.run, number)
            queries = iter(chunk.queries)
            for answers in together(self._staging.each_answer(chunk), self._sizes):
                archive.add(number, *_with_gaps(queries, answers))
                present = [answer for answer in answers if answer.outcome not in _NOTHING]
                count.gaps += len(answers) - len(present)
                if present:
                    yield number, present
            rest = list(queries)
            archive.add(number, rest, [None] * len(rest))

    def _reject(self, run: Run, chunk: int, answer: Answer, error: Unreadable, count: Count) -> None:
        count.unreadable += 1
        count.rejected.add(answer.query.key)
        rejected = Rejected(answer.query, answer.status, answer.body, error.reason, answer.fetched_at)
        self._staging.reject(run, [(chunk, rejected)])
        with about(key=answer.query.key):
            log.warning("%r goes into the quarantine: %s", answer.query.key, error.reason)

    def _accept(self, run: Run, chunk: int, converted: Converted, count: Count) -> None:
        count.answers += len(converted.answers)
        for answer, errors in converted.left_out:
            self._leave_out(run, chunk, answer, errors, count)
        if count.quarantined:
            for answer in converted.answers:
                # it was unreadable once, and was called again since; or an older reader left some of it out
                for key in (answer.query.key, f"{answer.query.key}{_LEFT_OUT}"):
                    if key not in count.rejected:
                        self._release(run, key, count)

    def _release(self, run: Run, key: str, count: Count) -> None:
        if key in count.quarantined:
            self._staging.release(run, key)

    def _leave_out(self, run: Run, chunk: int, answer: Answer, errors: Sequence[Unreadable], count: Count) -> None:
        """Put the records that are left out of an answer into the quarantine: one entry beside that of its query."""
        count.left_out += len(errors)
        reason = f"{len(errors)} records are left out: {'; '.join(error.reason for error in errors[:_REASONS])}"
        with about(key=answer.query.key):
            log.warning("%r: %s", answer.query.key, reason)
        beside = replace(answer.query, key=f"{answer.query.key}{_LEFT_OUT}")
        rejected = Rejected(beside, answer.status, answer.body, reason, answer.fetched_at, incomplete=True)
        count.rejected.add(beside.key)
        self._staging.reject(run, [(chunk, rejected)])


def _with_gaps(queries: Iterator[Query], answers: Sequence[Answer]) -> tuple[Sequence[Query], Sequence[Answer | None]]:
    """Take the queries of a plan up to that of the last answer, and None for each one without an answer.

    :param queries: in the order of the plan, as the answers are.
    """
    taken = list(islice(queries, len(answers)))
    if all(map(is_, taken, map(attrgetter("query"), answers))):
        return taken, answers
    asked: list[Query] = []
    found: list[Answer | None] = []
    left = chain(taken, queries)
    for answer in answers:
        for query in left:
            asked.append(query)
            if query.key == answer.query.key:
                found.append(answer)
                break
            found.append(None)
    return asked, found


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for garbage less often.

    Parsing makes millions of lists and objects, none of them in a cycle. Looking for cycles took half of the CPU.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def together(answers: Iterable[Answer], sizes: Sizes) -> Iterator[Sequence[Answer]]:
    """Yield answers, a bounded number at a time."""
    some: list[Answer] = []
    size = 0
    for answer in answers:
        some.append(answer)
        size += len(answer.body)
        if size >= sizes.answers:
            yield some
            some, size = [], 0
    if some:
        yield some


def part_files(store: ObjectStore, prefix: str, stream: Stream, sizes: Sizes) -> ParquetFiles:
    """Return the writer of a landing's parts."""
    schema = stream.contract.arrow_schema
    return ParquetFiles(store, prefix, "part-{:05d}.parquet", schema, sizes, partition=stream.partition)


def refill(store: ObjectStore, archived: str, stream: Stream, prefix: str, *, sizes: Sizes | None = None) -> Manifest:
    """Land the archived answers of a past run again, by the present contract, below another prefix, without MongoDB.

    Answers that cannot be read are counted and logged.

    :param archived: prefix of the landing of the past run; it is not changed.
    :raises ManifestMissing: it has no manifest, or no archive.
    """
    sizes = sizes or Sizes()
    archive = Archive(store, archived)
    manifest, count = archive.manifest(), Count()
    run = Run(manifest.dataset, manifest.run_id)
    count.gaps = manifest.gaps
    output = Output(store, prefix)
    with fewer_collections(), part_files(store, prefix, stream, sizes) as parts:
        converter = Converter(stream, run)
        for answers in together(archive.staged(), sizes):
            for some, records, left_out in converter.convert(answers):
                if isinstance(records, Unreadable):
                    count.unreadable += 1
                    with about(run, key=some[0].query.key):
                        log.warning("%r in %s cannot be read: %s", some[0].query.key, archived, records.reason)
                else:
                    count.answers += len(some)
                    count.left_out += sum(len(errors) for _, errors in left_out)
                    parts.write(records)
        landed = parts.close(at_least_one=stream.may_be_empty and not (count.unreadable or count.gaps))
    return output.finish(run, count, landed)
