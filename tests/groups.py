"""Which tests must not run side by side, and which files come first.

pytest-xdist gives all tests of a group to one worker, in the order of their files. A file is a group of its own, unless
its tests share names in one service with those of other files: a dataset, a topic, a table of DynamoDB.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

SHARING = {
    "aws": ("local_cloud/aws", "integration/spotify"),
    "github": ("e2e/test_github.py", "e2e/test_celery.py"),
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
    *("e2e/test_titanic.py", "ui/", "e2e/test_x_posts.py", "local_cloud/test_leftovers.py"),
    *("e2e/test_celery.py", "e2e/test_secrets.py"),  # the second waits for all others of the e2e
    *("integration/test_publisher.py", "integration/test_sql_youtube.py", "local_cloud/test_airflow.py", "faults/"),
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
    """Gives each group to one worker, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0].removeprefix("tests/"))


def group_of(file: str) -> str:
    """Return the group of a file, which is named from tests/."""
    return next((name for name, places in SHARING.items() if any(map(file.startswith, places))), file)


def _rank(file: str) -> int:
    return next((rank for rank, place in enumerate(FIRST) if file.startswith(place)), len(FIRST))
