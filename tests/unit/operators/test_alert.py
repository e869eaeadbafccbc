"""Alerts to a webhook and by e-mail: what is sent where, and that no trouble with it hides what failed."""

import email
import http.server
import json
import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from local_cloud.ports import find_free
from windrow.airflow.operators.alert import EmailAlert, WebhookAlert
from windrow.model.errors import CheckFailed


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
        self.wfile.write(f"there is no {self.path}".encode())


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with Webhook(("127.0.0.1", 0), Handler) as server:
        server.posted = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}/services/secret"
        monkeypatch.setenv("AIRFLOW_CONN_WINDROW_ALERTS", json.dumps({"conn_type": "http", "host": host}))
        yield server
        server.shutdown()


def failed(what: str = "The table has {{ no }} rows.") -> dict[str, Any]:
    error = CheckFailed(what, advice="Look at it.")
    task = SimpleNamespace(dag_id="spotify_artists", task_id="check")
    return {"task_instance": task, "run_id": "daily", "exception": error}


def test_what_failed_and_what_to_do_is_posted(webhook: Webhook):
    WebhookAlert().notify(failed())
    ((path, body),) = webhook.posted
    assert path == "/services/secret"
    assert body == {"text": "task 'check' of run 'daily'. The table has {{ no }} rows. | What to do: Look at it."}


def test_without_a_connection_nothing_happens(monkeypatch: pytest.MonkeyPatch, webhook: Webhook):
    monkeypatch.delenv("AIRFLOW_CONN_WINDROW_ALERTS")
    WebhookAlert().notify(failed())
    assert webhook.posted == []


@pytest.mark.parametrize("there", [True, False])
def test_a_webhook_that_refuses_is_logged_without_its_address(
    there: bool, webhook: Webhook, monkeypatch, caplog, capsys
):
    webhook.status = 500
    if not there:
        host = f"http://127.0.0.1:{find_free(1)[0]}/services/secret"
        monkeypatch.setenv("AIRFLOW_CONN_WINDROW_ALERTS", json.dumps({"conn_type": "http", "host": host}))
    alert = WebhookAlert()
    alert.notify(failed())
    assert (len(webhook.posted), alert.taken) == (there, False)
    told = caplog.text + capsys.readouterr().out
    assert "'windrow_alerts' failed" in told
    assert "services" not in told


# --- e-mail ------------------------------------------------------------------------------------


class Mailbox:
    """Keeps what a server of SMTP is given."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.taken.append(envelope)
        return "250 OK"


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    box = Mailbox()
    server = Controller(box, hostname="127.0.0.1", port=find_free(1)[0])
    server.start()
    extra = {"from_email": "airflow@example.com", "to": ["on@example.com", "call@example.com"]}
    extra |= {"disable_tls": True, "disable_ssl": True, "retry_limit": 0}
    connection = {"conn_type": "smtp", "host": "127.0.0.1", "port": server.port, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WINDROW_EMAIL", json.dumps(connection))
    yield box
    server.stop(no_assert=True)


def test_what_failed_and_what_to_do_is_sent_by_mail(mailbox: Mailbox):
    EmailAlert().notify(failed("<b>A</b> {{ no }} rows."))
    (envelope,) = mailbox.taken
    assert envelope.mail_from == "airflow@example.com"
    assert envelope.rcpt_tos == ["on@example.com", "call@example.com"]
    message = email.message_from_bytes(envelope.content)
    assert message["Subject"] == "Airflow: spotify_artists.check failed"
    (part,) = message.get_payload()
    text = part.get_payload(decode=True).decode()
    assert "task &#x27;check&#x27; of run &#x27;daily&#x27;. &lt;b&gt;A&lt;/b&gt; {{ no }} rows." in text


def test_without_a_connection_no_mail_is_sent(monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox):
    monkeypatch.delenv("AIRFLOW_CONN_WINDROW_EMAIL")
    EmailAlert().notify(failed())
    assert mailbox.taken == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"port": 1}, "'windrow_email' failed: ConnectionRefusedError"),
        ({"extra": {"from_email": "a@b.c", "disable_ssl": True, "disable_tls": True}}, "has no 'to' in its extra"),
    ],
)
def test_a_mail_that_cannot_be_sent_is_logged(
    monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox, changes: dict[str, Any], told: str, caplog, capsys
):
    connection = json.loads(os.environ["AIRFLOW_CONN_WINDROW_EMAIL"]) | {"password": "secret"} | changes
    monkeypatch.setenv("AIRFLOW_CONN_WINDROW_EMAIL", json.dumps(connection))
    EmailAlert().notify(failed())
    logged = caplog.text + capsys.readouterr().out
    assert told in logged
    assert "secret" not in logged
    assert mailbox.taken == []
