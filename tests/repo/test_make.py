"""What `make test` says when it is asked for tests that there are not."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MAKE = shutil.which("make") or "make"
ROOT = Path(__file__).resolve().parents[2]
LIKE = "T names files or folders, like T=tests/unit/test_client.py"
FILE = "tests/unit/test_pacing.py"


def make(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTEST"))
    }
    return subprocess.run(
        [MAKE, "--no-print-directory", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["T=tests/unit/test_nowhere.py"],
            f"make test: there is no tests/unit/test_nowhere.py. {LIKE}",
        ),
        (
            [f"T={FILE} tests/nowhere::test_a"],
            f"make test: there is no tests/nowhere. {LIKE}",
        ),
        ([f"T={FILE}", "K=no_name_has_this"], f"make test: no test of {FILE} matches K=no_name_has_this"),
    ],
)
def test_what_matches_no_test_is_told_in_one_line(words: list[str], line: str) -> None:
    made = make("test", *words)

    assert made.returncode == 2
    assert line in made.stdout.splitlines()


@pytest.mark.parametrize(("words", "seeds"), [([], []), (["SEED=123"], ["123"])])
def test_some_of_the_tests_can_be_run_also_in_random_order(words: list[str], seeds: list[str]) -> None:
    made = make("test", f"T={FILE}", "K=test_", *words)

    assert made.returncode == 0, made.stdout + made.stderr
    assert " passed" in made.stdout.splitlines()[-1]
    assert re.findall(r"--randomly-seed=(\d+)", made.stdout) == seeds
