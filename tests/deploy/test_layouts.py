"""What `make package` makes for the services that run Airflow: every template of every DAG is found there.

These are imitations: folders on this machine, laid out as the documentation of each service says (2026-11).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from local_cloud.airflow_settings.preload import AT_WORK
from windrow.declare.include import include_folder

ROOT = Path(__file__).resolve().parents[2]
CHECK = """
import importlib, json, os, sys
import airflow.sdk
from airflow.dag_processing.dagbag import BundleDagBag
from jinja2 import meta

for module in sys.argv[1:]:  # what all layouts import, once
    importlib.import_module(module)

def check(dags, plugins, bundle):
    sys.path += [plugins]
    bag = BundleDagBag(dag_folder=dags, bundle_path=bundle, bundle_name="layout")
    missing, found = [f"{path}: {error}" for path, error in bag.import_errors.items()], set()
    for dag in bag.dags.values():
        environment = dag.get_template_env()
        for task in dag.tasks:
            texts = [getattr(task, name, None) for name in task.template_fields]
            names = [text for text in texts if isinstance(text, str) and text.endswith((".sql", ".json"))]
            for text in texts:
                if isinstance(text, str) and "{%" in text:
                    names += meta.find_referenced_templates(environment.parse(text))
            for name in names:
                try:
                    environment.get_template(name)
                    found.add(name)
                except Exception as error:
                    missing.append(f"{dag.dag_id}.{task.task_id}: {error!r}")
    return {"dags": sorted(bag.dags), "found": len(found), "missing": missing}

for line in sys.stdin:
    layout = json.loads(line)
    reading, writing = os.pipe()
    if not os.fork():  # windrow is imported anew
        try:
            told = check(layout["dags"], layout["plugins"], layout["bundle"])
        except BaseException as error:
            told = {"dags": [], "found": 0, "missing": [repr(error)]}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        print("LAYOUT", json.dumps({"name": layout["name"]} | json.load(answer)), flush=True)
"""
LAYOUTS = {
    "a checkout, a baked image": ("dags", "plugins", None),
    "Astronomer": ("astronomer/dags", "astronomer/plugins", None),
    "Cloud Composer": ("composer/dags", "composer/plugins", None),
    "Amazon MWAA": ("mwaa/dags", "mwaa/plugins", None),
    "a DAG bundle": ("bundle/dags", "elsewhere/plugins", "bundle"),
    "nowhere": ("nowhere/dags", "nowhere/plugins", None),
}
"""Folders of DAGs and plugins, and the root of the bundle if it is not the folder of the DAGs."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make package` makes of this checkout, and a copy of its folders."""
    folder = tmp_path_factory.mktemp("packed")
    done = subprocess.run(
        [sys.executable, ROOT / "deploy/package.py", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with ZipFile(folder / "mwaa/plugins.zip") as plugins:  # the service unpacks it
        plugins.extractall(folder / "mwaa/plugins")
    unwanted = shutil.ignore_patterns("__pycache__", "static")
    for name in ("dags", "plugins", "include"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for place in ("elsewhere", "nowhere"):
        shutil.copytree(ROOT / "plugins", folder / place / "plugins", ignore=unwanted)
    shutil.copytree(ROOT / "dags", folder / "nowhere/dags", ignore=unwanted)
    return folder


@pytest.fixture(scope="module")
def layouts(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Load all DAGs of each layout."""
    asked = []
    for name, (dags, plugins, bundle) in LAYOUTS.items():
        told = {"name": name, "dags": str(packed / dags), "plugins": str(packed / plugins)}
        asked.append(json.dumps(told | {"bundle": str(packed / (bundle or dags))}))
    environ = {**os.environ, "PYTHONPATH": "", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    nowhere = str(tmp_path_factory.mktemp("nowhere"))
    environ |= {f"AIRFLOW__CORE__{name}_FOLDER": nowhere for name in ("DAGS", "PLUGINS")}  # not those of this checkout
    environ.pop("WINDROW_INCLUDE", None)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, *(module for module, _ in AT_WORK)],
        input="\n".join(asked),
        env=environ,
        cwd=nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line.split(" ", 1)[1]) for line in done.stdout.splitlines() if line.startswith("LAYOUT ")]
    assert len(lines) == len(LAYOUTS), done.stderr
    return {line["name"]: line for line in lines}


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "nowhere"])
def test_all_templates_are_found(layouts: dict[str, dict[str, object]], name: str) -> None:
    told = layouts[name]

    assert told["missing"] == []
    assert told["dags"] == layouts["a checkout, a baked image"]["dags"]
    assert told["found"] == layouts["a checkout, a baked image"]["found"] != 0


def test_without_the_folder_the_error_says_what_to_do(layouts: dict[str, dict[str, object]]) -> None:
    """A DAG that makes its SQL from files is not loaded with other statements instead."""
    missing = "\n".join(map(str, layouts["nowhere"]["missing"]))  # type: ignore[call-overload]

    assert "TemplateNotFound" in missing
    assert "WINDROW_INCLUDE" in missing


def test_a_setting_names_the_folder(tmp_path: Path) -> None:
    assert include_folder({"WINDROW_INCLUDE": str(tmp_path)}) == tmp_path


@pytest.mark.parametrize("service", ["composer", "mwaa", "astronomer"])
def test_a_service_with_an_airflow_of_its_own_gets_ranges_that_the_lock_is_in(packed: Path, service: str) -> None:
    first, *rest = (packed / service / "requirements.txt").read_text().splitlines()
    if service == "mwaa":
        assert first.startswith('--constraint "https://raw.githubusercontent.com/apache/airflow/constraints-3.')
    else:
        rest = [first, *rest]
    asked = list(map(Requirement, rest))
    lines = (ROOT / "requirements/no-hashes.txt").read_text().split()
    locked = dict(line.split("==") for line in lines if "==" in line)
    assert len(asked) > 10
    for one in asked:
        assert one.name not in {"apache-airflow", "psycopg2-binary"}
        assert locked[one.name] in one.specifier, one.name


def test_settings_of_other_layouts_can_be_parsed(packed: Path) -> None:
    (bundle,) = json.loads((packed / "bundle/dag_bundle_config_list.json").read_text())
    assert set(bundle) == {"name", "classpath", "kwargs"}
    assert (ROOT / bundle["kwargs"]["subdir"]).is_dir()
    assert (packed / "astronomer/Dockerfile").read_text().splitlines()[-1].startswith("FROM ")
