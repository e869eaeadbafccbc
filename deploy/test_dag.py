"""The DAG of deploy/test.sh: tasks that take a while, and leave a document each in MongoDB."""

import os
import time
from datetime import UTC, datetime

from airflow.providers.mongo.hooks.mongo import MongoHook
from airflow.sdk import dag, get_current_context, task

TASKS, SECONDS = 8, 20


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), is_paused_upon_creation=False)
def deploy_test() -> None:
    """Work for two workers, of which one is killed."""

    @task(retries=2, retry_delay=1)
    def work(number: int) -> None:
        time.sleep(SECONDS)
        ti = get_current_context()["ti"]
        document = {"run": ti.run_id, "by": os.environ["HOSTNAME"], "try": ti.try_number}
        with MongoHook(mongo_conn_id="mongo_default") as hook:
            hook.update_one("deploy_test", {"_id": f"{ti.run_id} {number}"}, {"$set": document}, upsert=True)

    work.expand(number=list(range(TASKS)))


deploy_test()
