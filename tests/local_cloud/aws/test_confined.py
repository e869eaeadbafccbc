"""Code and SQL that somebody sends to the local AWS reach what is theirs, and nothing else of this machine."""

import dataclasses
import io
import json
import os
import re
import subprocess
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from local_cloud.airflow_env import airflow_environment, write_passwords
from local_cloud.emulators import confine
from local_cloud.settings import AWS_KEY, AWS_REGION, Settings
from local_cloud.testing import ROOT
from tests.local_cloud.aws.athena import Athena, Failed
from tests.local_cloud.aws.conftest import Client
from tests.local_cloud.conftest import pid_of

HANDLER = """
import os, socket, stat, subprocess, sys, tempfile
from pathlib import Path

def handle(event, context):
    try:
        return {"did": repr(eval(event["code"]))}
    except OSError as error:
        return {"refused": type(error).__name__}
"""
START = "subprocess.run([sys.executable, '-c', {!r}], stderr=subprocess.DEVNULL).returncode"
VARIABLES = {"MOOD": "fine"}
needs_landlock = pytest.mark.skipif(
    not confine.supported(), reason=f"this system cannot confine a process. {confine.NEEDED}"
)


@pytest.fixture(scope="module")
def run(client: Client) -> Iterator[Callable[[str], dict[str, str]]]:
    """Evaluate an expression in a Lambda function."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("main.py", HANDLER)
        archive.writestr("data.txt", "its own")
    api = client("lambda")
    api.create_function(
        FunctionName="confined",
        Runtime="python3.11",
        Handler="main.handle",
        Role="arn:aws:iam::000000000000:role/windrow",
        Code={"ZipFile": packed.getvalue()},
        Environment={"Variables": VARIABLES},
    )

    def answer(code: str) -> dict[str, str]:
        payload = json.dumps({"code": code})
        found: dict[str, str] = json.loads(api.invoke(FunctionName="confined", Payload=payload)["Payload"].read())
        return found

    yield answer
    api.delete_function(FunctionName="confined")


@pytest.fixture(scope="module")
def secrets(aws: Settings) -> list[Path]:
    """Files with secrets, as every local cloud with Airflow has them."""
    airflow_environment(aws, os.environ)
    write_passwords(aws)
    return [*aws.run.glob("*-secrets.json"), aws.var / "airflow" / "passwords.json"]


@needs_landlock
def test_a_function_reads_no_secret_file(
    aws: Settings, secrets: list[Path], run: Callable[[str], dict[str, str]]
) -> None:
    assert len(secrets) >= 3
    state = aws.var / "aws" / "state" / "lambda.json"
    assert state.exists()
    for path in (*secrets, state, Path("/etc/passwd")):
        assert run(f"Path({str(path)!r}).read_text()") == {"refused": "PermissionError"}, path


@needs_landlock
@pytest.mark.parametrize(
    "code",
    [
        "os.listdir({home!r})",
        "os.listdir({var!r})",
        "os.listdir({scratch!r})",
        "open('/proc/{parent}/environ').read()",
        "open('/proc/{parent}/mem', 'rb').read(1)",
        "os.listdir('/proc')",
        "open({outside!r}, 'w')",
        "open('data.txt', 'w')",
        "os.symlink({secret!r}, tempfile.gettempdir() + '/link') or open(tempfile.gettempdir() + '/link').read()",
        "subprocess.run(['/bin/sh', '-c', 'id'], check=True)",
        "socket.socket(socket.AF_UNIX).connect({supervisor!r})",
        "os.kill({parent}, 0)",
        "os.mknod(tempfile.gettempdir() + '/disk', stat.S_IFBLK, os.makedev(7, 0))",
    ],
)
def test_a_function_reaches_nothing_of_others(
    aws: Settings, tmp_path: Path, secrets: list[Path], run: Callable[[str], dict[str, str]], code: str
) -> None:
    outside = tmp_path / "written"
    filled = code.format(
        home=str(Path.home()),
        var=str(aws.var),
        scratch=str(aws.var / "aws" / "tmp"),
        parent=pid_of(aws.var, "emulators.ministack"),
        outside=str(outside),
        secret=str(secrets[0]),
        supervisor=str(aws.run / "supervisor.sock"),
    )
    assert run(filled) == {"refused": "PermissionError"}
    assert not outside.exists()


@needs_landlock
def test_variables_of_a_function_do_not_widen_its_limits(
    client: Client, run: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    """They are in the environment of whatever starts the function, whose loader obeys some of them."""
    variables = {"_LAMBDA_LAYERS_DIRS": "/etc", "LD_DEBUG": "statistics", "LD_DEBUG_OUTPUT": str(tmp_path / "written")}
    api = client("lambda")
    api.update_function_configuration(FunctionName="confined", Environment={"Variables": variables})
    try:
        assert "did" not in run("open('/etc/passwd').read()")
    finally:
        api.update_function_configuration(FunctionName="confined", Environment={"Variables": VARIABLES})
    assert not list(tmp_path.iterdir())


def test_a_function_has_the_environment_of_a_function(aws: Settings, run: Callable[[str], dict[str, str]]) -> None:
    names = set(eval(run("sorted(os.environ)")["did"]))  # noqa: S307 - a list that our own code wrote
    lambdas = {name for name in names if name.startswith(("AWS_", "_LAMBDA_", "LAMBDA_", "_X_AMZN", "LC_"))}
    of_others = {"PYTHONUNBUFFERED", "WINDROW_SUPERVISED", "_MINISTACK_INVOKE_DEPTH"}
    assert names - lambdas <= {"MOOD", "PATH", "LANG", "HOME", "TMPDIR", *of_others}
    assert run("os.environ['MOOD'], os.environ['AWS_ENDPOINT_URL']") == {"did": repr(("fine", aws.aws_url))}


def test_a_function_can_do_its_work(run: Callable[[str], dict[str, str]]) -> None:
    assert run("open('data.txt').read()") == {"did": "'its own'"}
    assert run("Path(tempfile.gettempdir(), 'x').write_text('four')") == {"did": "4"}
    assert run("bool(__import__('boto3').client('s3').list_buckets())") == {"did": "True"}
    assert run("len(__import__('asyncio').run(__import__('asyncio').sleep(0, 'four')))") == {"did": "4"}
    assert run(START.format("import boto3")) == {"did": "0"}


@needs_landlock
def test_what_a_function_starts_is_confined_as_well(run: Callable[[str], dict[str, str]]) -> None:
    assert run(START.format("open('/etc/passwd')")) == {"did": "1"}


@pytest.mark.parametrize("service", ["aws", "athena"])
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM '{secret}'",
        "COPY (SELECT 1) TO '{secret}-copy'",
        "ATTACH '{secret}-database' AS stolen",
        "SET enable_external_access = true",
    ],
)
def test_sql_reaches_no_file_of_the_user(aws: Settings, client: Client, tmp_path: Path, service: str, sql: str) -> None:
    """Behind our Athena is that of ministack, on ministack's own port."""
    secret = tmp_path / "secret.csv"
    secret.write_text("hush-hush")
    api = boto3.client(
        "athena",
        endpoint_url=getattr(aws, f"{service}_url"),
        region_name=AWS_REGION,
        aws_access_key_id=AWS_KEY,
        aws_secret_access_key=AWS_KEY,
    )
    with Athena.fresh(client) as mine, pytest.raises((Failed, ClientError)) as refused:
        dataclasses.replace(mine, api=api).run(sql.format(secret=secret))
    if service == "aws":
        assert re.search("disabled by configuration|has been locked", str(refused.value)), refused.value
    assert "hush-hush" not in str(refused.value)
    assert list(tmp_path.iterdir()) == [secret]


def test_sql_that_got_past_the_list_of_our_athena_reaches_no_file_either(tmp_path: Path) -> None:
    script = """
        import sys
        from pathlib import Path
        from local_cloud.emulators.athena_server.lake import Lake
        from local_cloud.emulators.athena_server.statements import Statement
        folder = Path(sys.argv[1])
        lake = Lake("http://127.0.0.1:9", folder / "objects")
        statement = Statement("SELECT 1", "default", "s3://b/", "id", lake, folder / "scratch" / "id")
        statement.connection.execute(f"COPY (SELECT 1) TO '{statement.folder}/own'")
        statement.connection.execute(f"SELECT * FROM read_text('{sys.argv[0]}')")
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    command = [ROOT / ".venv-aws" / "bin" / "python", file, tmp_path / "data"]
    done = subprocess.run(
        command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "PermissionException" in done.stderr, done.stderr
    assert (tmp_path / "data" / "scratch" / "id" / "own").exists()
