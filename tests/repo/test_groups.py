"""How the workers of pytest-xdist share the tests, in any order and number, on a clock of their own."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from tests import groups

FILES = {
    "e2e/test_spotify.py": 3,
    "e2e/test_github.py": 1,
    "e2e/test_celery.py": 1,
    "e2e/test_titanic.py": 2,
    "e2e/test_x_posts.py": 3,
    "e2e/test_secrets.py": 5,
    "faults/test_kill.py": 4,
    "unit/test_query.py": 9,
    "unit/test_plan.py": 1,
}
"""Files with the number of their tests."""


@dataclass(eq=False)
class Worker:
    """Stands for a worker process: it does not begin a test before it knows what comes after it."""

    tests: list[str]
    gateway = SimpleNamespace(id="worker")
    queue: list[str] = field(default_factory=list)
    shutting_down: bool = False
    free_at: float = 0
    running: str = ""

    def send_runtest_some(self, indices: list[int]) -> None:
        assert not self.shutting_down
        self.queue += [self.tests[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True

    def begin(self, now: float, takes: float) -> bool:
        if self.running or len(self.queue) + self.shutting_down < 2 or not self.queue:
            return False
        self.running, self.free_at = self.queue.pop(0), now + takes
        return True


@dataclass(frozen=True)
class Ran:
    test: str
    group: str
    begun: float
    ended: float


def run(tests: list[str], count: int, draw: random.Random) -> Iterator[Ran]:
    """Run tests of random lengths in so many workers."""
    options = SimpleNamespace(loadscopereorder=False)
    config = SimpleNamespace(getvalue=lambda _: [f"{count}*popen"], option=options)
    scheduling = groups.Scheduling(config)  # type: ignore[arg-type]
    workers = [Worker(tests) for _ in range(count)]
    for worker in workers:
        scheduling.add_node(worker)  # type: ignore[arg-type]
        scheduling.add_node_collection(worker, tests)  # type: ignore[arg-type]
    scheduling.schedule()
    now, begun = 0.0, dict[str, float]()
    while True:
        for worker in workers:
            if worker.begin(now, draw.choice([0.1, 1, 10])):
                begun[worker.running] = now
        busy = [worker for worker in workers if worker.running]
        if not busy:
            return
        first = min(busy, key=lambda worker: worker.free_at)
        now, test, first.running = first.free_at, first.running, ""
        scheduling.mark_test_complete(first, tests.index(test))  # type: ignore[arg-type]
        yield Ran(test, groups.group_of(test.removeprefix("tests/").partition("::")[0]), begun[test], now)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_test_runs_and_those_of_one_airflow_leave_each_other_room(count: int) -> None:
    for seed in range(100):
        draw = random.Random(seed)
        files = draw.sample(list(FILES), len(FILES))
        tests = [f"tests/{file}::test_{number}" for file in files for number in range(FILES[file])]

        ran = list(run(tests, count, draw))

        assert sorted(one.test for one in ran) == sorted(tests), seed
        airflow = [one for one in ran if one.group.startswith(groups.E2E)]
        last = [one for one in airflow if one.group == groups.E2E_LAST]
        others = [one for one in airflow if one.group != groups.E2E_LAST]
        assert max(one.ended for one in others) <= min(one.begun for one in last), seed
        for one in airflow:
            beside = {two.group for two in airflow if two.begun <= one.begun < two.ended}
            assert len(beside) <= groups.E2E_AT_ONCE, seed


def test_a_worker_that_could_only_wait_does_something_else() -> None:
    tests = [f"tests/{file}::test_{number}" for file in FILES for number in range(FILES[file])]
    ran = list(run(tests, 3, random.Random(1)))
    first_of = {one.group: one.begun for one in sorted(ran, key=lambda one: -one.begun)}
    assert first_of["faults/test_kill.py"] < first_of[groups.E2E_LAST]
