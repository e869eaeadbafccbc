"""Which tests must not run side by side, and which files come first.

pytest-xdist gives all tests of a group to one worker, in the order of their files. A file is a group of its own, unless
its tests share names in one service with those of other files: a dataset, a topic, a table of DynamoDB.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

E2E = "e2e/"
"""How the names of groups begin whose tests share one Airflow."""
E2E_AT_ONCE = 2
"""More of these groups at once only wait for one another: Airflow's tasks keep two cores busy."""
E2E_LAST = "e2e/last"
"""The group that begins when all others of the Airflow have ended: it runs every DAG, and kills parts of it and all."""
SHARING = {
    "aws": ("local_cloud/aws", "integration/spotify"),
    E2E_LAST: ("e2e/test_x_posts.py", "e2e/test_secrets.py", "e2e/test_airflow.py"),
    "e2e/github": ("e2e/test_github.py", "e2e/test_celery.py"),
    "github_tables": ("integration/test_github_sql.py", "integration/test_github_dag.py"),
    "pubsub": ("local_cloud/pubsub", "integration/test_publisher.py"),
    "queue": ("local_cloud/cloud_tasks", "integration/test_queue.py", "functions/test_service.py"),
    "titanic": (
        *("integration/test_sql.py", "integration/test_landing.py", "integration/test_operators.py"),
        *("integration/test_prove.py", "integration/test_replay.py", "integration/test_titanic_dag.py"),
    ),
    "youtube": ("integration/test_sql_youtube.py", "integration/test_youtube_dag.py"),
    "x": ("integration/test_pull.py", "integration/test_sql_x.py", "functions/test_posts_to_bigquery.py", "ui/"),
}
"""Groups of files and folders below tests/."""
FIRST = (
    *("e2e/test_spotify.py", "integration/test_github.py", "e2e/test_youtube.py", "e2e/test_github.py"),
    *("e2e/test_celery.py", "e2e/test_titanic.py", "e2e/test_x_posts.py", "e2e/test_secrets.py"),
    *("e2e/test_airflow.py", "ui/", "local_cloud/test_leftovers.py", "faults/"),
    *("integration/test_publisher.py", "integration/test_sql_youtube.py"),
)
"""The longest, in the order in which workers take them: begun last, one of them would run alone at the end.

One worker starts Airflow for the end-to-end tests, and the other has something else to do meanwhile.
"""
SERVERS = frozenset({"api_server", "scripted_server", "stranger", "shared"})
"""Fixtures that start a server. Every other fixture that needs one asks for one of these."""


def arrange(items: list[pytest.Item], tests: Path) -> None:
    """Mark the quick tests, and put the longest files first."""
    for item in items:
        file = item.path.relative_to(tests).as_posix()
        is_core = file.startswith("unit/") and not file.startswith(("unit/hooks/", "unit/operators/"))
        if is_core and SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.quick)
    items.sort(key=lambda item: _rank(item.path.relative_to(tests).as_posix()))


class Scheduling(LoadScopeScheduling):
    """Gives each group to one worker, in the order of collection, but holds back what may not begin yet."""

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        if self.workqueue and all(group.startswith(E2E) for group in self.workqueue):
            for other in self.nodes:
                self._reschedule(other)  # what was held back may begin now

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0].removeprefix("tests/"))

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker that has almost nothing left its next group; end it if others will do what is held back."""
        if not self.workqueue or any(self._may_begin(group, node) for group in self.workqueue):
            super()._reschedule(node)
        elif not node.shutting_down and any(not other.shutting_down for other in self.nodes if other is not node):
            node.shutdown()  # it does what it has: without a next test or this, a worker does not begin its last one

    def _assign_work_unit(self, node: WorkerController) -> None:
        first = next((group for group in self.workqueue if self._may_begin(group, node)), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)

    def _may_begin(self, group: str, node: WorkerController) -> bool:
        """Say whether a group may begin when this worker has done what it has."""
        if not group.startswith(E2E):
            return True
        beside = [
            {name for name, ended in groups.items() if name.startswith(E2E) and not all(ended.values())}
            for other, groups in self.assigned_work.items()
            if other is not node
        ]
        busy = sum(map(bool, beside))  # a worker does its groups one after the other
        if group == E2E_LAST:
            return not busy and not any(name.startswith(E2E) and name != E2E_LAST for name in self.workqueue)
        return busy < E2E_AT_ONCE and not any(E2E_LAST in names for names in beside)


def group_of(file: str) -> str:
    """Return the group of a file, which is named from tests/."""
    return next((name for name, places in SHARING.items() if any(map(file.startswith, places))), file)


def _rank(file: str) -> int:
    return next((rank for rank, place in enumerate(FIRST) if file.startswith(place)), len(FIRST))
