"""The posts of the fake X API over a restart of its server."""

from pathlib import Path

import pytest

from local_cloud.apis.x.scene import Stage
from local_cloud.apis.x.timeline import Timeline

pytestmark = pytest.mark.quick


def test_posts_are_there_after_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / "apis" / "posts"
    first = Timeline(Stage(), file)
    first.make(30)
    made = list(first.newest_first())
    with file.open("ab") as torn:
        torn.write(b"17642")

    second = Timeline(Stage(), file)
    assert list(second.newest_first()) == made
    second.make(1)
    assert list(Timeline(Stage(), file).newest_first()) == list(second.newest_first())
    assert len(second) == 31
