"""What happens once in a campaign: a full disk, a clock two days ahead, a network that is gone. For root, on Linux."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from local_cloud import folder
from local_cloud.services import Service
from local_cloud.settings import Settings

DISK, CLOCK, NETWORK = "full disk", "clock", "network"
TARGETS = {
    DISK: ("mongo", "gcs", "bigquery", "pubsub", "aws"),
    CLOCK: ("airflow", "fetch-passenger", "x-publisher"),
    NETWORK: ("mongo", "gcs", "bigquery", "pubsub", "aws", "athena", "redis", "cloud-tasks", "apis", "postgres"),
}
"""Which services each may happen to; ``airflow``: all components of Airflow, as they share a machine."""
LASTS_S = {DISK: 60.0, CLOCK: 120.0, NETWORK: 300.0}
_AHEAD = {"FAKETIME": "+2d", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
_FIRST = Path(__file__).with_name("ahead")
_ROOM = "4g"
_SPARE_KB = 64
"""What a full disk still has."""

Undo = Callable[[], None]


def impossible(kind: str) -> str:
    """Return why this machine does not allow a kind; empty if it does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs root on Linux"
    if kind == NETWORK and not shutil.which("iptables"):
        return "it needs iptables"
    if kind == CLOCK and _library() is None:
        return "it needs libfaketime (Debian, Ubuntu: apt install libfaketime)"
    return ""


def _library() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a file system of its own at a folder that does not exist yet, until the block ends."""
    place.mkdir()
    _command("mount", "-t", "tmpfs", "-o", f"size={_ROOM},mode=755", "windrow-chaos", str(place))
    try:
        yield
    finally:
        _command("umount", "--lazy", str(place))


def fill(place: Path) -> Undo:
    """Make the file system of `small_disk` full."""
    used_kb = shutil.disk_usage(place).used // 1024 + _SPARE_KB
    _command("mount", "-o", f"remount,size={used_kb}k", str(place))
    return lambda: _command("mount", "-o", f"remount,size={_ROOM}", str(place))


def drop(ports: Collection[int]) -> Undo:
    """Drop all that is sent to these ports on the loopback interface."""
    rules = [("INPUT", "-i", "lo", "-p", "tcp", "--dport", str(port), "-j", "DROP") for port in ports]
    for rule in rules:
        _command("iptables", "-w", "-I", *rule)

    def undo() -> None:
        for rule in rules:
            _command("iptables", "-w", "-D", *rule)

    return undo


def set_ahead(settings: Settings, services: Collection[Service], restart: Callable[[str], None]) -> Undo:
    """Start services again, two days ahead of all others."""
    spec = settings.run / "services"
    before = {service.name: (spec / f"{service.name}.json").read_text() for service in services}

    def write(*, ahead: bool) -> None:
        for name, text in before.items():
            service = json.loads(text)
            if ahead:
                path = [str(_FIRST), service["environment"].get("PYTHONPATH", "")]
                service["environment"] |= {"PYTHONPATH": os.pathsep.join(path), "LD_PRELOAD": str(_library()), **_AHEAD}
            folder.write_private(spec / f"{name}.json", json.dumps(service))
            restart(name)

    write(ahead=True)
    return lambda: write(ahead=False)


def _command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603 - no shell, and only our own words
