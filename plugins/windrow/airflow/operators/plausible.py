"""Compare the landed rows of a run with earlier runs, before a table gets them."""

import logging

from windrow.airflow.hooks.staging import staging
from windrow.model import registry
from windrow.model.errors import CheckFailed
from windrow.model.plan import Run
from windrow.model.plausible import Plausible, empty_columns
from windrow.store.staging import Staging

log = logging.getLogger(__name__)

_MOST = 10
"""Differences that a message names."""


def require_plausible(run: Run, mongo_conn_id: str) -> None:
    """Store what is not plausible as warnings, if the stream of a run says what is plausible.

    :raises CheckFailed: the rows are not plausible, the stream says that this fails, and no person has accepted it.
    """
    setting = registry.stream(run.dataset).plausible
    if setting is None:
        return
    with staging(mongo_conn_id, run.dataset) as state:
        doubts = _compare(state, run, setting)
        if not doubts:
            return
        log.warning("The rows of %s are not plausible: %s", run.dataset, doubts)
        accepted = {one.name for one in state.warnings(run.dataset) if one.accepted_at}
    if setting.fails and run.run_id not in accepted:
        raise CheckFailed(
            f"The rows of {run.dataset}, run {run.run_id!r}, are not plausible: {doubts}.",
            advice=f"The final table was not changed. If the rows are right, run: windrow accept {run.dataset} "
            f"'{run.run_id}'. Then clear this task with all tasks downstream.",
        )


def _compare(state: Staging, run: Run, setting: Plausible) -> str:
    """Compare a run with earlier runs, store warnings, and return what is not plausible; empty if all is."""
    notes, before = state.notes(run), state.profiles(run)
    profile = notes.get("profile")
    if profile is None:
        return ""
    paths = {column.name: column.field for column in getattr(registry.stream(run.dataset), "columns", ())}
    for name in empty_columns(profile, [one for one, _ in before]) if paths else ():
        text = f"the column {name!r} has no value in any of {profile['rows']:,} rows; check its path {paths[name]!r}"
        state.warn(run, {f"column {name}": text})
    doubts = setting.doubts(profile, before, notes.get("scope", {}))
    if not doubts:
        state.withdraw(run, run.run_id)
        return ""
    further = f"; and {len(doubts) - _MOST:,} more" if len(doubts) > _MOST else ""
    text = "; ".join(doubts[:_MOST]) + further
    state.warn(run, {run.run_id: text})
    return text
