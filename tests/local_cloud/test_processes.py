import os
import subprocess
import sys
from pathlib import Path

from local_cloud import processes


def test_a_marked_process_shows_its_whole_command(tmp_path: Path) -> None:
    # a project may lie in any folder, and the program's name comes after all of it
    deep = tmp_path.joinpath(*["a-folder-of-some-length"] * 10)
    deep.mkdir(parents=True)
    program = deep / "program.py"
    program.write_text("print('up', flush=True)\ninput()\n")
    environment = {**os.environ, processes.MARK: str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(program), "last"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()

        found = processes.marked(tmp_path)

        process.communicate(b"\n")
    assert found == {process.pid: f"{sys.executable} {program} last"}
    assert not processes.marked(tmp_path)


def test_a_shortened_command_keeps_both_its_ends() -> None:
    words = f"/python -m {'x' * 500} bin/postgres"

    short = processes.shortened(words)

    assert len(short) <= 160
    assert short.startswith("/python -m")
    assert short.endswith("bin/postgres")
    assert processes.shortened("/bin/true") == "/bin/true"
