"""windrow harvest: a run on this machine, with the engine of the DAGs, into Parquet files."""

import argparse
import asyncio
import signal
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from windrow.cli.command import DONE, FAILED, Interrupted, Result, add, add_source, is_terminal
from windrow.cli.target import Target, find
from windrow.connect.environment import EnvironmentApi
from windrow.declare.stream import Declared
from windrow.harvest.discovery import Discovery
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.loop import run_async
from windrow.landing.files import Manifest
from windrow.landing.folder import FolderStore
from windrow.landing.parts import Landing
from windrow.landing.receipt import Staged
from windrow.model import errors
from windrow.model.errors import BadParameter, PlanMissing, Unanswered
from windrow.model.plan import Plan, Run, slug
from windrow.model.stream import Request
from windrow.store import local
from windrow.store.staging import Staging

STORE = "windrow.sqlite"
_LAST, _WATERMARK = "last", "watermark"
_AGAIN = "All answers so far are stored. Run the same command again: it makes only the missing calls."
_DESCRIPTION = """\
It makes all calls of a run and writes the records as Parquet files:

  data/<source>/<stream>/run=<run>/part-00000.parquet

Every answer is stored in data/windrow.sqlite before it counts. After Ctrl-C, a crash or a power cut, the same command
continues with the calls that are missing. A stream with a time continues after the last complete run, unless a param
sets the time. In a notebook, windrow.frame("desk_tickets") returns the records as a pandas DataFrame."""
_EXAMPLES = """\
  windrow harvest dags/desk_tickets.py
  windrow harvest shop_orders -p since=2026-11-01T00:00:00Z --to ./orders"""


def register(commands: Any) -> None:
    """Add the command."""
    command = add(commands, "harvest", harvest, "harvest into local Parquet files", _DESCRIPTION, _EXAMPLES)
    add_source(command)
    command.add_argument("--to", type=Path, default=Path("data"), metavar="FOLDER", help="folder of the files (data)")
    command.add_argument("--new", action="store_true", help="start a new run, although the last one is not complete")


@dataclass(frozen=True, slots=True)
class _Order:
    """What a run harvests. It is stored, so that a run that continues calls the same."""

    run_id: str
    params: dict[str, Any]
    at: str
    watermark: str
    complete: bool = False

    @property
    def request(self) -> Request:
        return Request(self.params, datetime.fromisoformat(self.at), self.watermark)


