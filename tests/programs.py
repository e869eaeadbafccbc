"""Programs that tests need and `make setup` cannot bring."""

import os
import shutil

import pytest


def needed(*names: str, install: str) -> str:
    """Return where a program is, which may have any of these names.

    Without it, the module that calls this is skipped, and the summary says so in one line. On a CI server, which says
    CI=true, it is an error: nobody reads there what was skipped.
    """
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        reason = f"there is no {names[0]} on PATH: {install}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason, allow_module_level=True)
    return found
