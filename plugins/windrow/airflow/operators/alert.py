"""A word to people when a task has failed for good: to a webhook, and by e-mail, where there is a connection for it.

Trouble with either is logged and no more: the task has failed already, and what it failed of must stay the last word.
"""

import html
from typing import Any

from airflow.providers.http.notifications.http import HttpNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import BaseHook, Connection, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.airflow.operators.failure import story

WEBHOOK = "windrow_alerts"
"""An Airflow connection of type HTTP to the webhook; its host may be the whole address."""
EMAIL = "windrow_email"
"""An Airflow connection of type SMTP, with ``from_email`` and ``to`` (an address, or a list) in its extra."""

TIMEOUT_S = 10


class WebhookAlert(HttpNotifier):
    """Posts ``{"text": "..."}``, as chat services take it, to the webhook of a connection, if there is one.

    :param conn_id: the Airflow connection.
    """

    def __init__(self, conn_id: str = WEBHOOK, **kwargs: Any) -> None:
        super().__init__(http_conn_id=conn_id, method="POST", extra_options={"timeout": TIMEOUT_S}, **kwargs)

    def notify(self, context: Context) -> None:
        """Post it."""
        if _connection(self.http_conn_id) is None:
            return
        self.json = {"text": story(context)}
        try:
            super().notify(context)
        except Exception as error:
            self.log.warning(_NOT_TAKEN, self.http_conn_id, type(error).__name__)


class EmailAlert(SmtpNotifier):
    """Sends an e-mail by the server of a connection to the addresses in its extra, if there is one.

    :param conn_id: the Airflow connection.
    """

    def __init__(self, conn_id: str = EMAIL, **kwargs: Any) -> None:
        super().__init__(to="", smtp_conn_id=conn_id, **kwargs)

    def notify(self, context: Context) -> None:
        """Send it."""
        connection = _connection(self.smtp_conn_id)
        if connection is None:
            return
        self.to = connection.extra_dejson.get("to") or ""
        if not self.to:
            self.log.warning("The connection '%s' has no 'to' in its extra: no e-mail is sent", self.smtp_conn_id)
            return
        task = context["task_instance"]
        self.subject = f"Airflow: {task.dag_id}.{task.task_id} failed"
        self.html_content = f"<p>{html.escape(story(context))}</p>"
        try:
            super().notify(context)
        except Exception as error:
            self.log.warning(_NOT_TAKEN, self.smtp_conn_id, type(error).__name__)


_NOT_TAKEN = "The alert to the connection '%s' was not taken: %s"
"""With the error's kind alone: its text may hold an address, and in that many webhooks have their secret."""


def _connection(conn_id: str) -> Connection | None:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
