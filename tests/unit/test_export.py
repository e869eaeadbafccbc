"""Export jobs: started once, and their files are downloaded without the credential of the API."""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import scripted_api
from tests.scripted_api import Asked, Reply, ScriptedApi
from tests.unit.test_paging import Memory
from windrow.http.auth import NoAuth, StaticToken
from windrow.http.client import Client, Limits
from windrow.http.export import STORAGE_POLICY
from windrow.http.paging import Pages
from windrow.model.answer import Answer, Rejected
from windrow.model.errors import ConnectionUnusable, RateLimited
from windrow.model.export import ExportJob
from windrow.model.formats import Csv
from windrow.model.policy import Backoff
from windrow.model.query import Query
from windrow.model.stream import Stream

JOB = ExportJob("/exports/{job}", job="job.id", url="result.files", poll_s=0.01)
QUERY = Query.of("/exports", body='{"table": "orders"}', known_by={"table": "orders"}, format=Csv())
SIGNED = "X-Sig=aGVsbG8gd29ybGQgdGhpcyBpcw%3D%3D&name=a%2Fb+c"
STARTED = Reply({"job": {"id": "j/1"}}, 202)


@pytest.fixture
def storage() -> Iterator[ScriptedApi]:
    with scripted_api.running() as api:
        api.answers(Reply("id\n1\n2\n"))
        yield api


def export(
    api: ScriptedApi, storage: ScriptedApi | None, job: ExportJob = JOB, *, store: Memory | None = None
) -> Answer | Rejected:
    limits = Limits(backoff=Backoff(0.001, 0.002, 3), patience_s=1.0)

    async def run() -> Answer | Rejected:
        url = storage.url if storage else ""
        files = Client(url, NoAuth(), name="shop", limits=limits, policy=STORAGE_POLICY) if storage else None
        pages = Pages(lambda query, parsed: None, format=Csv(), store=store or Memory(), export=job)
        async with Client(
            api.url, StaticToken("t0ken-of-the-api"), name="shop", limits=limits, storage=files
        ) as client:
            return await pages.ask(client, QUERY)

    return asyncio.run(run())


def rejected(settled: Answer | Rejected) -> Rejected:
    assert isinstance(settled, Rejected), settled.body
    return settled


def states(*replies: Reply) -> Callable[[Asked], Reply]:
    """Answer calls of the state with these, then with the last."""
    left = list(replies)
    return lambda asked: STARTED if asked.method == "POST" else left.pop(0) if len(left) > 1 else left[0]


def state(name: str, *files: str) -> Reply:
    return Reply({"status": name, "result": {"files": list(files)}})