def harvest(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Harvest a stream, or continue."""
    try:
        return _harvest(options, environment)
    except errors.Interrupted as stop:
        raise Interrupted(f"{_AGAIN} {stop.what}") from None
    except KeyboardInterrupt:
        raise Interrupted(_AGAIN) from None
    except (Unanswered, errors.ApiUnreachable) as error:
        where = (
            "Check the network, and the host of the connection. " if isinstance(error, errors.ApiUnreachable) else ""
        )
        raise type(error)(error.what, advice=f"{where}{_AGAIN}") from None


def _harvest(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    target = find(options.source, options.conn_id)
    api = EnvironmentApi(target.conn_id, environment, options.to)
    api.cost(target.stream)  # a wrong connection is found before a folder is created
    params = target.params(options.param, environment)
    target.stream.scope(Request(params))
    options.to.mkdir(parents=True, exist_ok=True)
    with local.opened(options.to / STORE) as state:
        order = _order(state, target, params, new=options.new)
        run = Run(target.stream.dataset, order.run_id)
        plan = run_async(_harvested(target, order, run, api, state))
        prefix = f"{target.stream.dataset.replace('_', '/', 1)}/run={slug(order.run_id)}"
        manifest = Landing(state, target.stream, FolderStore(options.to), prefix).land(plan)
        staged = Staged.count(state, plan)
        complete = staged.answered + staged.gaps == plan.planned and not staged.quarantined
        _finish(state, target, order, options.to, manifest, complete=complete)
    return _result(order, plan, manifest, staged, options.to / prefix, complete=complete)


def _order(state: Staging, target: Target, params: dict[str, object], *, new: bool) -> _Order:
    """Return the run to continue, or a new one.

    :raises BadParameter: the run to continue has other params.
    """
    notes = state.notes(_home(target))
    if (last := notes.get(_LAST)) and not last["complete"] and not new:
        order = _Order(**last)
        if order.params != params:
            raise BadParameter(
                f"The run {order.run_id} of {target.stream.dataset} is not complete, and has other params: "
                f"{order.params}.",
                advice="Continue it with its params, or start a new run with --new.",
            )
        return order
    now = datetime.now(UTC)
    mark = notes.get(_WATERMARK, {}).get("value", "") if target.stream.follows_watermark(params) else ""
    order = _Order(f"local__{now:%Y-%m-%dT%H:%M:%S}_{uuid.uuid4().hex[:4]}", params, now.isoformat(), mark)
    state.note(_home(target), _LAST, asdict(order))
    return order


def _home(target: Target) -> Run:
    """Return where notes about all runs of a stream are."""
    return Run(target.stream.dataset, "windrow")


async def _harvested(target: Target, order: _Order, run: Run, api: EnvironmentApi, state: Staging) -> Plan:
    """Make the plan, unless there is one, and the calls."""
    stream = target.stream
    try:
        plan = await asyncio.to_thread(state.plan, run)
    except PlanMissing:
        client = api.client(stream, state)
        async with client:
            plan = await Discovery(client, state, run, stream).plan(order.request)
    client = api.client(stream, state)
    harvester = Harvester(
        client,
        state,
        PlanFeed(state, plan),
        stream.records,
        next_page=stream.next_page,
        paging=stream.paging,
        format=stream.format,
        export=stream.export,
    )
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, RuntimeError):  # Windows has none, and neither has a thread
            loop.add_signal_handler(sign, harvester.stop)
    shown = asyncio.create_task(_show(harvester, plan)) if is_terminal() else None
    try:
        async with client:
            await harvester.run()
    finally:
        if shown:
            shown.cancel()
            await asyncio.gather(shown, return_exceptions=True)
    return plan


async def _show(harvester: Harvester, plan: Plan) -> None:
    """Show a progress bar on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(plan.run.dataset, total=plan.planned)
        try:
            while True:
                bar.update(task, completed=harvester.tally.settled)
                await asyncio.sleep(0.2)
        finally:
            bar.update(task, completed=harvester.tally.settled)


def _finish(state: Staging, target: Target, order: _Order, folder: Path, manifest: Manifest, *, complete: bool) -> None:
    """Store that a run is complete, and its watermark."""
    if not complete:
        return
    table, request = target.stream.table, order.request
    if target.stream.follows_watermark(order.params):
        values = []
        if table and table.watermark:
            for part in manifest.parts:
                values.append(pc.max(pq.read_table(folder / part.name, columns=[table.watermark])[table.watermark]))
        marks = [value.as_py() for value in values if value.as_py() is not None]
        ended = target.stream.reached(request) if isinstance(target.stream, Declared) else ""
        mark = str(max(marks)) if marks else ended
        if mark:
            state.note(_home(target), _WATERMARK, {"value": mark})
    state.note(_home(target), _LAST, asdict(order) | {"complete": True})


def _result(order: _Order, plan: Plan, manifest: Manifest, staged: Staged, folder: Path, *, complete: bool) -> Result:
    data = {
        "run": order.run_id,
        "complete": complete,
        "planned": plan.planned,
        "answered": staged.answered,
        "gaps": staged.gaps,
        "quarantined": staged.quarantined,
        "records": manifest.records,
        "files": [str(folder / part.name.rpartition("/")[2]) for part in manifest.parts],
    }
    lines = [
        f"{plan.run.dataset}, run {order.run_id}: {'complete' if complete else 'NOT complete'}.",
        f"{plan.planned:,} calls planned = {staged.answered:,} answered + {staged.gaps:,} gaps"
        + ("" if complete else f"; {staged.quarantined:,} answers in quarantine"),
        f"{manifest.records:,} records in {len(manifest.parts)} files: {folder}",
    ]
    lines += [f"  {example}" for example in staged.examples]
    if not complete:
        lines.append("Correct the source if an answer cannot be read, and run the same command again.")
    return Result("\n".join(lines), data, DONE if complete and not staged.gaps else FAILED)
