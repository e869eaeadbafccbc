"""Finds the folder ``include/`` with the SQL files and dashboards, wherever Airflow runs.

In a checkout and on Astronomer it is beside ``plugins/``. Cloud Composer and MWAA copy only ``dags/`` and
``plugins/``, so there it is inside one of them. A DAG bundle has it in its root. Airflow adds each of these folders, or
one inside it, to ``sys.path``.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SETTING = "WINDROW_INCLUDE"
"""Environment variable with the path of the folder. Without it, the folder is searched."""
_PLUGINS = str(Path(__file__).parents[2])
HELP = (
    f"Copy include/sql and include/dashboards into a folder include/ beside the DAG files, or set the environment "
    f"variable {SETTING} to the path of include/ on every component of Airflow."
)


def include_folder(environ: Mapping[str, str] = os.environ, paths: Iterable[str] | None = None) -> Path:
    """Return the folder that contains ``sql/``, or where it is expected if there is none.

    :param paths: folders to search, and the parent of each; by default where this package is, and ``sys.path``.
    """
    if named := environ.get(SETTING, ""):
        return Path(named)
    roots = [Path(path) for path in (paths if paths is not None else (_PLUGINS, *sys.path)) if path]
    searched = [each / "include" for root in roots for each in (root, root.parent)]
    return next((folder for folder in searched if (folder / "sql").is_dir()), Path(_PLUGINS).parent / "include")
