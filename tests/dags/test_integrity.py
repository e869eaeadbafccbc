"""Every DAG: imports, holds to the house rules, and touches nothing while it is parsed."""

import ast
import contextlib
import copy
import json
import logging
import os
import re
import shlex
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "dags").glob("*.py"))
DAG_LINES = 120

SPY = """
import runpy, sys, traceback
import airflow.sdk
from airflow.sdk import Variable, BaseHook

def refuse(event, args):
    if event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
        raise RuntimeError(f"network at import: {event} {args!r}")

def refuse_state(*args, **kwargs):
    raise RuntimeError(f"Variable or Connection at import: {args!r}")

Variable.get = refuse_state
BaseHook.get_connection = refuse_state
sys.addaudithook(refuse)
sys.path.insert(0, sys.argv[1])
for file, told in zip(sys.argv[2::2], sys.argv[3::2]):
    said = "parsed"
    try:
        runpy.run_path(file)  # a module that is refused is not kept: the next file that imports it is refused too
    except BaseException:
        said = traceback.format_exc()
    with open(told, "w") as out:
        out.write(said)
"""
NAUGHTY = [
    "import socket; socket.create_connection(('127.0.0.1', 9))",
    "from airflow.sdk import Variable; Variable.get('x', default=None)",
    "from airflow.sdk import BaseHook; BaseHook.get_connection('x')",
]


@pytest.fixture(scope="session")
def dagbag():
    from airflow.dag_processing.dagbag import DagBag

    sys.path.insert(0, str(ROOT / "plugins"))
    return DagBag(dag_folder=str(ROOT / "dags"))


def dags(dagbag):
    assert dagbag.dags, "no DAG was found, so nothing was checked"
    return dagbag.dags.values()


def test_every_file_gives_the_dag_of_its_name(dagbag):
    assert dagbag.import_errors == {}
    assert {file.stem for file in FILES} == set(dagbag.dag_ids)


def test_dags_have_owner_tags_docs_and_a_bound_on_runs(dagbag):
    for dag in dags(dagbag):
        assert dag.tags, dag.dag_id
        assert len(dag.doc_md or "") > 200, f"{dag.dag_id}: doc_md should tell what each task does"
        assert dag.max_active_runs <= 4, f"{dag.dag_id}: runs share the API's limits"
        assert not dag.catchup, f"{dag.dag_id}: switched on, it would start a run for every day since its start date"
        for name in dag.params:
            declared = dag.params.get_param(name)
            assert declared.schema.get("title"), f"{dag.dag_id}: param {name} has no title in the form"
            assert declared.description, f"{dag.dag_id}: param {name} has no description in the form"
            assert "type" in declared.schema, f"{dag.dag_id}: param {name} takes anything"


def test_a_task_has_a_time_limit_unless_it_limits_each_wait_itself(dagbag):
    from windrow.airflow.operators.action import ActionOperator
    from windrow.airflow.operators.base import HarvestStep

    for dag in dags(dagbag):
        for task in dag.tasks:
            limits_each_wait = issubclass(getattr(task, "operator_class", type(task)), HarvestStep | ActionOperator)
            assert (task.execution_timeout is None) == limits_each_wait, task


def test_tasks_have_owner_retries_and_a_word_for_failure(dagbag):
    from windrow.airflow.operators.failure import explain_failure, explain_retry
    from windrow.airflow.operators.retry import ErrorPolicy

    for dag in dags(dagbag):
        for task in dag.tasks:
            assert task.owner not in {"", "airflow"}, task
            assert task.retries >= 1, task
            assert task.retry_delay.total_seconds() > 0, task
            assert isinstance(task.retry_policy, ErrorPolicy), f"{task}: a retry should depend on the error"
            assert explain_failure in task.on_failure_callback, f"{task}: a red task should say what to do"
            assert explain_retry in task.on_retry_callback, task


def test_a_cleared_sql_task_runs_again(dagbag):
    """Airflow's durable jobs keep the id of a finished job: cleared, such a task ends green and does nothing."""
    from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator

    jobs = [task for dag in dags(dagbag) for task in dag.tasks if isinstance(task, BigQueryInsertJobOperator)]
    assert jobs
    assert [task.task_id for task in jobs if task.durable] == []


