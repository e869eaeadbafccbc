"""A Pub/Sub subscription, with an Airflow connection of type ``google_cloud_platform``."""

from collections.abc import Sequence
from typing import Any

from airflow.providers.google.cloud.hooks.pubsub import PubSubHook
from airflow.sdk.exceptions import AirflowNotFoundException
from google.api_core.exceptions import DeadlineExceeded, NotFound
from google.api_core.retry import Retry

from windrow.airflow.hooks import no_connection
from windrow.landing.batch import Received
from windrow.model.errors import ConnectionUnusable

CALL_S = 60.0
"""The longest that a call to Pub/Sub may take, with further attempts while the service is not there."""


class Subscription:
    """A subscription that is pulled.

    :param name: its id, without the project.
    """

    def __init__(self, gcp_conn_id: str, name: str) -> None:
        try:
            hook = PubSubHook(gcp_conn_id=gcp_conn_id)
        except AirflowNotFoundException:
            raise no_connection(gcp_conn_id, "Google Cloud") from None
        self._name = name
        self._client = hook.subscriber_client
        self.path = f"projects/{hook.project_id}/subscriptions/{name}"

    def pull(self, most: int, wait_s: float, lease_s: int) -> list[Received]:
        """Return up to ``most`` messages, leased for ``lease_s`` seconds; wait up to ``wait_s`` for the first.

        :raises ConnectionUnusable: the subscription does not exist.
        """
        received = self._pull(most, wait_s)
        if received:
            self.lease([message.ack_id for message in received], lease_s)
        return received

    def _pull(self, most: int, wait_s: float) -> list[Received]:
        try:
            answer = self._client.pull(subscription=self.path, max_messages=most, timeout=wait_s, retry=None)
        except DeadlineExceeded:
            return []
        except NotFound:
            raise ConnectionUnusable(
                f"The Pub/Sub subscription {self.path} does not exist.",
                advice="Start the publisher with X_SUBSCRIPTION set: it creates the subscription (docs/clouds.md).",
            ) from None
        return [Received(one.ack_id, one.message.message_id, one.message.data) for one in answer.received_messages]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Acknowledge messages, so that they are not delivered again."""
        self._client.acknowledge(subscription=self.path, ack_ids=list(ack_ids), **_again())

    def is_waiting(self, wait_s: float) -> bool:
        """Return whether there is a message; wait up to ``wait_s`` seconds. The message is released at once."""
        received = self._pull(1, wait_s)
        if received:
            self.lease([received[0].ack_id], 0)
        return bool(received)

    def lease(self, ack_ids: Sequence[str], seconds: int) -> None:
        """Set the ack deadline of messages, in seconds from now; 0 releases them."""
        self._client.modify_ack_deadline(
            subscription=self.path, ack_ids=list(ack_ids), ack_deadline_seconds=seconds, **_again()
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def _again() -> dict[str, Any]:
    return {"timeout": CALL_S, "retry": Retry(timeout=CALL_S)}
