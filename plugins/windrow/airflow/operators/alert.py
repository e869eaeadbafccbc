"""Alerts of failed tasks and of warnings: to a webhook and by e-mail, if the Airflow connection for it exists.

A problem with an alert is only logged, so that the error of the task stays the error that people see.
"""

import html
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, cast

from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseHook, Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.hooks.quiet import QuietHook
from windrow.airflow.operators.failure import story

WEBHOOK = "windrow_alerts"
"""An Airflow connection of type HTTP for the webhook; its host may be the complete URL."""
EMAIL = "windrow_email"
"""An Airflow connection of type SMTP, with ``from_email`` and ``to`` (an address, or a list) in its extra."""

TIMEOUT_S = 10


class WebhookAlert(HttpNotifier):
    """Posts ``{"text": "..."}``, the format of chat services, to the webhook of a connection, if it exists.

    :param conn_id: the Airflow connection.
    :param text: what to say; empty for what failed.
    """

    taken: bool | None = None
    """Whether the webhook took it; None before, and without the connection."""

    def __init__(self, conn_id: str = WEBHOOK, text: str = "", **kwargs: Any) -> None:
        self.text = text
        super().__init__(http_conn_id=conn_id, method="POST", extra_options={"timeout": TIMEOUT_S}, **kwargs)

    @cached_property
    def hook(self) -> HttpHook:
        """The hook, which logs neither the address nor what the server answers."""
        return QuietHook(method=self.method, http_conn_id=self.http_conn_id)

    def notify(self, context: Context) -> None:
        """Post it."""
        if _connection(self.http_conn_id) is None:
            return
        self.json = {"text": self.text or story(context)}
        self.taken = False
        try:
            super().notify(context)
            self.taken = True
        except Exception as error:
            self.log.warning(_NOT_TAKEN, self.http_conn_id, type(error).__name__)


class EmailAlert(SmtpNotifier):
    """Sends an e-mail with the server of a connection to the addresses in its extra, if it exists.

    :param conn_id: the Airflow connection.
    :param text: what to say; empty for what failed.
    """

    taken: bool | None = None
    """Whether the server took it; None before, and without the connection."""

    def __init__(self, conn_id: str = EMAIL, text: str = "", **kwargs: Any) -> None:
        self.text = text
        super().__init__(to="", smtp_conn_id=conn_id, **kwargs)

    def notify(self, context: Context) -> None:
        """Send it."""
        connection = _connection(self.smtp_conn_id)
        if connection is None:
            return
        self.taken = False
        self.to = connection.extra_dejson.get("to") or ""
        if not self.to:
            self.log.warning(
                "No alert e-mail was sent: the Airflow connection '%s' has no 'to' in its extra", self.smtp_conn_id
            )
            return
        given: Any = context
        task = given.get("task_instance")  # none in the callback of a deadline, where the run is as in the REST API
        name = f"{task.dag_id}.{task.task_id}" if task else given["dag_run"]["dag_id"]
        self.subject = f"Airflow: {name} {'needs attention' if self.text else 'failed'}"
        self.html_content = f"<p>{html.escape(self.text or story(context))}</p>"
        try:
            super().notify(context)
            self.taken = True
        except Exception as error:
            self.log.warning(_NOT_TAKEN, self.smtp_conn_id, type(error).__name__)


CHANNELS: Mapping[str, Callable[..., "WebhookAlert | EmailAlert"]] = {WEBHOOK: WebhookAlert, EMAIL: EmailAlert}
"""By the Airflow connection of the channel."""


def send(context: Mapping[str, Any], text: str) -> None:
    """Send a text to people, on every channel whose connection exists.

    :param context: from Airflow, of a task, or of a deadline.
    """
    for channel in CHANNELS:
        send_on(channel, context, text)


def send_on(channel: str, context: Mapping[str, Any], text: str) -> bool | None:
    """Send a text on one of `CHANNELS`, and return whether it was taken; None if the connection does not exist."""
    alert = CHANNELS[channel](text=text)
    alert.notify(cast("Context", context))
    return alert.taken


_NOT_TAKEN = "Sending the alert with the Airflow connection '%s' failed: %s"
"""Only the type of the error is logged: its text may have the URL, and the URL of many webhooks is a secret."""


def _connection(conn_id: str) -> Connection | None:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