def test_the_documented_backfill_makes_the_runs_that_its_page_promises(dagbag):
    """Computed by Airflow's own parser and timetable. Airflow reads a date as midnight: the last day is easily lost."""
    from airflow.cli.cli_parser import get_parser
    from airflow.serialization.serialized_objects import DagSerialization

    page = (ROOT / "docs" / "backfill.md").read_text()
    commands = re.findall(r"^airflow (backfill create .+)$", page, re.MULTILINE)
    promises = re.findall(r"makes (\d+) runs,\s+for (\S+) to (\S+):", page)
    assert len(commands) == len(promises) > 0
    for command, (count, first, last) in zip(commands, promises, strict=True):
        asked = get_parser().parse_args(shlex.split(command))
        dag = DagSerialization.from_dict(DagSerialization.to_dict(dagbag.dags[asked.dag_id]))
        runs = dag.iter_dagrun_infos_between(asked.from_date, asked.to_date)
        days = [str(run.logical_date.in_timezone(dag.timetable._timezone).date()) for run in runs]
        assert (len(days), days[0], days[-1]) == (int(count), first, last)
        assert len(set(days)) == len(days)


def test_documented_triggers_have_params_of_their_dags_and_what_the_fake_apis_know(dagbag):
    from local_cloud.apis.github.world import make_world
    from local_cloud.apis.made_up_passengers import make_passengers
    from local_cloud.apis.spotify.catalogue import make_music

    known = {
        "names": {passenger["Name"] for passenger in make_passengers()},
        "repositories": make_world().names.keys(),
        "artists": {artist.name for artist in make_music().artists.values()},
    }
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
    triggers = re.findall(r"dags trigger (\w+) --conf '(\{.+?\})'", text.replace('\\"', '"'))
    assert {"titanic_passengers", "github_users", "spotify_artists"} <= {dag_id for dag_id, _ in triggers}
    for dag_id, conf in triggers:
        params = copy.deepcopy(dagbag.dags[dag_id].params)
        params.update(json.loads(conf))
        assert params.validate().keys() == dagbag.dags[dag_id].params.keys(), f"{dag_id} has no such param: {conf}"
        unknown = {name: set(params[name] or ()) - set(values) for name, values in known.items() if name in params}
        assert not any(unknown.values()), unknown


def test_every_task_says_what_is_safe_when_it_is_red(dagbag):
    from windrow.airflow.operators.failure import ADVICE, explain_failure

    def said(task) -> str:
        with capture_logs(explain_failure.__module__) as lines:
            operator = object.__new__(getattr(task, "operator_class", type(task)))  # a mapped one is unmapped to run
            explain_failure({"task_instance": task, "task": operator, "run_id": "any", "exception": KeyError("x")})
        return lines[0].partition("What to do: ")[2]

    told = {f"{dag.dag_id}.{task.task_id}": said(task) for dag in dags(dagbag) for task in dag.tasks}
    may_not_fail = {"EmptyOperator"}
    failing = {f"{dag.dag_id}.{task.task_id}" for dag in dags(dagbag) for task in dag.tasks
               if type(task).__name__ not in may_not_fail}  # fmt: skip
    assert {name for name in failing if told[name] == ADVICE["BaseOperator"]} == set()


