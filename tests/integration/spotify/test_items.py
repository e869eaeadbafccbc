"""Items of DynamoDB, over the wire: what is handed back is sent again, and newer items stay."""

import http.client
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from local_cloud.settings import Settings
from windrow.airflow.hooks.dynamodb import DynamoTable
from windrow.model.errors import Unwritten
from windrow.model.policy import Backoff

QUICK = Backoff(base_s=0.001, attempts=4)


class Stingy(http.server.ThreadingHTTPServer):
    """Stands before DynamoDB, and hands back all but one item of a batch, as a table does that is too busy."""

    daemon_threads = True
    upstream = 0
    takes = 1
    calls: list[int]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Stingy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None: ...

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Amz-Target"].endswith("BatchWriteItem"):
            status, answer = self._write(request)
        else:
            status, answer = self._forward(request)
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _write(self, request: dict[str, Any]) -> tuple[int, bytes]:
        """Write as many items as the server takes, and hand back the others."""
        ((table, items),) = request["RequestItems"].items()
        self.server.calls.append(len(items))
        taken, handed_back = items[: self.server.takes], items[self.server.takes :]
        if taken:
            assert self._forward(request | {"RequestItems": {table: taken}})[0] == 200
        return 200, json.dumps({"UnprocessedItems": {table: handed_back} if handed_back else {}}).encode()

    def _forward(self, request: dict[str, Any]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream)
        headers = {name: self.headers[name] for name in ("X-Amz-Target", "Authorization", "Content-Type", "X-Amz-Date")}
        connection.request("POST", self.path, json.dumps(request), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def stingy(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stingy]:
    with Stingy(("127.0.0.1", 0), Handler) as server:
        server.upstream, server.calls = lake.aws_port, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def table() -> DynamoTable:
    return DynamoTable("aws_default", "top_tracks", key="artist_id", backoff=QUICK)


def item(name: str, at: str = "2026-01-02T00:00:00.000Z", **more: object) -> dict[str, object]:
    return {"artist_id": name, "fetched_at": at, **more}


def test_many_items_are_written_and_found() -> None:
    made = [item(f"artist {number:03}", tracks=[{"rank": number}]) for number in range(60)]

    assert table().put(made) == 60

    assert sorted(one["artist_id"] for one in table().all()) == [one["artist_id"] for one in made]
    assert (table().get("artist 007") or {})["tracks"] == [{"rank": 7}]
    assert table().get("nobody") is None


def test_a_kill_between_two_batches_is_made_good_by_the_next_try() -> None:
    made = [item(f"artist {number:03}") for number in range(60)]

    def killed() -> Iterator[dict[str, object]]:
        yield from made[:30]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table().put(killed())
    assert len(list(table().all())) == 25

    assert table().put(made) == 60
    assert sorted(one["artist_id"] for one in table().all()) == [one["artist_id"] for one in made]


def test_an_item_is_replaced_by_a_newer_one_and_never_by_an_older() -> None:
    table().put([item("a", "2026-01-02T00:00:00.000Z", run_id="second")])

    assert table().put([item("a", "2026-01-01T00:00:00.000Z", run_id="first"), item("b")]) == 1
    assert (table().get("a") or {})["run_id"] == "second"
    assert table().put([item("a", "2026-01-02T00:00:00.000Z", run_id="again")]) == 1
    assert (table().get("a") or {})["run_id"] == "again"


def test_what_is_handed_back_is_sent_again(stingy: Stingy) -> None:
    assert table().put([item(name) for name in "abc"]) == 3

    assert stingy.calls == [3, 2, 1]
    assert sorted(one["artist_id"] for one in table().all()) == ["a", "b", "c"]


def test_what_is_handed_back_every_time_is_told(stingy: Stingy) -> None:
    stingy.takes = 0

    with pytest.raises(Unwritten, match="did not process 2 items of the table 'top_tracks' in 4 attempts"):
        table().put([item("a"), item("b")])
    assert stingy.calls == [2, 2, 2, 2]
