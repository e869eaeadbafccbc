"""windrow try: two calls to the real API, and what becomes of the answers."""

import argparse
import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from windrow.cli.command import FAILED, Result, add, add_source, table, whole_number
from windrow.cli.plan import describe
from windrow.cli.sketch import Sketch, Sketcher, cost_of
from windrow.cli.target import find
from windrow.connect.environment import EnvironmentApi
from windrow.declare.infer import Inferred, infer
from windrow.declare.stream import Declared
from windrow.http.client import Client, OnResponse
from windrow.http.paging import Pages, StoredPage
from windrow.model.answer import Answer, Outcome, Rejected
from windrow.model.errors import NothingToHarvest, QueryRefused, Unreadable
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.rate_limits import RateLimits
from windrow.model.response import Response
from windrow.model.stream import Request, Stream
from windrow.store import local

PAGES = 2
_LISTING_CALLS = 3
_ROWS = 10
_WIDTH = 40
_LIMIT_WORDS = ("ratelimit", "rate-limit", "retry-after", "quota")
_DESCRIPTION = """\
It makes at most two calls for pages, and up to --calls for the lists that the plan starts with. It shows the rows as a
table, the declared type of each column beside the type that the values have, the limits that the API reports in its
headers, the fields that no column reads (they go to the column _extra), and the cost of a whole run.
It needs the connection in AIRFLOW_CONN_<ID>, in the environment or in .env. It needs no running Airflow, no MongoDB and
no cloud, and it writes nothing."""
_EXAMPLES = """\
  windrow try dags/desk_tickets.py
  windrow try shop_orders -p since=2026-11-01T00:00:00Z --json"""


def register(commands: Any) -> None:
    """Add the command."""
    command = add(commands, "try", try_, "make two calls to the real API and show the rows", _DESCRIPTION, _EXAMPLES)
    add_source(command)
    add_calls(command)


def add_calls(command: argparse.ArgumentParser) -> None:
    """Add the argument for calls before the first page."""
    command.add_argument(
        "--calls",
        type=whole_number(0),
        default=_LISTING_CALLS,
        metavar="N",
        help=f"make up to N calls for lists ({_LISTING_CALLS})",
    )


@dataclass(slots=True)
class Sample:
    """The first pages of a run, as a `windrow.http.paging.PageStore` gets them."""

    sketch: Sketch
    pages: list[tuple[Query, Answer]] = field(default_factory=list)
    """Pages, each with the query of the plan that it belongs to."""
    has_more: bool = False
    """Whether the first query has more pages than these."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of the last response."""

    async def pages_of(self, pages: Pages, client: Client, query: Query) -> None:
        """Call pages of a query until there are enough.

        :raises QueryRefused: the API refuses the query, or the answer cannot be read.
        """
        try:
            settled = await pages.ask(client, query)
        except _Enough:
            self.has_more = True
            return
        if isinstance(settled, Rejected):
            raise QueryRefused(
                f"The answer to {query.key!r} cannot be used: {settled.reason}. The API sent: "
                f"{' '.join(settled.body.split())[:200]!r}",
                advice="Check the path, the params and 'rows' of the declaration.",
                key=query.key,
                status=settled.status,
            )
        if settled.outcome is Outcome.MISSING:
            raise QueryRefused(
                f"The API has no answer to {query.key!r} (HTTP {settled.status}).",
                advice="Check the path of the declaration, and the host of the connection.",
                key=query.key,
                status=settled.status,
            )
        self.pages = [one for one in self.pages if one[0] is not query]
        self.pages.append((query, settled))


class _Enough(Exception):
    """There are two pages."""