@contextlib.contextmanager
def capture_logs(name: str):
    """The messages that a logger is given meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger(name)
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


# --- the steps of a harvest ----------------------------------------------------------------------


def steps(dagbag, kind):
    """Every task of a kind, with its DAG."""
    found = [(dag, task) for dag in dags(dagbag) for task in dag.tasks if isinstance(task, kind)]
    if not found:
        pytest.skip(f"no DAG has a {kind.__name__}")
    return found


def before(task) -> list:
    return list(task.get_flat_relatives(upstream=True))


SQL = ROOT / "include" / "sql"
TEXTS = {file.read_text(): file.relative_to(SQL).as_posix() for file in SQL.rglob("*.sql")}
"""The files by what they hold: a file that is named in a field ``sql`` is read when its DAG is."""


def sql_of(task) -> set[str]:
    """The SQL files that a task runs."""
    text = getattr(task, "sql", None)
    assert not str(text).endswith(".sql"), f"{task}: there is no {text}"
    statements = [text, *(getattr(task, name, "") for name in ("configuration", "create", "audit"))]
    included = re.findall(r"{% include '([^']+)' %}", " ".join(map(str, statements)))
    return {*included, getattr(task, "path", ""), TEXTS.get(text, "")} - {""}


def test_runs_of_a_backfill_take_turns_at_the_api_and_at_the_tables_they_share(dagbag):
    """Airflow starts several runs of a backfill at once, whatever max_active_runs of the DAG says."""
    from windrow.airflow.operators.bigquery import LoadRunOperator, SqlOperator
    from windrow.airflow.operators.harvest import HarvestOperator

    for kind in (HarvestOperator, SqlOperator, LoadRunOperator):
        for _, task in steps(dagbag, kind):
            assert task.max_active_tis_per_dag == 1, task


def test_what_only_waits_holds_no_slot_and_does_not_wait_into_the_next_day(dagbag):
    from airflow.sdk import BaseSensorOperator

    for _, task in steps(dagbag, BaseSensorOperator):
        assert task.deferrable, task
        assert task.timeout < 24 * 3600, task


def test_only_what_was_planned_is_harvested_and_only_what_was_harvested_is_landed(dagbag):
    from windrow.airflow.operators.harvest import HarvestOperator
    from windrow.airflow.operators.land import LandOperator
    from windrow.airflow.operators.plan import PlanOperator
    from windrow.airflow.operators.prove import ProveOperator
    from windrow.airflow.operators.status import StageStatusOperator

    # what a listing has told of already is landed without a harvest
    for earlier, later in (
        ((PlanOperator,), HarvestOperator),
        ((HarvestOperator, PlanOperator, StageStatusOperator), LandOperator),
        ((LandOperator,), ProveOperator),
    ):
        for _, task in steps(dagbag, later):
            of_it = [one for one in before(task) if isinstance(one, earlier) and one.dataset == task.dataset]
            assert of_it, f"{task} should come after one of {earlier} of {task.dataset}"
    for _, task in steps(dagbag, ProveOperator):
        (land,) = (one for one in before(task) if isinstance(one, LandOperator) and one.dataset == task.dataset)
        assert (task.to, task.prefix) == (land.to, land.prefix), f"{task} should look where {land} lands"


def test_nothing_is_merged_that_was_not_audited_and_no_mart_is_made_before_the_check(dagbag):
    from windrow.airflow.operators.bigquery import SqlFileOperator

    for dag, task in steps(dagbag, SqlFileOperator):
        folder, file = task.path.rsplit("/", 1)
        done = {file for one in before(task) for file in sql_of(one)}
        if file == "merge.sql":
            assert {f"{folder}/create.sql", f"{folder}/audit.sql"} <= done, task
        elif file == "query.sql":
            merges = {file for one in dag.tasks for file in sql_of(one) if file.endswith("/merge.sql")}
            assert merges <= done, f"{task} should come after all that is merged"
            assert {"check", "acknowledge"} & {one.task_id for one in before(task)}, f"{task}: what checked the merge?"
        else:
            assert file == "create.sql", f"{task}: what is {file}?"


def test_the_datasets_of_a_statement_are_made_before_it_runs(dagbag):
    from windrow.airflow.operators.bigquery import LANDING, LoadRunOperator, SqlOperator

    for dag, task in steps(dagbag, SqlOperator):
        creating = [one for one in before(task) if isinstance(one, LoadRunOperator)]
        names = {name for one in creating for name in (one.landing, one.table.strip("`").partition(".")[0])}
        made = {name.removeprefix("{{ prefix() }}") for name in names}
        assert {LANDING, dag.dag_id.partition("_")[0]} <= made, task


def test_the_watermark_moves_when_all_else_is_done(dagbag):
    from windrow.airflow.operators.plan import PlanOperator
    from windrow.airflow.operators.prove import ProveOperator

    reading = [(dag, task) for dag, task in steps(dagbag, PlanOperator) if task.watermark]
    if not reading:
        pytest.skip("no DAG reads a watermark")
    for dag, plan in reading:
        moving = [one for one in dag.tasks if isinstance(one, ProveOperator) and one.watermark == plan.watermark]
        assert [one.dataset for one in moving] == [plan.dataset], f"{dag.dag_id}: who moves what {plan} reads?"
        assert set(before(moving[0])) | {moving[0]} == set(dag.tasks), f"{moving[0]} should come last"


def test_the_cost_is_known_before_a_planned_call_and_with_plan_only_there_is_none(dagbag):
    from windrow.airflow.operators.cost import CostOperator
    from windrow.airflow.operators.enqueue import EnqueueOperator
    from windrow.airflow.operators.estimate import EstimateOperator
    from windrow.airflow.operators.fetch import FetchOperator
    from windrow.airflow.operators.harvest import HarvestOperator
    from windrow.airflow.operators.plan import PlanOperator

    kinds = (HarvestOperator, EnqueueOperator, FetchOperator)
    for dag in dags(dagbag):
        for task in dag.tasks:
            if not issubclass(getattr(task, "operator_class", type(task)), kinds):
                continue
            dataset = getattr(task, "dataset", None) or task.partial_kwargs["dataset"]
            known = [one for one in before(task) if isinstance(one, EstimateOperator)]
            known += [one for one in before(task) if isinstance(one, CostOperator) and dataset in one.plans]
            assert known, f"{task} makes calls whose cost nothing has computed"
            assert "plan_only" in dag.params
    for dag, cost in steps(dagbag, CostOperator):
        plans = {one.dataset for one in before(cost) if isinstance(one, PlanOperator)}
        assert set(cost.plans) <= plans, f"{cost} should come after its plans"
        harvests = {one.dataset: one.conn_id for one in dag.tasks if isinstance(one, HarvestOperator)}
        assert cost.plans.items() <= harvests.items(), "the limits that count are those of the connection that calls"


# --- SQL -----------------------------------------------------------------------------------------


class PulledBy:
    """Stands in for a task instance, as templates see it: what a plan before the task returns can be pulled."""

    def __init__(self, task) -> None:
        self.plans = {one.task_id: one for one in before(task) if hasattr(one, "stream")}

    def xcom_pull(self, task_id: str) -> dict[str, str]:
        from windrow.model.stream import Request

        return dict(self.plans[task_id].stream.scope(Request()))


def test_every_sql_file_is_there_and_can_be_rendered_by_its_task(dagbag):
    rendered = {}
    for dag in dags(dagbag):
        environment = dag.get_template_env()
        for task, file in ((one, file) for one in dag.tasks for file in sql_of(one)):
            variables = defaultdict(lambda: "a-variable", windrow_s3_bucket="a-bucket")
            context = {
                "run_id": "manual__2026-11-20T12:00:00+00:00",
                "ti": PulledBy(task),
                "var": {"value": variables},
                "dag_run": {"run_after": datetime(2026, 11, 20, 12, tzinfo=UTC)},
            }
            rendered[file] = environment.get_template(file).render(context)
    for file, text in rendered.items():
        assert not re.search(r"{[{%#]|[%#}]}|\bNone\b|Undefined", text), file
    datasets = {file.split("/")[1] for file in rendered}  # a source that was deleted may have left its SQL
    unused = {file for file in TEXTS.values() if file.split("/")[1] in datasets} - set(rendered)
    assert {file for file in unused if not re.search(r"/board/|/metric\.sql$", file)} == set(), "who runs these?"


def test_every_table_of_a_file_has_the_prefix(dagbag):
    """One variable keeps development and production apart; a table without it is shared by both."""
    datasets = {file.split("/")[1] for file in TEXTS.values()} | {"windrow_landing"}
    name = re.compile(rf"(?<![\w.}}/'])({'|'.join(sorted(datasets))})\.[a-z_]+")
    for text, file in TEXTS.items():
        assert name.findall(re.sub(r"--.*", "", text)) == [], file


def test_what_sql_pulls_is_what_a_task_returns(dagbag):
    tasks = {task.task_id for dag in dags(dagbag) for task in dag.tasks}
    stems = {dag.dag_id.partition("_")[0] for dag in dags(dagbag)}  # a source that was deleted may have left its SQL
    texts = [text for text, file in TEXTS.items() if file.split("/")[1].partition("_")[0] in stems]
    pulled = {task_id for text in texts for task_id in re.findall(r"xcom_pull\((?:task_ids=)?['\"]([^'\"]+)", text)}
    assert pulled - tasks == set()


def test_no_cycle_and_serializable(dagbag):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags(dagbag):
        dag.check_cycle()
        copy = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert copy.dag_id == dag.dag_id
        assert {task.task_id for task in copy.tasks} == {task.task_id for task in dag.tasks}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_version_does_not_change_with_each_parse(file):
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    assert [warning.message for warning in check_dag_file_stability(str(file)).warnings] == []


@pytest.fixture(scope="module")
def spied(tmp_path_factory):
    """What becomes of each file that is parsed under the spy, in one process: what costs is Airflow's import."""
    folder = tmp_path_factory.mktemp("spied")
    files = {file.stem: file for file in FILES}
    for line in NAUGHTY:
        files[line] = folder / f"naughty_{len(files)}.py"
        files[line].write_text(line)
    told = {name: folder / f"{file.stem}.txt" for name, file in files.items()}
    pairs = [str(path) for name, file in files.items() for path in (file, told[name])]
    command = [sys.executable, "-c", SPY, str(ROOT / "plugins"), *pairs]
    spy = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert spy.returncode == 0, spy.stderr[-2000:]
    return {name: file.read_text() for name, file in told.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_network_and_no_variable_at_import(file, spied):
    assert spied[file.stem] == "parsed"


@pytest.mark.parametrize("line", NAUGHTY)
def test_the_spy_sees_what_it_should(line, spied):
    assert spied[line] != "parsed"
    assert "at import" in spied[line]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dag_reads_as_a_table_of_contents(file):
    text = file.read_text()
    assert len(text.splitlines()) <= DAG_LINES
    imported = {
        name
        for node in ast.walk(ast.parse(text))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    machinery = {
        "windrow.harvest.engine",
        "windrow.http.client",
        "windrow.store.staging",
        "windrow.http.auth",
        "pymongo",
        "aiohttp",
    }
    assert imported & machinery == set(), "a DAG uses operators and sources, never the machinery below them"
    assert "SELECT " not in text.split('"""', 2)[2], "SQL belongs into include/sql"


def test_plugins_are_not_loaded_as_top_level_modules():
    """Airflow runs every module below plugins/ under its bare name, unless .airflowignore keeps it from there."""
    code = (
        "import sys, airflow.plugins_manager as manager\n"
        "manager.load_plugins_from_plugin_directory() if hasattr(manager, 'load_plugins_from_plugin_directory') "
        "else manager.ensure_plugins_loaded()\n"
        "import windrow.model.errors, windrow.airflow.hooks.api\n"
        "own = [name for name, module in sys.modules.items()"
        " if '/plugins/windrow/' in (getattr(module, '__file__', None) or '') and not name.startswith('windrow')]\n"
        "print('OWN', own)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)
    assert "OWN []" in shown.stdout, shown.stdout[-500:] + shown.stderr[-1500:]


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md")]
PAGES += [*(ROOT / "include").rglob("*.md"), ROOT / "local_cloud/README.md", ROOT / "benchmarks/README.md"]
NOT_RUN = re.compile(r"The tests do not run the commands ((?:`[^`]+`(?:,|and|\s)*)+)of\s+this\s+page: [^.]{20,}\.")
"""What a page says of commands that no test can run, with the reason."""
SHELL = {"for", "do", "done", "export", "cp", "build/peers/$(echo", "cd", "fill()", "sed", "-e", "}"}


def _refused(command: str, parsers: dict[str, Any], targets: set[str]) -> str:
    """Return the program of a command that is none of ours; the parsers of ours refuse a wrong command."""
    words = shlex.split(re.sub(r"^\w+=(\$\()?", "" if "$(" in command else r"\g<0>", command), comments=True)
    while words and re.match(r"\w+=", words[0]):
        words.pop(0)
    if words[:1] == ["make"]:
        told = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        assert {word for word in words[1:] if "=" not in word} <= targets, command
        words = [words[1], *shlex.split(told["ARGS"])] if "ARGS" in told and words[1] in parsers else []
    if words[:3] == ["python", "-m", "windrow"]:
        words = words[2:]
    program = words[0].removeprefix("bin/") if words else ""
    if program in parsers:
        parsers[program].parse_args(words[1:])
    return "" if program in {*parsers, *SHELL, ""} else words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_command_of_a_page_is_one_or_the_page_says_that_no_test_runs_it(page):
    from airflow.cli.cli_parser import get_parser

    from windrow.cli.main import _parser

    text, made = page.read_text(), (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"^\.PHONY: (.*)$", made, re.MULTILINE) for name in line.split()}
    parsers = {"windrow": _parser(), "airflow": get_parser()}
    blocks = re.findall(r"^ *```(?:sh|bash)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines() if line.strip()]
    commands = [command.strip() for line in lines for command in line.split(" && ")]
    known = {name for action in parsers["windrow"]._actions for name in action.choices or ()}
    assert set(re.findall(r"`(?:bin/)?windrow ([a-z]\S*?)[ `]", text)) <= known
    others = {_refused(command, parsers, targets) for command in commands} - {""}
    said = {name for names in NOT_RUN.findall(text) for name in re.findall(r"`([^`]+)`", names)}
    assert others == said
