"""Package a function for deployment: `python include/functions/package.py fetch_passenger`.

It writes ``build/<name>/`` and ``build/<name>.zip`` with the same content: the files of the function's folder, and
the modules of include/functions/shared and plugins/windrow that they import, directly or indirectly. The same sources
always give the same zip, byte for byte.
"""

import argparse
import ast
import hashlib
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "windrow"
SHARED = "shared"
"""Folder of the modules that several functions use; in a package they are in the folder of main.py."""
REGISTRY = "windrow.model.registry"
"""The module that imports the streams of all sources dynamically."""


def contents(function: str, root: Path = ROOT) -> dict[str, bytes]:
    """Return the files of a package by their names in the package, sorted.

    :raises FileNotFoundError: the function does not exist.
    """
    functions = root / "include" / "functions"
    folder = functions / function
    if not (folder / "main.py").is_file():
        raise FileNotFoundError(f"The function {function!r} does not exist: {folder / 'main.py'} is missing.")
    own = {path.name: path for path in (*folder.glob("*.py"), folder / "requirements.txt")}
    own |= {path.name: path for path in _shared(own.values(), functions / SHARED)}
    plugins = root / "plugins"
    library = {str(path.relative_to(plugins)): path for path in _library(own.values(), plugins)}
    return {name: path.read_bytes() for name, path in sorted({**own, **library}.items())}


def write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the files into a folder. Its old content is deleted."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def write_zip(files: Mapping[str, bytes], path: Path) -> None:
    """Write the files into a zip that does not depend on time, machine or user."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 9)


def _shared(sources: Iterable[Path], folder: Path) -> set[Path]:
    """Return the shared modules that these sources import, directly or indirectly."""
    found: set[Path] = set()
    waiting = [path for path in sources if path.suffix == ".py"]
    while waiting:
        imported = {folder / f"{module}.py" for module in _imports(waiting.pop())}
        new = {path for path in imported - found if path.is_file()}
        found |= new
        waiting += new
    return found


def _library(sources: Iterable[Path], plugins: Path) -> set[Path]:
    """Return the files of the library that these sources import, directly or indirectly."""
    found: set[Path] = set()
    waiting = [module for path in sources if path.suffix == ".py" for module in _imports(path)]
    while waiting:
        module = waiting.pop()
        path = _file(module, plugins)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [module.rpartition(".")[0], *_imports(path)]
        if module == REGISTRY:
            waiting += [
                f"windrow.sources.{each.parent.name}.streams" for each in plugins.glob("windrow/sources/*/streams.py")
            ]
    return found


def _imports(path: Path) -> Iterator[str]:
    """Yield the imports of a file; `from a import b` gives both a and a.b, because b may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str, plugins: Path) -> Path | None:
    """Return the file of a module of the library; None for other modules."""
    if module.partition(".")[0] != LIBRARY:
        return None
    base = plugins.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def main() -> int:
    """Package the function of the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Package a function for deployment.")
    parser.add_argument("function", help="its folder in include/functions")
    parser.add_argument("--to", type=Path, default=ROOT / "build", help="output folder (%(default)s)")
    options = parser.parse_args()
    try:
        files = contents(options.function)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    folder, archive = options.to / options.function, options.to / f"{options.function}.zip"
    write_folder(files, folder)
    write_zip(files, archive)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    print(f"{folder}: {len(files)} files, {sum(map(len, files.values())):,} bytes")
    print(f"{archive}: {archive.stat().st_size:,} bytes, sha256 {digest[:16]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
