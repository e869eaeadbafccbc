"""Write docs/declarations.md from the code: `.venv/bin/python docs/declarations.py`."""

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from windrow.declare.rows import Arrays, OneRow, Rows
from windrow.declare.stream import Declared, Each
from windrow.declare.times import Days, Since
from windrow.model.contract import Column, Kind
from windrow.model.export import ExportJob
from windrow.model.formats import Csv, Json, Ndjson, Xml
from windrow.model.paging import Cursor, LinkHeader, NextUrl, Offset, PageNumber, TimeWindow
from windrow.model.quota import Period, Quota
from windrow.model.rate_limits import RateLimits
from windrow.model.stream import Stream
from windrow.model.table import Table, Write

PAGE = Path(__file__).with_suffix(".md")
PARTS: dict[str, tuple[type, ...]] = {
    "Calls": (Each, Days, Since),
    "Pages": (LinkHeader, NextUrl, Cursor, PageNumber, Offset, TimeWindow, ExportJob),
    "Formats": (Json, Ndjson, Csv, Xml),
    "Rows and columns": (Rows, OneRow, Arrays, Column, Kind),
    "Tables": (Table, Write),
    "Limits": (Quota, Period, RateLimits),
}
_HEAD = """\
# Declarations

All that a declared stream can say, written from the code by `docs/declarations.py`.
[your-own-api.md](your-own-api.md) is a tutorial, [recipes.md](recipes.md) has examples.
"""


def page() -> str:
    """Return the page."""
    lines = [_HEAD, "## The stream", "", "`from windrow.declare.stream import Declared`", ""]
    lines += _table(("setting", "type", "meaning"), [*_settings(Declared), *_settings(Stream)])
    for part, classes in PARTS.items():
        lines += ["", f"## {part}"]
        for one in classes:
            lines += [
                "",
                f"### {one.__name__}",
                "",
                f"`from {one.__module__} import {one.__name__}`",
                "",
                _sentences(one),
            ]
            lines += ["", *_values(one)]
    return "\n".join(lines).rstrip() + "\n"


def _settings(one: type) -> Iterable[tuple[str, ...]]:
    """Yield the class variables of a stream, with the texts below them."""
    (tree,) = (node for node in ast.parse(inspect.getsource(one)).body if isinstance(node, ast.ClassDef))
    described = _params(one)
    for line, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id != "contract":
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            text = ast.literal_eval(after.value) if is_text else described.get(line.target.id, "")
            kind = ast.unparse(line.annotation).removeprefix("ClassVar[").removesuffix("]")
            yield f"`{line.target.id}`", _code(kind), _line(text)


def _values(one: type) -> list[str]:
    if issubclass(one, Enum):
        return ["Values: " + ", ".join(f"`{value.name}`" for value in one) + "."]
    if not dataclasses.is_dataclass(one):
        return []
    meanings = _params(one)
    rows = [
        (f"`{field.name}`", _code(_type(field.type)), _default(field), _line(meanings.get(field.name, "")))
        for field in dataclasses.fields(one)
        if field.init
    ]
    return _table(("argument", "type", "default", "meaning"), rows) if rows else []


def _sentences(one: type) -> str:
    """Return the description of a class, without its parameters and examples."""
    return _line(re.split(r":param |\n\n.*::|\n\n", inspect.getdoc(one) or "")[0])


def _params(one: type) -> dict[str, str]:
    """Return the meanings of parameters, also of those that a class inherits."""
    found: dict[str, str] = {}
    for base in reversed(one.__mro__):
        text = inspect.cleandoc(base.__doc__ or "") if base.__module__.startswith("windrow") else ""
        for name, meaning in re.findall(r":param (\w+): (.*?)(?=\n:|\n\n|\Z)", text, re.DOTALL):
            found[name] = meaning
    return found


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "" if field.default_factory is dataclasses.MISSING else _code(f"{_type(field.type)}()")
    return _code(repr(field.default))


def _type(kind: object) -> str:
    return kind if isinstance(kind, str) else re.sub(r"\b[a-z_]+\.(?=[\w.]*[A-Z])|\bwindrow[\w.]*\.", "", _name(kind))


def _name(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


def _line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{' '.join(text.split())}`".replace("|", "\\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, tuple("---" for _ in head), *rows)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
