import stat
from pathlib import Path

import pytest

from local_cloud import folder
from local_cloud.errors import FolderError


def test_a_claimed_folder_can_be_deleted(tmp_path: Path) -> None:
    var = tmp_path / "deep" / "var"

    folder.claim(var)
    folder.claim(var)

    assert folder.delete(var)
    assert not var.exists()
    assert not folder.delete(var)


def test_a_folder_of_others_is_neither_used_nor_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(FolderError, match="Set WINDROW_VAR to an empty or a new folder"):
        folder.claim(tmp_path)
    with pytest.raises(FolderError, match="will not delete it"):
        folder.delete(tmp_path)

    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_that_was_not_claimed_is_not_deleted(tmp_path: Path) -> None:
    with pytest.raises(FolderError):
        folder.delete(tmp_path)


def test_secrets_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "run" / "secrets.json"

    first = folder.secret(path, lambda: {"key": "one"})
    second = folder.secret(path, lambda: {"key": "two"})

    assert first == second == {"key": "one"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secrets.json"]
