"""Files of locked requirements: hashes on every line, the same versions without them, and what `make audit` says."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
PLAIN = REQUIREMENTS / "no-hashes.txt"
LOCKS = [ROOT / "requirements.txt", *sorted(set(REQUIREMENTS.glob("*.txt")) - {PLAIN})]
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[^\s;]+( ; [^\\]+)?")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(path: Path) -> dict[str, list[str]]:
    """Return each requirement as it is written, and the options behind it."""
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r" *#", line))
    logical = "\n".join(lines).replace("\\\n", "\0").splitlines()
    parts = [[part.strip() for part in line.split("\0")] for line in logical]
    return {requirement: options for requirement, *options in parts}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_has_hashes_and_nothing_else(lock: Path) -> None:
    found = entries(lock)

    assert found
    for requirement, options in found.items():
        assert PIN.fullmatch(requirement), "no index, no path, no address"
        assert options, f"{requirement} has no hash"
        assert all(map(HASH.fullmatch, options)), requirement


def test_hashes_are_of_the_files_for_all_platforms() -> None:
    # compiled for Linux, macOS and Windows, several Pythons each: dozens of files, one of them for this machine
    for name, lock in {"orjson==": LOCKS[0], "pyarrow==": LOCKS[0], "duckdb==": REQUIREMENTS / "cloud.txt"}.items():
        (hashes,) = [options for requirement, options in entries(lock).items() if requirement.startswith(name)]
        assert len(set(hashes)) > 15, name


def test_both_files_for_airflow_name_the_same_versions() -> None:
    with_hashes, without = entries(LOCKS[0]), entries(PLAIN)

    assert list(without) == list(with_hashes)
    assert not any(without.values())


def test_a_file_is_locked_wherever_the_makefile_installs_from_one() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    lines = [line for line in makefile.splitlines() if ".venv-ranges" not in line]  # it is about what is not locked
    installs = [line for line in lines if re.search(r"\$\(INSTALL\)|pip install", line)]
    assert len(installs) == 13, "INSTALL itself, uv, and eleven files or pairs of files"
    assert all("--require-hashes" in line or "$(INSTALL)" in line for line in installs)
    assert {name for line in installs for name in re.findall(r"-r (\S+)", line)} == {
        str(lock.relative_to(ROOT)) for lock in LOCKS
    }


def test_a_package_of_another_hash_is_not_installed(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    (requirement,) = entries(REQUIREMENTS / "cloud-nodeps.txt")
    lock.write_text(f"{requirement} --hash=sha256:{'0' * 64}\n")

    done = subprocess.run(
        [
            *(ROOT / ".venv-uv" / "bin" / "uv", "pip", "install", "--python", ROOT / ".venv-cloud" / "bin" / "python"),
            *("--require-hashes", "--no-deps", "--python-version", "3.13"),
            *("--target", tmp_path / "to", "--requirement", lock),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not list((tmp_path / "to").glob("local_bigquery*"))


# --- make audit --------------------------------------------------------------------------------


class Advisories(BaseHTTPRequestHandler):
    """OSV, which knows one advisory: of jinja2."""

    status = 200

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        package = {"name": "jinja2", "ecosystem": "PyPI"}
        events = [{"introduced": "0"}, {"fixed": "99.1"}]
        advisory = {
            "id": "PYSEC-2026-1",
            "modified": "2026-01-01T00:00:00Z",
            "published": "2026-01-01T00:00:00Z",
            "details": "made up",
            "affected": [{"package": package, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
        }
        body = json.dumps({"vulns": [advisory] if name == "jinja2" else []}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Broken(Advisories):
    status = 503


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query"
        finally:
            server.shutdown()
            thread.join()


def audit(tmp_path: Path, address: str, **locks: str) -> tuple[int, str]:
    """Audit files of these names and packages; return the exit code and what was said."""
    files = []
    for name, pins in locks.items():
        files.append(tmp_path / f"{name}.txt")
        files[-1].write_text("".join(f"{pin} --hash=sha256:{'0' * 64}\n" for pin in pins.split()))
    done = subprocess.run(
        [ROOT / ".venv-audit" / "bin" / "python", REQUIREMENTS / "audit.py", "--osv", address, *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_known_vulnerability_is_named_and_fails(tmp_path: Path) -> None:
    with served(Advisories) as address:
        code, said = audit(tmp_path, address, first="click==8.5.1 jinja2==3.1.6", second="click==8.5.1")

    assert code == 1
    assert said.splitlines() == [
        "first.txt: jinja2 3.1.6 has PYSEC-2026-1, fixed in 99.1",
        "first.txt: 2 packages checked, 1 vulnerabilities known",
        "second.txt: 1 packages checked, 0 vulnerabilities known",
    ]


def test_nothing_known_is_said_with_what_was_checked(tmp_path: Path) -> None:
    with served(Advisories) as address:
        assert audit(tmp_path, address, one="click==8.5.1") == (
            0,
            "one.txt: 1 packages checked, 0 vulnerabilities known\n",
        )


def test_where_nobody_can_be_asked_one_line_says_so(tmp_path: Path) -> None:
    with served(Advisories) as address:
        pass  # nobody listens there any more

    code, said = audit(tmp_path, address, one="jinja2==3.1.6", two="click==8.5.1")

    assert code == 3
    assert re.fullmatch(rf"not checked: one\.txt and what follows it\. {address}: .*Connection refused.*\n", said)


def test_an_error_of_the_source_is_no_clean_result(tmp_path: Path) -> None:
    with served(Broken) as address:
        code, said = audit(tmp_path, address, one="click==8.5.1")

    assert (code, said.startswith("not checked: one.txt")) == (3, True)


def test_make_audit_fails_in_ci_only_when_nothing_was_checked() -> None:
    (recipe,) = re.findall(r"requirements/audit\.py (\|\| .*)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    outcome = {
        (code, ci): subprocess.run(
            ["/bin/bash", "-euc", f"(exit {code}) {recipe.replace('$$', '$')}"], check=False, env={"CI": ci}
        ).returncode
        != 0
        for code in (0, 1, 3)
        for ci in ("", "true")
    }

    assert outcome == {
        (0, ""): False, (0, "true"): False,
        (1, ""): True, (1, "true"): True,
        (3, ""): False, (3, "true"): True,
    }  # fmt: skip
