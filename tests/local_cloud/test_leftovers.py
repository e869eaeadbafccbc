"""A command or a test session that is ended, in whichever way, leaves neither processes nor temporary folders."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cloud import processes
from local_cloud.settings import PORT_DEFAULTS
from local_cloud.testing import ROOT, free_settings
from tests import ends
from tests.local_cloud.conftest import eventually, is_alive

LIMIT_S = 10
TERMINAL = "import pty, sys; pty.spawn(sys.argv[1:])"
"""Runs a command on a terminal, which closes when this is killed."""
EVERY_WAY = ("SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "closed terminal")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A temp directory of its own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    return folder


def hear_signals() -> None:
    """Do as in a terminal, also when our own tests run in the background, where these signals are ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Ended:
    """A command in a session of its own, to be ended in some way."""

    def __init__(self, way: str, place: Path, *command: str, **environment: str) -> None:
        self._way = way
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        self.output = place.parent / "output"
        terminal = [sys.executable, "-c", TERMINAL] if way == "closed terminal" else []
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [*terminal, *command],
                cwd=ROOT,
                env=inherited | {"TMPDIR": str(place), ends.MARK: os.environ[ends.MARK]} | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=hear_signals,  # noqa: PLW1509 - it only makes two system calls
            )

    def until(self, path: Path) -> None:
        """Wait until the command has written a file."""
        eventually(lambda: path.exists() or self.process.poll() is not None, f"{path.name} is written", 60)
        assert self.process.poll() is None, self.output.read_text()

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL if self._way == "closed terminal" else signal.Signals[self._way])


def gone(pids: dict[int, str]) -> bool:
    return not any(map(is_alive, pids))


# --- running -----------------------------------------------------------------------------------

SCRIPT = """
import sys, time
from pathlib import Path
from local_cloud.testing import running

with running({"redis"}, Path(sys.argv[1])):
    Path(sys.argv[2]).touch()
    time.sleep(600)
"""


@pytest.mark.parametrize("way", EVERY_WAY)
def test_services_end_with_whoever_runs_them(way: str, tmp_path: Path, place: Path) -> None:
    var, up = tmp_path / ("d" * 90), tmp_path / "up"  # too deep for a socket, which then is in the temp directory
    script = Ended(way, place, sys.executable, "-c", SCRIPT, str(var), str(up))
    script.until(up)
    pids = processes.marked(var)
    assert len(pids) == 3, "the reaper, supervisord, Redis"

    script.end()

    eventually(lambda: gone(pids), "its processes are gone", LIMIT_S)
    assert list(place.iterdir()) == []


def test_services_end_with_the_owner_that_is_named(tmp_path: Path) -> None:
    script = "import sys; sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as owner:
        code = SCRIPT.replace("Path(sys.argv[1])", f"Path(sys.argv[1]), owner={owner.pid}")
        up = tmp_path / "up"
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "var"), str(up)], cwd=ROOT) as process:
            try:
                eventually(up.exists, "it is up", 60)
                pids = processes.marked(tmp_path / "var")
                assert len(pids) == 3

                owner.kill()

                eventually(lambda: gone(pids), "its processes are gone", LIMIT_S)
                assert process.poll() is None
            finally:
                process.kill()


def test_a_process_is_known_from_a_later_one_of_its_pid() -> None:
    name = processes.identity(os.getpid())
    with subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE) as ended:
        gone = processes.identity(ended.pid)
        eventually(lambda: not processes.lives(gone), "it has ended, though nobody asked how")

    assert processes.lives(name)
    assert not processes.lives(f"{name}0"), "one that started at another time"
    with pytest.raises(ProcessLookupError):
        processes.identity(ended.pid)


# --- a session ---------------------------------------------------------------------------------

TEST = """
import subprocess, sys, time
from pathlib import Path
from local_cloud import processes
from local_cloud.testing import running
from tests.shared_cloud import SharedCloud

def test_it(tmp_path):
    here = Path(__file__).parent
    shared = SharedCloud(here / "shared")
    shared.need("redis")
    stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    with running({"redis"}, here / "own"):
        (here / "stray").write_text(str(stray.pid))
        (here / "up").touch()
        time.sleep(600)
"""