def test_a_job_is_started_awaited_and_downloaded_without_the_credential(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(state("queued"), state("completed", f"{storage.url}/a.csv?{SIGNED}"))
    answer = export(scripted, storage)
    assert isinstance(answer, Answer), answer.reason
    assert (answer.query.key, answer.parsed) == (QUERY.key, [{"id": "1"}, {"id": "2"}])
    assert [(asked.method, asked.path) for asked in scripted.asked] == [
        ("POST", "/exports"), ("GET", "/exports/j/1"), ("GET", "/exports/j/1")
    ]  # fmt: skip
    assert all(asked.signature == "Bearer t0ken-of-the-api" for asked in scripted.asked)
    [file] = storage.asked
    assert (file.signature, file.raw) == (None, f"/a.csv?{SIGNED}")


def test_several_files_are_one_answer_of_several_pages(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(state("completed", f"{storage.url}/a", f"{storage.url}/b"))
    storage.answers(Reply("id\n1\n"), Reply(gzip.compress(b"id\n2\n"), headers={"Content-Type": "application/gzip"}))
    answer = export(scripted, storage)
    assert isinstance(answer, Answer), answer.reason
    assert (answer.is_paged, answer.parsed) == (True, [[{"id": "1"}], [{"id": "2"}]])


def test_a_job_without_rows_is_an_empty_answer(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(state("completed"))
    answer = export(scripted, storage)
    assert isinstance(answer, Answer)
    assert answer.parsed == []
    assert storage.asked == []


def test_a_job_that_is_not_finished_defers_and_is_not_started_again(scripted: ScriptedApi, storage: ScriptedApi):
    store, slow = Memory(), ExportJob("/exports/{job}", job="job.id", url="result.files", poll_s=90)
    scripted.script = states(state("running"))
    with pytest.raises(RateLimited, match="An export job of 'shop' is not finished"):
        export(scripted, storage, slow, store=store)
    scripted.script = states(state("completed", f"{storage.url}/a.csv"))
    assert isinstance(export(scripted, storage, slow, store=store), Answer)
    assert [asked.method for asked in scripted.asked] == ["POST", "GET", "GET"]


def test_a_url_that_has_expired_is_requested_again(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(
        state("completed", f"{storage.url}/a.csv?{SIGNED}"), state("completed", f"{storage.url}/b.csv?{SIGNED}")
    )
    storage.answers(Reply(f"<Error>expired: {SIGNED}</Error>", 403), Reply("id\n1\n"))
    assert isinstance(export(scripted, storage), Answer)
    assert [asked.path for asked in storage.asked] == ["/a.csv", "/b.csv"]


@pytest.mark.parametrize("status", [403, 404, 401])
def test_a_file_that_is_refused_is_quarantined_without_its_signature(
    scripted: ScriptedApi, storage: ScriptedApi, status: int, caplog: pytest.LogCaptureFixture
):
    store = Memory()
    scripted.script = states(state("completed", f"{storage.url}/a.csv?{SIGNED}"))
    storage.answers(Reply(f"<Error>not valid: aGVsbG8gd29ybGQgdGhpcyBpcw==, {SIGNED}</Error>", status))
    found = rejected(export(scripted, storage, store=store))
    assert found.reason.startswith("file 1 of the export: the API rejected the query: HTTP ")
    assert found.incomplete
    assert "aGVsbG8" not in found.reason + caplog.text
    assert (len(storage.asked), store.kept) == (2, {})


@pytest.mark.parametrize("place", ["nowhere", "elsewhere"])
def test_a_file_elsewhere_is_not_called_and_the_setting_is_named(
    scripted: ScriptedApi, storage: ScriptedApi, place: str
):
    store = Memory()
    with scripted_api.running() as stranger:
        scripted.script = states(state("completed", f"{stranger.url}/a.csv?{SIGNED}"))
        with pytest.raises(ConnectionUnusable, match="not an allowed storage host") as error:
            export(scripted, storage if place == "elsewhere" else None, store=store)
    assert "'storage_origins'" in error.value.advice
    assert "aGVsbG8" not in str(error.value)
    assert (stranger.asked, storage.asked, len(store.kept)) == ([], [], 1)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([state("failed")], "the export job has failed: its state is 'failed'"),
        ([Reply({}, 404)], "the API does not know the export job any longer"),
        ([Reply({"state": "?"})], "the state of the export job at 'status' must be a string, not None"),
        ([Reply({"status": "completed"})], "the export job is done, but 'result.files' is not a URL"),
        ([state("completed", "file:///etc/passwd")], "the export job is done, but 'result.files' is not a URL"),
        ([Reply("no", 400)], "the state of the export job is unknown: the API rejected the query"),
    ],
)
def test_a_job_without_a_file_is_quarantined_and_started_again_by_the_next_try(
    scripted: ScriptedApi, storage: ScriptedApi, replies: list[Reply], reason: str
):
    store = Memory()
    scripted.script = states(*replies)
    found = rejected(export(scripted, storage, store=store))
    assert reason in found.reason
    assert (found.query, found.incomplete, store.kept, storage.asked) == (QUERY, True, {}, [])


def test_a_job_that_never_finishes_is_given_up(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(state("running"))
    forever = ExportJob("/exports/{job}", job="job.id", poll_s=0.01, most_s=0.05)
    assert "the export job is not finished after 0 s: 'running'" in rejected(export(scripted, storage, forever)).reason


def test_an_answer_without_an_id_starts_no_job(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.answers(Reply({"job": {}}))
    assert "the id of the export job at 'job.id' must be a string" in rejected(export(scripted, storage)).reason


def test_a_file_in_another_format_is_quarantined_with_its_bytes(scripted: ScriptedApi, storage: ScriptedApi):
    scripted.script = states(state("completed", f"{storage.url}/a.csv"))
    storage.answers(Reply("id\né\n".encode("latin-1")))
    found = rejected(export(scripted, storage))
    assert "file 1 of the export: no charset is declared" in found.reason
    assert found.raw == "id\né\n".encode("latin-1")


def test_a_stream_has_pages_or_exports() -> None:
    from windrow.model.paging import LinkHeader

    with pytest.raises(TypeError, match="remove one of them"):
        type("Both", (Stream,), {"paging": LinkHeader(), "export": JOB})
    given: dict[str, Any] = {"export": JOB}
    assert type("Exported", (Stream,), given).export is JOB
