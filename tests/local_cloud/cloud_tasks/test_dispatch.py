"""How tasks are sent: when, how fast, how often, and with what."""

import datetime
from pathlib import Path

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2

from local_cloud import ports
from local_cloud.emulators.cloud_tasks_server import delivery, retries
from tests.local_cloud.cloud_tasks.bench import SECOND, Answer, Bench, Worker, in_seconds, launched, seconds
from tests.local_cloud.conftest import eventually

# --- what a task brings ------------------------------------------------------------------------


def test_a_task_arrives_with_all_that_was_given_and_says_whose_it_is(bench: Bench) -> None:
    bench.make()
    headers = {"Content-Type": "application/json", "X-Mine": "1", "User-Agent": "me", "X-CloudTasks-TaskName": "me"}
    bench.add("hello", request={"http_method": "PUT", "headers": headers, "body": b'{"a": 1}'})

    (call,) = bench.called(1)

    assert (call.method, call.body) == ("PUT", b'{"a": 1}')
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["X-Mine"] == "1"
    assert call.headers["User-Agent"] == "Google-Cloud-Tasks"
    assert call.headers["X-CloudTasks-QueueName"] == bench.path.removeprefix("/")
    assert call.headers["X-CloudTasks-TaskName"] == "hello"
    assert call.headers["X-CloudTasks-TaskRetryCount"] == "0"
    assert call.headers["X-CloudTasks-TaskExecutionCount"] == "0"
    assert "X-CloudTasks-TaskPreviousResponse" not in call.headers
    assert abs(float(call.headers["X-CloudTasks-TaskETA"]) - call.at) < 5
    assert bench.settled() == {
        **{"state": "RUNNING", "waiting": 0, "scheduled": 0, "in_flight": 0},
        **{"dispatched": 1, "done": 1, "gave_up": 0, "given_up": []},
    }


def test_a_task_is_posted_without_content_type_unless_told(bench: Bench) -> None:
    bench.make()
    name = bench.add(request={"body": b"x"})

    (call,) = bench.called(1)

    assert call.method == "POST"
    assert "Content-Type" not in call.headers
    assert name == f"{bench.name}/tasks/{call.task}"


def test_a_task_waits_for_its_time(bench: Bench) -> None:
    bench.make()
    due = in_seconds(0.6)
    bench.add(schedule_time=due)
    assert bench.report()["scheduled"] == 1

    (call,) = bench.called(1)

    assert 0 <= call.at - due.timestamp() < 2
    assert float(call.headers["X-CloudTasks-TaskETA"]) == pytest.approx(due.timestamp(), abs=1e-5)


# --- pace --------------------------------------------------------------------------------------


def test_the_rate_is_exact(bench: Bench) -> None:
    burst = bench.make({"max_dispatches_per_second": 20, "max_burst_size": 60}).rate_limits.max_burst_size
    assert burst == 4  # the service chooses it
    bench.client.pause_queue(name=bench.name)
    for _ in range(60):
        bench.add()
    bench.client.resume_queue(name=bench.name)

    calls = bench.called(60)

    took = calls[-1].at - calls[0].at
    assert (60 - burst) / 20 - 0.05 <= took < 4
    assert calls[burst - 1].at - calls[0].at < 0.5


def test_no_more_than_allowed_are_in_flight(bench: Bench) -> None:
    bench.make({"max_concurrent_dispatches": 3})
    bench.answer(Answer(seconds=0.1))
    for _ in range(12):
        bench.add()

    bench.called(12)

    assert bench.worker.most_busy[bench.path] == 3


def test_six_hundred_tasks_arrive_once_each(bench: Bench) -> None:
    bench.make()
    names = {bench.add().rpartition("/")[2] for _ in range(600)}

    bench.called(600)

    assert bench.settled()["done"] == 600
    tasks = [call.task for call in bench.calls]
    assert len(tasks) == 600
    assert set(tasks) == names


# --- trying again ------------------------------------------------------------------------------


def test_a_failed_task_is_tried_again_at_growing_intervals(bench: Bench) -> None:
    bench.make(min_backoff=seconds(0.2), max_doublings=5)
    bench.answer(Answer(503), Answer(404), Answer(503), Answer(200))
    bench.add()

    calls = bench.called(4)

    since = [call.at - calls[0].at for call in calls]
    for expected, actual in zip([0, 0.2, 0.6, 1.4], since, strict=True):
        assert expected - 0.02 <= actual < expected + 0.5
    assert [call.headers["X-CloudTasks-TaskRetryCount"] for call in calls] == ["0", "1", "2", "3"]
    assert [call.headers["X-CloudTasks-TaskExecutionCount"] for call in calls] == ["0", "0", "1", "1"]  # 5xx: no
    assert [call.headers.get("X-CloudTasks-TaskPreviousResponse") for call in calls] == [None, "503", "404", "503"]
    etas = [float(call.headers["X-CloudTasks-TaskETA"]) for call in calls]
    assert all(eta <= call.at for eta, call in zip(etas, calls, strict=True))
    assert etas == sorted(set(etas))


