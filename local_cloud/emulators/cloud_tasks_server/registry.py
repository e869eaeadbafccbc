"""All queues of the server."""

from local_cloud.emulators.cloud_tasks_server.delivery import Courier
from local_cloud.emulators.cloud_tasks_server.dispatcher import Dispatcher
from local_cloud.emulators.cloud_tasks_server.messages import Queue
from local_cloud.emulators.cloud_tasks_server.store import Store
from local_cloud.emulators.rpc import exists, missing
from local_cloud.emulators.serving import Spawn


class Registry:
    """The queues by their names."""

    def __init__(self, *, store: Store, courier: Courier, spawn: Spawn, tombstone_seconds: float) -> None:
        self._store = store
        self._courier = courier
        self._spawn = spawn
        self._tombstone_seconds = tombstone_seconds
        self._queues: dict[str, Dispatcher] = {}

    def start(self) -> None:
        """Go on with the queues in the store."""
        for queue in self._store.queues():
            self._start(queue)

    def stop(self) -> None:
        """Let no queue send anything more."""
        for queue in self._queues.values():
            queue.stop()

    def _start(self, queue: Queue) -> None:
        dispatcher = Dispatcher(
            queue,
            store=self._store,
            courier=self._courier,
            spawn=self._spawn,
            tombstone_seconds=self._tombstone_seconds,
        )
        dispatcher.start()
        self._queues[queue.name] = dispatcher

    def create(self, queue: Queue) -> None:
        """Make a queue. Raises Refused when there is one of this name."""
        if queue.name in self._queues:
            raise exists(f"Queue already exists: {queue.name}")
        self._store.save_queue(queue)
        self._start(queue)

    def delete(self, name: str) -> None:
        """Delete a queue and its tasks. Raises Refused when there is none."""
        self.get(name).delete()
        del self._queues[name]

    def find(self, name: str) -> Dispatcher | None:
        """Return a queue, or None."""
        return self._queues.get(name)

    def get(self, name: str) -> Dispatcher:
        """Return a queue. Raises Refused when there is none."""
        queue = self.find(name)
        if queue is None:
            raise missing(f"Queue does not exist: {name}")
        return queue

    def all(self) -> list[Dispatcher]:
        """Return the queues, sorted by their names."""
        return [self._queues[name] for name in sorted(self._queues)]
