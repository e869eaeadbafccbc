"""Find what a command is about: a stream, its connection, and the params of a run. No Airflow is imported for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import orjson
from jinja2 import TemplateError
from jinja2.sandbox import SandboxedEnvironment

from windrow.declare.files import load
from windrow.declare.stream import Declared
from windrow.model import registry
from windrow.model.errors import BadParameter, NothingFound
from windrow.model.stream import Stream

DAGS = Path("dags")
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
                f"The param {name!r} is unknown.{meant(name, known)}",
                advice=f"The params of {stream.dataset} are: {', '.join(known) or 'none'}.",
            )


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
            f"The dataset {name!r} does not exist.{meant(name, known)}",
            advice=f"Known datasets: {', '.join(known)}. `windrow new {name}` creates one.",
        )
    return Target(found.stream, conn_id, found.defaults) if conn_id else found


def _in_file(path: Path, dataset: str) -> Target:
    if not path.is_file():
        near = meant(str(path), [str(one) for one in sorted(path.parent.glob("*.py"))])
        raise NothingFound(f"The file {path} does not exist.{near}", advice="Check the path.")
    targets = {one.stream.dataset: Target(one.stream(), one.conn_id, one.defaults) for one in load(path)}
    if not targets:
        raise BadParameter(
            f"{path} declares no stream.",
            advice="Call harvest_dag(...) with a declared stream (docs/your-own-api.md), or pass the dataset.",
        )
    if dataset and dataset not in targets:
        raise NothingFound(
            f"{path} does not declare {dataset!r}.{meant(dataset, targets)}",
            advice=f"It declares: {', '.join(targets)}.",
        )
    if not dataset and len(targets) > 1:
        raise BadParameter(
            f"{path} declares {len(targets)} streams: {', '.join(targets)}.",
            advice=f"Choose one: {path}::{next(iter(targets))}",
        )
    return targets[dataset or next(iter(targets))]


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


def meant(name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    """Return a sentence with the nearest of the known names; empty if none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
