from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud import logs


@pytest.fixture
def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(logs, "POLL", 0.01)
    (tmp_path / "mongo.log").write_text("".join(f"old {n}\n" for n in range(9)))
    return logs.follow(tmp_path)


def test_the_last_lines_come_first_then_new_ones_with_their_service(tmp_path: Path, following: Iterator[str]) -> None:
    shown = [next(following) for _ in range(logs.FIRST_LINES)]
    assert shown == [f"mongo                 old {n}" for n in range(4, 9)]

    with (tmp_path / "mongo.log").open("a") as log:
        log.write("whole\nhalf")
    assert next(following) == "mongo                 whole"

    (tmp_path / "airflow-scheduler.log").write_text("a new log\n")
    assert next(following) == "airflow-scheduler     a new log"

    with (tmp_path / "mongo.log").open("a") as log:
        log.write(" of a line\n")
    assert next(following) == "mongo                 half of a line"


def test_a_rotated_log_is_followed_from_its_start(tmp_path: Path, following: Iterator[str]) -> None:
    for _ in range(logs.FIRST_LINES):
        next(following)

    (tmp_path / "mongo.log").rename(tmp_path / "mongo.log.1")
    (tmp_path / "mongo.log").write_text("first of the new\n")

    assert next(following) == "mongo                 first of the new"
