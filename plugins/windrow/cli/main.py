"""The command line: arguments, exit codes, watching. What is printed is in `windrow.cli.text`."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import argcomplete
import orjson

from windrow import __version__
from windrow.cli import act, auth, command, erase, harvest, new, plan, record, text, try_
from windrow.cli.address import mongo_url, place_of
from windrow.cli.airflow import TOKEN, URL, Airflow
from windrow.cli.source import Direct, Source
from windrow.cli.target import meant
from windrow.harvest.lineage import SEARCHED
from windrow.harvest.status.interval import Interval, State
from windrow.harvest.status.snapshot import Snapshot
from windrow.harvest.status.stream import Health, Stream
from windrow.harvest.waterfall import waterfall
from windrow.model.errors import WindrowError
from windrow.model.plan import Run
from windrow.store.staging import opened
from windrow.store.status import open_status
from windrow.store.warnings import Warned, as_data

COMPLETE, INCOMPLETE, UNKNOWN = 0, 1, 2
_DESCRIPTION = """\
Harvests rate-limited, token-protected HTTP APIs without losing a call.

For your own API, on this machine, without a running Airflow, MongoDB or cloud:
  new      write a source, its DAG, and a test that passes
  try      make two calls to the real API and show the rows
  plan     show the calls, quota units and hours of a run
  harvest  harvest into local Parquet files
  record   save real answers for tests, scrubbed
  auth     give consent in a browser, and print the connection

For the harvests of Airflow, read from MongoDB, also while Airflow is down; all but two also --via airflow:
  status, why, runs, show, quarantine, limits, find, warnings, accept

To act on the harvests of Airflow, over its API, with your token:
  replay, accept-gap, undo-gap, stop, resume, snooze

To erase a person from all stores, where Airflow runs, with its connections:
  erase

`windrow COMMAND --help` explains a command, with examples. docs/your-own-api.md is a tutorial."""
_EPILOG = f"""\
{command.CODES}

exit codes of status, why and show: 0 everything is complete, 1 something is incomplete, 2 unknown (also: MongoDB or
Airflow did not answer). The others that read: 0, or 2 if it did not answer; find: 1 if the key is not there.

examples:
  windrow new shop_orders                 then change dags/shop_orders.py to your API
  windrow try dags/shop_orders.py         what the API returns, and what becomes of it
  windrow status                          all streams, the worst first
  windrow why shop_orders                 why it is not complete, and what to do
  windrow show scheduled__2026-11-27T00:00:00+00:00
  windrow find 'orders/7'                 where the answer to a call is
  windrow status --watch                  again every 5 seconds, until Ctrl-C
  windrow status --json | jq .sentence
  windrow status --via airflow            what you may see in Airflow, without access to MongoDB

In a clone, `windrow` is bin/windrow, or make windrow ARGS="...". Elsewhere, install the wheel that make package builds.
--via airflow needs {URL} and {TOKEN}.
Connections of APIs are AIRFLOW_CONN_<ID> in the environment or in .env. The address of MongoDB is --mongo, or
WINDROW_MONGO_URL, or the connection in AIRFLOW_CONN_MONGO_DEFAULT. A password in --mongo can be seen by other users of
the machine: prefer a variable.

Completion in bash and zsh, with bin/ on PATH: eval "$(.venv/bin/register-python-argcomplete windrow)"."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command found: lines for people, data for programs, and the exit code."""

    lines: Sequence[str]
    data: Any
    code: int = COMPLETE


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None, out: TextIO | None = None
) -> int:
    """Run a command, and return its exit code."""
    parser = _parser()
    argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    out, code = out or sys.stdout, UNKNOWN
    try:
        if "local" in options:
            return command.run(options, environment, out, sys.stderr)
        while True:
            code = _once(options, os.environ if environment is None else environment, out)
            if options.watch is None:
                return code
            time.sleep(options.watch)
    except KeyboardInterrupt:
        return code
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code


def _once(options: argparse.Namespace, environment: Mapping[str, str], out: TextIO) -> int:
    try:
        answer = _answer(options, environment)
    except WindrowError as error:
        other = f" {_OTHER[options.via]}" if "via" in options else ""
        answer = Answer([f"Unknown: {error.what} What to do: {error.advice}{other}"], _failure(error), UNKNOWN)
    if options.watch is not None and out.isatty():
        out.write("\x1b[H\x1b[2J")
    written = orjson.dumps(answer.data, default=_plain, option=orjson.OPT_INDENT_2).decode() if options.json else ""
    out.write(f"{written or text.fit(answer.lines, out.encoding)}\n")
    out.flush()
    return answer.code


