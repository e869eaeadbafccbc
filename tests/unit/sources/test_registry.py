"""The table of streams, and what every stream in it keeps to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.flow import NOON
from windrow.model.answer import Answer, Outcome
from windrow.model.contract import LINEAGE, Contract
from windrow.model.errors import BadParameter
from windrow.model.policy import HTTP_POLICY
from windrow.model.query import Query
from windrow.model.registry import stream, streams
from windrow.model.stream import Planned, Stream

PLUGINS = Path(__file__).parents[3] / "plugins"


@pytest.mark.parametrize("dataset", streams())
def test_every_entry_is_a_stream_of_that_name(dataset: str):
    assert stream(dataset).dataset == dataset
    assert re.fullmatch("[a-z][a-z0-9]*_[a-z0-9_]+", dataset), "<source>_<noun>"


@pytest.mark.parametrize("dataset", streams())
def test_columns_are_well_named_and_described(dataset: str):
    columns = stream(dataset).contract.columns
    names = [column.name for column in (*columns, *LINEAGE)]
    assert len(names) == len(set(names))
    assert all(re.fullmatch("[a-z][a-z0-9_]*", column.name) for column in columns)
    assert all(column.field and column.description for column in columns)


@pytest.mark.parametrize("dataset", ["", "shop", "Shop_Orders", "shop_orders", "os:getcwd"])
def test_an_unknown_dataset_is_refused_with_the_known_ones(dataset: str):
    with pytest.raises(BadParameter, match=re.escape(repr(dataset))) as refused:
        stream(dataset)
    assert all(known in refused.value.advice for known in streams())


def test_to_know_the_streams_imports_no_source():
    """A DAG file is parsed every few seconds: it should pay for its own source alone."""
    code = (
        "import sys; from windrow.model.registry import streams; streams(); "
        "print(max(name.count('.') for name in sys.modules if name.startswith('windrow.sources')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(PLUGINS)}
    )
    assert found.stdout.strip() == "2", "windrow.sources.github, and nothing in it"


# --- what a source inherits --------------------------------------------------------------------


class Plain(Stream):
    dataset = "plain_things"
    contract = Contract(())

    def plan(self, request):
        yield Planned((Query.of("/things"),))

    def records(self, query, answer):
        return ()


def test_a_stream_promises_nothing_by_default():
    answer = Answer(Query.of("/things"), Outcome.ANSWERED, 200, "{}", NOON)
    assert Plain().next_page(answer.query, answer) is None
    assert (Plain.one_record_an_answer, Plain.policy, Plain.quotas) == (False, HTTP_POLICY, ())
    assert (Plain.headers, Plain.partition) == ({}, "")


@pytest.mark.parametrize("missing", ["plan", "records"])
def test_a_stream_has_to_plan_and_to_read(missing: str):
    incomplete = type("Incomplete", (Plain,), {missing: getattr(Stream, missing)})
    with pytest.raises(TypeError, match=missing):
        incomplete()


# --- what only one API has is in its folder ----------------------------------------------------

NAMES = {path.name for path in (PLUGINS / "windrow/sources").iterdir() if path.is_dir() and len(path.name) > 1}
ADDRESS = re.compile(r"https?://\S+")


def test_only_its_own_folder_names_an_api():
    words = "|".join(sorted(NAMES - {"__pycache__"}))
    names = re.compile(rf"(?i:{words}|twitter|artist|passenger)|\bX\b(?!-)|\bx_")
    sources = PLUGINS / "windrow/sources"
    files = [path for path in (PLUGINS / "windrow").rglob("*.py") if sources not in path.parents]
    assert len(files) > 50

    found = [
        f"{path.relative_to(PLUGINS)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if names.search(ADDRESS.sub("", line))
    ]

    assert found == []
