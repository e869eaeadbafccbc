"""Finds the stream of a dataset. What there is, each folder of `windrow.sources` says of itself."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from windrow.model.errors import BadParameter
from windrow.model.stream import Stream

SOURCES = "windrow.sources"
"""Imported by name, since a source may use everything else."""
_declared: dict[str, type[Stream]] = {}
"""Streams that a DAG file declares itself: a task imports its DAG file before it runs."""


def declare(stream: type[Stream]) -> None:
    """Make a stream known that is declared outside of `SOURCES`, such as in a DAG file."""
    _declared[stream.dataset] = stream


@cache
def streams() -> Mapping[str, str]:
    """Return where the class of each dataset is, like ``windrow.sources.shop.streams:Orders``.

    It imports the folders' ``__init__`` alone: a DAG file is parsed often, and should pay for its own source only.
    """
    folders = iter_modules(import_module(SOURCES).__path__, f"{SOURCES}.")
    found = [import_module(folder.name).STREAMS for folder in folders if folder.ispkg]
    return {dataset: place for each in found for dataset, place in each.items()}


def stream(dataset: str) -> Stream:
    """Make the stream of a dataset, importing only its own source.

    :raises BadParameter: no source declares it.
    """
    if dataset not in streams():
        if dataset in _declared:
            return _declared[dataset]()
        known = sorted({*streams(), *_declared})
        raise BadParameter(
            f"Unknown dataset {dataset!r}.",
            advice=f"Known datasets: {', '.join(known)}. A source declares them in its __init__.py, or in a DAG file.",
        )
    module, name = streams()[dataset].split(":")
    made = getattr(import_module(module), name)()
    assert isinstance(made, Stream)  # noqa: S101 - tells the type checker what the table above promises
    return made
