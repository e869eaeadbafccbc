"""The alert to a webhook: what is posted where, and that no trouble with it hides what failed."""

import http.server
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from windrow.errors import CheckFailed
from windrow.operators.alert import WebhookAlert


class Webhook(http.server.HTTPServer):
    status = 200
    posted: list[tuple[str, Any]]


class Handler(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def log_message(self, format: str, *args: object) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posted.append((self.path, body))
        self.send_response(self.server.status)
        self.end_headers()


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook(("127.0.0.1", 0), Handler) as server:
        server.posted = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}/services/secret"
        monkeypatch.setenv("AIRFLOW_CONN_WINDROW_ALERTS", json.dumps({"conn_type": "http", "host": host}))
        yield server
        server.shutdown()


def failed() -> dict[str, Any]:
    error = CheckFailed("The table has {{ no }} rows.", advice="Look at it.")
    return {"task_instance": SimpleNamespace(task_id="check"), "run_id": "daily", "exception": error}


def test_what_failed_and_what_to_do_is_posted(webhook: Webhook):
    WebhookAlert().notify(failed())
    ((path, body),) = webhook.posted
    assert path == "/services/secret"
    assert body == {"text": "task 'check' of run 'daily'. The table has {{ no }} rows. | What to do: Look at it."}


def test_without_a_connection_nothing_happens(monkeypatch: pytest.MonkeyPatch, webhook: Webhook):
    monkeypatch.delenv("AIRFLOW_CONN_WINDROW_ALERTS")
    WebhookAlert().notify(failed())
    assert webhook.posted == []


def test_a_webhook_that_refuses_is_logged_without_its_address(webhook: Webhook, caplog, capsys):
    webhook.status = 500
    WebhookAlert().notify(failed())
    assert len(webhook.posted) == 1
    told = caplog.text + capsys.readouterr().out
    assert "was not taken" in told
