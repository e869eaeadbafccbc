"""What the service accepts: names and limits, and the defaults of what is left open. Raises Refused otherwise."""

import datetime
import re
import time
import uuid

from yarl import URL

from local_cloud.emulators.cloud_tasks_server.errors import unsupported
from local_cloud.emulators.cloud_tasks_server.messages import RUNNING, HttpMethod, Queue, Task
from local_cloud.emulators.cloud_tasks_server.retries import LONGEST_PAUSE, UNLIMITED, seconds
from local_cloud.emulators.rpc import invalid

MOST_PER_SECOND = 500
MOST_CONCURRENT = 5_000
DEFAULT_CONCURRENT = 1_000
LARGEST_BURST = 100
LARGEST_TASK = 100 * 1024
"""Bytes of a task in all: body, headers, URL and name."""
LONGEST_URL = 2083
SHORTEST_DEADLINE = datetime.timedelta(seconds=15)
DEFAULT_DEADLINE = datetime.timedelta(minutes=10)
LONGEST_DEADLINE = datetime.timedelta(minutes=30)

_LOCATION = r"projects/[A-Za-z0-9.:-]+/locations/[A-Za-z0-9-]+"
_QUEUE = rf"{_LOCATION}/queues/[A-Za-z0-9-]{{1,100}}"
_TASK = rf"{_QUEUE}/tasks/[A-Za-z0-9_-]{{1,500}}"
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_WITH_BODY = frozenset({HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH})


def check_location(name: str) -> None:
    """Refuse what is not the name of a location."""
    if not re.fullmatch(_LOCATION, name):
        raise invalid(f"{name!r} is not a location. It must be projects/PROJECT_ID/locations/LOCATION_ID.")


def check_queue_name(name: str) -> None:
    """Refuse what is not the name of a queue."""
    if not re.fullmatch(_QUEUE, name):
        raise invalid(
            f"{name!r} is not the name of a queue. It must be projects/PROJECT_ID/locations/LOCATION_ID/queues/QUEUE_ID"
            " with at most 100 letters, digits and hyphens as QUEUE_ID."
        )


def queue_of(task_name: str) -> str:
    """Return the name of a task's queue."""
    if not re.fullmatch(_TASK, task_name):
        raise invalid(
            f"{task_name!r} is not the name of a task. It must be the name of its queue and /tasks/TASK_ID"
            " with at most 500 letters, digits, hyphens and underscores as TASK_ID."
        )
    return task_name.rpartition("/tasks/")[0]


def accept_queue(wanted: Queue) -> Queue:
    """Return the queue as it is made: checked, with defaults, running."""
    check_queue_name(wanted.name)
    if wanted.HasField("http_target"):
        raise unsupported("the HTTP target of a queue: give each task its own URL, headers and token")
    if wanted.HasField("app_engine_routing_override"):
        raise unsupported("App Engine")
    queue = Queue()
    queue.CopyFrom(wanted)
    queue.state = RUNNING
    queue.ClearField("purge_time")
    _accept_rates(queue)
    _accept_retries(queue)
    return queue


def _accept_rates(queue: Queue) -> None:
    limits = queue.rate_limits
    limits.max_dispatches_per_second = limits.max_dispatches_per_second or MOST_PER_SECOND
    limits.max_concurrent_dispatches = limits.max_concurrent_dispatches or DEFAULT_CONCURRENT
    if not 0 < limits.max_dispatches_per_second <= MOST_PER_SECOND:
        raise invalid(f"max_dispatches_per_second must be more than 0 and at most {MOST_PER_SECOND}.")
    if not 0 < limits.max_concurrent_dispatches <= MOST_CONCURRENT:
        raise invalid(f"max_concurrent_dispatches must be 1 to {MOST_CONCURRENT}.")
    # the service chooses it, whatever the request says: 100 at 500 a second
    limits.max_burst_size = max(1, min(LARGEST_BURST, int(limits.max_dispatches_per_second / 5)))


