"""Let local-bigquery 0.3.2, which is written for Python 3.12 and newer, be imported on Python 3.11.

Two of its files use newer syntax. They are mended in memory, while they are imported, and never on disk. All files that
we patch are checked before: to import them takes a second, and a process that is refused need not do it.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_cloud.airflow_settings import known_source

Mend = tuple[str, str]
"""Text that is in the file, and what to put in its place."""

MENDS: Mapping[str, Sequence[Mend]] = {
    "local_bigquery.catalog.metadata": (
        # PEP 695: type parameters in brackets
        ("import hashlib\n", 'import typing\nimport hashlib\nR = typing.TypeVar("R")\n'),
        ("def list_[R: Resource](", "def list_("),
        ("def load[R: Resource](", "def load("),
        ("def save[R: Resource](", "def save("),
    ),
    "local_bigquery.engine.results": (
        # PEP 701: the f-string's own quotes inside its braces
        ("""{message.replace("'", "''")}""", "{message.replace(chr(39), chr(39) * 2)}"),
    ),
}


class MendingLoader(importlib.machinery.SourceFileLoader):
    """Loads a module from its mended source, past the bytecode cache, which knows nothing of mends."""

    def get_code(self, fullname: str) -> types.CodeType:
        """Compile the mended source."""
        path = self.get_filename(fullname)
        source = Path(path).read_text(encoding="utf-8")
        for found, replacement in MENDS[fullname]:
            source = source.replace(found, replacement)
        return compile(source, path, "exec", dont_inherit=True)


class MendingFinder(importlib.abc.MetaPathFinder):
    """Finds the modules to mend where they are, and gives them the mending loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module to mend; None for any other."""
        if fullname not in MENDS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = MendingLoader(fullname, spec.origin)
        return spec


def install() -> None:
    """Mend from now on; nothing to mend on Python 3.12 and newer. Raises UnknownSource for another version."""
    known_source.check_package("local_bigquery")
    if sys.version_info < (3, 12):
        sys.meta_path.insert(0, MendingFinder())
