"""Test a source without its API: recorded answers, served on loopback to the real client and the real engine.

A recording is a JSON file: the ``params`` and the instant ``at`` of a run, and its ``calls``, each with the request and
the response. `windrow new` writes an example, and `windrow record` records a real API.
"""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from windrow.declare.files import load
from windrow.harvest.discovery import Discovery
from windrow.harvest.engine import Harvester
from windrow.harvest.feeds import PlanFeed
from windrow.http.auth import NoAuth
from windrow.http.client import Client, Limits
from windrow.http.paging import MOST_PAGES
from windrow.model.answer import Outcome
from windrow.model.errors import BadParameter
from windrow.model.plan import Run
from windrow.model.policy import Backoff
from windrow.model.stream import Request, Stream
from windrow.store import local


@dataclass(frozen=True, slots=True)
class Call:
    """A call and its answer, without credentials."""

    method: str
    path: str
    params: list[list[str]]
    body: str
    status: int
    headers: dict[str, str]
    answer: Any
    """The JSON of the answer, or its text."""

    def is_for(self, method: str, path: str, params: Sequence[Sequence[str]], body: str) -> bool:
        """Return whether this is the call that a request makes."""
        mine = (self.method, self.path.strip("/"), sorted(map(tuple, self.params)), _parsed(self.body))
        return mine == (method, path.strip("/"), sorted(map(tuple, params)), _parsed(body))


@dataclass(frozen=True, slots=True)
class Recording:
    """The answers of one run."""

    params: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""
    watermark: str = ""
    calls: Sequence[Call] = ()
    is_cut: bool = False
    """Whether the run has more calls than these."""

    @classmethod
    def read(cls, path: Path | str) -> "Recording":
        """Read a recording.

        :raises BadParameter: the file is not a recording.
        """
        try:
            fields = json.loads(Path(path).read_text())
            return cls(**fields | {"calls": [Call(**one) for one in fields["calls"]]})
        except (ValueError, TypeError, KeyError) as error:
            raise BadParameter(
                f"{path} is not a recording: {type(error).__name__}: {error}.",
                advice="Record it again with `windrow record`.",
            ) from None

    def json(self) -> str:
        """Return the content of its file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @property
    def request(self) -> Request:
        """The run that was recorded."""
        return Request(self.params, datetime.fromisoformat(self.at), self.watermark)


def replay(stream: type[Stream] | Path | str, recording: Recording | Path | str) -> list[dict[str, object]]:
    """Harvest a stream from a recording, and return its records in the order of the plan.

    :param stream: a class, or the DAG file that declares it, which is loaded without Airflow.

    Of a recording that is cut, the records are those of the pages that it has.

    :raises AssertionError: a recorded call is not made, another call is, or an answer is in the quarantine.
    """
    found = recording if isinstance(recording, Recording) else Recording.read(recording)
    made = (stream if isinstance(stream, type) else load(Path(stream))[0].stream)()
    with _served(found) as served, local.opened() as state:
        run = Run(made.dataset, "replay")
        plan = asyncio.run(_harvest(made, found.request, run, served.url, state))
        unused = [f"{one.method} {one.path}" for place, one in enumerate(found.calls) if place not in served.used]
        assert not unused, f"recorded calls that are not made: {unused}; instead: {served.unknown}"  # noqa: S101
        assert found.is_cut or not served.unknown, f"calls that are not recorded: {served.unknown}"  # noqa: S101
        bad = [f"{one.query.key}: {one.reason}" for _, one in state.quarantined(run) if not found.is_cut]
        assert not bad, f"answers that cannot be read: {bad}"  # noqa: S101
        return [record for number in range(plan.chunks) for record in _records(made, state, run, number)]


def _records(stream: Stream, state: local.LocalStaging, run: Run, number: int) -> Iterator[dict[str, object]]:
    chunk = state.chunk(run, number)
    answers = {one.query.key: one for one in state.answers(chunk) if one.outcome is not Outcome.MISSING}
    for query in chunk.queries:
        if query.key in answers:
            yield from stream.records(query, answers[query.key].parsed_as(stream.format))
        elif pages := state.pages(run, query.key, MOST_PAGES):  # the next one is not recorded
            yield from stream.records(query, [page.answer.parsed_as(stream.format) for page in pages])


async def _harvest(stream: Stream, request: Request, run: Run, url: str, state: local.LocalStaging) -> Any:
    def client() -> Client:
        limits = Limits(backoff=Backoff(base_s=0.0, attempts=1))
        return Client(url, NoAuth(), name="recording", limits=limits, policy=stream.policy, headers=stream.headers)

    first, second = client(), client()
    async with first:
        plan = await Discovery(first, state, run, stream).plan(request)
    async with second:
        await Harvester(
            second,
            state,
            PlanFeed(state, plan),
            stream.records,
            next_page=stream.next_page,
            paging=stream.paging,
            format=stream.format,
        ).run()
    return plan


@dataclass(slots=True)
class _Served:
    """What was asked of a recording."""

    url: str = ""
    used: set[int] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


@contextmanager
def _served(recording: Recording) -> Iterator["_Served"]:
    """Serve a recording on loopback."""
    served = _Served()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            params = parse_qsl(parts.query, keep_blank_values=True)
            places = [
                place for place, one in enumerate(recording.calls) if one.is_for(self.command, parts.path, params, body)
            ]
            served.used.update(places)
            found = [recording.calls[place] for place in places]
            if not found:
                served.unknown.append(f"{self.command} {self.path} {body}".strip())
            text = "" if not found else found[0].answer
            data = (text if isinstance(text, str) else json.dumps(text)).encode()
            self.send_response(found[0].status if found else 404)
            for name, value in found[0].headers.items() if found else ():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        served.url = f"http://127.0.0.1:{server.server_port}"
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _parsed(body: str) -> object:
    try:
        return json.loads(body) if body else ""
    except ValueError:
        return body
