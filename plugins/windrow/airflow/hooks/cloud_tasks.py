"""A Google Cloud Tasks queue, and the HTTP endpoint that its tasks call. Each has an Airflow connection."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airflow.providers.google.cloud.hooks.tasks import CloudTasksHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from google.api_core.exceptions import AlreadyExists, NotFound
from google.api_core.retry import Retry
from google.cloud.tasks_v2 import CloudTasksClient, HttpMethod, HttpRequest, ListTasksRequest, OidcToken, Queue, Task
from google.protobuf.duration_pb2 import Duration

from windrow.airflow.hooks import no_connection
from windrow.model.errors import ConnectionUnusable
from windrow.model.queue_task import Call

_THREADS = 16
"""Tasks that are created concurrently: the API has no batch call, and one call takes some milliseconds."""
CALL_S = 20.0
"""The longest that a call to Cloud Tasks may take."""
_GENERATIONS = 9
"""Task names that one call may use: a queue refuses a name for hours after its task has ended."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Rate limits and retries of a queue. Every run sets all of them again."""

    dispatches_per_s: float = 500.0
    """500 is the maximum of Cloud Tasks."""
    concurrent: int = 50
    attempts: int = 8
    min_backoff_s: float = 0.5
    max_backoff_s: float = 60.0


class Enqueued(StrEnum):
    """Result of enqueueing a call."""

    NEW = "new"
    WAITING = "waiting"
    """The queue already has a task for it."""


class TaskQueue:
    """A queue of HTTP calls.

    :param gcp_conn_id: the Airflow connection of Google Cloud; it must have a project.
    :param location: like ``us-central1``.
    :param queue: the queue's id.
    """

    def __init__(self, gcp_conn_id: str, location: str, queue: str) -> None:
        try:
            hook = CloudTasksHook(gcp_conn_id=gcp_conn_id)
        except AirflowNotFoundException:
            raise no_connection(gcp_conn_id, "Google Cloud") from None
        self._client: CloudTasksClient = hook.get_conn()
        self._parent = f"projects/{hook.project_id}/locations/{location}"
        self.path = f"{self._parent}/queues/{queue}"

    def prepare(self, rates: Rates) -> None:
        """Create the queue, or update its rates. A queue that was paused by hand stays paused."""
        queue = Queue(
            name=self.path,
            rate_limits={
                "max_dispatches_per_second": rates.dispatches_per_s,
                "max_concurrent_dispatches": rates.concurrent,
            },
            retry_config={
                "max_attempts": rates.attempts,
                "min_backoff": Duration(nanos=int(rates.min_backoff_s % 1 * 1e9), seconds=int(rates.min_backoff_s)),
                "max_backoff": Duration(seconds=int(rates.max_backoff_s)),
            },
        )
        try:
            self._client.create_queue(parent=self._parent, queue=queue, **_once())
        except AlreadyExists:
            self._client.update_queue(queue=queue, **_once())

    def enqueue(self, calls: Sequence[Call], endpoint: "Endpoint", *, spread_s: float = 0.0) -> list[Enqueued]:
        """Create a task for each call, unless the queue has one; return which are new.

        :param spread_s: spread the first attempts evenly over this many seconds; 0 for as soon as possible.
        """
        now = datetime.now(UTC)
        at = [
            now + timedelta(seconds=spread_s * place / len(calls)) if spread_s else None for place in range(len(calls))
        ]
        with ThreadPoolExecutor(_THREADS) as threads:
            return list(threads.map(lambda call, moment: self._enqueue(call, endpoint, moment), calls, at))

    def state(self) -> str:
        """Return RUNNING, PAUSED or DISABLED."""
        return str(Queue.State(self._client.get_queue(name=self.path, **_again()).state).name)

    def is_empty(self) -> bool:
        """Return whether the queue has no task, neither waiting nor running."""
        request = ListTasksRequest(parent=self.path, page_size=1)
        return not self._client.list_tasks(request=request, **_again()).tasks

    def _enqueue(self, call: Call, endpoint: "Endpoint", at: datetime | None) -> Enqueued:
        for generation in range(1, _GENERATIONS + 1):
            name = f"{self.path}/tasks/{call.task_id(generation)}"
            try:
                self._client.create_task(parent=self.path, task=endpoint.task(name, call, at), **_once())
            except AlreadyExists:
                if self._has(name):
                    return Enqueued.WAITING
                # The queue was done with it and remembers the name, and yet the call is not settled.
            else:
                return Enqueued.NEW
        raise ConnectionUnusable(
            f"The queue {self.path} refused {_GENERATIONS} task names for the query {call.query.key!r} because it used "
            "them in the last hours.",
            advice="Check the log of the function for errors, fix them, then trigger a new run.",
        )

    def _has(self, name: str) -> bool:
        try:
            self._client.get_task(name=name, **_again())
        except NotFound:
            return False
        return True


def _once() -> dict[str, Any]:
    return {"timeout": CALL_S, "retry": None}


def _again() -> dict[str, Any]:
    """Say that a call may be tried again while the service is not there."""
    return {"timeout": CALL_S, "retry": Retry(timeout=CALL_S)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Target of the tasks: the URL of a Cloud Function, and the service account that calls it."""

    url: str
    service_account: str
    audience: str

    @classmethod
    def of(cls, conn_id: str) -> "Endpoint":
        """Read the Airflow connection of the function: type HTTP, extra ``service_account`` and ``audience``.

        :raises ConnectionUnusable: the connection does not exist, or a field is missing.
        """
        try:
            connection = BaseHook.get_connection(conn_id)
        except AirflowNotFoundException:
            raise no_connection(conn_id, "HTTP") from None
        extra: dict[str, Any] = connection.extra_dejson
        account, audience = extra.get("service_account"), extra.get("audience")
        if not (connection.host and account and audience):
            raise ConnectionUnusable(
                f"The Airflow connection '{conn_id}' must have a host, and service_account and audience in its extra.",
                advice="Set the missing fields; .env.example has an example.",
            )
        url = connection.host if "://" in connection.host else f"{connection.schema or 'https'}://{connection.host}"
        return cls(f"{url}:{connection.port}" if connection.port else url, account, audience)

    def task(self, name: str, call: Call, at: datetime | None) -> Task:
        """Make the task of a call, scheduled at a time, or as soon as possible."""
        return Task(
            name=name,
            schedule_time=at,
            http_request=HttpRequest(
                url=self.url,
                http_method=HttpMethod.POST,
                headers={"Content-Type": "application/json"},
                body=call.payload,
                oidc_token=OidcToken(service_account_email=self.service_account, audience=self.audience),
            ),
        )
