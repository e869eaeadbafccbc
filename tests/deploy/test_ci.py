"""What the check does on a machine that lacks what tests need."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local_cloud.testing import ROOT
from tests import ends

UPDATE, INSTALL, TEST = "apt-get update -qq", "apt-get install -qq --no-install-recommends", "make test"


class Machine:
    """A machine that has these programs: each notes how it was called."""

    def __init__(self, folder: Path, user: int, *programs: str) -> None:
        self._programs = folder / "programs"
        self._called = folder / "called"
        self._programs.mkdir()
        for name in ("bash", "dirname"):
            (self._programs / name).symlink_to(str(shutil.which(name)))
        for name in programs:
            self.has(name, f'echo "{name} $*" >> "{self._called}"')
        self.has("id", f"echo {user}")

    def has(self, name: str, does: str) -> None:
        program = self._programs / name
        program.write_text(f"#!/bin/bash\n{does}\n")
        program.chmod(0o755)

    def check(self) -> tuple[list[str], str]:
        """Run the check; return what it called, and what it said."""
        done = subprocess.run(
            [self._programs / "bash", ROOT / ".ci" / "run"],
            env={"PATH": str(self._programs)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return self._called.read_text().splitlines(), done.stdout


def test_what_is_missing_is_installed(tmp_path: Path) -> None:
    assert Machine(tmp_path, 0, "apt-get", "make").check() == ([UPDATE, f"{INSTALL} chromium nodejs", TEST], "")


def test_what_is_there_is_not_installed(tmp_path: Path) -> None:
    assert Machine(tmp_path, 0, "apt-get", "make", "google-chrome").check()[0] == [UPDATE, f"{INSTALL} nodejs", TEST]


def test_with_all_there_it_only_tests(tmp_path: Path) -> None:
    assert Machine(tmp_path, 0, "apt-get", "make", "chromium", "node").check() == ([TEST], "")


@pytest.mark.parametrize(("user", "programs"), [(1000, ("apt-get", "make")), (0, ("make",))])
def test_where_it_cannot_install_it_says_so_and_tests(tmp_path: Path, user: int, programs: tuple[str, ...]) -> None:
    said = "install chromium nodejs, else tests that need them do not run\n"
    assert Machine(tmp_path, user, *programs).check() == ([TEST], said)


def test_where_the_package_manager_fails_it_says_so_and_tests(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 0, "make")
    machine.has("apt-get", "exit 100")

    assert machine.check() == ([TEST], "apt-get could not install chromium nodejs: tests that need them do not run\n")


# --- tests without what they need --------------------------------------------------------------

NEEDY = ("tests/ui/test_look.py", "tests/apis/test_benchmark_server.py")


def run_without_programs(place: Path, ci: str) -> tuple[int, list[str]]:
    """Run tests on a machine without a browser and Node.js; return the exit code and the lines of the summary."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", *NEEDY],
        cwd=ROOT,
        env=inherited | {"PATH": str(place), "CI": ci, ends.MARK: os.environ[ends.MARK]},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    return done.returncode, [line for line in lines if line.startswith(("SKIPPED", "ERROR", "FAILED"))]


def test_without_a_browser_its_tests_are_skipped_in_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    code, summary = run_without_programs(tmp_path, "")

    assert code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert [line.partition(": ")[2] for line in summary] == [
        "there is no chromium on PATH: on Debian and Ubuntu, `apt install chromium`",
        "there is no node on PATH: on Debian and Ubuntu, `apt install nodejs`",
    ]


def test_on_a_ci_server_a_missing_browser_is_an_error(tmp_path: Path) -> None:
    code, summary = run_without_programs(tmp_path, "true")

    assert code == pytest.ExitCode.INTERRUPTED
    assert [line.partition(" - ")[0] for line in summary] == [f"ERROR {name}" for name in NEEDY]


# --- the workflows, which only run elsewhere -----------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_each_script_of_a_workflow_can_be_parsed(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert scripts
    done = subprocess.run(
        [str(shutil.which("bash")), "-n"], input="\n".join(scripts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
