"""Launch Google's functions-framework, guarded as all services are. Takes its command line."""

from typing import Any

from functions_framework import _cli, create_app

from local_cloud.airflow_settings import known_source
from local_cloud.emulators import guard


def guarded_app(*arguments: Any) -> Any:
    """Make the application of a function."""
    app = create_app(*arguments)
    app.add_middleware(guard.asgi)
    return app


def main() -> None:
    """Serve until SIGTERM."""
    known_source.check(_cli)
    guard.install()
    _cli.create_app = guarded_app
    _cli._cli()


if __name__ == "__main__":
    main()
