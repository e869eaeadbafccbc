"""Which posts were made when. They are made whether anybody listens or not."""

import asyncio
import math
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path

from local_cloud.apis.x.posts import Post, make_post, post_id
from local_cloud.apis.x.scene import Stage

TICK_S = 0.02
BACK = 7
"""A post that refers to another one refers to the one that was made so many before it."""

Listener = Callable[[Post], None]


class Timeline:
    """All posts: only when each was made is kept, what it says can be made again.

    :param file: keeps them over a restart of the server: X does not forget its posts when one of its servers dies.
    """

    def __init__(self, stage: Stage, file: Path | None = None) -> None:
        self._stage = stage
        self._made_ms: list[int] = []
        self._file = None
        self.listeners: set[Listener] = set()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file.open("a+b", buffering=0)
            self._file.seek(0)
            *whole, torn = self._file.read().split(b"\n")
            self._file.truncate(self._file.tell() - len(torn))  # a kill came between
            self._made_ms = [int(line) for line in whole]

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
            # in order, also when the clock is set back
            self._made_ms.append(max([time.time_ns() // 1_000_000, *self._made_ms[-1:]]))
            if self._file is not None:
                self._file.write(b"%d\n" % self._made_ms[-1])
            post = self.post(len(self._made_ms) - 1)
            for listener in list(self.listeners):
                listener(post)

    def post(self, number: int) -> Post:
        """Return a post that was made, by its number from 0."""
        before = number - BACK
        earlier = post_id(before, self._made_ms[before]) if before >= 0 else ""
        return make_post(self._stage.scene, number, self._made_ms[number], earlier)

    def newest_first(self, through_ms: float = math.inf) -> Iterator[Post]:
        """Return the posts, the newest first.

        :param through_ms: no post that was made later, in milliseconds of the epoch. Finding the first is quick.
        """
        return map(self.post, reversed(range(bisect_right(self._made_ms, through_ms))))
