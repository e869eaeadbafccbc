"""Log lines have the stream, the run and the key as fields, in every process, and cannot be forged."""

import asyncio
import io
import json
import logging
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from airflow.sdk import DAG, Context
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.execution_time import task_runner
from airflow.sdk.log import configure_logging, reset_logging
from packaging.version import Version

from windrow.airflow.operators.defaults import TASK_DEFAULTS
from windrow.model import logs, redact
from windrow.model.plan import Run

log = logging.getLogger("windrow.test")
RUN = Run("logged_orders", "manual__1")
NAMED = {"stream": "logged_orders", "run": "manual__1"}
DOCS = Path(__file__).parents[2] / "docs/operations.md"
FORGED = "2026-11-28 12:00:00,000 ERROR all is lost"
ENDS = ("\n", "\r", "\x0b", "\x85", "\u2028", "\x1b[2K", "\ud800")
"""What ends a line in one viewer or another, moves the cursor, or cannot be written."""


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging can be configured anew, and is as before at the end."""
    monkeypatch.setattr(logging.root, "handlers", [])
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@contextmanager
def configured(*, as_json: bool) -> Iterator[io.StringIO]:
    to = io.StringIO()
    logs.configure(as_json=as_json, to=to)
    yield to


@pytest.mark.skipif(
    Version(version("apache-airflow")) < Version("3.3.2"),
    reason="before 3.3.2, Airflow copies the context variables of a task before its hooks set them",
)
def test_a_line_of_an_airflow_task_has_the_fields(root: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_OWNER", "")  # Airflow sets it

    class Step(BaseOperator):
        dataset = RUN.dataset

        def execute(self, context: Context) -> None:
            log.info("begun")
            with logs.about(key=f"orders\n{FORGED}"):
                asyncio.run(asyncio.to_thread(structlog.get_logger("another").warning, "refused"))
            log.info("ended")

    with DAG("shop", schedule=None, default_args=TASK_DEFAULTS):
        task = Step(task_id="step")
    (tmp_path / "logs").mkdir()
    file = tmp_path / "logs" / "task.log"
    before = structlog.get_config()
    with file.open("wb") as output:
        configure_logging.__wrapped__(json_output=True, output=output, sending_to_supervisor=True)
        try:
            instance = SimpleNamespace(task=task, _ti_context_from_server=None)
            context = Context(task=task, run_id=RUN.run_id, outlet_events={})
            task_runner._execute_task(context, instance, structlog.get_logger("task"))
        finally:
            for field in logs.FIELDS:
                field.set("")
            reset_logging()
            structlog.configure(**before)
    *_, begun, refused, ended = map(json.loads, file.read_bytes().splitlines())
    (search,) = re.findall(r"^grep .*", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    command = search.replace("scheduled__2026-11-28T00:00:00+00:00", RUN.run_id)
    found = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.split(maxsplit=1) == ["1", '"key":"orders\\\\n2026-11-28 12:00:00,000 ERROR all is lost"\n']
    assert begun | NAMED | {"event": "begun"} == begun
    assert refused | NAMED | {"event": "refused", "key": f"orders\\n{FORGED}"} == refused
    assert "key" not in begun
    assert "key" not in ended


def test_a_line_of_json_has_the_fields_and_no_secret(root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", redact._known.copy())
    redact.know("s3cret-token")
    with configured(as_json=True) as to, logs.about(RUN, key="orders?token=s3cret-token"):
        log.warning("refused: %s", "s3cret-token", extra={"fields": {"status": 403, "reason": "s3cret-token"}})
        try:
            raise ValueError("s3cret-token")
        except ValueError:
            log.exception("failed")
    log.info("elsewhere")
    refused, failed, elsewhere = map(json.loads, to.getvalue().splitlines())
    assert refused | NAMED | {
        "severity": "WARNING", "logger": "windrow.test", "message": "refused: ***", "key": "orders?token=***",
        "status": 403, "reason": "***",
    } == refused  # fmt: skip
    assert failed["severity"] == "ERROR"
    assert failed["message"].endswith("ValueError: ***")
    assert not {"stream", "run", "key"} & elsewhere.keys()


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "text"])
def test_nothing_that_a_line_quotes_forges_another(root: None, as_json: bool, end: str) -> None:
    with configured(as_json=as_json) as to, logs.about(Run("shop", f"run{end}{FORGED}"), key=f"key{end}{FORGED}"):
        log.info("said %s", f"this{end}{FORGED}")
    said = to.getvalue()
    assert said.endswith("\n")
    assert said[:-1].replace("\n    ", "").isprintable()
    said.encode()
    assert len([line for line in said.splitlines() if not line.startswith("    ")]) == 1
    if as_json:
        assert json.loads(said)["message"].startswith("said this")


def test_a_field_ends_with_its_block_and_is_of_one_task_alone() -> None:
    async def one(key: str) -> str:
        with logs.about(key=key):
            await asyncio.sleep(0)
            return logs.fields()["key"]

    async def both() -> list[str]:
        return await asyncio.gather(one("a"), one("b"))

    with logs.about(RUN, key="outer"):
        assert asyncio.run(both()) == ["a", "b"]
        with logs.about(key="k" * 1000):
            assert logs.fields() == NAMED | {"key": "k" * 300}
        assert logs.fields() == NAMED | {"key": "outer"}
    assert logs.fields() == {}
