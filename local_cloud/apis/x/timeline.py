"""Which posts were made when. They are made whether anybody listens or not."""

import asyncio
import time
from collections.abc import Callable, Iterator

from local_cloud.apis.x.posts import Post, make_post, post_id
from local_cloud.apis.x.scene import Stage

TICK_S = 0.02
BACK = 7
"""A post that refers to another one refers to the one that was made so many before it."""

Listener = Callable[[Post], None]


class Timeline:
    """All posts since the server started: only when each was made is kept, what it says can be made again."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._made_ms: list[int] = []
        self.listeners: set[Listener] = set()

    def __len__(self) -> int:
        return len(self._made_ms)

    async def run(self) -> None:
        """Make posts at the rate of the scene, for ever."""
        last, due = time.monotonic(), 0.0
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            due += (now - last) * self._stage.scene.rate_per_s
            last = now
            self.make(int(due))
            due -= int(due)

    def make(self, count: int) -> None:
        """Make posts now, and tell all who listen."""
        for _ in range(count):
            self._made_ms.append(time.time_ns() // 1_000_000)
            post = self.post(len(self._made_ms) - 1)
            for listener in list(self.listeners):
                listener(post)

    def post(self, number: int) -> Post:
        """Return a post that was made, by its number from 0."""
        before = number - BACK
        earlier = post_id(before, self._made_ms[before]) if before >= 0 else ""
        return make_post(self._stage.scene, number, self._made_ms[number], earlier)

    def newest_first(self) -> Iterator[Post]:
        """Return all posts, the newest first."""
        return map(self.post, reversed(range(len(self._made_ms))))
