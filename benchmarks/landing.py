"""How much CPU and memory a landing takes: column by column, and record by record.

Answers are made up in memory, and files go to a temporary folder: what is measured is parsing, checking, Parquet, md5
and the raw archive. Each measurement is a process of its own; making up queries and answers, which stands for
reading them from MongoDB, is not counted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from benchmarks.child import peak_rss
from benchmarks.options import positive
from windrow.declare.rows import OneRow, Rows
from windrow.declare.stream import Declared
from windrow.landing.parts import Landing
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import Column, Contract, Kind
from windrow.model.plan import CHUNK, Chunk, Plan, Run
from windrow.model.query import Query
from windrow.model.rows import RawRows
from windrow.model.stream import PlanFlow, Request, Stream

ROUNDS = 3
DAYS = [(date(2024, 1, 1) + timedelta(days=number)).isoformat() for number in range(730)]
FIGURES = ("views", "engaged", "minutes", "seconds", "likes", "comments", "shares", "gained", "lost")
NOW = datetime(2026, 1, 2, tzinfo=UTC)
pa.array(())  # pyarrow imports pandas here, once in a process: 0.2 s, which are not of the rows
VARIANTS = 1_000_000
"""Characters of different bodies that are made."""
WIDTH = 16_000
"""Rows of a large answer, 684 kB."""


class Planless(Stream):
    """A stream that is only read."""

    def plan(self, request: Request) -> PlanFlow:
        """Plan nothing."""
        yield from ()


class Reports(Planless):
    """Two years of figures of a video in an answer: lists of values, and the names of these."""

    dataset = "bench_reports"
    contract = Contract((
        Column("video", "video", Kind.STRING, "Id.", required=True),
        Column("day", "day", Kind.DATE, "Day.", required=True),
        *(Column(name, name, Kind.INTEGER, "Figure.", required=True) for name in FIGURES),
    ))
    rows_each = len(DAYS)

    def raw_rows(self, query: Query, answer: Any) -> RawRows:
        """Return the rows of a report."""
        names = [header["name"] for header in answer["columnHeaders"]]
        return RawRows.of_lists(names, answer["rows"], {"video": dict(query.params)["filters"].removeprefix("video==")})

    def query_of(self, number: int) -> Query:
        """Make a query."""
        params = {"ids": "channel==MINE", "startDate": DAYS[0], "endDate": DAYS[-1], "metrics": ",".join(FIGURES)}
        return Query.of("/v2/reports", params | {"filters": f"video==v{number:06d}"})

    def text(self, number: int) -> str:
        """Make an answer."""
        days = DAYS * (self.rows_each // len(DAYS)) + DAYS[: self.rows_each % len(DAYS)]
        rows = [[day, *((number * place * k) % 1009 for k in range(1, 10))] for place, day in enumerate(days)]
        return json.dumps({"columnHeaders": [{"name": name} for name in ("day", *FIGURES)], "rows": rows})


class Large(Reports):
    """The same with answers of 684 kB."""

    dataset = "bench_large"
    rows_each = WIDTH


class Single:
    """Answers of one row."""

    rows_each = 1


class Records(Single, Declared):
    """One record in an answer, of 12 fields."""

    dataset = "bench_records"
    get = "/get_user_by_name"
    rows = OneRow()
    columns = (
        Column("passenger_id", "PassengerId", Kind.INTEGER, "Number.", required=True),
        Column("survived", "Survived", Kind.INTEGER, "1 or 0.", required=True),
        Column("class", "Pclass", Kind.INTEGER, "Class.", required=True),
        Column("name", "Name", Kind.STRING, "Name.", required=True),
        Column("sex", "Sex", Kind.STRING, "Sex.", required=True),
        Column("age", "Age", Kind.FLOAT, "Years."),
        Column("siblings", "SibSp", Kind.INTEGER, "Siblings.", required=True),
        Column("parents", "Parch", Kind.INTEGER, "Parents.", required=True),
        Column("ticket", "Ticket", Kind.STRING, "Ticket."),
        Column("fare", "Fare", Kind.FLOAT, "Fare."),
        Column("cabin", "Cabin", Kind.STRING, "Cabin."),
        Column("embarked", "Embarked", Kind.STRING, "Port."),
    )

    def query_of(self, number: int) -> Query:
        """Make a query."""
        return Query.of("/get_user_by_name", {"name": f"Mrs. {number:06d} (Ellen)"})

    def text(self, number: int) -> str:
        """Make an answer."""
        age = 26 + number % 9 if number % 7 else None
        fields = {"PassengerId": number, "Survived": number % 2, "Pclass": 1 + number % 3, "Sex": "female", "Age": age}
        fields |= {"Name": f"Mrs. {number:06d} (Ellen)", "SibSp": 0, "Parch": 0, "Ticket": str(310_128 + number)}
        return json.dumps(fields | {"Fare": 7.925, "Cabin": None, "Embarked": "S"})


class Hundred:
    """Answers of 100 rows."""

    rows_each = 100


class Orders(Hundred, Declared):
    """A page of a declared stream: 100 objects with nested fields and one that no column reads."""

    dataset = "bench_orders"
    get = "/orders"
    rows = Rows("data")
    columns = (
        Column("order_id", "id", Kind.STRING, "Id.", required=True),
        Column("customer", "customer.id", Kind.INTEGER, "Customer.", required=True),
        Column("city", "customer.address.city", Kind.STRING, "City."),
        Column("amount", "amount", Kind.NUMERIC, "Amount.", required=True),
        Column("paid", "paid", Kind.BOOLEAN, "Whether it is paid."),
        Column("updated_at", "updated_at", Kind.TIMESTAMP, "Last change.", required=True),
    )

    def query_of(self, number: int) -> Query:
        """Make a query."""
        return Query.of("/orders", {"page": str(number)})

    def text(self, number: int) -> str:
        """Make an answer."""
        made = [
            {
                "id": f"o{number:06d}{place:02d}",
                "customer": {"id": number * place, "address": {"city": "Kiel"}},
                "amount": f"{place}.50",
                "paid": place % 3 == 0,
                "updated_at": f"2026-01-02T03:{place % 60:02d}:05Z",
                "note": "new" if place % 10 else None,
            }
            for place in range(self.rows_each)
        ]
        return json.dumps({"data": made})


class Stepwise:
    """Makes a stream have no rows, only records, as all streams had."""

    def raw_rows(self, query: Query, answer: object) -> None:
        """Return nothing."""

    def records(self, query: Query, answer: object) -> Sequence[dict[str, object]]:
        """Check each row."""
        return list(map(self.contract.record, super().raw_rows(query, answer)))  # type: ignore[attr-defined, misc]


SHAPES = {"reports": Reports, "records": Records, "orders": Orders, "large": Large}


class MadeUp:
    """A staging whose answers are made up when they are read."""

    def __init__(self, stream: Any, answers: int) -> None:
        self._stream = stream
        self._answers = answers
        self._bodies = [stream.text(number) for number in range(max(1, VARIANTS // len(stream.text(0))))]
        self._answers_of: list[Answer] = []
        self.not_counted_s = 0.0

    def chunk(self, run: Run, number: int) -> Chunk:
        """Make a chunk of the plan."""
        began = time.process_time()
        numbers = range(number * CHUNK, min((number + 1) * CHUNK, self._answers))
        chunk = Chunk(run, number, tuple(map(self._stream.query_of, numbers)))
        self._answers_of = list(map(self._answer, numbers, chunk.queries)) if self._stream.rows_each == 1 else []
        self.not_counted_s += time.process_time() - began
        return chunk

    def each_answer(self, chunk: Chunk) -> Iterator[Answer]:
        """Make answers. Each body is a string of its own, as from MongoDB."""
        yield from self._answers_of or map(self._answer, count(chunk.number * CHUNK), chunk.queries)

    def _answer(self, number: int, query: Query) -> Answer:
        body = self._bodies[number % len(self._bodies)].encode().decode()
        return Answer(query, Outcome.ANSWERED, 200, body, NOW)

    def quarantined_keys(self, run: Run) -> set[str]:
        """Return none."""
        return set()

    def each_quarantined(self, run: Run, keys: object = None) -> Iterator[Any]:
        """Yield none."""
        return iter(())

    def note(self, run: Run, step: str, figures: Any) -> None:
        """Drop the figures of a step."""


class Folder:
    """An object store in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._file(name).write_bytes(data)

    def put_file(self, name: str, file: IO[bytes]) -> None:
        """Write a file as an object."""
        with self._file(name).open("wb") as written:
            shutil.copyfileobj(file, written, 1 << 20)

    def names(self, prefix: str) -> list[str]:
        """List objects."""
        return [str(path.relative_to(self._path)) for path in self._path.rglob("*") if path.is_file()]

    def _file(self, name: str) -> Path:
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def measure(shape: str, *, by_column: bool, rows: int) -> dict[str, Any]:
    """Land rows in this process, and return what it took."""
    kind = SHAPES[shape]
    stream: Any = kind() if by_column else type("Stepwise", (Stepwise, kind), {})()
    answers = -(-rows // kind.rows_each)  # type: ignore[attr-defined]
    staging: Any = MadeUp(stream, answers)
    plan = Plan(Run(stream.dataset, "manual__2026"), answers, answers, -(-answers // CHUNK))
    with tempfile.TemporaryDirectory() as folder:
        store: Any = Folder(Path(folder))
        began, base = time.process_time(), peak_rss()
        manifest = Landing(staging, stream, store, "bench").land(plan)
        cpu_s = time.process_time() - began - staging.not_counted_s
    return {
        "rows": manifest.records,
        "answers": manifest.answers,
        "cpu_s": cpu_s,
        "base": base,
        "peak": peak_rss(),
        "files": len(manifest.parts),
        "bytes": sum(part.bytes for part in manifest.parts),
        "archive_bytes": sum(part.bytes for part in manifest.archive),
    }


def main() -> None:
    """Measure all, each in turn, and print the medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=positive, default=1_000_000)
    options.add_argument("--rounds", type=positive, default=ROUNDS)
    options.add_argument("--one", nargs=2, metavar=("SHAPE", "WAY"), help="measure in this process, print JSON")
    given = options.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], by_column=given.one[1] == "columns", rows=given.rows)))
        return
    for shape in SHAPES:
        rows = 1_000 * WIDTH if shape == "large" else given.rows
        found: dict[str, list[dict[str, Any]]] = {"columns": [], "steps": []}
        for _ in range(1 if shape == "large" else given.rounds):
            for way, all_runs in found.items():
                if shape == "large" and way == "steps":
                    continue
                command = [sys.executable, "-m", "benchmarks.landing", "--one", shape, way, "--rows", str(rows)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                all_runs.append(json.loads(done.stdout.splitlines()[-1]))
        for way, all_runs in found.items():
            if all_runs:
                middle = sorted(all_runs, key=lambda one: one["cpu_s"])[len(all_runs) // 2]
                peak = max(one["peak"] for one in all_runs)
                print(
                    f"{shape:8} {way:8} {middle['rows']:>10,} rows, "
                    f"{middle['cpu_s'] / middle['rows'] * 1e6:6.2f} us a row, {middle['cpu_s']:6.1f} s, "
                    f"peak {peak / 1e6:4.0f} MB (imports {middle['base'] / 1e6:.0f}), "
                    f"{middle['files']} files of {middle['bytes']:,} bytes, archive {middle['archive_bytes']:,}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