class _Store:
    """Notes the pages of a query, and ends with the second."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    async def pages(self, query: Query) -> list[StoredPage]:
        return []

    async def keep_page(self, query: Query, number: int, page: StoredPage) -> None:
        self._sample.pages.append((query, page.answer))
        if len(self._sample.pages) >= PAGES:
            raise _Enough

    async def drop_pages(self, query: Query) -> None:
        return


async def sample(
    stream: Stream,
    request: Request,
    api: EnvironmentApi,
    state: local.LocalStaging,
    calls: int,
    on_response: OnResponse | None = None,
) -> Sample:
    """Call the first pages of a run."""
    found = Sample(Sketch())

    def seen(query: Query, response: Response) -> None:
        if response.status is not None:
            found.headers = dict(response.headers)
        if on_response:
            on_response(query, response)

    client = api.client(stream, state, backoff=Backoff(attempts=2), on_response=seen)
    async with client:
        found.sketch = await Sketcher(client, calls).plan(stream, request)
        if not found.sketch.queries:
            more = f"Allow more with --calls: next is {found.sketch.needs!r}." if found.sketch.needs else ""
            raise NothingToHarvest(
                f"The plan of {stream.dataset} has no calls after {found.sketch.listing_calls} calls for lists.",
                advice=more or "Check the params, and the list of the API.",
            )
        pages = Pages(
            lambda query, parsed: None, stream.next_page, stream.paging, stream.format, _Store(found), stream.export
        )
        for query in list(found.sketch.queries.values())[:PAGES]:
            if len(found.pages) < PAGES:
                await found.pages_of(pages, client, query)
    return found


def try_(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Show what becomes of the first answers."""
    target = find(options.source, options.conn_id)
    stream, api = target.stream, EnvironmentApi(target.conn_id, environment)
    request = Request(target.params(options.param, environment))
    with local.opened() as state:
        found = asyncio.run(sample(stream, request, api, state, options.calls))
    records, errors, rows = _read(stream, found.pages)
    inferred = infer(rows)
    cost, _ = cost_of(found.sketch, api, stream)
    columns = _columns(stream, records, inferred)
    extra = _extra(records)
    limits = {
        name: value for name, value in found.headers.items() if any(word in name.lower() for word in _LIMIT_WORDS)
    }
    data = {
        "rows": records,
        "errors": errors,
        "columns": [dict(zip(_HEADER, row, strict=True)) for row in columns],
        "extra": extra,
        "limits": limits,
        "cost": asdict(cost) | {"is_complete": found.sketch.is_complete and not found.has_more},
    }
    lines = [f"{len(records):,} rows of {len(found.pages)} answers:", _frame(stream, records), "", "Columns:"]
    lines += [table(columns, _HEADER), ""]
    if errors:
        lines += [f"{len(errors)} rows do not match the columns. The first: {errors[0]}", ""]
    if extra:
        lines += ["Fields that no column reads. They are kept in _extra. To make columns of them, add:"]
        lines += [f"  {_declaration(name, inferred.get(name))}" for name in extra] + [""]
    window = RateLimits().told_by(found.headers)
    if window:
        lines += [f"The API reports {window.remaining:,} of {window.limit:,} calls left."]
    lines += [f"  {name}: {value}" for name, value in limits.items()] or ["The API reports no limits in its headers."]
    lines += ["", "Cost of the whole run:", *describe(cost, found.sketch)]
    if found.has_more:
        lines.append("The first answer has more pages than these two, so there are more calls than this.")
    return Result("\n".join(lines), data, FAILED if errors else 0)


_HEADER = ("column", "declared", "values are", "nulls", "example")


def _read(stream: Stream, pages: Sequence[tuple[Query, Answer]]) -> tuple[list[Any], list[str], list[Any]]:
    """Return the records, the errors, and the rows as the API sent them."""
    records: list[Any] = []
    errors: list[str] = []
    rows: list[Any] = []
    by_query: dict[str, list[Answer]] = {}
    for query, answer in pages:
        by_query.setdefault(query.key, []).append(answer)
    queries = {query.key: query for query, _ in pages}
    for key, answers in by_query.items():
        values = [answer.parsed_as(stream.format) for answer in answers]
        value: object = values[0] if len(values) == 1 else values
        try:
            some, bad = stream.read(queries[key], value)
            records += some
            errors += [error.reason for error in bad]
            if isinstance(stream, Declared):
                rows += stream.rows_of(value)
        except Unreadable as error:
            errors.append(error.reason)
            if isinstance(stream, Declared):
                with suppress(Unreadable):
                    rows += stream.rows_of(value)
    return records, errors, rows


def _columns(stream: Stream, records: Sequence[Any], inferred: Mapping[str, Inferred]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for column in stream.contract.columns:
        values = [record[column.name] for record in records if record.get(column.name) is not None]
        paths = {one.name: one.field for one in getattr(stream, "columns", ())}
        seen = inferred.get(paths.get(column.name, column.field))
        declared = f"{column.kind.name}{' repeated' if column.repeated else ' required' if column.required else ''}"
        example = " ".join(str(values[0]).split())[:_WIDTH] if values else "never set"
        found.append((column.name, declared, str(seen) if seen else "-", str(len(records) - len(values)), example))
    return found


def _extra(records: Sequence[Any]) -> dict[str, int]:
    """Return the fields in ``_extra``, with the number of rows that have them. Nested ones have dots."""
    count: Counter[str] = Counter()
    for record in records:
        if text := record.get("_extra"):
            count.update(_paths(orjson.loads(text)))
    return dict(count)


def _paths(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, each in value.items():
        inner = _paths(each, f"{prefix}{name}.") if isinstance(each, dict) else []
        found += inner or [f"{prefix}{name}"]
    return found


def _declaration(path: str, seen: Inferred | None) -> str:
    name = "".join(sign if sign.isalnum() else "_" for sign in path.lower())
    kind = seen.kind.name if seen else "STRING"
    note = f"  # {seen.note}" if seen and seen.note else ""
    repeated = ", repeated=True" if seen and seen.repeated else ""
    return f'Column("{name}", "{path}", Kind.{kind}, "..."{repeated}),{note}'


def _frame(stream: Stream, records: Sequence[Any]) -> str:
    import pandas as pd  # noqa: PLC0415 - half a second that other commands need not wait

    if not records:
        return "  none"
    frame = pd.DataFrame(records[:_ROWS], columns=[column.name for column in stream.contract.columns])
    shown = frame.to_string(index=False, max_colwidth=_WIDTH, na_rep="", line_width=160)
    return shown if len(records) <= _ROWS else f"{shown}\n... and {len(records) - _ROWS:,} more"
