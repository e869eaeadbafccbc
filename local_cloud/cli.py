"""The commands of the local cloud: `.venv/bin/python -m local_cloud COMMAND`. The Makefile's targets call them."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from local_cloud import airflow_env, folder, logs, signals
from local_cloud.errors import LocalCloudError
from local_cloud.settings import Settings
from local_cloud.supervisor import LocalCloud

ROOT = Path(__file__).resolve().parents[1]


def up(settings: Settings) -> None:
    """start everything, wait until it is healthy, and leave it running"""
    cloud = LocalCloud(settings, os.environ)
    if cloud.up(say):
        say("The local cloud is running.")
    else:
        say("The local cloud was already running.")
    for service in cloud.services:
        if service.address:
            say(f"  {service.name:<21} {service.address}")
    password = "admin" if settings.admin_password == "admin" else "see WINDROW_ADMIN_PASSWORD"  # noqa: S105
    say(f"Airflow: {settings.airflow_url}  user {airflow_env.USER}, password {password}")


def down(settings: Settings) -> None:
    """stop everything, and check that no process is left"""
    say("Stopped." if LocalCloud(settings, os.environ).down() else "Nothing was running.")


def status(settings: Settings) -> None:
    """show which services run, and where"""
    cloud = LocalCloud(settings, os.environ)
    states = cloud.states()
    for service in cloud.services:
        say(f"{service.name:<21} {states[service.name]:<10} {service.address}".rstrip())
    for service in cloud.services:
        if states[service.name] == "stuck":
            say(f"{service.name}: {service.stuck()}")
    full = folder.full_disk(settings.var)
    if full:
        say(full)
    if full or any(state != "healthy" for state in states.values()):
        sys.exit(1)


def follow_logs(settings: Settings) -> None:
    """follow the logs of all services, until Ctrl-C"""
    if not settings.log.is_dir():
        raise LocalCloudError(f"The folder {settings.log} has no logs yet. Start the local cloud: `make up`.")
    for line in logs.follow(settings.log):
        say(line)


def clean(settings: Settings) -> None:
    """stop everything and delete the folder of data and logs"""
    deleted = LocalCloud(settings, os.environ).clean()
    say(f"Deleted {settings.var}." if deleted else "There was nothing to delete.")


def demo(settings: Settings) -> None:
    """start everything, harvest, and show the result"""
    from local_cloud import demo as demonstration  # noqa: PLC0415  only this command needs it

    demonstration.run(settings)


COMMANDS: Mapping[str, Callable[[Settings], None]] = {
    "up": up,
    "down": down,
    "status": status,
    "logs": follow_logs,
    "clean": clean,
    "demo": demo,
}


def airflow(settings: Settings, arguments: Sequence[str]) -> None:
    """run an Airflow command on the local cloud: airflow dags trigger titanic_passengers"""
    environment = airflow_env.airflow_environment(settings, os.environ)
    program = settings.airflow_python.with_name("airflow")
    os.execve(program, [str(program), *arguments], environment)  # noqa: S606


def windrow(settings: Settings, arguments: Sequence[str]) -> None:
    """run the windrow command on the local cloud: windrow status"""
    environment = {
        **os.environ,
        "WINDROW_MONGO_URL": airflow_env.mongo_url(settings, "windrow"),
        "PYTHONPATH": str(ROOT / "plugins"),
    }
    program = str(settings.airflow_python)
    os.execve(program, [program, "-m", "windrow", *arguments], environment)  # noqa: S606


THROUGH: Mapping[str, Callable[[Settings, Sequence[str]], None]] = {"airflow": airflow, "windrow": windrow}
"""Commands that take all further arguments."""


def say(line: str) -> None:
    """Print a line and flush it, also if the output is a pipe."""
    print(line, flush=True)


def main() -> None:
    """Run one command. Exit with 1 on an expected error, and with 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud", description="Windrow's local cloud.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.__doc__)
    for name, through in THROUGH.items():
        commands.add_parser(name, help=through.__doc__, add_help=False, prefix_chars=" ")
    chosen, arguments = parser.parse_known_args()
    signals.end_in_order()
    try:
        settings = Settings.load(ROOT, os.environ)
        if chosen.command in THROUGH:
            THROUGH[chosen.command](settings, arguments)
        elif arguments:
            parser.error(f"unknown arguments: {' '.join(arguments)}")
        else:
            COMMANDS[chosen.command](settings)
    except LocalCloudError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `make logs | head`: the pipe is closed, so a flush at exit would fail too
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
