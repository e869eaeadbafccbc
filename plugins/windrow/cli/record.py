"""windrow record: save real answers for tests, without secrets and personal data."""

import argparse
import asyncio
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from windrow.cli.command import Result, add, add_source, whole
from windrow.cli.target import find
from windrow.cli.try_ import add_calls, sample
from windrow.connect.environment import EnvironmentApi
from windrow.model.query import Query
from windrow.model.redact import blot, blot_sent
from windrow.model.response import Response
from windrow.model.stream import Request
from windrow.store import local
from windrow.testing import Call, Recording

_KEPT = re.compile(r"content-type|link|retry-after|.*rate-?limit.*|.*cursor.*|x-next.*", re.IGNORECASE)
"""Headers that a client reads. Others may have cookies."""
_SECRET = re.compile(r"(access|refresh|id)?_?token|secret|password|api_?key|authorization|cookie", re.IGNORECASE)
_SCRUBBED = "scrubbed"
_DESCRIPTION = """\
It makes the calls of `windrow try` (two pages), and writes them to tests/sources/DATASET.json, from which
windrow.testing.replay() harvests in a test. Credentials never get there: requests are stored without headers, and known
secrets are removed from answers, as are the values of fields like token and password. Name the fields with personal
data: their values are replaced, at every depth; texts by 'scrubbed', numbers by 0."""
_EXAMPLES = "  windrow record dags/desk_tickets.py --scrub name --scrub email"


def register(commands: Any) -> None:
    """Add the command."""
    command = add(commands, "record", record, "save real answers for tests, scrubbed", _DESCRIPTION, _EXAMPLES)
    add_source(command)
    add_calls(command)
    command.add_argument(
        "--scrub", action="append", default=[], metavar="FIELD", help="a field with personal data; can be repeated"
    )
    command.add_argument(
        "--to", type=Path, default=Path("tests/sources"), metavar="FOLDER", help="folder of the file (tests/sources)"
    )


def record(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Record the first pages."""
    target = find(options.source, options.conn_id)
    request = Request(target.params(options.param, environment))
    calls: list[Call] = []
    scrubbed: set[str] = set()

    def note(query: Query, response: Response) -> None:
        if response.status is not None:
            calls.append(_call(query, response, options.scrub, scrubbed))

    api = EnvironmentApi(target.conn_id, environment)
    with local.opened() as state:
        seen = asyncio.run(sample(target.stream, request, api, state, options.calls, note))
    called = {query.key for query, _ in seen.pages}
    is_cut = seen.has_more or len(called) < len(seen.sketch.queries)
    found = Recording(dict(request.params), request.at.isoformat(), calls=calls, is_cut=is_cut)
    path = options.to / f"{target.stream.dataset}.json"
    with whole(path) as draft:
        draft.write_text(blot(found.json()))
    missing = sorted({*options.scrub} - scrubbed)
    lines = [f"wrote {path}: {len(calls)} calls", f"scrubbed: {', '.join(sorted(scrubbed)) or 'no field'}"]
    lines += [f"not found, so not scrubbed: {', '.join(missing)}"] if missing else []
    lines += ["Look through the file before you commit it."]
    return Result(
        "\n".join(lines), {"file": path, "calls": len(calls), "scrubbed": sorted(scrubbed), "missing": missing}
    )


def _call(query: Query, response: Response, fields: Collection[str], scrubbed: set[str]) -> Call:
    text = blot_sent(response.body.decode("utf-8", "replace"), response.signature.values())
    try:
        answer = _without(json.loads(text), fields, scrubbed)
    except ValueError:
        answer = text
    headers = {name: value for name, value in response.headers.items() if _KEPT.fullmatch(name)}
    method, params = "POST" if query.body else "GET", [[name, value] for name, value in query.params]
    return Call(method, query.path, params, query.body, response.status or 0, headers, answer)


def _without(value: Any, fields: Collection[str], scrubbed: set[str], name: str = "") -> Any:
    """Return JSON in which the values of personal and secret fields are replaced."""
    if isinstance(value, dict):
        return {
            each: _without(inner, fields, scrubbed, name if name in fields else each) for each, inner in value.items()
        }
    if isinstance(value, list):
        return [_without(inner, fields, scrubbed, name) for inner in value]
    if value is None or isinstance(value, bool) or not (name in fields or _SECRET.fullmatch(name)):
        return value
    scrubbed.add(name)
    return _SCRUBBED if isinstance(value, str) else 0
