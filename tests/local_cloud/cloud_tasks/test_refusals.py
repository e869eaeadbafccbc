"""What is refused, and how."""

from collections.abc import Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.iam.v1 import iam_policy_pb2

from tests.local_cloud.cloud_tasks.bench import PARENT, Bench, in_seconds, seconds


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"http_request": {"url": "ftp://x"}}, "begin with http"),
        ({"http_request": {}}, "begin with http"),
        ({"http_request": {"url": "http://x:99999/"}}, "is not a URL"),
        ({"http_request": {"url": "http://x/" + "y" * 2100}}, "at most 2083"),
        ({"http_request": {"url": "http://x", "body": b"x" * 102_400}}, "Task size too large: 10.* at most 102400"),
        ({"http_request": {"url": "http://x", "body": b"x", "http_method": "GET"}}, "only for POST, PUT and PATCH"),
        ({"http_request": {"url": "http://x", "headers": {"X-A": "a\r\nX-B: b"}}}, "control characters"),
        ({"http_request": {"url": "http://x", "oidc_token": {}}}, "service_account_email"),
        ({"http_request": {"url": "http://x"}, "schedule_time": in_seconds(31 * 24 * 3600)}, "at most 30 days"),
        ({"http_request": {"url": "http://x"}, "dispatch_deadline": seconds(14)}, "15 to 1800 seconds"),
        ({"http_request": {"url": "http://x"}, "dispatch_deadline": seconds(1801)}, "15 to 1800 seconds"),
        ({"http_request": {"url": "http://x"}, "name": "t"}, "is not the name of a task"),
        ({"http_request": {"url": "http://x"}, "name": f"{PARENT}/queues/other/tasks/t"}, "not named after its queue"),
    ],
)
def test_a_bad_task_is_refused_with_the_reason(bench: Bench, task: dict[str, Any], message: str) -> None:
    bench.make()

    with pytest.raises(exceptions.InvalidArgument, match=message):
        bench.client.create_task(parent=bench.name, task=task)
    assert not list(bench.client.list_tasks(parent=bench.name))


def test_a_task_may_have_a_hundred_kilobytes(bench: Bench) -> None:
    bench.make()
    bench.add(request={"body": b"x" * 102_000})

    assert len(bench.called(1)[0].body) == 102_000


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ({"rate_limits": {"max_dispatches_per_second": 501}}, "at most 500"),
        ({"rate_limits": {"max_dispatches_per_second": -1}}, "more than 0"),
        ({"rate_limits": {"max_concurrent_dispatches": 5001}}, "1 to 5000"),
        ({"retry_config": {"max_attempts": -2}}, "at least 1, or -1"),
        ({"retry_config": {"max_doublings": -1}}, "must not be negative"),
        ({"retry_config": {"max_retry_duration": seconds(-1)}}, "must not be negative"),
        ({"retry_config": {"min_backoff": seconds(2), "max_backoff": seconds(1)}}, "not more than max_backoff"),
        ({"name": f"{PARENT}/queues/under_score"}, "is not the name of a queue"),
        ({"name": "projects/windrow/locations/elsewhere/queues/q"}, "is not in the parent"),
    ],
)
def test_a_bad_queue_is_refused_with_the_reason(bench: Bench, queue: dict[str, Any], message: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        bench.client.create_queue(parent=PARENT, queue={"name": bench.name, **queue})


def test_a_task_for_no_queue_is_refused(bench: Bench) -> None:
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        bench.add()


REQUEST = {"url": "http://127.0.0.1/"}
OAUTH = {"oauth_token": {"service_account_email": "x"}}


@pytest.mark.parametrize(
    ("task", "what"),
    [
        ({"app_engine_http_request": {"relative_uri": "/"}}, "App Engine"),
        ({"http_request": REQUEST, "retry_config": {"max_attempts": 1}}, "retry_config of a task"),
        ({"http_request": {**REQUEST, **OAUTH}}, "OAuth"),
    ],
)
def test_a_task_that_the_emulator_cannot_do_is_refused(bench: Bench, task: dict[str, Any], what: str) -> None:
    bench.make()

    with pytest.raises(exceptions.MethodNotImplemented, match=f"emulator does not support .*{what}"):
        bench.client.create_task(parent=bench.name, task=task)


@pytest.mark.parametrize(
    ("queue", "what"),
    [
        ({"http_target": {"uri_override": {"host": "x"}}}, "HTTP target"),
        ({"app_engine_routing_override": {"service": "x"}}, "App Engine"),
    ],
)
def test_a_queue_that_the_emulator_cannot_do_is_refused(bench: Bench, queue: dict[str, Any], what: str) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match=f"emulator does not support .*{what}"):
        bench.client.create_queue(parent=PARENT, queue={"name": bench.name, **queue})


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda client, _: client.list_queues(request={"parent": PARENT, "filter": "state: PAUSED"}), "filter"),
        (
            lambda client, queue: client.get_iam_policy(request=iam_policy_pb2.GetIamPolicyRequest(resource=queue)),
            "GetIamPolicy",
        ),
        (lambda client, _: client.list_locations(request={"name": "projects/windrow"}), "ListLocations"),
        (
            lambda client, queue: client.batch_delete_tasks(request={"parent": queue, "names": [f"{queue}/tasks/t"]}),
            "BatchDeleteTasks",
        ),
    ],
)
def test_a_method_that_the_emulator_does_not_have_is_named(
    bench: Bench, call: Callable[[tasks_v2.CloudTasksClient, str], object], what: str
) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match=f"emulator does not support .*{what}"):
        call(bench.client, bench.name)