def session(folder: Path, *options: str) -> tuple[str, ...]:
    """Run the tests of a folder with what all our tests begin with."""
    (folder / "conftest.py").write_text("import tests.conftest")
    common = ("-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"))
    return (sys.executable, "-m", "pytest", "-q", *common, f"--rootdir={folder}", *options, str(folder))


def left_in(place: Path) -> list[str]:
    """Return what is in a temp directory, but for the folders of the last tests that pytest keeps."""
    return [path.name for path in place.iterdir() if not path.name.startswith("pytest-of-")]


@pytest.mark.parametrize(
    ("way", "options"),
    [
        *((way, ()) for way in ("SIGKILL", "closed terminal")),
        *((way, ("-n", "1")) for way in ("SIGTERM", "SIGKILL")),
    ],
)
def test_a_session_leaves_nothing(way: str, options: tuple[str, ...], tmp_path: Path, place: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text(TEST)
    pytest_ = Ended(way, place, *session(tests, *options))
    pytest_.until(tests / "up")
    (folder,) = place.glob(f"{ends.PREFIX}*")
    pids = {
        **processes.marked(folder.name.removeprefix(ends.PREFIX), ends.MARK),
        **processes.marked(tests / "own"),
        **processes.marked(tests / "shared" / "var"),
    }
    assert int((tests / "stray").read_text()) in pids
    assert sum("redis" in command or "valkey" in command for command in pids.values()) >= 2

    pytest_.end()

    eventually(lambda: gone(pids), "its processes are gone", 2 * LIMIT_S)
    eventually(lambda: left_in(place) == [], "its folder is gone", LIMIT_S)
    assert list(place.glob("pytest-of-*/*/.lock")) == [], "else pytest would keep its data for three days"


def test_a_session_deletes_what_an_earlier_one_left(tmp_path: Path, place: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_it.py").write_text("def test_it(): pass")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        name = f"{ended.pid}-1"
    earlier, beside = place / f"{ends.PREFIX}{name}", place / f"{ends.PREFIX}{processes.identity(os.getpid())}"
    earlier.mkdir()
    beside.mkdir()
    stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={ends.MARK: name})

    done = Ended("", place, *session(tests))

    assert done.process.wait(60) == 0, done.output.read_text()
    assert stray.wait(1) == -signal.SIGTERM
    assert left_in(place) == [beside.name], "a session that runs beside it keeps its own"


# --- up ----------------------------------------------------------------------------------------


@pytest.fixture
def up_environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Free ports and a data folder for `up`, which is stopped and gone afterwards."""
    var = tmp_path / "var"
    settings = free_settings(var)
    chosen = {name: str(getattr(settings, name.removeprefix("WINDROW_").lower())) for name in PORT_DEFAULTS}
    yield chosen | {"WINDROW_VAR": str(var)}
    assert not processes.marked(var)


@pytest.mark.parametrize(
    ("way", "moment"),
    [*((way, "local_cloud.reaper") for way in EVERY_WAY), ("SIGTERM", "airflow db migrate")],
)
def test_up_that_is_ended_while_it_starts_is_stopped_or_found_by_down(
    way: str, moment: str, tmp_path: Path, place: Path, up_environment: dict[str, str]
) -> None:
    var = tmp_path / "var"
    command = (sys.executable, "-m", "local_cloud")
    up = Ended(way, place, *command, "up", **up_environment)
    eventually(lambda: any(moment in one for one in processes.marked(var).values()), f"{moment} runs", 60)

    up.end()

    if way != "SIGKILL":
        eventually(lambda: not processes.marked(var), "all is stopped", 3 * LIMIT_S)
    down = Ended("", place, *command, "down", **up_environment)
    assert down.process.wait(60) == 0
    assert down.output.read_text() == ("Stopped.\n" if way == "SIGKILL" else "Nothing was running.\n")
    assert processes.marked(var) == {}
    assert list(place.iterdir()) == []
