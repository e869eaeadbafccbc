"""What the page Plan shows: the params of a DAG as simple fields, and the plan of a run by name and number."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from windrow.harvest.dry_run import Way, ways
from windrow.harvest.status.interval import Interval
from windrow.harvest.status.stream import Stream
from windrow.model.plan import Run
from windrow.store.status import StatusStore

_COMPARED_KEYS, _COMPARED_RUNS = 2_000, 5
"""Keys of a plan that are looked for in earlier runs, and how many of these."""
_NOT_ASKED = {"plan_only"}
"""Params that the page sets by itself."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form. ``kind`` is checkbox, number, choice, date, text, lines, or json for the box alone."""

    name: str
    title: str
    kind: str
    description: str
    default: str
    """As JSON."""
    shown: str
    """The default as the field shows it."""
    choices: tuple[str, ...] = ()


def fields(params: Mapping[str, Mapping[str, Any]]) -> list[Field]:
    """Return a field for each param that a simple one is enough for; the others go into the JSON box."""
    return [_field(name, schema) for name, schema in params.items() if name not in _NOT_ASKED]


def _field(name: str, schema: Mapping[str, Any]) -> Field:
    default = schema.get("default")
    types = schema.get("type", "string")
    kinds = {types} if isinstance(types, str) else {str(one) for one in types}
    items = schema.get("items")
    item = items.get("type", "") if isinstance(items, Mapping) else ""
    choices: tuple[str, ...] = ()
    shown = ""
    if kinds <= {"boolean"}:
        kind, shown = "checkbox", "yes" if default else ""
    elif kinds <= {"integer", "number", "null"}:
        kind, shown = "number", "" if default is None else str(default)
    elif kinds <= {"string", "null"} and isinstance(schema.get("enum"), list):
        kind, shown = "choice", str(default)
        choices = tuple(map(str, schema["enum"]))
    elif kinds <= {"string", "null"}:
        kind, shown = "date" if schema.get("format") == "date" else "text", str(default or "")
    elif kinds <= {"array", "null"} and item in {"string", ""}:
        kind, shown = "lines", "\n".join(map(str, default or ()))
    else:
        kind = "json"
    return Field(
        name=name,
        title=str(schema.get("title") or name),
        kind=kind,
        description=str(schema.get("description") or ""),
        default=json.dumps(default),
        shown=shown,
        choices=choices,
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of one stream in a run. ``keys`` are some of its queries, each with a run that has answered it."""

    stream: Stream
    interval: Interval
    keys: tuple[tuple[str, str], ...]
    after: int | None
    """Where the next keys begin; None at the end."""
    compared: int
    """Keys, from the first, that were looked for in earlier runs."""
    known: int
    """Of them: an earlier run has an answer."""

    @property
    def ways(self) -> list[Way]:
        """What the plan costs; empty while that is not computed."""
        return ways(self.interval.summary)


def read_plan(stream: Stream, interval: Interval, start: int, store: StatusStore) -> Planned:
    """Read 100 keys of a plan from a place on, and count which of its first ones an earlier run has answers to.

    :raises StagingUnavailable: MongoDB did not answer.
    """
    run = Run(stream.dataset, interval.run_id)
    earlier = [one.run_id for one in stream.intervals if one.run_id not in {"", run.run_id} and one.counts.done]
    earlier = earlier[:_COMPARED_RUNS]
    keys, after = store.planned(run, start)
    answered = store.answered(stream.dataset, keys, earlier)
    compared: list[str] = []
    place: int | None = 0
    while place is not None and len(compared) < _COMPARED_KEYS:
        more, place = store.planned(run, place, limit=1_000)
        compared += more
    known = store.answered(stream.dataset, compared, earlier)
    return Planned(
        stream,
        interval,
        tuple((key, answered.get(key, "")) for key in keys),
        after,
        len(compared),
        len(known),
    )
