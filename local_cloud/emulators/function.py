"""Launch Google's functions-framework, guarded as all services are, and its function confined.

Takes its command line. The function can read what is on its PYTHONPATH, and write in the temp folder.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from functions_framework import _cli, create_app

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import confine, guard


def guarded_app(target: str, source: str | None, *others: Any) -> Any:
    """Make the application of a function. From here on this process reaches what the function may."""
    code = [
        Path(source or "main.py").resolve().parent,
        Path(__file__).parents[1],
        *os.environ.get("PYTHONPATH", "").split(os.pathsep),
    ]
    # /proc is where the guard looks up who connects. Environment and memory of others are closed there as well
    if not confine.confine([*confine.python(), *filter(None, code), "/proc"], [tempfile.gettempdir()]):
        print("The function is not confined: it can use every file that you can use. " + confine.NEEDED)
    app = create_app(target, source, *others)
    app.add_middleware(guard.asgi)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    known_source.check(_cli)
    guard.install()
    if "TMPDIR" in os.environ:
        Path(os.environ["TMPDIR"]).mkdir(parents=True, exist_ok=True)
    _cli.create_app = guarded_app
    _cli._cli()


if __name__ == "__main__":
    main()
