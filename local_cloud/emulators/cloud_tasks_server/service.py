"""The gRPC service google.cloud.tasks.v2.CloudTasks: what each method asks for, and what it answers."""

import time
from collections.abc import Iterable, Mapping

from google.cloud.tasks_v2.types import cloudtasks
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from local_cloud.emulators.cloud_tasks_server import acceptance
from local_cloud.emulators.cloud_tasks_server.dispatcher import Dispatcher
from local_cloud.emulators.cloud_tasks_server.errors import unsupported
from local_cloud.emulators.cloud_tasks_server.messages import Queue, Task, View
from local_cloud.emulators.cloud_tasks_server.registry import Registry
from local_cloud.emulators.cloud_tasks_server.store import Store, StoredTask
from local_cloud.emulators.rpc import Handlers, Request, exists, invalid, missing, unary

SERVICE = "google.cloud.tasks.v2.CloudTasks"
LARGEST_PAGE = 1000

ListQueuesResponse = cloudtasks.ListQueuesResponse.pb()
ListTasksResponse = cloudtasks.ListTasksResponse.pb()


class CloudTasks:
    """The methods, each under its name in the API. All raise Refused for what they do not do."""

    def __init__(self, registry: Registry, store: Store, *, shortest_deadline: float) -> None:
        self._registry = registry
        self._store = store
        self._shortest_deadline = shortest_deadline

    # --- queues --------------------------------------------------------------------------------

    def CreateQueue(self, request: Request) -> Queue:  # noqa: N802
        """Make a queue."""
        acceptance.check_location(request.parent)
        queue = acceptance.accept_queue(request.queue)
        if not queue.name.startswith(f"{request.parent}/queues/"):
            raise invalid(f"The queue {queue.name!r} is not in the parent {request.parent!r}.")
        self._registry.create(queue)
        return queue

    def UpdateQueue(self, request: Request) -> Queue:  # noqa: N802
        """Change the settings of a queue that the mask names (without a mask: all), or make the queue."""
        wanted = request.queue
        acceptance.check_queue_name(wanted.name)
        found = self._registry.find(wanted.name)
        if found is None:
            queue = acceptance.accept_queue(wanted)
            self._registry.create(queue)
            return queue
        if request.update_mask.paths:
            if not request.update_mask.IsValidForDescriptor(Queue.DESCRIPTOR):
                raise invalid(f"update_mask names what a queue does not have: {', '.join(request.update_mask.paths)}")
            merged = Queue()
            merged.CopyFrom(found.queue)
            request.update_mask.MergeMessage(wanted, merged, replace_message_field=True)
            merged.name = wanted.name
            wanted = merged
        queue = acceptance.accept_queue(wanted)
        queue.state = found.queue.state
        if found.queue.HasField("purge_time"):
            queue.purge_time.CopyFrom(found.queue.purge_time)
        found.change(queue)
        return queue

    def GetQueue(self, request: Request) -> Queue:  # noqa: N802
        """Return a queue."""
        return self._queue(request.name).queue

    def ListQueues(self, request: Request) -> Message:  # noqa: N802
        """Return the queues of a location, in pages."""
        acceptance.check_location(request.parent)
        if request.filter:
            raise unsupported("the filter of ListQueues")
        queues = {
            dispatcher.queue.name: dispatcher.queue
            for dispatcher in self._registry.all()
            if dispatcher.queue.name.startswith(f"{request.parent}/queues/")
        }
        names, token = _page(queues, request)
        return ListQueuesResponse(queues=[queues[name] for name in names], next_page_token=token)

    def DeleteQueue(self, request: Request) -> Empty:  # noqa: N802
        """Delete a queue and its tasks."""
        acceptance.check_queue_name(request.name)
        self._registry.delete(request.name)
        return Empty()

    def PurgeQueue(self, request: Request) -> Queue:  # noqa: N802
        """Delete all tasks of a queue."""
        found = self._queue(request.name)
        found.purge()
        return found.queue

    def PauseQueue(self, request: Request) -> Queue:  # noqa: N802
        """Send nothing until ResumeQueue."""
        found = self._queue(request.name)
        found.pause()
        return found.queue

    def ResumeQueue(self, request: Request) -> Queue:  # noqa: N802
        """Send again after PauseQueue."""
        found = self._queue(request.name)
        found.resume()
        return found.queue

    def _queue(self, name: str) -> Dispatcher:
        acceptance.check_queue_name(name)
        return self._registry.get(name)

    # --- tasks ---------------------------------------------------------------------------------

    def CreateTask(self, request: Request) -> Task:  # noqa: N802
        """Add a task to a queue, unless there is or was one of its name."""
        queue = self._queue(request.parent)
        task = acceptance.accept_task(request.parent, request.task, self._shortest_deadline)
        if queue.find(task.name):
            raise exists(f"Requested entity already exists: {task.name}")
        if self._store.is_buried(task.name, time.time()):
            raise exists(f"The task cannot be created because a task with this name existed too recently: {task.name}")
        queue.add(StoredTask(task))
        return _shown(task, request.response_view)

    def GetTask(self, request: Request) -> Task:  # noqa: N802
        """Return a task that is not done."""
        _, task = self._task(request.name)
        return _shown(task.message, request.response_view)

    def ListTasks(self, request: Request) -> Message:  # noqa: N802
        """Return the tasks of a queue that are not done, in pages."""
        queue = self._queue(request.parent)
        names, token = _page(queue.names(), request)
        found = [task for name in names if (task := queue.find(name))]
        tasks = [_shown(task.message, request.response_view) for task in found]
        return ListTasksResponse(tasks=tasks, next_page_token=token)

    def DeleteTask(self, request: Request) -> Empty:  # noqa: N802
        """Delete a task that is not done."""
        queue, task = self._task(request.name)
        queue.delete_task(task)
        return Empty()

    def RunTask(self, request: Request) -> Task:  # noqa: N802
        """Send a task now."""
        queue, task = self._task(request.name)
        queue.send_now(task)
        return _shown(task.message, request.response_view)

    def _task(self, name: str) -> tuple[Dispatcher, StoredTask]:
        queue = self._registry.get(acceptance.queue_of(name))
        task = queue.find(name)
        if task is None:
            gone = self._store.is_buried(name, time.time())
            raise missing(
                f"The task no longer exists: it succeeded, was given up or deleted: {name}"
                if gone
                else f"The task does not exist: {name}"
            )
        return queue, task


def _page(names: Iterable[str], request: Request) -> tuple[list[str], str]:
    """Return the names of the page, and the token of the next: the last name of this one."""
    if request.page_size < 0:
        raise invalid("page_size must not be negative.")
    size = min(request.page_size or LARGEST_PAGE, LARGEST_PAGE)
    rest = sorted(name for name in names if name > request.page_token)
    return rest[:size], rest[size - 1] if len(rest) > size else ""


def _shown(task: Task, view: int) -> Task:
    """Return a task as the API shows it: with its body only in the full view."""
    shown = Task()
    shown.CopyFrom(task)
    shown.view = View.FULL if view == View.FULL else View.BASIC
    if shown.view != View.FULL:
        shown.http_request.ClearField("body")
    return shown


REQUESTS: Mapping[str, type[Message]] = {
    name: getattr(cloudtasks, f"{name}Request").pb() for name in vars(CloudTasks) if not name.startswith("_")
}
"""The message that each method takes."""


def handlers(service: CloudTasks) -> Handlers:
    """Return what answers the calls of the API."""
    return Handlers(
        "Cloud Tasks",
        {f"/{SERVICE}/{name}": unary(getattr(service, name), request) for name, request in REQUESTS.items()},
    )