def _answer(options: argparse.Namespace, environment: Mapping[str, str]) -> Answer:
    found: Answer
    if options.__dict__.get("via") == "airflow":
        from windrow.cli.via import ViaAirflow  # noqa: PLC0415 - takes as long as all else

        found = options.command(ViaAirflow(Airflow.of(environment)), options)
        return found
    options.url, options.place = mongo_url(options.mongo, environment), place_of(options.mongo, environment)
    with open_status(options.url, options.database, options.place) as store:
        found = options.command(Direct(store), options)
    return found


_OTHER = {
    "airflow": "Or leave out --via airflow: the command then reads MongoDB.",
    "mongo": "Or ask Airflow: --via airflow.",
}
"""The other way to ask."""


def _failure(error: WindrowError) -> dict[str, str]:
    return {"error": error.what, "advice": error.advice}


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError


def _parser() -> argparse.ArgumentParser:
    shared = command.Parser(add_help=False)
    shared.add_argument(
        "--mongo", default="", metavar="URL", help="MongoDB, like mongodb://user:password@host:27017/windrow"
    )
    shared.add_argument("--database", default="", metavar="NAME", help="overrides the database in the URL (windrow)")
    shared.add_argument("--json", action="store_true", help="print JSON")
    shared.add_argument(
        "--watch", nargs="?", type=float, const=5.0, metavar="SECONDS", help="repeat every 5 (or so many) seconds"
    )
    parser = command.Parser(
        prog="windrow",
        usage="windrow COMMAND ...",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"windrow {__version__}")
    commands = parser.add_subparsers(
        title="commands", prog="windrow", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )

    def add(
        name: str, does: Callable[[Any, argparse.Namespace], Answer], help_: str, *, only_mongo: bool = False
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_, parents=[shared])
        if not only_mongo:
            about = f"ask Airflow with your token: {URL}, {TOKEN}; without it MongoDB is read"
            added.add_argument("--via", choices=_OTHER, default="mongo", help=about)
        added.set_defaults(command=does)
        return added

    add("status", _status, "all streams: is it complete, what is missing, what needs attention")
    add("why", _why, "why a stream is not complete, what is safe, what to do").add_argument(
        "stream", help="like shop_orders"
    )
    add("runs", _runs, "the last runs of all streams, or of one").add_argument("stream", nargs="?", default="")
    show = add("show", _show, "the receipt and the attempts of a run")
    show.add_argument("run", help="the run id, like manual__2026-11-27T08:00:00+00:00")
    show.add_argument("--stream", default="", help="only this stream; a run id can belong to several")
    add("quarantine", _quarantine, "rejected answers by reason").add_argument("stream", nargs="?", default="")
    add("warnings", _warnings, "unknown fields, and runs that are not plausible", only_mongo=True).add_argument(
        "stream", nargs="?", default=""
    )
    about = "accept warnings of a stream: they are not shown and not sent any longer"
    accept = add("accept", _accept, about, only_mongo=True)
    accept.add_argument("stream", help="like shop_orders")
    accept.add_argument("name", nargs="*", help="as `windrow warnings` shows it; none for all")
    add("limits", _limits, "quotas in use, and APIs that asked to wait")
    add("find", _find, "where the answer to a call is").add_argument(
        "key", help="the column _key of a row, like orders/7"
    )
    for module in (new, try_, plan, harvest, record, auth, act, erase):
        module.register(commands)
    return parser


# --- commands ----------------------------------------------------------------------------------


