"""Ask whether what is locked has known vulnerabilities: `make audit`.

pip-audit asks OSV, which has the advisories of PyPI and of GitHub. It ends with 1 both when it has found something and
when it could not ask, so its report decides here. Exit codes: 0, all was checked and nothing is known; 1, something is
known; 3, not all was checked and nothing is known of the rest. Packages that only another platform would install are
not asked about.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PIP_AUDIT = (sys.executable, "-m", "pip_audit")
OPTIONS = ("--disable-pip", "--require-hashes", "--format", "json", "--desc", "off", "--progress-spinner", "off")
OSV = "https://api.osv.dev/v1/query"
CHECKED, VULNERABLE, NOT_CHECKED = 0, 1, 3
ANSWER_SECONDS, FILE_SECONDS = 10, 300
"""How long one answer, and all answers about one file, may take."""


class NotChecked(Exception):
    """Nothing is known of a file; the message says why."""


def locks() -> list[Path]:
    """Return every file that packages are installed from; no-hashes.txt has nothing of its own."""
    return [FOLDER.parent / "requirements.txt", *sorted(set(FOLDER.glob("*.txt")) - {FOLDER / "no-hashes.txt"})]


def ask(lock: Path, osv: str) -> list[dict[str, Any]]:
    """Return pip-audit's report of the packages of a file. Raises NotChecked when there is none."""
    asked = ("--vulnerability-service", "osv", "--osv-url", osv, "--timeout", str(ANSWER_SECONDS))
    command = [*PIP_AUDIT, *OPTIONS, *asked, "--requirement", str(lock)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FILE_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise NotChecked(f"{osv} took longer than {FILE_SECONDS} s") from None
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode} and without a report"]
        raise NotChecked(f"{osv}: {said[-1]}") from None
    skipped = [package for package in packages if "skip_reason" in package]
    if skipped:
        raise NotChecked(f"{skipped[0]['name']}: {skipped[0]['skip_reason']}")
    return packages


def main() -> int:
    """Ask about every file, say what was found, and return the exit code."""
    parser = argparse.ArgumentParser(prog="audit", description=__doc__)
    parser.add_argument("--osv", default=OSV, help="where to ask (%(default)s)")
    parser.add_argument("lock", nargs="*", type=Path, help="files with hashes; all of the project without one")
    options = parser.parse_args()
    code = CHECKED
    for lock in options.lock or locks():
        try:
            packages = ask(lock, options.osv)
        except NotChecked as error:
            if code != VULNERABLE:
                code = NOT_CHECKED
            print(f"not checked: {lock.name} and what follows it. {error}")
            break  # each file would wait for the same
        found = [(package, known) for package in packages for known in package["vulns"]]
        for package, known in found:
            code = VULNERABLE
            fixed = ", ".join(known["fix_versions"]) or "no version"
            print(f"{lock.name}: {package['name']} {package['version']} has {known['id']}, fixed in {fixed}")
        print(f"{lock.name}: {len(packages)} packages checked, {len(found)} vulnerabilities known")
    return code


if __name__ == "__main__":
    sys.exit(main())
