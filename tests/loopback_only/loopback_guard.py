"""Nothing leaves this machine: any look-up or connection beyond loopback raises BeyondLoopback.

`install()` guards this process. A Python process started with this folder on PYTHONPATH guards itself,
through `sitecustomize` next to this file, and so do its children.

What passes: unix sockets; addresses of loopback; "localhost"; the wildcard address (0.0.0.0, ::), which
a connection takes for this machine; and the other addresses of this machine, which its own name may resolve
to. The kernel never puts traffic to them on a wire. Binding is never refused.

What it cannot see: processes started with -I, -E or -S, and sockets made in C without Python's socket module
(gRPC's core, look-ups of uvloop, though not its connections). `connect` resolves a name before it is asked,
so a look-up made there leaves the machine even though the connection is refused.
"""

import ipaddress
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

LOG_VARIABLE = "BEYOND_LOOPBACK_LOG"
"""Names a file that gets a line for every refusal: also for those that the code under test swallows."""

_state = threading.local()
_installed = False


class BeyondLoopback(RuntimeError):
    """A process under test reached for another machine; the message names the address.

    Not an OSError: code under test would take it for an outage, and try again.
    """


def install() -> None:
    """Guard this process until it ends; an audit hook cannot be removed. Later calls do nothing."""
    global _installed  # noqa: PLW0603 - as lasting as the hook it stands for
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """Give `base` with this folder put first on PYTHONPATH: the environment of a guarded child."""
    folder = str(Path(__file__).resolve().parent)
    others = [path for path in base.get("PYTHONPATH", "").split(os.pathsep) if path and path != folder]
    return {**base, "PYTHONPATH": os.pathsep.join([folder, *others])}


def _audit(event: str, args: tuple[Any, ...]) -> None:
    check = _CHECKS.get(event)  # called for every event of the interpreter: be quick to say no
    if check is not None and not getattr(_state, "probing", False):
        check(event, args)


def _check_target(event: str, args: tuple[Any, ...]) -> None:
    """Check the address a socket connects or sends to; None: it is connected already."""
    sock, address = args[0], args[1]
    if sock.family not in {socket.AF_INET, socket.AF_INET6} or address is None:
        return
    host = _check_host(event, address[0])
    if _own_name(host):  # a name of ours, but who knows what the resolver makes of it
        for *_, resolved in socket.getaddrinfo(host, None):
            _check_host(event, str(resolved[0]))


def _check_lookup(event: str, args: tuple[Any, ...]) -> None:
    """Check a host that is looked up, or the address tuple of getnameinfo."""
    host = args[0][0] if isinstance(args[0], tuple) else args[0]
    if host is not None:
        _check_host(event, host)


_CHECKS: Mapping[str, Callable[[str, tuple[Any, ...]], None]] = {
    "socket.connect": _check_target,
    "socket.sendto": _check_target,
    "socket.sendmsg": _check_target,
    "socket.getaddrinfo": _check_lookup,
    "socket.gethostbyname": _check_lookup,
    "socket.gethostbyaddr": _check_lookup,
    "socket.getnameinfo": _check_lookup,
}


def _check_host(event: str, host: str | bytes | bytearray) -> str:
    name = host if isinstance(host, str) else bytes(host).decode(errors="replace")
    if not _is_here(name):
        log = os.environ.get(LOG_VARIABLE)
        if log:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{event} {name} process {os.getpid()}\n")
        raise BeyondLoopback(f"{event} reaches for {name!r}, which is not this machine")
    return name


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])  # fe80::1%eth0 names its interface
    except ValueError:
        return host.lower() in {"", "localhost"} or _own_name(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_unspecified or _is_own(str(address), address.version)


def _own_name(host: str) -> bool:
    # the short name first: finding the full one looks the short one up, which comes by here again
    return host.lower() == socket.gethostname().lower() or host.lower() == _own_full_name()


@cache
def _own_full_name() -> str:
    return socket.getfqdn().lower()


def _is_own(address: str, version: int) -> bool:
    """Say whether an address is one of this machine's: only then is it also the source of its traffic."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    _state.probing = True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # picks the source, and sends nothing
            return bool(probe.getsockname()[0] == address)
    except OSError:  # no route there at all
        return False
    finally:
        _state.probing = False
