"""Windrow: harvest rate-limited, token-protected HTTP APIs without losing a call.

The modules beside this file know no Airflow; ``hooks/`` and ``operators/`` are their faces in Airflow.
In a notebook: ``windrow.frame("desk_tickets")`` returns landed records as a pandas DataFrame.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__version__ = "0.1.0"
"""The one place where the version is written. CHANGELOG.md says what is in it."""


def frame(dataset: str, run: str = "", at: str | Path = "data") -> "pd.DataFrame":
    """Return the landed records of a run, by default of the newest; see `windrow.landing.frame`."""
    # by its name: pyarrow takes long to import, and the packages of functions do not have it
    found: pd.DataFrame = import_module("windrow.landing.frame").frame(dataset, run, at)
    return found
