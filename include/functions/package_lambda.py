"""Package a function for AWS Lambda: `python include/functions/package_lambda.py top_tracks`.

It writes ``build/<name>.zip``: the files of `package`, and the packages of its requirements.txt with their
dependencies, as installed in the current environment. Lambda accepts 50 MB of zip, and 250 MB unpacked.
"""

import argparse
import hashlib
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from package import ROOT, contents, write_zip
from packaging.requirements import Requirement

ZIP_BYTES, UNPACKED_BYTES = 50_000_000, 250_000_000
LEFT_OUT = re.compile(r"(^|/)(__pycache__|tests?)/|\.(pyc|pyi|c|h|pyx|pxd)$|\.dist-info/(RECORD|INSTALLER|REQUESTED)$")


class CannotPackage(Exception):
    """The package would not work on Lambda; the message says why, and what to do."""


def vendored(requirements: Iterable[str]) -> dict[str, bytes]:
    """Return the files of installed packages and their dependencies, by their names in the package.

    :raises CannotPackage: a package is not installed, or has a wrong version.
    """
    files: dict[str, bytes] = {}
    seen: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        wanted = waiting.pop()
        name = wanted.name.lower().replace("_", "-")
        if name in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise CannotPackage(
                f"The package {name} is not installed. Run this with the Python of the project: `make lambda`."
            ) from None
        if not wanted.specifier.contains(found.version):
            raise CannotPackage(f"{name} {found.version} is installed, but {wanted} is required. Run `make setup`.")
        for file in found.files or ():
            if not file.is_absolute() and ".." not in file.parts and not LEFT_OUT.search(str(file)):
                files[str(file)] = file.read_binary()
        waiting += [Requirement(line) for line in found.requires or ()]
    return files


def package(function: str, root: Path = ROOT) -> dict[str, bytes]:
    """Return the files of a package by their names in the package, sorted.

    :raises CannotPackage: compiled packages of this machine do not run on Lambda, or the package is too large.
    """
    if (sys.platform, platform.machine()) not in {("linux", "x86_64"), ("linux", "aarch64")}:
        raise CannotPackage(
            f"Compiled packages for {sys.platform} {platform.machine()} do not run on Lambda. Package on Linux, for "
            "example in the container of deploy/README.md."
        )
    own = contents(function, root)
    lines = own["requirements.txt"].decode().splitlines()
    files = {**vendored(line for line in lines if line and not line.startswith("#")), **own}
    size = sum(map(len, files.values()))
    if size > UNPACKED_BYTES:
        raise CannotPackage(f"The package has {size:,} bytes unpacked; Lambda allows {UNPACKED_BYTES:,}.")
    return dict(sorted(files.items()))


def write(files: Mapping[str, bytes], archive: Path) -> None:
    """Write the zip. Raises CannotPackage if it is too large for Lambda."""
    write_zip(files, archive)
    size = archive.stat().st_size
    if size > ZIP_BYTES:
        raise CannotPackage(f"{archive} has {size:,} bytes; Lambda allows {ZIP_BYTES:,}.")


def main() -> int:
    """Package the function of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Package a function for AWS Lambda.")
    parser.add_argument("function", help="its folder in include/functions")
    parser.add_argument("--to", type=Path, default=ROOT / "build", help="output folder (%(default)s)")
    options = parser.parse_args()
    archive = options.to / f"{options.function}.zip"
    try:
        files = package(options.function)
        write(files, archive)
    except (CannotPackage, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    architecture = "arm64" if platform.machine() == "aarch64" else "x86_64"
    print(f"{archive}: {len(files)} files, {archive.stat().st_size:,} bytes, sha256 {digest[:16]}")
    print(f"Deploy with runtime {runtime}, architecture {architecture}, handler main.handle")
    return 0


if __name__ == "__main__":
    sys.exit(main())
