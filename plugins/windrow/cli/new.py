"""windrow new: write a source, its DAG, and a test that passes."""

import argparse
import re
from collections.abc import Mapping
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from windrow.cli.command import Result, add, whole
from windrow.cli.target import DAGS
from windrow.model import registry
from windrow.model.errors import BadParameter
from windrow.testing import Call, Recording

_NAME = re.compile(r"[a-z][a-z0-9]*_[a-z][a-z0-9_]*")
_DESCRIPTION = """\
It writes three files, and changes no existing one:

  dags/NAME.py                    a declared source and its DAG, with an example of its connection
  tests/sources/test_NAME.py      a test of the source
  tests/sources/NAME.json         recorded answers for the test

The test passes at once. Then change the declaration to your API, look at the result with `windrow try dags/NAME.py`,
and record real answers with `windrow record dags/NAME.py`."""
_EXAMPLES = "  windrow new shop_orders"
_SOURCE = '''\
"""{title} of {source}.

The connection `{source}` has the host and the credential. Set it in .env, or in Airflow under Admin > Connections:
AIRFLOW_CONN_{SOURCE}='{{"conn_type": "http", "host": "https://api.example.com",
"extra": {{"auth": "bearer", "token": "change-me"}}}}'
"""

from windrow.airflow.dags import harvest_dag
from windrow.declare.rows import Rows
from windrow.declare.stream import Declared
from windrow.declare.times import Since
from windrow.model.contract import Column, Kind
from windrow.model.paging import Cursor
from windrow.model.table import Table


class {name}(Declared):
    """One record for each of the {noun} that was changed."""

    dataset = "{dataset}"
    get = "/v1/{noun}"  # the path below the host
    params = {{"updated_since": "{{since}}"}}
    time = Since(first="2026-01-01T00:00:00Z")  # where the first run starts
    paging = Cursor(field="next_cursor", param="cursor")  # other kinds of pages: docs/recipes.md
    rows = Rows("items")  # where the rows are in an answer
    columns = (  # name in the table, field of the API, type, description
        Column("id", "id", Kind.STRING, "Id.", required=True),
        Column("name", "name", Kind.STRING, "Name."),
        Column("amount", "amount", Kind.NUMERIC, "Amount."),
        Column("updated_at", "updated_at", Kind.TIMESTAMP, "When it was last changed.", required=True),
    )
    table = Table(key=("id",), newest_by=("updated_at",), watermark="updated_at", description="{title}.")


dag = harvest_dag({name}, conn_id="{source}", schedule="0 * * * *")
'''
_TEST = '''\
"""{dataset} reads the answers that were recorded in {dataset}.json."""

from pathlib import Path

from windrow.testing import replay

HERE = Path(__file__).parent


def test_records() -> None:
    records = replay(HERE.parents[1] / "dags" / "{dataset}.py", HERE / "{dataset}.json")
    assert len(records) == 3
    assert records[0]["id"] == "A-1"
'''


def register(commands: Any) -> None:
    """Add the command."""
    command = add(commands, "new", new, "write a source, its DAG, and a test that passes", _DESCRIPTION, _EXAMPLES)
    command.add_argument("name", help="<source>_<noun>, like shop_orders: the name of the DAG and of the table")


def new(options: argparse.Namespace, environment: Mapping[str, str]) -> Result:
    """Write the files.

    :raises BadParameter: the name is invalid or exists.
    """
    dataset = _checked(options.name)
    source, _, noun = dataset.partition("_")
    names = {
        "dataset": dataset,
        "source": source,
        "SOURCE": source.upper(),
        "noun": noun,
        "title": noun.replace("_", " ").capitalize(),
        "name": "".join(word.capitalize() for word in dataset.split("_")),
    }
    files = {
        DAGS / f"{dataset}.py": _SOURCE.format(**names),
        Path(f"tests/sources/test_{dataset}.py"): _TEST.format(**names),
        Path(f"tests/sources/{dataset}.json"): _recording(noun).json(),
    }
    for path in files:
        if path.exists():
            raise BadParameter(f"{path} exists.", advice="Choose another name, or delete the file.")
    with ExitStack() as drafts:  # all are written before the first one gets its name
        for path, text in files.items():
            drafts.enter_context(whole(path)).write_text(text)
    test = f"tests/sources/test_{dataset}.py"
    lines = [*(f"wrote {path}" for path in files), "", "Next:", f"  make test T={test}"]
    lines += [f"  set AIRFLOW_CONN_{source.upper()} in .env, and change dags/{dataset}.py to your API"]
    lines += [f"  windrow try dags/{dataset}.py"]
    return Result("\n".join(lines), {"files": list(files)})


def _checked(name: str) -> str:
    fixed = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    fixed = fixed if "_" in fixed else f"{fixed or 'shop'}_records"
    if not _NAME.fullmatch(name):
        meant = f" Did you mean {fixed!r}?" if _NAME.fullmatch(fixed) else ""
        raise BadParameter(
            f"The name {name!r:.60} is not like shop_orders.{meant}",
            advice="Use <source>_<noun>, in lower case letters, digits and _.",
        )
    if name in registry.streams():
        near = get_close_matches(name, registry.streams(), n=1)
        raise BadParameter(f"The dataset {near[0]!r} exists.", advice="Choose another name.")
    return name


def _recording(noun: str) -> Recording:
    """Return answers for the source as it is written."""
    items = [
        {"id": f"A-{number}", "name": f"Example {number}", "amount": f"{number}.50",
         "updated_at": f"2026-11-0{number}T08:00:00Z"}
        for number in (1, 2, 3)
    ]  # fmt: skip
    since, pages = ["updated_since", "2026-01-01T00:00:00Z"], (items[:2], items[2:])
    calls = [
        Call(
            "GET", f"/v1/{noun}", [since] if page == 0 else [since, ["cursor", "2"]], "", 200,
            {"Content-Type": "application/json"}, {"items": rows, "next_cursor": None if page else "2"},
        )
        for page, rows in enumerate(pages)
    ]  # fmt: skip
    return Recording(at="2026-11-20T12:00:00+00:00", calls=calls)
