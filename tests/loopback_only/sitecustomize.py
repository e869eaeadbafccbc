"""Guards every Python process that has this folder on PYTHONPATH, then loads the real sitecustomize."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import loopback_guard

loopback_guard.install()

_others = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
_spec = PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(module_from_spec(_spec))
