"""A Cloud Function reaches its own code and its temp folder, and nothing else of this machine."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from local_cloud import ports
from local_cloud.emulators import confine
from local_cloud.testing import ROOT
from tests import ends
from tests.local_cloud.conftest import eventually

MAIN = """
import os, socket, subprocess, tempfile
from pathlib import Path

import functions_framework.aio
from starlette.responses import PlainTextResponse

@functions_framework.aio.http
async def probe(request):
    code = (await request.body()).decode()
    try:
        return PlainTextResponse(repr(eval(code)))
    except OSError as error:
        return PlainTextResponse(type(error).__name__)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Evaluate an expression in a function."""
    folder = tmp_path_factory.mktemp("function")
    (folder / "main.py").write_text(MAIN)
    (port,) = ports.find_free(1)
    command = [ROOT / ".venv-cloud" / "bin" / "python", "-m", "local_cloud.emulators.function", "--target", "probe"]
    command += ["--source", folder / "main.py", "--host", "127.0.0.1", "--port", str(port)]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder / "temp" / "own"),
        ends.MARK: os.environ[ends.MARK],
    }
    url = f"http://127.0.0.1:{port}/"

    def serves() -> bool:
        try:
            return requests.post(url, "1", timeout=20).text == "1"
        except requests.ConnectionError:
            return False

    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            eventually(lambda: process.poll() is not None or serves(), "it serves")
            assert process.poll() is None
            yield lambda code: requests.post(url, code, timeout=20).text
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not confine.supported(), reason=f"this system cannot confine a process. {confine.NEEDED}")
@pytest.mark.parametrize(
    "code",
    [
        "open({secret!r}).read()",
        "open({secret!r}, 'w')",
        "os.listdir({home!r})",
        f"os.listdir({str(ROOT)!r})",
        "open('/proc/{parent}/environ').read()",
        "subprocess.run(['/bin/sh', '-c', 'id'])",
        "socket.socket(socket.AF_UNIX)",
    ],
)
def test_a_function_reaches_nothing_of_others(run: Callable[[str], str], tmp_path: Path, code: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush-hush")
    assert run(code.format(secret=str(secret), home=str(Path.home()), parent=os.getpid())) == "PermissionError"
    assert secret.read_text() == "hush-hush"


def test_a_function_can_do_its_work(run: Callable[[str], str]) -> None:
    assert run("Path(tempfile.gettempdir(), 'x').write_text('four')") == "4"
    assert run("tempfile.gettempdir()").endswith("temp/own'")
    assert run("'probe' in Path(__file__).read_text()") == "True"
