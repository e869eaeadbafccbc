"""windrow plan: what a run would cost, before its first call."""

import argparse
import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from windrow.cli.command import Result, add, add_source, whole_number
from windrow.cli.sketch import Sketch, Sketcher, cost_of
from windrow.cli.target import find
from windrow.connect.environment import EnvironmentApi
from windrow.model.cost import CALL_S, Cost
from windrow.model.policy import Backoff
from windrow.model.stream import Estimate, Request, Stream
from windrow.store import local
from windrow.store.staging import Staging

_SHOWN = 3
_DESCRIPTION = """\
It makes no call. Where the plan depends on a list of the API, it says which list it needs; with --calls it fetches
such lists, at most as many as you allow, and counts what follows from them. An answer with several pages needs a call
for each page: `windrow try` shows whether there are some."""
_EXAMPLES = """\
  windrow plan dags/weather_days.py -p 'places=[{"name": "Bonn", "lat": 50.7, "lon": 7.1}]'
  windrow plan shop_orders --calls 10"""


def register(commands: Any) -> None:
    """Add the command."""
    command = add(commands, "plan", plan, "show the calls, quota units and hours of a run", _DESCRIPTION, _EXAMPLES)
    add_source(command)
    command.add_argument(
        "--calls", type=whole_number(0), default=0, metavar="N", help="make up to N calls for lists (0)"
    )


def plan(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Count the calls of a run."""
    target = find(options.source, options.conn_id)
    api = EnvironmentApi(target.conn_id, environment)
    request = Request(target.params(options.param, environment))
    with local.opened() as state:
        sketch, ways = asyncio.run(_sketched(target.stream, request, api, state, options.calls))
    owners = max(1, api.pool_size(target.stream))
    if ways:
        found = [{**asdict(way), "hours": way.hours(owners)} for way in ways]
        return Result("\n".join(_way(way, owners) for way in ways), {"dataset": target.stream.dataset, "ways": found})
    cost, quotas = cost_of(sketch, api, target.stream)
    lines = describe(cost, sketch)
    if target.stream.is_paged:
        lines.append("An answer may have several pages, and each further page is a call. `windrow try` looks at two.")
    lines += [f"Quota {one.name}: {one.units or 'unknown'} units a {one.period.unit}." for one in quotas]
    some = list(sketch.queries)[:_SHOWN]
    lines += [f"  {key}" for key in some] + (["  ..."] if len(sketch.queries) > _SHOWN else [])
    data = {
        **asdict(cost),
        "is_complete": sketch.is_complete,
        "listing_calls": sketch.listing_calls,
        "needs": sketch.needs,
        "examples": some,
    }
    return Result("\n".join(lines), data)


async def _sketched(
    stream: Stream, request: Request, api: EnvironmentApi, state: Staging, calls: int
) -> tuple[Sketch, Sequence[Estimate]]:
    """Make a plan with up to ``calls`` listing calls. A stream that can estimate its cost needs only a few of them."""
    async with api.client(stream, state, backoff=Backoff(attempts=2)) as client:
        sketcher = Sketcher(client, calls)
        ways = await sketcher.estimate(stream, request)
        return (sketcher.sketch if ways else await sketcher.plan(stream, request)), ways


def _way(way: Estimate, owners: int) -> str:
    units = ", ".join(f"{units:,} of {name}" for name, units in way.units.items())
    line = (
        f"{way.name}: at most {way.calls:,} calls ({units}), {_time(way.hours(owners))} with {owners} owners of tokens"
    )
    return f"{line}; {way.remark}" if way.remark else line


def describe(cost: Cost, sketch: Sketch) -> list[str]:
    """Return the cost in lines for people."""
    least = "" if sketch.is_complete else "at least "
    calls = f"{cost.calls:,} call{'' if cost.calls == 1 else 's'}"
    units = ", ".join(f"{units:,} units of {name}" for name, units in cost.units.items()) or "no quota units"
    lines = [
        f"{cost.dataset}: {least}{calls}, {units}.",
        f"Time: {least}{_time(cost.hours)} at the limits of the connection, if a call takes {CALL_S} s.",
    ]
    if sketch.needs:
        lines.append(
            f"The rest depends on the answer to {sketch.needs!r}. Allow {sketch.listing_calls + 1} or more calls for "
            "lists with --calls."
        )
    return lines


def _time(hours: float) -> str:
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:,.1f} minutes" if hours * 60 >= 1 else f"{math.ceil(hours * 3600)} s"
