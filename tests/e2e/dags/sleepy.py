"""A task that runs until it is killed."""

import os
import time
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule=None)
def sleepy() -> None:
    """Write the pid of the task to a file, then sleep."""

    @task
    def sleep(path: str) -> None:
        Path(path).write_text(f"{os.getpid()}\n")
        time.sleep(600)

    sleep("{{ dag_run.conf['path'] }}")


sleepy()
