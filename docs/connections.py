"""Write the tables of docs/connections.md: `.venv/bin/python docs/connections.py`."""

import sys
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from windrow.connect.fields import CERTIFICATE, COMMON, FIELDS, KINDS

PAGE = Path(__file__).with_suffix(".md")
BEGINS, ENDS = "<!-- begin of the tables: docs/connections.py writes them -->", "<!-- end of the tables -->"


def tables() -> str:
    """Return the tables of kinds and of fields."""
    kinds = [(f"`{name}`", kind.meaning, _names(kind.required), _names(kind.optional)) for name, kind in KINDS.items()]
    fields = [
        (f"`{name}`", f"{field.meaning}{' (secret)' if field.secret else ''}", _names(_users(name)))
        for name, field in (FIELDS | COMMON).items()
    ]
    return "\n".join([
        *_table(("auth", "meaning", "required", "optional"), kinds),
        "",
        *_table(("field", "meaning", "used by auth"), fields),
    ])


def page() -> str:
    """Return the page with tables of today."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGINS)
    return f"{head}{BEGINS}\n\n{tables()}\n\n{ENDS}{rest.partition(ENDS)[2]}"


def _users(field: str) -> list[str]:
    if field in CERTIFICATE or field in COMMON:
        return []
    return [name for name, kind in KINDS.items() if field in kind.fields]


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
