"""A word to people when a task has failed for good: to a webhook, where there is a connection for one."""

from typing import Any

from airflow.providers.http.notifications.http import HttpNotifier
from airflow.sdk import BaseHook, Context
from airflow.sdk.exceptions import AirflowNotFoundException

from windrow.operators.failure import story

CONNECTION = "windrow_alerts"
"""An Airflow connection of type HTTP to the webhook; its host may be the whole address."""

TIMEOUT_S = 10


class WebhookAlert(HttpNotifier):
    """Posts ``{"text": "..."}``, as chat services take it, to the webhook of a connection.

    Without the connection it does nothing. A webhook that does not take it is logged and no more: the task has failed
    already, and what it failed of must stay the last word.

    :param conn_id: the Airflow connection.
    """

    def __init__(self, conn_id: str = CONNECTION, **kwargs: Any) -> None:
        super().__init__(http_conn_id=conn_id, method="POST", extra_options={"timeout": TIMEOUT_S}, **kwargs)

    def notify(self, context: Context) -> None:
        """Post it."""
        try:
            BaseHook.get_connection(self.http_conn_id)
        except AirflowNotFoundException:
            return
        self.json = {"text": story(context)}
        try:
            super().notify(context)
        except Exception as error:
            # only its kind: the text of the error holds the address, and in that many webhooks have their secret
            self.log.warning(
                "The alert to the connection '%s' was not taken: %s", self.http_conn_id, type(error).__name__
            )
