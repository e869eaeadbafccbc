"""The function as a service of the local cloud, called by the queue's emulator."""

import time

import grpc
from google.cloud.tasks_v2 import CloudTasksClient, HttpMethod, HttpRequest, OidcToken, Queue, Task
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from pymongo import MongoClient

from local_cloud import airflow_env
from local_cloud.settings import TASKS_ACCOUNT
from tests.functions.harness import ask_for
from tests.shared_cloud import SharedCloud
from windrow.model.answer import Outcome
from windrow.model.plan import Run
from windrow.store.staging import Staging

LOCATION = "projects/windrow/locations/us-central1"


def test_the_queue_of_the_local_cloud_gets_its_tasks_done(shared: SharedCloud) -> None:
    call = ask_for(Run("titanic_passengers", "manual__queue"), "Nobody")
    settings = shared.need("mongo", "apis", "cloud-tasks", "fetch-passenger")
    transport = CloudTasksGrpcTransport(channel=grpc.insecure_channel(settings.cloud_tasks_address))
    with CloudTasksClient(transport=transport) as queues, MongoClient(airflow_env.mongo_url(settings)) as mongo:
        queue = queues.create_queue(parent=LOCATION, queue=Queue(name=f"{LOCATION}/queues/titanic-passengers"))
        request = HttpRequest(
            url=settings.function_url,
            http_method=HttpMethod.POST,
            headers={"Content-Type": "application/json"},
            body=call.payload,
            oidc_token=OidcToken(service_account_email=TASKS_ACCOUNT, audience=settings.function_url),
        )
        queues.create_task(parent=queue.name, task=Task(http_request=request))
        deadline = time.monotonic() + 30
        while list(queues.list_tasks(parent=queue.name)) and time.monotonic() < deadline:
            time.sleep(0.1)

        settled = Staging(mongo, "windrow").settled(call.run, call.chunk)
    log = settings.log / "fetch-passenger.log"
    # supervisord copies what a service prints: the line may come after the queue is empty
    while '"retry":"0"' not in (said := log.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert settled == {call.query.key: Outcome.MISSING}, said
    assert '"retry":"0"' in said