def _status(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    data = {
        "at": snapshot.at,
        "sentence": snapshot.sentence,
        "newest": snapshot.newest,
        "attention": [
            {**_fields(one, "health cause streams since safe do person until"), "who": one.who}
            for one in snapshot.attention
        ],
        "streams": [_stream_data(one) for one in snapshot.streams],
    }
    return Answer(text.status(snapshot), data, _code([one.health for one in snapshot.streams]))


def _why(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    stream = snapshot.stream(options.stream)
    if stream is None:
        return _no_stream(options.stream, snapshot)
    one = Snapshot(at=snapshot.at, streams=(stream,), reasons=snapshot.reasons)
    reasons = [each for each in snapshot.reasons if each.dataset == stream.dataset]
    attention = [_fields(each, "health cause since safe do person until") for each in one.attention]
    data = {**_stream_data(stream), "attention": attention, "quarantine": reasons}
    return Answer(text.why(one, stream, reasons), data, _code([stream.health]))


def _runs(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    if options.stream and snapshot.stream(options.stream) is None:
        return _no_stream(options.stream, snapshot)
    streams = [one for one in snapshot.streams if options.stream in {"", one.dataset}]
    runs = sorted((each for one in streams for each in one.intervals), key=lambda each: each.due_at, reverse=True)
    return Answer(text.runs(runs), [_interval_data(one) for one in runs])


def _show(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    found = [
        each
        for one in snapshot.streams
        for each in one.intervals
        if each.run_id == options.run and options.stream in {"", one.dataset}
    ]
    if not found:
        line = f"The run {options.run!r} is not among the last 30 of any stream. `windrow runs` lists them."
        return Answer([line], {"error": line}, UNKNOWN)
    lines, data = [], []
    for one in found:
        tried = source.attempts(Run(one.dataset, one.run_id))
        steps = waterfall(one)
        lines += text.show(one, steps, tried)
        data.append({**_interval_data(one), "waterfall": steps, "attempts": tried})
    return Answer(lines, data, _code_of_states([one.state for one in found]))


def _quarantine(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    reasons = [one for one in snapshot.reasons if options.stream in {"", one.dataset}]
    complete = snapshot.reasons_complete
    return Answer(text.quarantine(reasons, complete=complete), {"complete": complete, "reasons": reasons})


def _warnings(source: Direct, options: argparse.Namespace) -> Answer:
    found = [Warned.of(one) for one in source.store.warnings(options.stream)]
    return Answer(text.warnings(found), as_data(found))


def _accept(source: Direct, options: argparse.Namespace) -> Answer:
    found = {one["name"]: Warned.of(one) for one in source.store.warnings(options.stream)}
    if unknown := sorted({*options.name} - found.keys()):
        line = f"{options.stream} has no warning {unknown[0]!r}. `windrow warnings {options.stream}` lists them."
        return Answer([line], {"error": line}, INCOMPLETE)
    accepted = [one for name, one in found.items() if not one.accepted_at and name in (options.name or found)]
    with opened(options.url, source.store.database, options.place) as state:
        state.mark(accepted, "accepted_at")
    lines = [f"accepted: {one.name}: {one.text}" for one in accepted] or [f"{options.stream} has no open warning."]
    return Answer(lines, as_data(accepted))


def _limits(source: Source, options: argparse.Namespace) -> Answer:
    snapshot = source.snapshot()
    quotas, pauses, stops = snapshot.quotas, snapshot.pauses, snapshot.stops
    return Answer(text.limits(quotas, pauses, stops), {"quotas": quotas, "pauses": pauses, "stops": stops})


def _find(source: Source, options: argparse.Namespace) -> Answer:
    found = source.origins(options.key)
    if not found:
        line = f"No query with exactly the key {options.key!r} in the newest {SEARCHED} runs of each stream."
        return Answer([line], [], INCOMPLETE)
    data = [
        {
            **_fields(one.found, "dataset run_id key state status fetched_at reason"),
            **_fields(one, "request sql stored made_by"),
        }
        for one in found
    ]
    return Answer(text.found(found), data)


def _no_stream(name: str, snapshot: Snapshot) -> Answer:
    known = [one.dataset for one in snapshot.streams]
    line = f"The stream {name!r} does not exist.{meant(name, known)} Known streams: {', '.join(known) or 'none yet'}."
    return Answer([line], {"error": line}, UNKNOWN)


def _code(healths: Sequence[Health]) -> int:
    if not healths:
        return UNKNOWN
    if set(healths) - {Health.COMPLETE, Health.UNKNOWN}:
        return INCOMPLETE
    return UNKNOWN if Health.UNKNOWN in healths else COMPLETE


def _code_of_states(states: Sequence[State]) -> int:
    if set(states) - {State.COMPLETE, State.GAPS, State.UNKNOWN}:
        return INCOMPLETE
    return UNKNOWN if State.UNKNOWN in states else COMPLETE


# --- data for programs -------------------------------------------------------------------------


def _fields(thing: object, names: str) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names.split()}


def _stream_data(one: Stream) -> dict[str, Any]:
    return {
        **_fields(one, "dataset health why newest"),
        "strip": [each.state for each in one.intervals],
        "last": _interval_data(one.last) if one.last else None,
    }


def _interval_data(one: Interval) -> dict[str, Any]:
    times = one.summary.times if one.summary else {}
    return {
        **_fields(one, "dataset run_id due_at state why counts waits_until error needs_person"),
        "receipt": dict(one.summary.steps.get("receipt", {})) if one.summary else {},
        "receipt_at": times.get("receipt", ""),
    }
