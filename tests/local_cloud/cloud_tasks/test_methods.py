"""What the methods of the service do."""

import contextlib
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud import tasks_v2
from google.protobuf.field_mask_pb2 import FieldMask

from local_cloud.settings import Settings
from tests.local_cloud.cloud_tasks.bench import PARENT, SECOND, Answer, Bench, Worker, in_seconds, launched
from tests.local_cloud.conftest import eventually

# --- names -------------------------------------------------------------------------------------


def test_a_name_is_used_once(bench: Bench) -> None:
    bench.make()
    waiting = bench.add("waiting", schedule_time=in_seconds(60))
    with pytest.raises(exceptions.AlreadyExists, match="already exists"):
        bench.add("waiting")

    bench.client.delete_task(name=waiting)
    bench.add("executed")
    eventually(lambda: bench.report()["done"] == 1, "it is executed")

    for name in ("waiting", "executed"):
        with pytest.raises(exceptions.AlreadyExists, match="existed too recently"):
            bench.add(name)
    assert [call.task for call in bench.calls] == ["executed"]


def test_a_name_is_free_again_when_its_time_is_over(tmp_path: Path, worker: Worker) -> None:
    with launched(tmp_path, worker, "--tombstone-seconds", "0.5") as bench:
        bench.make()
        bench.add("again")
        bench.settled()
        with pytest.raises(exceptions.AlreadyExists):
            bench.add("again")

        def is_free() -> bool:
            with contextlib.suppress(exceptions.AlreadyExists):
                return bool(bench.add("again"))
            return False

        eventually(is_free, "the name is free")
        assert len(bench.called(2)) == 2


# --- tasks -------------------------------------------------------------------------------------


def test_tasks_are_listed_in_pages_without_their_bodies(bench: Bench) -> None:
    bench.make()
    names = [bench.add(f"t{n}", request={"body": b"secret"}, schedule_time=in_seconds(60 + n)) for n in (3, 0, 4, 1, 2)]

    pages = list(bench.client.list_tasks(request={"parent": bench.name, "page_size": 2}).pages)

    assert [len(page.tasks) for page in pages] == [2, 2, 1]
    tasks = [task for page in pages for task in page.tasks]
    assert sorted(task.name for task in tasks) == sorted(names)
    assert {task.http_request.body for task in tasks} == {b""}
    full = bench.client.get_task(request={"name": names[0], "response_view": "FULL"})
    assert full.http_request.body == b"secret"
    assert bench.client.get_task(name=names[0]).http_request.body == b""


def test_a_deleted_task_is_not_sent(bench: Bench) -> None:
    bench.make()
    bench.client.pause_queue(name=bench.name)
    gone, kept = bench.add("gone"), bench.add("kept")
    bench.client.delete_task(name=gone)
    bench.client.resume_queue(name=bench.name)

    eventually(lambda: bench.report()["done"] == 1, "the other is done")

    assert [call.task for call in bench.calls] == ["kept"]
    for name in (gone, kept):
        with pytest.raises(exceptions.NotFound, match="no longer exists"):
            bench.client.delete_task(name=name)
    with pytest.raises(exceptions.NotFound, match="does not exist"):
        bench.client.delete_task(name=f"{bench.name}/tasks/never")


def test_a_task_can_be_sent_before_its_time_and_from_a_paused_queue(bench: Bench) -> None:
    bench.make()
    name = bench.add(schedule_time=in_seconds(60))
    bench.client.pause_queue(name=bench.name)

    task = bench.client.run_task(name=name)

    assert task.dispatch_count == 1
    assert len(bench.called(1)) == 1
    assert bench.settled()["state"] == "PAUSED"


# --- queues ------------------------------------------------------------------------------------


def test_a_queue_has_the_defaults_of_the_service(bench: Bench) -> None:
    bench.client.create_queue(parent=PARENT, queue={"name": bench.name})

    queue = bench.client.get_queue(name=bench.name)

    assert queue.state == tasks_v2.Queue.State.RUNNING
    rates, retry = queue.rate_limits, queue.retry_config
    assert (rates.max_dispatches_per_second, rates.max_burst_size, rates.max_concurrent_dispatches) == (500, 100, 1000)
    assert (retry.max_attempts, retry.max_doublings) == (100, 16)
    assert (retry.min_backoff, retry.max_backoff) == (0.1 * SECOND, 3600 * SECOND)
    with pytest.raises(exceptions.AlreadyExists, match="already exists"):
        bench.make()


