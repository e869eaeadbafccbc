"""What Airflow's processes import before they fork, and what a fork does after an edit of the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from local_cloud.testing import ROOT

SCRIPT = """
import os, sys
import preload
preload.AT_WORK = ()
preload.load(os.environ)
exec(sys.argv[1])
child = os.fork()
if child == 0:
    print("loaded" if "windrow.shop" in sys.modules else "forgotten", flush=True)
    from windrow.shop import price
    print(price, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
CHANGE = """
from pathlib import Path
from time import time
path = Path(os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"], {name!r})
path.write_text({text!r})
os.utime(path, (time() + 60, time() + 60))
"""


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("notes.txt", "no source", ["loaded", "1"]),
        ("windrow/shop/__init__.py", "price = 22", ["forgotten", "22"]),
        ("windrow/new.py", "", ["forgotten", "1"]),
    ],
)
def test_a_fork_has_what_dag_files_import_unless_the_package_was_edited(
    tmp_path: Path, name: str, text: str, expected: list[str]
) -> None:
    shop, dags = tmp_path / "plugins" / "windrow" / "shop", tmp_path / "dags"
    shop.mkdir(parents=True)
    dags.mkdir()
    (shop.parent / "__init__.py").touch()
    (shop / "__init__.py").write_text("price = 1")
    (dags / "a_broken.py").write_text("from windrow import (")
    (dags / "b_unknown.py").write_text("from windrow.nowhere import nothing")
    (dags / "shop.py").write_text("from windrow import shop")
    path = [str(ROOT / "local_cloud" / "airflow_settings"), str(tmp_path / "plugins")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(tmp_path / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
    }
    command = [sys.executable, "-c", SCRIPT, CHANGE.format(name=name, text=text)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ran.stdout.split() == expected, ran.stderr