def _accept_retries(queue: Queue) -> None:
    retries = queue.retry_config
    retries.max_attempts = retries.max_attempts or 100
    retries.max_doublings = retries.max_doublings or 16
    if not seconds(retries.min_backoff):
        retries.min_backoff.FromMilliseconds(100)
    if not seconds(retries.max_backoff):
        retries.max_backoff.FromSeconds(3600)
    if retries.max_attempts < UNLIMITED:
        raise invalid("max_attempts must be at least 1, or -1 for no limit.")
    if retries.max_doublings < 0:
        raise invalid("max_doublings must not be negative.")
    if seconds(retries.max_retry_duration) < 0:
        raise invalid("max_retry_duration must not be negative.")
    if not 0 < seconds(retries.min_backoff) <= seconds(retries.max_backoff):
        raise invalid("min_backoff must be more than 0 and not more than max_backoff.")


def accept_task(queue_name: str, wanted: Task, shortest_deadline: float) -> Task:
    """Return the task as it is made: checked, with a name, a method and a time."""
    _check_target(wanted)
    task = Task()
    task.name = wanted.name or f"{queue_name}/tasks/{uuid.uuid4().int % 10**20:020}"
    if queue_of(task.name) != queue_name:
        raise invalid(f"The task {task.name!r} is not named after its queue {queue_name!r}.")
    if wanted.ByteSize() > LARGEST_TASK:
        raise invalid(
            f"Task size too large: {wanted.ByteSize()} bytes, and a task has at most {LARGEST_TASK}."
            " Store the payload elsewhere, and send a reference."
        )
    task.http_request.CopyFrom(wanted.http_request)
    task.http_request.http_method = task.http_request.http_method or HttpMethod.POST
    _accept_deadline(task, wanted, shortest_deadline)
    now = time.time()
    task.create_time.FromSeconds(int(now))
    wanted_at = wanted.schedule_time.ToMicroseconds()
    if wanted_at > (now + LONGEST_PAUSE.total_seconds()) * 1e6:
        raise invalid(f"schedule_time must be at most {LONGEST_PAUSE.days} days from now.")
    task.schedule_time.FromMicroseconds(max(wanted_at, int(now * 1e6)))
    return task


def _check_target(task: Task) -> None:
    if task.HasField("app_engine_http_request"):
        raise unsupported("App Engine targets: give the task an http_request")
    if task.HasField("retry_config"):
        raise unsupported("retry_config of a task: set it on the queue")
    request = task.http_request
    if request.HasField("oauth_token"):
        raise unsupported("OAuth tokens: give the task an oidc_token")
    if request.HasField("oidc_token") and not request.oidc_token.service_account_email:
        raise invalid("oidc_token needs a service_account_email.")
    if not request.url.startswith(("http://", "https://")) or len(request.url) > LONGEST_URL:
        raise invalid(f"http_request.url must begin with http:// or https://, and have at most {LONGEST_URL} letters.")
    try:
        URL(request.url)
    except ValueError as error:
        raise invalid(f"http_request.url is not a URL: {error}") from error
    if request.body and (request.http_method or HttpMethod.POST) not in _WITH_BODY:
        raise invalid("http_request.body is only for POST, PUT and PATCH.")
    for name, value in request.headers.items():
        if not _HEADER_NAME.fullmatch(name) or _NOT_IN_HEADERS.search(value):
            raise invalid(
                f"http_request.headers: {name!r} is no name of a header, or its value has control characters."
            )


def _accept_deadline(task: Task, wanted: Task, shortest: float) -> None:
    if not wanted.HasField("dispatch_deadline"):
        task.dispatch_deadline.FromTimedelta(DEFAULT_DEADLINE)
        return
    longest = LONGEST_DEADLINE.total_seconds()
    if not shortest <= seconds(wanted.dispatch_deadline) <= longest:
        raise invalid(f"dispatch_deadline must be {shortest:g} to {longest:g} seconds.")
    task.dispatch_deadline.CopyFrom(wanted.dispatch_deadline)
