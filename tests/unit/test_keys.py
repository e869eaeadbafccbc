"""Distinct keys: none is lost or taken for another, and memory does not grow with their number."""

import subprocess
import sys
from pathlib import Path

import pytest

from windrow.model.errors import StagingUnavailable
from windrow.store.keys import Keys

ROOT = Path(__file__).parents[2]
AWKWARD = ["", "a", "A", "a ", "a\0", "a\0b", "1", "1.0", "01", "é", "e\u0301", "%61", "a" * 300, "a" * 299 + "b"]


@pytest.mark.parametrize("few", [0, 5, 100])
def test_each_key_is_new_once_and_like_no_other(few: int):
    keys = Keys(AWKWARD[:3], few=few)

    assert [keys.add(key) for key in AWKWARD] == [False] * 3 + [True] * (len(AWKWARD) - 3)
    assert not any(map(keys.add, AWKWARD))
    assert len(keys) == len(AWKWARD)
    assert all(key in keys for key in AWKWARD)
    assert "b" not in keys


def test_memory_does_not_grow_with_the_keys():
    code = """
from benchmarks.child import peak_rss
from windrow.store.keys import Keys
keys = Keys()
before = peak_rss()
for number in range(200_000):
    keys.add(f"{number}" + "x" * 150)
assert len(keys) == 200_000
print(peak_rss() - before)
"""
    environment = {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 15_000_000, "a set takes 48 MB"


def test_a_full_disk_is_a_clear_error():
    keys = Keys(few=0)
    keys._run("PRAGMA max_page_count = 10")

    with pytest.raises(StagingUnavailable, match="The keys of a plan cannot be written") as failed:
        any(keys.add(f"{number}" + "x" * 100) is None for number in range(10_000))

    assert "TMPDIR" in failed.value.advice
