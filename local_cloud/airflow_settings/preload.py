"""Import what DAG files and tasks need before Airflow forks, so that each fork has it already.

Tasks are forks of the scheduler or of a Celery worker, and the DAG processor parses files in forks of itself. Without
this each fork imports a hundred and more modules: half of the CPU time of a short task (docs/decisions.md, 158).
"""

import ast
import contextlib
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

AT_WORK = (
    ("airflow.providers.amazon.aws.hooks.s3", "S3Hook"),
    ("airflow.providers.google.cloud.hooks.gcs", "GCSHook"),
    ("airflow.providers.google.cloud.transfers.gcs_to_bigquery", "GCSToBigQueryOperator"),
    ("airflow.providers.mongo.hooks.mongo", "MongoHook"),
    ("airflow.dag_processing", "dagbag"),
    ("airflow.sdk.execution_time", "cache"),
    ("airflow.sdk.execution_time", "supervisor"),
    ("airflow.sdk.execution_time", "timeout"),
    ("airflow.sdk", "lineage"),
    ("jinja2", "ext"),
    ("pyarrow", "parquet"),
)
"""What tasks import while they run; what DAG files import is read from them."""
PACKAGE = "windrow"


def forks_to_run_dag_files(argv: Sequence[str]) -> bool:
    """Say whether children of this process import DAG files; others would load these modules for nothing."""
    return argv[1:2] in (["scheduler"], ["dag-processor"], ["celery"])


def load(environ: Mapping[str, str]) -> None:
    """Import all that the DAG files of Airflow's folder import, but not the files themselves.

    An edit of the package needs no restart: a fork that finds it changed imports it anew.
    """
    plugins = Path(environ["AIRFLOW__CORE__PLUGINS_FOLDER"])
    before = newest(plugins)
    for module, name in (*AT_WORK, *imports(Path(environ["AIRFLOW__CORE__DAGS_FOLDER"]))):
        with contextlib.suppress(Exception):  # only a help: the DAG file or task that needs it says what is wrong
            if not hasattr(importlib.import_module(module), name):
                importlib.import_module(f"{module}.{name}")
    if client := sys.modules.get("airflow.sdk.api.client"):  # each worker's: it reads all certificates, and keeps them
        with contextlib.suppress(Exception):
            client.Client(base_url="http://localhost/", token="").close()
    inspect.stack()  # it looks at every module once; the hooks of AWS call it for each client
    os.register_at_fork(after_in_child=functools.partial(forget_if_changed, plugins, before))


def imports(dags: Path) -> list[tuple[str, str]]:
    """Return the module and the name of each ``from module import name`` at the top of the DAG files, each once."""
    found: dict[tuple[str, str], None] = {}
    for path in sorted(dags.glob("*.py")):
        with contextlib.suppress(SyntaxError, ValueError, OSError):  # the DAG processor reports it
            for node in ast.parse(path.read_bytes()).body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    found |= {(node.module, alias.name): None for alias in node.names}
    return list(found)


def newest(folder: Path) -> int:
    """Return when a source file below this folder was last changed, in nanoseconds; 0 if there is none."""
    return max(_changes(str(folder)), default=0)


def _changes(folder: str) -> Iterator[int]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                yield from _changes(entry.path)
            elif entry.name.endswith(".py"):
                yield entry.stat().st_mtime_ns


def forget_if_changed(plugins: Path, before: int) -> None:
    """Make this process import the package anew if a file of it is newer than `before`."""
    if newest(plugins) > before:
        for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
            del sys.modules[name]
