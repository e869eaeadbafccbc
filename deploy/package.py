"""Build what each service that runs Airflow takes, beside the wheel: `make package`. Nothing is downloaded.

It writes folders below the one that is given: composer, mwaa, astronomer, bundle. docs/clouds.md says what to
do with each. Where an Airflow comes with its own packages, the requirements are the ranges of requirements/ranges.in.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT = Path(__file__).resolve().parents[1]
OF_THE_SERVICE = {"apache-airflow", "asyncpg", "celery", "psycopg2-binary"}
"""Packages that such a service brings itself: Airflow, its database and its executor."""
PYTHON_OF_MWAA = "3.12"
_NAME = re.compile(r"[a-z0-9-]+")
_LONG_AGO = (2026, 1, 1, 0, 0, 0)

DOCKERFILE = """\
# The number before the hyphen is the version of Airflow: take the newest release of it.
FROM astrocrpublic.azurecr.io/runtime:{release}-1
"""


def build(to: Path) -> None:
    """Write all folders, in place of those that are there."""
    airflow = re.search(r"^apache-airflow==(.+)$", _text("requirements/airflow.in"), re.MULTILINE)
    assert airflow is not None  # noqa: S101 - the file pins it
    version = airflow[1]
    ranges = _ranges()
    for name in ("composer", "mwaa", "astronomer", "bundle"):
        shutil.rmtree(to / name, ignore_errors=True)
        (to / name).mkdir(parents=True)

    _copy("dags", to / "composer/dags")
    _copy("plugins", to / "composer/plugins")
    _copy_include(to / "composer/dags/include")
    _write(to / "composer/requirements.txt", ranges)

    _copy("dags", to / "mwaa/dags")
    address = "https://raw.githubusercontent.com/apache/airflow"
    constraints = f"{address}/constraints-{version}/constraints-{PYTHON_OF_MWAA}.txt"
    _write(to / "mwaa/requirements.txt", f'--constraint "{constraints}"\n{ranges}')
    _copy("plugins", to / "mwaa/plugins")
    _copy_include(to / "mwaa/plugins/include")
    _zip(to / "mwaa/plugins", to / "mwaa/plugins.zip")
    shutil.rmtree(to / "mwaa/plugins")

    for name in ("dags", "plugins"):
        _copy(name, to / "astronomer" / name)
    _copy_include(to / "astronomer/include")
    _write(to / "astronomer/Dockerfile", DOCKERFILE.format(release=version.rpartition(".")[0]))
    _write(to / "astronomer/requirements.txt", ranges)
    _write(to / "astronomer/packages.txt", "")

    _copy("dags", to / "bundle/dags")
    _copy_include(to / "bundle/include")
    kwargs = {"git_conn_id": "windrow_git", "tracking_ref": "main", "subdir": "dags"}
    bundle = {"name": "windrow", "classpath": "airflow.providers.git.bundles.git.GitDagBundle", "kwargs": kwargs}
    _write(to / "bundle/dag_bundle_config_list.json", f"{json.dumps([bundle], indent=2)}\n")


def _ranges() -> str:
    lines = [line.partition("#")[0].strip() for line in _text("requirements/ranges.in").splitlines()]
    found = {name[0]: line for line in lines if (name := _NAME.match(line))}
    return "".join(f"{line}\n" for name, line in found.items() if name not in OF_THE_SERVICE)


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _copy(name: str, to: Path) -> None:
    shutil.copytree(ROOT / name, to, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def _copy_include(to: Path) -> None:
    """Copy of include/ what DAGs and pages read."""
    for part in ("sql", "dashboards"):
        _copy(f"include/{part}", to / part)


def _zip(folder: Path, to: Path) -> None:
    """Pack a folder. The same files give the same bytes, so that the service sees no change where there is none."""
    with ZipFile(to, "w", ZIP_DEFLATED) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = ZipInfo(str(path.relative_to(folder)), _LONG_AGO)
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, path.read_bytes(), ZIP_DEFLATED)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
