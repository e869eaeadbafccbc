"""One attempt of a task: the HTTP request that is sent to the handler, and what came of it."""

import dataclasses
import datetime
import email.utils
import http
from collections.abc import Mapping

import aiohttp
from google.rpc import code_pb2
from multidict import CIMultiDict

from local_cloud.emulators.cloud_tasks_server.messages import HttpMethod
from local_cloud.emulators.cloud_tasks_server.retries import seconds
from local_cloud.emulators.cloud_tasks_server.store import StoredTask
from local_cloud.emulators.identity import Identity

_REPLACED = frozenset({"host", "content-length", "user-agent", "transfer-encoding", "connection"})
_RESERVED = ("x-google-", "x-appengine-", "x-cloudtasks-")
_CODES: Mapping[int, int] = {
    400: code_pb2.INVALID_ARGUMENT,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.NOT_FOUND,
    409: code_pb2.ABORTED,
    429: code_pb2.RESOURCE_EXHAUSTED,
    500: code_pb2.INTERNAL,
    501: code_pb2.UNIMPLEMENTED,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.DEADLINE_EXCEEDED,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an attempt."""

    status: int
    """HTTP status; 0: no answer."""
    code: int
    """Of google.rpc.Code."""
    message: str
    retry_after: float | None = None
    """Seconds that the handler asks to wait."""

    @property
    def succeeded(self) -> bool:
        """Whether the task is done."""
        return self.code == code_pb2.OK


class Courier:
    """Sends tasks to their handlers."""

    def __init__(self, session: aiohttp.ClientSession, identity: Identity) -> None:
        self._session = session
        self._identity = identity

    async def deliver(self, task: StoredTask) -> Outcome:
        """Send a task once, and wait for the answer until the task's deadline. A failure is an outcome, too."""
        message = task.message
        request = message.http_request
        deadline = seconds(message.dispatch_deadline)
        try:
            async with self._session.request(
                HttpMethod(request.http_method).name,
                request.url,
                data=request.body or None,
                headers=self._headers(task),
                skip_auto_headers=("Content-Type",),  # only when the task has one
                timeout=aiohttp.ClientTimeout(total=deadline),
                allow_redirects=False,
            ) as response:
                async for _ in response.content.iter_any():  # to its end, and kept nowhere
                    pass
                return _answered(response)
        except TimeoutError:
            return Outcome(0, code_pb2.DEADLINE_EXCEEDED, f"no answer within the deadline of {deadline:g} s")
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(0, code_pb2.UNAVAILABLE, f"no answer: {type(error).__name__}: {error}")

    def _headers(self, task: StoredTask) -> CIMultiDict[str]:
        message = task.message
        request = message.http_request
        headers = CIMultiDict(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _REPLACED and not name.lower().startswith(_RESERVED)
        )
        queue, _, task_id = message.name.rpartition("/tasks/")
        headers["User-Agent"] = "Google-Cloud-Tasks"
        headers["X-CloudTasks-QueueName"] = queue.rpartition("/")[2]
        headers["X-CloudTasks-TaskName"] = task_id
        headers["X-CloudTasks-TaskRetryCount"] = str(message.dispatch_count - 1)  # this attempt is counted already
        headers["X-CloudTasks-TaskExecutionCount"] = str(task.executions)
        headers["X-CloudTasks-TaskETA"] = f"{message.schedule_time.ToMicroseconds() / 1e6:.6f}"
        if task.previous_status:
            headers["X-CloudTasks-TaskPreviousResponse"] = str(task.previous_status)
        if request.HasField("oidc_token"):
            token = request.oidc_token
            signed = self._identity.token(token.service_account_email, token.audience or request.url)
            headers["Authorization"] = f"Bearer {signed}"
        return headers


def _answered(response: aiohttp.ClientResponse) -> Outcome:
    status = response.status
    if http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES:
        return Outcome(status, code_pb2.OK, "")
    retry_after = parse_retry_after(response.headers.get("Retry-After", ""), datetime.datetime.now(datetime.UTC))
    return Outcome(status, _CODES.get(status, code_pb2.UNKNOWN), f"HTTP status code {status}", retry_after)


def parse_retry_after(text: str, now: datetime.datetime) -> float | None:
    """Return the seconds of a Retry-After, given as a number or as a date; None when it is neither."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:  # written with -0000, which stands for UTC too
        at = at.replace(tzinfo=datetime.UTC)
    return (at - now).total_seconds()
