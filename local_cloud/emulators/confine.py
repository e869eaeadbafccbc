"""Go on with few files in reach; or start a program so: `python confine.py LIMITS PROGRAM [ARGUMENT...]`.

For code that was sent to us, such as a Lambda function. The kernel (Landlock, Linux 5.13 and newer) keeps this process
and all that it starts from every other file, from the memory and the environment of other processes, and from Unix
sockets. Nothing can take that back. What it does not keep it from: TCP, and the names and modes of files whose path
it knows.

It imports nothing of ours, as it also runs as a script, before all else.
"""

import ctypes
import json
import os
import platform
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # of every architecture
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_READ = _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14  # the last one cuts a file short
_ALL = (1 << 13) - 1
_DEVICES = 1 << 6 | 1 << 11
"""To make them: a disk that root made is a way around all of this."""
_SINCE = {2: 1 << 13, 3: 1 << 14}
"""Rights over files that newer versions of Landlock know: to move between folders, and to cut short."""
_SCOPED = 3
"""Abstract Unix sockets and signals end at the border, from version 6 on."""
_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""What seccomp calls an architecture, and its number of socket(2)."""
_IO_URING_SETUP = 425
"""It would open sockets without socket(2)."""

NEEDED = "It takes Linux 5.13 or newer, with Landlock."
PREFIX = "CONFINED_"
"""In front of every variable that is for the program: with LD_PRELOAD it could run before it is confined."""
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/localtime", "/usr/share/zoneinfo", "/etc/mime.types"),
    *("/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/ca-certificates"),
    *("/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/dev/urandom", "/dev/random", "/dev/zero"),
)
"""What any program may read: libraries, names, certificates, time zones."""


def python() -> list[str]:
    """Return the folders of this Python and its packages."""
    return [sys.prefix, sys.base_prefix, str(Path(sys.executable).resolve())]


def supported() -> bool:
    """Say whether this system can confine a process."""
    return _version() > 0


def confine(
    readable: Iterable[str | Path], writable: Iterable[str | Path], programs: Iterable[str | Path] = ()
) -> bool:
    """Let this thread, and all that it starts, use these files and folders only; say whether the system can do that.

    :param writable: what may also be read.
    :param programs: what it may start. The system's loader is let through, as programs need it.
    :raises OSError: the kernel does not do what it said it could.
    """
    version = _version()
    if not version:
        return False
    handled = _ALL | sum(right for since, right in _SINCE.items() if version >= since)
    rules = [
        *((path, _READ) for path in (*SYSTEM, *readable)),
        *((path, handled & ~_EXECUTE & ~_DEVICES) for path in writable),
        ("/dev/null", _READ_FILE | _WRITE_FILE),
        *(
            (path, _EXECUTE | _READ_FILE)
            for path in (*programs, *Path("/lib64").glob("ld-*"), *Path("/lib").glob("ld-*"))
        ),
    ]
    attributes = struct.pack("QQQ", handled, 0, _SCOPED if version >= 6 else 0)
    ruleset = _syscall(_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0)
    for path, rights in rules:
        _allow(ruleset, path, rights & handled)
    _prctl(_SET_NO_NEW_PRIVS, 1, 0)
    _drop_capabilities()
    _refuse_unix_sockets()
    _syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return True


def _version() -> int:
    """Return the version of Landlock that this kernel speaks; 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    except OSError:
        return 0


def _allow(ruleset: int, path: str | Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no rule
    try:
        if not Path(f"/proc/self/fd/{opened}").is_dir():
            rights &= _OF_FILES
        rule = ctypes.c_char_p(struct.pack("=Qi", rights, opened))
        _syscall(_ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(opened)


def _drop_capabilities() -> None:
    """Be no more than an ordinary user, if this is root, who may read the environment of any process."""
    header, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.c_char_p(header), ctypes.c_char_p(none)) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _refuse_unix_sockets() -> None:
    """Let socket(2) make none, as Landlock does not keep anyone from those of a daemon that starts programs.

    Pairs of sockets, which Python's own loops need, stay.
    """
    if platform.machine() not in _ARCHITECTURES:
        return
    architecture, socket = _ARCHITECTURES[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    program = [
        (load, 0, 0, 4),  # the architecture: programs of another one have other numbers
        (equal, 0, 6, architecture),
        (load, 0, 0, 0),  # the number of the call
        (at_least, 4, 0, 0x40000000),  # calls of x32
        (equal, 3, 0, _IO_URING_SETUP),
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # the family
        (equal, 0, 1, 1),
        (give, 0, 0, 0x00050001),  # EPERM
        (give, 0, 0, 0x7FFF0000),  # do it
    ]
    packed = b"".join(struct.pack("HBBI", *line) for line in program)
    content = ctypes.create_string_buffer(packed, len(packed))
    described = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(content)))
    _prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(described))


def _prctl(option: int, first: int, second: int) -> None:
    number = ctypes.c_ulong
    if ctypes.CDLL(None, use_errno=True).prctl(option, number(first), number(second), number(0), number(0)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _syscall(number: int, *arguments: object) -> int:
    done = int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), f"the system call {number} failed")
    return done


def main() -> None:
    """Become a program that is confined."""
    limits, program = json.loads(sys.argv[1]), sys.argv[2:]
    confine(limits["readable"], limits["writable"], limits["programs"])
    environment = {name.removeprefix(PREFIX): value for name, value in os.environ.items() if name.startswith(PREFIX)}
    os.execve(program[0], program, environment)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