def test_a_failed_task_tells_of_its_last_attempt(bench: Bench) -> None:
    bench.make(min_backoff=seconds(60), max_backoff=seconds(60))
    bench.answer(Answer(429))
    name = bench.add()
    bench.called(1)
    eventually(lambda: bench.report()["scheduled"] == 1, "it waits for its next attempt")

    task = bench.client.get_task(name=name)

    assert (task.dispatch_count, task.response_count) == (1, 1)
    assert task.last_attempt.response_status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert task.last_attempt.response_status.message == "HTTP status code 429"
    assert task.first_attempt.dispatch_time == task.last_attempt.dispatch_time
    assert 50 < (task.schedule_time - in_seconds(0)).total_seconds() <= 60


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_worker_may_ask_for_more_time(bench: Bench, form: str) -> None:
    bench.make()
    date = f"{in_seconds(2):%a, %d %b %Y %H:%M:%S} GMT"  # 1 to 2 s from now, as it has no fractions
    bench.answer(Answer(503, {"Retry-After": "1" if form == "seconds" else date}), Answer())
    bench.add()

    first, second = bench.called(2)

    assert 0.9 <= second.at - first.at < 4


def test_a_task_is_given_up_after_the_last_attempt_and_the_reason_is_known(bench: Bench) -> None:
    bench.make(max_attempts=3)
    bench.answer(Answer(500))
    name = bench.add("hopeless")

    report = bench.settled()

    assert len(bench.calls) == 3
    assert (report["dispatched"], report["done"], report["gave_up"]) == (3, 0, 1)
    (given_up,) = report["given_up"]
    assert given_up["name"] == name
    assert given_up["attempts"] == 3
    assert given_up["reason"].startswith("3 attempts in 0.")
    assert given_up["reason"].endswith("the last one: HTTP status code 500")
    assert abs(datetime.datetime.fromisoformat(given_up["at"]) - in_seconds(0)) < 20 * SECOND
    with pytest.raises(exceptions.NotFound, match="no longer exists"):
        bench.client.get_task(name=name)


def test_attempts_and_duration_must_both_be_used_up(bench: Bench) -> None:
    bench.make(max_attempts=2, max_retry_duration=seconds(1), max_backoff=seconds(0.2))
    bench.answer(Answer(500))
    bench.add()

    report = bench.settled()

    assert report["gave_up"] == 1
    assert len(bench.calls) > 3
    assert 0.9 <= bench.calls[-1].at - bench.calls[0].at < 3


def test_a_worker_that_is_not_there_is_a_failed_attempt(bench: Bench) -> None:
    bench.make(max_attempts=2)
    (nobody,) = ports.find_free(1)
    bench.add(url=f"http://127.0.0.1:{nobody}/")

    (given_up,) = bench.settled()["given_up"]

    assert given_up["attempts"] == 2
    assert "no answer: ClientConnectorError" in given_up["reason"]


def test_an_answer_after_the_deadline_is_none(tmp_path: Path, worker: Worker) -> None:
    with launched(tmp_path, worker, "--shortest-deadline", "0.1") as bench:
        bench.make(max_attempts=1)
        bench.answer(Answer(seconds=2))
        bench.add(dispatch_deadline=seconds(0.2))

        (given_up,) = bench.settled()["given_up"]

    assert given_up["reason"].endswith("the last one: no answer within the deadline of 0.2 s")


DOCUMENTED = {"min_backoff": seconds(10), "max_backoff": seconds(300), "max_doublings": 3, "max_attempts": -1}


def test_the_pauses_are_those_of_the_documentation() -> None:
    config = tasks_v2.RetryConfig.pb()(**DOCUMENTED)

    assert [retries.pause(config, n, None) for n in range(1, 9)] == [10, 20, 40, 80, 160, 240, 300, 300]
    assert retries.pause(config, 10_000, None) == 300
    assert retries.pause(config, 1, 15.5) == 15.5
    assert retries.pause(config, 1, 1e300) == 30 * 24 * 3600


@pytest.mark.parametrize(
    ("most", "longest", "attempts", "since_first", "over"),
    [
        (3, 0, 2, 1e6, False),
        (3, 0, 3, 0, True),
        (3, 10, 3, 9, False),
        (3, 10, 2, 11, False),
        (3, 10, 3, 10, True),
        (-1, 10, 99, 9, False),
        (-1, 10, 1, 10, True),
        (-1, 0, 10_000, 1e6, False),
    ],
)
def test_when_a_task_is_given_up(most: int, longest: int, attempts: int, since_first: float, over: bool) -> None:
    config = tasks_v2.RetryConfig.pb()(max_attempts=most, max_retry_duration=seconds(longest))

    assert retries.is_over(config, attempts, since_first, since_first) is over
    assert retries.is_over(config, attempts, since_first, 31 * 24 * 3600) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", 7), ("Fri, 02 Jan 2026 00:00:30 GMT", 30), ("", None), ("soon", None), ("-1", None), ("1.5", None)],
)
def test_what_retry_after_may_say(text: str, expected: float | None) -> None:
    assert delivery.parse_retry_after(text, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)) == expected
