"""Run each source once, kill it in the middle, run it again, and count what the API and the destination have.

python -m benchmarks.declared --dlt PYTHON --airbyte PYTHON --singer PYTHON
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
RESULT = ROOT / "benchmarks" / "results" / "declared.json"
KEY = "a-key-of-the-benchmark"
PLACES, TICKETS = 60, 45
FIRST, LAST = date(2026, 11, 1), date(2026, 11, 3)
ROWS = {"weather": PLACES * 3, "desk": TICKETS}
CALLS = {"weather": PLACES, "desk": 3}
ANSWER_S = 0.1
WINDROW = [ROOT / "docs/examples/weather_days.py", ROOT / "docs/examples/desk_tickets.py"]
FILES = {
    "windrow": WINDROW,
    "dlt": [HERE / "dlt_source.py"],
    "airbyte": [HERE / "airbyte.yaml", HERE / "airbyte_components.py"],
    "singer": [HERE / "singer_tap.py"],
}

_DUCKDB = """
import duckdb, json, sys
found = duckdb.connect("peer.duckdb").execute(f"SELECT * FROM {sys.argv[1]}")
names = [column[0] for column in found.description]
print(json.dumps([dict(zip(names, row)) for row in found.fetchall()], default=str))
"""


class Api(ThreadingHTTPServer):
    """The weather archive and the help desk, on loopback. It counts answers that it has sent completely."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: Counter[str] = Counter()
        self.after: tuple[int, Callable[[], None]] | None = None
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing about a client that was killed."""

    def count(self, call: str) -> None:
        """Count a call, and interrupt the client after so many."""
        with self.lock:
            self.calls[call] += 1
            if self.after and self.calls.total() == self.after[0]:
                self.after[1]()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        asked = dict(parse_qsl(urlsplit(self.path).query))
        if asked.get("apikey") != KEY:
            return self._answer({"error": "bad key"}, 401)
        days = (date.fromisoformat(asked["end_date"]) - date.fromisoformat(asked["start_date"])).days + 1
        times = [str(date.fromisoformat(asked["start_date"]) + timedelta(number)) for number in range(days)]
        daily = {"time": times} | {
            name: [float(number) for number in range(days)] for name in asked["daily"].split(",")
        }
        time.sleep(ANSWER_S)
        self._answer({"latitude": float(asked["latitude"]), "longitude": 7.0, "daily": daily})
        return self.server.count(asked["latitude"])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Api-Key"] != KEY:
            return self._answer({"error": "bad key"}, 401)
        since = datetime.fromisoformat(body["filter"]["updated_since"])
        found = [one for one in map(_ticket, range(TICKETS)) if datetime.fromisoformat(one["updated_at"]) >= since]
        start = int(body.get("cursor") or 0)
        more = str(start + body["limit"]) if start + body["limit"] < len(found) else None
        time.sleep(ANSWER_S)
        self._answer({"results": found[start : start + body["limit"]], "next_cursor": more})
        return self.server.count(str(start))

    def _answer(self, value: object, status: int = 200) -> None:
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def _ticket(number: int) -> dict[str, Any]:
    at = datetime(2026, 11, 2, tzinfo=UTC) + timedelta(minutes=number)
    return {
        "id": f"T-{number}", "subject": "Broken", "status": "open", "requester": {"id": number, "name": "Ann"},
        "amount": {"value": f"{number}.25", "currency": "EUR"}, "created_at": "2026-11-01T00:00:00Z",
        "updated_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "deleted": False,
    }  # fmt: skip


@contextmanager
def serving() -> Iterator[Api]:
    """Serve the API."""
    with Api() as api:
        threading.Thread(target=api.serve_forever, daemon=True).start()
        yield api
        api.shutdown()


class Peer:
    """One tool in a folder of its own: how it starts, and which rows its destination has."""

    def __init__(self, name: str, python: str, source: str, api: Api, folder: Path) -> None:
        self.name, self.python, self.source, self.folder = name, python, source, folder
        self.stream = {"weather": "weather_days", "desk": "desk_tickets"}[source]
        self.state = ""
        self.rows: list[str] = []
        places = [{"name": f"Place {number}", "lat": number, "lon": 7} for number in range(PLACES)]
        texts = [f"{one['name']}|{one['lat']}|{one['lon']}" for one in places]
        config = {"api": api.url, "key": KEY, "places": texts, "first": str(FIRST), "last": str(LAST)}
        (folder / "config.json").write_text(json.dumps(config))
        auth = (
            {"auth": "query_key", "param": "apikey"}
            if source == "weather"
            else {"auth": "header_key", "header": "X-Api-Key"}
        )
        connection = {"conn_type": "http", "host": api.url, "extra": auth | {"api_key": KEY}}
        self.params = ["-p", f"places={json.dumps(places)}", "-p", f"start_date={FIRST}", "-p", f"end_date={LAST}"]
        self.environment = os.environ | {
            "API": api.url, "KEY": KEY, "PLACES": json.dumps(places), "FIRST": str(FIRST), "LAST": str(LAST),
            f"AIRFLOW_CONN_{source.upper()}": json.dumps(connection), "RUNTIME__DLTHUB_TELEMETRY": "false",
            "HOME": str(folder), "DO_NOT_TRACK": "1", "AIRBYTE_ENABLE_UNSAFE_CODE": "true",
        }  # fmt: skip

    def command(self) -> list[str]:
        """Return the command, and write what it reads."""
        if self.name == "windrow":
            file = WINDROW[self.source == "desk"]
            return [str(ROOT / "bin/windrow"), "harvest", str(file), *(self.params if self.source == "weather" else [])]
        if self.name == "dlt":
            return [self.python, str(HERE / "dlt_source.py"), self.source]
        state = ["--state", "state.json"] if self.state else []
        (self.folder / "state.json").write_text(self.state or "{}")
        if self.name == "singer":
            catalog = subprocess.run(
                [self.python, str(HERE / "singer_tap.py"), "--config", "config.json", "--discover"],
                cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            found = json.loads(catalog)
            found["streams"] = [one for one in found["streams"] if one["stream"] == self.stream]
            (self.folder / "catalog.json").write_text(json.dumps(found))
            return [
                self.python,
                str(HERE / "singer_tap.py"),
                "--config",
                "config.json",
                "--catalog",
                "catalog.json",
                *state,
            ]
        mode = "incremental" if self.source == "desk" else "full_refresh"
        stream = {"name": self.stream, "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}
        one = {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append"}
        (self.folder / "catalog.json").write_text(json.dumps({"streams": [one]}))
        return [
            str(Path(self.python).with_name("source-declarative-manifest")), "read", "--config", "config.json",
            "--catalog", "catalog.json", "--manifest-path", str(HERE / "airbyte.yaml"),
            "--components-path", str(HERE / "airbyte_components.py"), *state,
        ]  # fmt: skip

    def run(self, api: Api, kill_after: int = 0) -> float:
        """Run it, or kill it after so many calls; return the seconds."""
        begun, output = time.monotonic(), self.folder / "output"
        with output.open("w") as out, (self.folder / "errors").open("a") as errors:
            process = subprocess.Popen(
                self.command(), cwd=self.folder, env=self.environment, stdout=out, stderr=errors, start_new_session=True
            )
            api.after = (kill_after, lambda: os.killpg(process.pid, signal.SIGKILL)) if kill_after else None
            code = process.wait(300)
        api.after = None
        if code and not kill_after:
            said = (self.folder / "errors").read_text() + output.read_text()
            sys.exit(f"{self.name} {self.source} ended with {code}: {said[-3000:]}")
        self._read(output)
        return time.monotonic() - begun

    def _read(self, output: Path) -> None:
        """Keep rows and the last state of the messages that the tool has printed, as its platform would."""
        if self.name not in {"airbyte", "singer"}:
            return
        states: dict[str, Any] = {}
        for line in output.read_text().splitlines():
            try:
                message = json.loads(line)
            except ValueError:
                continue  # the kill has cut the last line off
            if message["type"] == "RECORD":
                row = message["record"]["data"] if self.name == "airbyte" else message["record"]
                self.rows.append(_key(row))
            elif message["type"] == "STATE" and self.name == "singer":
                self.state = json.dumps(message["value"])
            elif message["type"] == "STATE":
                states[message["state"]["stream"]["stream_descriptor"]["name"]] = message["state"]
                self.state = json.dumps(list(states.values()))

    def found(self) -> list[str]:
        """Return the key of each row in the destination."""
        if self.name == "windrow":
            code = "import windrow, sys; print(windrow.frame(sys.argv[1]).to_json(orient='records', date_format='iso'))"
            python, arguments = str(ROOT / ".venv/bin/python"), [self.stream]
        elif self.name == "dlt":
            code = _DUCKDB
            python, arguments = self.python, [self.stream]
        else:
            return self.rows
        environment = self.environment | {"PYTHONPATH": str(ROOT / "plugins")}
        shown = subprocess.run(
            [python, "-c", code, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return [_key(row) for row in json.loads(shown.stdout)]


def _key(row: dict[str, Any]) -> str:
    return str(row.get("id") or row.get("ticket_id") or f"{row['place']} {str(row['day'])[:10]}")


def measure(name: str, python: str) -> dict[str, Any]:
    """Run both sources, and the weather with a kill in the middle."""
    lines = [
        sum(1 for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))
        for file in FILES[name]
    ]
    found: dict[str, Any] = {"files": len(lines), "lines": sum(lines)}
    for source in ("weather", "desk"):
        with serving() as api, tempfile.TemporaryDirectory() as folder:
            peer = Peer(name, python, source, api, Path(folder))
            seconds, calls = round(peer.run(api), 1), api.calls.total()
            rows = peer.found()
            if (len(set(rows)), calls) != (ROWS[source], CALLS[source]):
                sys.exit(
                    f"{name} {source}: {len(set(rows))} rows and {calls} calls, not {ROWS[source]}, {CALLS[source]}"
                )
            peer.run(api)
            found[source] = {"seconds": seconds, "calls": calls, "calls_of_the_next_run": api.calls.total() - calls}
    with serving() as api, tempfile.TemporaryDirectory() as folder:
        peer = Peer(name, python, "weather", api, Path(folder))
        peer.run(api, kill_after=PLACES // 2)
        peer.run(api)
        rows = peer.found()
        found["kill"] = {
            "calls": api.calls.total(),
            "repeated": api.calls.total() - len(api.calls),
            "rows": len(rows),
            "rows_twice": len(rows) - len(set(rows)),
            "rows_missing": ROWS["weather"] - len(set(rows)),
        }
    return found


def main() -> None:
    """Measure the tools whose Python is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("dlt", "airbyte", "singer"):
        parser.add_argument(f"--{name}", metavar="PYTHON", help=f"Python of an environment that has {name}")
    pythons = {
        "windrow": sys.executable,
        **{name: python for name, python in vars(parser.parse_args()).items() if python},
    }
    results = {name: measure(name, str(Path(python).absolute())) for name, python in pythons.items()}
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
