"""Deletes old rows of Airflow's database and old files of its logs: ``python -m windrow.airflow.clean --days 90``.

Tasks of Airflow 3 cannot reach the database, so this is no task: a container of docker compose, a CronJob of the Helm
chart or cron runs it every day. Rows are deleted by Airflow's own ``airflow db clean``, with two exceptions. It would
delete runs that are still in progress, so nothing is deleted that is newer than the oldest of these, or than the oldest
run that `housekeeping` keeps: only a run that Airflow still has can be cleared. And it would delete the triggers of
tasks that wait and of watchers: Airflow itself deletes those that nothing uses.
"""

import argparse
import contextlib
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pendulum
from airflow.configuration import conf
from airflow.models.dagrun import DagRun
from airflow.utils.db_cleanup import config_dict, run_cleanup
from airflow.utils.session import create_session
from airflow.utils.state import State
from sqlalchemy import func, select

from windrow.airflow.hooks.staging import staging_and_status
from windrow.model.errors import WindrowError
from windrow.store.summary import stamp

DAYS = 90
_MARGIN = timedelta(days=1)
"""Airflow knows a run some time before MongoDB does, and what a run refers to is older than the run."""
_NOT_BY_AGE = frozenset({"trigger"})


def boundary(before: datetime, mongo_conn_id: str) -> tuple[datetime, str]:
    """Return a time that is not after ``before``, and the run because of which it is earlier; empty if none is.

    Nothing that is newer may be deleted. Times are aware.

    :raises WindrowError: MongoDB does not answer, so nobody knows which runs are still needed.
    """
    begun = func.coalesce(DagRun.start_date, DagRun.queued_at, DagRun.run_after)
    unfinished = select(DagRun.dag_id, DagRun.run_id, begun).where(DagRun.state.in_(State.unfinished_dr_states))
    with create_session() as session:
        open_runs = [(at, f"{dag_id}|{run_id}") for dag_id, run_id, at in session.execute(unfinished)]
    with staging_and_status(mongo_conn_id) as (_, seen):
        kept = next(seen.older(stamp(before), with_answers=True), None)
    if kept:
        open_runs.append((datetime.fromisoformat(kept.first_at), f"{kept.dataset}|{kept.run_id}"))
    return min([(before, ""), *((at - _MARGIN, name) for at, name in open_runs)])


def clean_logs(folder: Path, before: datetime, *, dry_run: bool = False) -> int:
    """Delete files of a folder that were last written before a time, then empty folders; return how many files."""
    count = 0
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another container cleans, too
                path = Path(place, name)
                if path.lstat().st_mtime < before.timestamp():
                    count += 1
                    if not dry_run:
                        path.unlink()
        if not dry_run and Path(place) != folder:
            with contextlib.suppress(OSError):  # it is not empty
                Path(place).rmdir()
    return count


def main(arguments: list[str] | None = None) -> int:
    """Clean; return 1 if MongoDB does not answer, and nothing was deleted."""
    parser = argparse.ArgumentParser(prog="python -m windrow.airflow.clean", description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS, help=f"how long rows and logs are kept; {DAYS}")
    parser.add_argument("--dry-run", action="store_true", help="only count")
    parser.add_argument("--mongo-conn-id", default="mongo_default")
    options = parser.parse_args(arguments)
    if options.days < 1:
        parser.error("--days must be at least 1")
    wanted = datetime.now(UTC) - timedelta(days=options.days)
    try:
        before, needed_by = boundary(wanted, options.mongo_conn_id)
    except WindrowError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if needed_by:
        print(f"The run {needed_by} needs what is newer than {before:%Y-%m-%d %H:%M} UTC.")
    tables = sorted(config_dict.keys() - _NOT_BY_AGE)
    run_cleanup(
        clean_before_timestamp=pendulum.instance(before),
        table_names=tables,
        dry_run=options.dry_run,
        confirm=False,
        skip_archive=True,
        error_on_cleanup_failure=True,
    )
    count = clean_logs(Path(conf.get_mandatory_value("logging", "base_log_folder")), before, dry_run=options.dry_run)
    print(f"{'Only counted: ' if options.dry_run else ''}{count:,} log files older than {before:%Y-%m-%d %H:%M} UTC.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