def test_a_paused_queue_sends_nothing_until_it_goes_on(bench: Bench, cloud_tasks: Settings) -> None:
    bench.make()
    assert bench.client.pause_queue(name=bench.name).state == tasks_v2.Queue.State.PAUSED
    bench.add()
    passing = Bench(cloud_tasks.cloud_tasks_port, cloud_tasks.cloud_tasks_http_port, bench.worker)
    passing.make()
    passing.add()
    passing.called(1)  # so this one had its time too

    assert bench.report()["waiting"] == 1
    assert not bench.calls

    assert bench.client.resume_queue(name=bench.name).state == tasks_v2.Queue.State.RUNNING
    assert len(bench.called(1)) == 1


def test_a_purged_queue_is_empty_and_works_on(bench: Bench) -> None:
    bench.make()
    bench.client.pause_queue(name=bench.name)
    for n in range(20):
        bench.add(f"old-{n}")

    assert bench.client.purge_queue(name=bench.name).purge_time is not None

    assert not list(bench.client.list_tasks(parent=bench.name))
    bench.client.resume_queue(name=bench.name)
    bench.add("new")
    assert [call.task for call in bench.called(1)] == ["new"]
    assert bench.settled()["dispatched"] == 1


def test_a_task_that_is_purged_in_flight_is_not_tried_again(bench: Bench) -> None:
    bench.make()
    bench.answer(Answer(500, seconds=0.3))
    bench.add()
    bench.called(1)

    bench.client.purge_queue(name=bench.name)

    eventually(lambda: bench.report()["in_flight"] == 0, "the attempt has ended")
    assert bench.report()["scheduled"] == bench.report()["waiting"] == bench.report()["gave_up"] == 0


def test_an_update_changes_what_the_mask_names_and_at_once(bench: Bench) -> None:
    bench.make({"max_dispatches_per_second": 0.01}, max_attempts=7)
    for _ in range(4):
        bench.add()
    assert len(bench.called(1)) == 1  # the next would go in 100 s

    queue = bench.client.update_queue(
        queue={"name": bench.name, "rate_limits": {"max_dispatches_per_second": 200}, "retry_config": {}},
        update_mask=FieldMask(paths=["rate_limits.max_dispatches_per_second"]),
    )

    assert queue.rate_limits.max_dispatches_per_second == 200
    assert queue.retry_config.max_attempts == 7
    assert len(bench.called(4)) == 4
    assert bench.client.update_queue(queue={"name": bench.name}).retry_config.max_attempts == 100
    with pytest.raises(exceptions.InvalidArgument, match="update_mask"):
        bench.client.update_queue(queue={"name": bench.name}, update_mask=FieldMask(paths=["nonsense"]))


def test_an_update_keeps_the_state_and_makes_a_queue_that_is_not_there(bench: Bench) -> None:
    assert bench.client.update_queue(queue={"name": bench.name}).state == tasks_v2.Queue.State.RUNNING
    bench.client.pause_queue(name=bench.name)

    assert bench.client.update_queue(queue={"name": bench.name}).state == tasks_v2.Queue.State.PAUSED


def test_queues_are_listed_by_location_in_pages(bench: Bench) -> None:
    parent = f"projects/{bench.path[1:]}/locations/europe-west1"
    names = [f"{parent}/queues/q{n}" for n in range(3)]
    for name in names:
        bench.client.create_queue(parent=parent, queue={"name": name})

    pages = list(bench.client.list_queues(request={"parent": parent, "page_size": 2}).pages)

    assert [[queue.name for queue in page.queues] for page in pages] == [names[:2], names[2:]]


def test_a_deleted_queue_is_gone_with_its_tasks(bench: Bench) -> None:
    bench.make()
    name = bench.add("t", schedule_time=in_seconds(60))
    bench.client.delete_queue(name=bench.name)

    for call in (bench.client.get_queue, bench.client.delete_queue, bench.client.purge_queue):
        with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
            call(name=bench.name)
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        bench.client.get_task(name=name)
    bench.make()
    assert not list(bench.client.list_tasks(parent=bench.name))
    assert bench.add("t")
