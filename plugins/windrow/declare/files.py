"""Load the declarations of a DAG file without Airflow."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

from windrow.declare.stream import Declared
from windrow.model.errors import BadParameter

_MAKERS = "windrow.airflow.dags"


@dataclass(frozen=True, slots=True)
class Found:
    """A stream that a file declares, and what its DAG says of it."""

    stream: type[Declared]
    conn_id: str
    defaults: Mapping[str, str] = field(default_factory=dict)


def load(path: Path) -> list[Found]:
    """Import a DAG file, and return the streams that it makes DAGs of, or else those that it declares.

    :raises BadParameter: the import fails; the message has the line.
    """
    found: list[Found] = []
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a file that exists
    module = util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        with _without_dags(found):
            spec.loader.exec_module(module)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == "airflow":
            raise BadParameter(
                f"{path} imports Airflow, which is not installed here.",
                advice="Import only windrow.airflow.dags, which needs no Airflow, or install windrow[airflow].",
            ) from None
        steps = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename) == path.resolve()]
        line = error.lineno if isinstance(error, SyntaxError) else steps[-1].lineno if steps else 0
        what = error.msg if isinstance(error, SyntaxError) else error
        raise BadParameter(f"{path}, line {line}: {type(error).__name__}: {what}", advice="Correct the file.") from None
    declared = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Declared)]
    mine = [one for one in declared if one.__module__ == path.stem and one.__dict__.get("dataset")]
    return found or [Found(one, one.dataset.partition("_")[0]) for one in mine]


@contextmanager
def _without_dags(found: list[Found]) -> Iterator[None]:
    """While a file is loaded, `windrow.airflow.dags` makes no DAG, but notes the streams. Airflow takes seconds.

    If the file imports Airflow itself, Airflow writes its settings to a folder that is deleted at the end.
    """

    def note(
        stream: type[Declared],
        *,
        conn_id: str = "",
        conn_ids: Sequence[str] = (),
        defaults: Mapping[str, str] | None = None,
        **_: Any,
    ) -> None:
        if conn_id:
            stream.account = stream.account or conn_id
            found.append(Found(stream, conn_id, defaults or {}))
        else:
            found.extend(Found(one, one.account, defaults or {}) for one in stream.of_accounts(conn_ids))

    class Makers(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return note

    before, writes = sys.modules.get(_MAKERS), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # a command leaves no __pycache__ beside the file
    sys.modules[_MAKERS] = Makers(_MAKERS)
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        has_home = "AIRFLOW_HOME" in os.environ or Path("~/airflow").expanduser().exists()
        if not has_home:
            os.environ["AIRFLOW_HOME"] = folder
        try:
            yield
        finally:
            sys.dont_write_bytecode = writes
            if not has_home:
                del os.environ["AIRFLOW_HOME"]
            del sys.modules[_MAKERS]
            if before is not None:
                sys.modules[_MAKERS] = before
