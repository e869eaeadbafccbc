"""What ministack starts is somebody's code: Lambda functions and scripts of Glue. It is started confined.

A child gets its own code, Python and the system's libraries to read, and a temp folder of its own to write in, which
is its home as well. Of ministack's environment it gets what any program needs, not more.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_cloud import processes
from local_cloud.emulators import confine

INHERITED = frozenset({"PATH", "LANG", "LC_ALL", "PYTHONUNBUFFERED", "AWS_ENDPOINT_URL", processes.MARK})
"""What a child may have of the environment of this process."""


class ConfinedPopen(subprocess.Popen):  # type: ignore[type-arg]  # its base is not to be subscripted at run time
    """A child with few files in reach."""

    def __init__(self, args: Sequence[str], *others: Any, **options: Any) -> None:
        if isinstance(args, str) or options.get("shell"):
            raise PermissionError("The local AWS starts no shell.")
        self._temp = tempfile.TemporaryDirectory(prefix="child-", ignore_cleanup_errors=True)  # ends with this object
        environment = dict(os.environ if options.get("env") is None else options["env"])
        environment = {
            **{name: value for name, value in environment.items() if _is_its_own(name, value)},
            **dict.fromkeys(("HOME", "TMPDIR"), self._temp.name),
        }
        options["env"] = {confine.PREFIX + name: value for name, value in environment.items()}
        super().__init__(_confined(args, options.get("cwd"), self._temp.name), *others, **options)


def _is_its_own(name: str, value: str) -> bool:
    return name in INHERITED or os.environ.get(name) != value


def _confined(args: Sequence[str], code: str | None, temp: str) -> list[str]:
    """Return the command line that starts a program confined.

    :param code: the folder of the function's code, beside which its layers are.
    """
    program = sys.executable if args[0] == "python3" else shutil.which(args[0])  # the one on the PATH may be a script
    if program is None:
        raise FileNotFoundError(f"The local AWS cannot start {args[0]}: it is not installed.")
    ours = {Path(os.environ[name]).resolve() for name in ("TMPDIR", "S3_DATA_DIR")}
    scripts = [word for word in args[1:] if not ours.isdisjoint(Path(word).resolve().parents)]
    layers = Path(code).parent.glob("layer_*") if code else ()
    limits = {
        "readable": [*confine.python(), *([code] if code else ()), *map(str, layers), *scripts],
        "writable": [temp],
        "programs": [str(Path(one).resolve()) for one in (program, sys.executable)],
    }
    return [sys.executable, "-I", "-S", confine.__file__, json.dumps(limits), program, *args[1:]]


def install() -> None:
    """Confine all that this process starts from now on."""
    if not confine.supported():
        print("Lambda functions are not confined: they can use every file that you can use. " + confine.NEEDED)
    subprocess.Popen = ConfinedPopen  # type: ignore[misc]
