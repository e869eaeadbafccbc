"""Find what a command is about: a stream, its connection, and the params of a run. No Airflow is imported for it."""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from dotenv import dotenv_values
from jinja2 import TemplateError
from jinja2.sandbox import SandboxedEnvironment

from windrow.declare.stream import Declared
from windrow.model import registry
from windrow.model.errors import BadParameter, NothingFound
from windrow.model.stream import Stream

DAGS = Path("dags")
_MAKERS = "windrow.airflow.dags"
_VARIABLE = "AIRFLOW_VAR_"


@dataclass(frozen=True, slots=True)
class Target:
    """A stream, and what its DAG says of it."""

    stream: Stream
    conn_id: str
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Templates of JSON for params that a run leaves empty."""

    def params(self, given: Sequence[str], environment: Mapping[str, str]) -> dict[str, object]:
        """Return the params of a run: those on the command line, like ``places=["Bonn"]``, and the defaults.

        :raises BadParameter: one is unknown or invalid.
        """
        found: dict[str, object] = {}
        for text in given:
            name, equals, value = text.partition("=")
            if not equals:
                raise BadParameter(f"The param {text!r:.60} has no value.", advice="Write it like -p name=value.")
            self._check(name)
            try:
                found[name] = orjson.loads(value)
            except orjson.JSONDecodeError:
                found[name] = value  # a text needs no quotes
        for name, template in self.defaults.items():
            if found.get(name) in (None, [], ""):
                found[name] = _rendered(name, template, environment)
        return found

    def _check(self, name: str) -> None:
        if not isinstance(self.stream, Declared):
            return  # the params of other streams are in their DAG files
        stream = self.stream
        known = [*(stream.time.params if stream.time else ())]
        known += [stream.each.param] if stream.each and stream.each.param else []
        if name not in known:
            raise BadParameter(
                f"The param {name!r} is unknown.{_meant(name, known)}",
                advice=f"The params of {stream.dataset} are: {', '.join(known) or 'none'}.",
            )


def variables() -> dict[str, str]:
    """Return the variables of the environment, and those of the file .env that are not in it."""
    own = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return own | dict(os.environ)


def find(name: str, conn_id: str = "") -> Target:
    """Find a stream by its dataset, or by a file that declares it.

    :param conn_id: overrides the connection of the file.
    :raises NothingFound: it does not exist; the message has the nearest name.
    :raises BadParameter: the file cannot be loaded, or declares no stream or several.
    """
    path, _, dataset = name.partition("::")
    if path.endswith(".py") or "/" in path:
        found = _in_file(Path(path), dataset)
    elif name in registry.streams():
        found = Target(registry.stream(name), name.partition("_")[0])
    elif (DAGS / f"{name}.py").exists():
        found = _in_file(DAGS / f"{name}.py", name)
    else:
        known = sorted({*registry.streams(), *(one.stem for one in DAGS.glob("[a-z]*.py"))})
        raise NothingFound(
            f"The dataset {name!r} does not exist.{_meant(name, known)}",
            advice=f"Known datasets: {', '.join(known)}. `windrow new {name}` creates one.",
        )
    return Target(found.stream, conn_id, found.defaults) if conn_id else found


def _in_file(path: Path, dataset: str) -> Target:
    if not path.is_file():
        near = _meant(str(path), [str(one) for one in sorted(path.parent.glob("*.py"))])
        raise NothingFound(f"The file {path} does not exist.{near}", advice="Check the path.")
    targets = {one.stream.dataset: one for one in _load(path)}
    if not targets:
        raise BadParameter(
            f"{path} declares no stream.",
            advice="Call harvest_dag(...) with a declared stream (docs/your-own-api.md), or pass the dataset.",
        )
    if dataset and dataset not in targets:
        raise NothingFound(
            f"{path} does not declare {dataset!r}.{_meant(dataset, targets)}",
            advice=f"It declares: {', '.join(targets)}.",
        )
    if not dataset and len(targets) > 1:
        raise BadParameter(
            f"{path} declares {len(targets)} streams: {', '.join(targets)}.",
            advice=f"Choose one: {path}::{next(iter(targets))}",
        )
    return targets[dataset or next(iter(targets))]


def _load(path: Path) -> list[Target]:
    """Import a DAG file, and return the streams that it makes DAGs of, or else those that it declares.

    :raises BadParameter: the import fails; the message has the line.
    """
    found: list[Target] = []
    spec = util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - a file that exists
    module = util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        with _without_dags(found):
            spec.loader.exec_module(module)
    except Exception as error:
        steps = [step for step in traceback.extract_tb(error.__traceback__) if Path(step.filename) == path.resolve()]
        line = error.lineno if isinstance(error, SyntaxError) else steps[-1].lineno if steps else 0
        what = error.msg if isinstance(error, SyntaxError) else error
        raise BadParameter(f"{path}, line {line}: {type(error).__name__}: {what}", advice="Correct the file.") from None
    declared = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Declared)]
    mine = [one for one in declared if one.__module__ == path.stem and one.__dict__.get("dataset")]
    return found or [Target(one(), one.dataset.partition("_")[0]) for one in mine]


@contextmanager
def _without_dags(found: list[Target]) -> Iterator[None]:
    """While a file is loaded, `windrow.airflow.dags` makes no DAG, but notes the streams. Airflow takes seconds.

    If the file imports Airflow itself, Airflow writes its settings to a folder that is deleted at the end.
    """

    def note(stream: type[Declared], *, conn_id: str, defaults: Mapping[str, str] | None = None, **_: Any) -> None:
        found.append(Target(stream(), conn_id, defaults or {}))

    class Makers(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return note

    before = sys.modules.get(_MAKERS)
    sys.modules[_MAKERS] = Makers(_MAKERS)
    with tempfile.TemporaryDirectory(prefix="windrow-") as folder:
        has_home = "AIRFLOW_HOME" in os.environ or Path("~/airflow").expanduser().exists()
        if not has_home:
            os.environ["AIRFLOW_HOME"] = folder
        try:
            yield
        finally:
            if not has_home:
                del os.environ["AIRFLOW_HOME"]
            del sys.modules[_MAKERS]
            if before is not None:
                sys.modules[_MAKERS] = before


def _rendered(name: str, template: str, environment: Mapping[str, str]) -> object:
    """Return a default. Airflow variables are those of the environment, AIRFLOW_VAR_<NAME>."""

    class Values:
        def get(self, variable: str, default: str = "") -> str:
            return environment.get(f"{_VARIABLE}{variable.upper()}", default)

        def __getattr__(self, variable: str) -> str:
            return self.get(variable)

    try:
        text = SandboxedEnvironment().from_string(template).render(var={"value": Values(), "json": Values()})
        return orjson.loads(text or "null")
    except (TemplateError, orjson.JSONDecodeError) as error:
        raise BadParameter(
            f"The default of the param {name!r} is not valid: {error}.",
            advice=f"Set the param: -p {name}=..., or correct the Airflow variable in {_VARIABLE}...",
        ) from None


def _meant(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
